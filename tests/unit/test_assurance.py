"""How surely it must be known who approves: read, merged, and held against a decision."""

import pytest

from gates.core.asked import Assurance
from gates.core.errors import AssuranceTooLow, InvalidPolicy, ReasonNeeded, by_code
from gates.core.lifecycle import decide
from gates.core.model import DecisionKind, Tier
from gates.core.people import load_people
from gates.core.policy import load_policy
from gates.core.wording import surely
from tests.support.policies import HEAD, demo_people, policy, question
from tests.support.rounds import decision, request

TIERS = HEAD.replace("rules:", "assurance: {high: inbox_session, expert: step_up}\nrules:")
RULE = "  - {name: r, on: '*', verdict: require_approval, because: x, tier: TIER, ask: {ASK}}\n"
ROLES = (
    "version: 1\ngroups: {ap: Bills, rest: Others}\nroles: {clerk: Types, boss: Signs}\npeople:\n"
    "  - {id: dana, name: Dana, groups: [ap], roles: [clerk, boss]}\n"
    "  - {id: mika, name: Mika, groups: [rest], roles: [clerk]}\n"
)


@pytest.mark.parametrize(
    ("recorded", "worth"),
    [
        ("slack", Assurance.SLACK_CLICK),
        ("session", Assurance.INBOX_SESSION),
        ("step_up", Assurance.STEP_UP),
        ("account", Assurance.ANY),
        ("", Assurance.ANY),
    ],
)
def test_what_decisions_have_kept_so_far_stays_readable(recorded, worth):
    """Each surface's own word has its worth; an unknown one has none."""
    assert Assurance.of(recorded) is worth


@pytest.mark.parametrize(
    ("tier", "ask", "wanted"),
    [
        ("routine", "", Assurance.ANY),
        ("high", "", Assurance.INBOX_SESSION),
        ("expert", "", Assurance.STEP_UP),
        ("routine", "assurance: slack_click", Assurance.SLACK_CLICK),
        ("high", "assurance: step_up", Assurance.STEP_UP),
        ("high", "assurance: slack_click", Assurance.INBOX_SESSION),
    ],
)
def test_the_tier_and_the_rule_want_the_more_of_the_two(tier, ask, wanted):
    """A rule adds to what its tier wants, and takes nothing from it."""
    rules = policy(RULE.replace("TIER", tier).replace("ASK", ask), TIERS)
    assert rules.assured(rules.judge(question())) is wanted


def test_a_higher_tier_never_wants_less():
    """What `high` wants, `expert` wants too, where the file says nothing else of it."""
    head = TIERS.replace(", expert: step_up", "")
    rules = policy(RULE.replace("TIER", "expert").replace("ASK", ""), head)
    assert rules.assured(rules.judge(question())) is Assurance.INBOX_SESSION


def test_the_strictest_of_several_rules_counts():
    """Of two that match, whichever decides who is asked."""
    sure = RULE.replace("name: r", "name: s").replace("TIER", "routine")
    rules = policy(
        RULE.replace("TIER", "ambiguous").replace("ASK", "")
        + sure.replace("ASK", "assurance: step_up")
    )
    assert rules.assured(rules.judge(question())) is Assurance.STEP_UP


@pytest.mark.parametrize(
    ("kind", "given", "refused"),
    [
        (DecisionKind.APPROVE, "slack", True),
        (DecisionKind.APPROVE, "session", True),
        (DecisionKind.APPROVE, "step_up", False),
        (DecisionKind.APPROVE_WITH_CHANGES, "session", True),
        (DecisionKind.REJECT, "slack", False),
        (DecisionKind.SEND_BACK, "slack", False),
    ],
)
def test_only_what_agrees_must_be_so_sure(kind, given, refused):
    """Whoever sees a danger stops it from wherever they are."""
    asked = request()
    assert asked.requirement is not None
    sure = asked.requirement.model_copy(update={"assurance": Assurance.STEP_UP})
    asked = asked.model_copy(update={"requirement": sure})
    more = {"reason": "r", "changes": {"a": "b"} if "changes" in kind.value else None}
    one = decision("dana", kind, **more).model_copy(update={"assurance": given})
    if not refused:
        assert decide(asked, [], one)
        return
    with pytest.raises(AssuranceTooLow, match="wants a code of your authenticator app: decide it"):
        decide(asked, [], one)
    assert by_code("assurance_too_low") is AssuranceTooLow


def test_certainty_is_asked_for_before_words_are():
    """Nobody writes a reason for a click that could not count."""
    asked = request().model_copy(update={"judgement": request().judgement})
    assert asked.requirement is not None
    expert = asked.judgement.model_copy(update={"tier": Tier.EXPERT})
    sure = asked.requirement.model_copy(update={"assurance": Assurance.INBOX_SESSION})
    asked = asked.model_copy(update={"judgement": expert, "requirement": sure})
    with pytest.raises(AssuranceTooLow):
        decide(asked, [], decision("dana").model_copy(update={"assurance": "slack"}))
    with pytest.raises(ReasonNeeded):
        decide(asked, [], decision("dana"))
    assert surely(sure) == "Approving wants a log-in, in the inbox or at the command line."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HEAD.replace("rules:", "assurance: {high: «stepup}\nrules:"),
            "unknown assurance 'stepup'",
        ),
        (
            HEAD.replace("rules:", "assurance: {«hihg: step_up}\nrules:"),
            "unknown key 'hihg' in ass",
        ),
        (HEAD.replace("quorum: 1", "assurance: «any"), "unknown assurance 'any': write one of inb"),
    ],
)
def test_a_fault_is_shown_at_its_place(text, words):
    """`«` stands where the problem is to be shown."""
    before, _, after = text.partition("«")
    where = f"p.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "
    rule = RULE.replace("TIER", "high").replace("ASK", "")
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(before + after + rule, "p.yaml", demo_people())
    assert any(one.startswith(where + words) for one in caught.value.details["problems"])


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ("who: [ap], roles: [clark]", "unknown role 'clark': did you mean 'clerk'"),
        ("who: [ap], roles: [clerk, clerk]", "role 'clerk' stands twice"),
        (
            "who: [rest], roles: [boss]",
            "role 'boss' is held by nobody in rest: give it to somebody",
        ),
        ("who: [ap], roles: []", "'roles' of ask is empty"),
        (
            "who: [ap], roles: [clerk, boss]",
            "roles clerk, boss: boss has nobody in ap who is not wanted for another",
        ),
    ],
)
def test_roles_that_nobody_could_fill_are_refused_where_they_are_written(ask, words):
    """Unknown, twice, held by nobody, or all by the same person."""
    head = f"version: 1\ndefaults: {{tier: high, ask: {{{ask}}}}}\nrules:\n"
    rule = "  - {name: r, on: x, verdict: forbid, because: x}\n"
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(head + rule, "p.yaml", load_people(ROLES, "people.yaml"))
    assert any(
        one.startswith("p.yaml:2:") and words in one for one in caught.value.details["problems"]
    ), caught.value.details


def test_roles_of_a_group_and_of_another_meet_in_one_requirement():
    """Where two rules match, each role is looked for among the people of its own rule."""
    people = load_people(ROLES, "people.yaml")
    head = "version: 1\ndefaults: {tier: ambiguous, ask: {who: [ap], roles: [boss]}}\nrules:\n"
    both = RULE.replace("TIER", "high").replace(
        "ASK", "who: [rest], roles: [clerk]"
    ) + RULE.replace("name: r", "name: s").replace("TIER", "high").replace("ASK", "")
    asked = load_policy(head + both, "p.yaml", people).judge(question()).ask
    assert asked is not None
    assert [(one.role, one.among) for one in asked.roles] == [
        ("clerk", ("rest",)),
        ("boss", ("ap",)),
    ]


def test_a_quorum_of_people_on_call_is_one():
    """Nobody else has the turn: two of a group on call can never be reached."""
    turns = "on_call: {night: {rota: [dana, mika], starts: 2026-12-01, every: 1d}}\n"
    people = load_people(
        ROLES.replace("rest: Others}", "rest: O, night: N}") + turns, "people.yaml"
    )
    rule = RULE.replace("TIER", "high").replace("ASK", "who: [night], quorum: 2")
    with pytest.raises(InvalidPolicy, match="quorum 2 of night can never be reached, and 1 person"):
        load_policy(HEAD + rule, "p.yaml", people)


def test_one_of_each_must_be_possible_whoever_is_on_call():
    """While Dana has the turn there is nobody left for the group that has her alone."""
    turns = "on_call: {night: {rota: [dana, mika], starts: 2026-12-01, every: 1d}}\n"
    people = load_people(
        ROLES.replace("rest: Others}", "rest: O, night: N}") + turns, "people.yaml"
    )
    rule = RULE.replace("TIER", "high").replace("ASK", "who: [night, ap], from_each: true")
    with pytest.raises(
        InvalidPolicy, match="while 'dana' is on call for 'night' nobody stands for"
    ):
        load_policy(HEAD + rule, "p.yaml", people)
