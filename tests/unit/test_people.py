import pytest

from gates.core.errors import InvalidPolicy, Unavailable, UnknownPerson
from gates.core.people import load_people
from tests.support.policies import demo_people

HEAD = "version: 1\ngroups: {ap: Bills, controllers: Money}\npeople:\n"
DANA = "  - {id: dana, name: Dana, email: Dana@example.com, slack: [T1/U1, T2/U9], groups: [ap]}\n"
MIKA = "  - {id: mika, name: Mika, groups: [ap, controllers]}\n"


def test_a_person_is_found_by_id_slack_account_and_email():
    """Every account of a person leads to the same person; the case of an e-mail is ignored."""
    people = load_people(HEAD + DANA + MIKA, "people.yaml")
    dana = people.person("dana")
    assert people.by_slack("T1", "U1") == people.by_slack("T2", "U9") == dana
    assert people.by_email("dana@EXAMPLE.com") == dana


@pytest.mark.parametrize(
    "look",
    [
        lambda people: people.person("DANA"),
        lambda people: people.by_slack("T2", "U1"),
        lambda people: people.by_slack("T1/U1", ""),
        lambda people: people.by_email(""),
        lambda people: people.by_email("dana@example.org"),
        lambda people: people.members(["ap", "nobody"]),
    ],
)
def test_who_is_not_there_is_unknown(look):
    """The right user in another workspace, an empty address, a group that does not exist."""
    with pytest.raises(UnknownPerson):
        look(load_people(HEAD + DANA + MIKA, "people.yaml"))


def test_members_are_counted_once():
    """Somebody in two groups is one person; an empty group has no members."""
    people = load_people(HEAD.replace("Money}", "Money, rest: x}") + DANA + MIKA, "people.yaml")
    assert [one.id for one in people.members(["ap", "controllers"])] == ["dana", "mika"]
    assert [one.id for one in people.members(["controllers"])] == ["mika"]
    assert people.members(["rest"]) == []
    assert people.members([]) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + DANA + "  - {id: «dana, name: D}\n", "id 'dana' stands twice"),
        (HEAD + DANA + "  - {id: d, name: D, email: «dana@example.com}\n", "email 'dana@example"),
        (HEAD + DANA + "  - {id: d, name: D, email: «dana+x@example.com}\n", "email 'dana+x@exa"),
        (HEAD + DANA + "  - {id: d, name: D, slack: [T3/U3, «T2/U9]}\n", "slack 'T2/U9' stands"),
        (HEAD + "  - {id: d, name: D, slack: «U1}\n", "slack 'U1' is not of the form TEAM/USER"),
        (HEAD + "  - {id: d, name: D, email: «nowhere}\n", "email 'nowhere' is not of the form"),
        (HEAD + "  - {id: «D D, name: D}\n", "id 'D D' is not of the form"),
        (HEAD + "  - {id: d, name: D, groups: [«app]}\n", "unknown group 'app': did you mean 'ap'"),
        (HEAD + "  - {id: d, name: D, «mail: x}\n", "unknown key 'mail' in a person: did you mean"),
        (HEAD + "  - «{id: d}\n", "a person has no 'name'"),
        (HEAD + "  «{}\n", "'people' is not a list"),
        (HEAD + "  «[]\n", "'people' is empty"),
        ("version: 1\ngroups: «[ap]\npeople:\n" + DANA, "groups is not a mapping"),
        ("version: 1\ngroups: {ap: x, «ap: y}\npeople:\n" + DANA, "'ap' stands twice in groups"),
        (HEAD + DANA + "  - {id: d, name: D, slack: [«T7/U9]}\n", "Slack user 'U9' is 'dana' as"),
        ("version: 1\ngroups: {ap: {«slack: S1}}\npeople:\n" + DANA, "unknown key 'slack' in a"),
        ("version: 1\ngroups: {ap: «{for: x}}\npeople:\n" + DANA, "a group has no 'slack_group'"),
        (
            "version: 1\ngroups: {ap: {slack_group: «U1}}\npeople:\n" + DANA,
            "slack_group 'U1' is no user group's id: S0123ABCD",
        ),
        (
            "version: 1\ngroups: {ap: {slack_group: S12}}\npeople:\n"
            + DANA.replace("[ap]", "[«ap]"),
            "group 'ap' has its members from Slack: remove it here",
        ),
        ("«people:\n" + DANA, "a people file has no 'groups'"),
        ("version: «3\ngroups: {ap: x}\npeople:\n" + DANA, "this version is unknown here"),
    ],
)
def test_a_fault_is_shown_at_its_place(text, words):
    """`«` stands where the problem is to be shown."""
    before, _, after = text.partition("«")
    where = f"people.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "
    with pytest.raises(InvalidPolicy) as caught:
        load_people(before + after, "people.yaml")
    found = caught.value.details["problems"]
    assert any(one.startswith(where + words) for one in found), (where, found)


def test_a_look_alike_address_is_another():
    """A Kelvin sign is lowered to k by Unicode, and is no k here."""
    people = load_people(HEAD + MIKA.replace("name: Mika", "name: M, email: mika@x.com"), "p.yaml")
    assert people.by_email("MIKA@x.com").id == "mika"
    with pytest.raises(UnknownPerson):
        people.by_email("mi\u212aa@x.com")


def test_a_group_of_slacks_could_have_anybody_and_has_nobody_by_itself():
    """The proof of a policy goes by who there is; who is asked is asked of Slack, or of nobody."""
    head = HEAD.replace("Money}", "Money, till: {for: Cash, slack_group: S012AB}}")
    people = load_people(head + DANA + MIKA, "people.yaml")
    assert people.slack_group("till") == "S012AB"
    assert [one.id for one in people.candidates(["till"])] == ["dana", "mika"]
    assert [one.id for one in people.candidates(["controllers"])] == ["mika"]
    with pytest.raises(UnknownPerson):
        people.candidates(["till", "nobody"])
    with pytest.raises(Unavailable, match="set up Slack"):
        people.members(["controllers", "till"])


def test_the_demo_has_its_people():
    """Two controllers (a quorum of two is possible), treasury, clerks, security, and an admin."""
    people = demo_people()
    names = {group: [one.name for one in people.members([group])] for group in people.groups}
    assert names == {
        "ap": ["Sam Rivera", "Ines Duarte"],
        "controllers": ["Dana Okafor", "Mika Lindqvist"],
        "treasury": ["Tomas Vega"],
        "security": ["Priya Raman"],
        "admins": ["Priya Raman"],
    }
    assert all(one.email.endswith("@example.com") for one in people.all)
