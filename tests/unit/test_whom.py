"""Who is asked, whatever delegations and absences there are."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gates import whom
from gates.core.asked import Ask, Beside, Person, Requirement, RoleAsked
from gates.core.errors import InvalidPolicy
from gates.core.model import Judgement, Reason, Requester, Tier, Verdict
from gates.core.people import Absence, Cover, Delegation, People
from gates.core.quorum import satisfied, votes

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
IDS = ["a", "b", "c", "d", "e"]
GROUPS = ["g", "h"]
PEOPLE = st.tuples(
    *(
        st.builds(
            Person,
            id=st.just(one),
            name=st.just(one.upper()),
            groups=st.sets(st.sampled_from(GROUPS)).map(tuple),
            roles=st.sets(st.sampled_from(["r", "s"])).map(tuple),
        )
        for one in IDS
    )
)
DELEGATIONS = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from(IDS))
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: Delegation(giver=pair[0], taker=pair[1])),
    max_size=5,
)
AWAY = st.sets(st.sampled_from(IDS), max_size=3)
ASKS = st.builds(
    Ask,
    who=st.sampled_from([("g",), ("h",), ("g", "h")]),
    quorum=st.integers(1, 3),
    from_each=st.sampled_from([(), ("g", "h")]),
    roles=st.sampled_from([(), (RoleAsked(role="r", among=("g", "h")),)]),
    escalate_to=st.sampled_from([(), ("h",)]),
)
EXCLUDED = st.sampled_from([None, *IDS])


def directory(people: tuple[Person, ...], given: list[Delegation], away: set[str]) -> People:
    cover = Cover(
        delegations=tuple(given), absences=tuple(Absence(person=one) for one in sorted(away))
    )
    return People(people, dict.fromkeys(GROUPS, ""), ["r", "s"], cover)


def judged(ask: Ask) -> Judgement:
    return Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=Tier.HIGH,
        reasons=(Reason(rule="rule", text="x"),),
        policy_digest="d",
        ask=ask,
    )


@given(PEOPLE, DELEGATIONS, AWAY, ASKS, EXCLUDED)
def test_what_is_asked_can_be_met_by_those_who_are_asked(people, given, away, ask, excluded):
    """If all of them agree it is enough; nobody of them is away or excluded, in any seat."""
    known, requester = directory(people, given, away), Requester(agent="x", on_behalf_of=excluded)
    try:
        found = whom.ask(known, judged(ask), "act", requester, NOW)
    except InvalidPolicy:
        return
    requirement = Requirement(
        people=found.people,
        quorum=max(ask.quorum, len(found.groups)),
        deadline_at=NOW,
        groups=found.groups,
        stands_for=found.stands_for,
    )
    asked = found.people | found.escalation
    assert satisfied(requirement, found.people)
    assert away.isdisjoint(asked)
    assert excluded not in asked
    seats = {one: found.stands_for.get(one, {one: ""}) for one in asked}
    assert all(excluded not in taken for taken in seats.values())
    members = {one.id for one in people if one.groups}
    assert all(taken.keys() <= members for taken in seats.values())
    allowed = {(one.giver, one.taker) for one in given} | {(one, one) for one in IDS}
    assert all((seat, one) in allowed for one, taken in seats.items() for seat in taken)


@given(PEOPLE, DELEGATIONS, AWAY, ASKS)
def test_delegations_never_make_more_votes_than_there_are_members(people, given, away, ask):
    """However many stand in for them."""
    known = directory(people, given, away)
    try:
        found = whom.ask(known, judged(ask), "act", Requester(agent="x"), NOW)
    except InvalidPolicy:
        return
    seats = {one: tuple(found.stands_for.get(one, (one,))) for one in found.people}
    asked = {one.id for one in people if one.groups}
    assert votes(seats) <= min(len(asked), len(found.people))


@given(PEOPLE, DELEGATIONS, AWAY, ASKS)
def test_whoever_is_away_changes_nothing_of_how_many_must_agree(people, given, away, ask):
    """An absence may make a question impossible, and never an easier one."""

    def quorum(gone: set[str]) -> int | None:
        try:
            found = whom.ask(
                directory(people, given, gone), judged(ask), "act", Requester(agent="x"), NOW
            )
        except InvalidPolicy:
            return None
        return max(ask.quorum, len(found.groups))

    assert quorum(away) in (None, quorum(set()))


def test_neither_rules_people_stand_for_the_others():
    """A role out of one group beside a quorum of another: places for both, one person in one."""
    people = (
        Person(id="a", name="A", groups=("g",)),
        Person(id="b", name="B", groups=("g", "h"), roles=("r",)),
        Person(id="c", name="C", groups=("h",), roles=("r",)),
    )
    ask = Ask(who=("g",), quorum=2, roles=(RoleAsked(role="r", among=("h",)),))
    found = whom.ask(directory(people, [], set()), judged(ask), "act", Requester(agent="x"), NOW)
    assert found.groups == {"role r": ("b", "c"), "g (1)": ("a", "b"), "g (2)": ("a", "b")}
    assert found.people == {"a": "A", "b": "B", "c": "C"}


def test_the_same_role_out_of_two_groups_is_two_places():
    """Two rules want a controller, each of its own people."""
    people = (
        Person(id="a", name="A", groups=("g",), roles=("r",)),
        Person(id="b", name="B", groups=("h",), roles=("r",)),
    )
    roles = (RoleAsked(role="r", among=("g",)), RoleAsked(role="r", among=("h",)))
    ask = Ask(who=("g",), roles=roles)
    found = whom.ask(directory(people, [], set()), judged(ask), "act", Requester(agent="x"), NOW)
    assert found.groups == {"role r (g)": ("a",), "role r (h)": ("b",)}


def folk(*told: str) -> People:
    """Each `name:groups`."""
    people = tuple(
        Person(id=name, name=name, groups=tuple(groups.split("+")))
        for name, groups in (one.split(":") for one in told)
    )
    return directory(people, [], set())


def found(people: People, wanted: Ask) -> Requirement:
    judgement = Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=Tier.HIGH,
        reasons=(Reason(rule="r", text="x"),),
        policy_digest="d",
        ask=wanted,
    )
    made = whom.ask(people, judgement, "a", Requester(agent="bot"), NOW)
    return Requirement(
        people=made.people,
        quorum=max(wanted.quorum, len(made.groups)),
        deadline_at=NOW,
        valid_seconds=1,
        groups=made.groups,
    )


def test_others_beside_must_agree_too_and_stand_for_nobody():
    """Neither the people of the one rule nor those of the other suffice."""
    wanted = Ask(who=("g",), beside=(Beside(who=("h",)),))
    asked = found(folk("a:g", "b:g", "c:h", "d:h"), wanted)
    assert not satisfied(asked, ["a", "b"])
    assert not satisfied(asked, ["c", "d"])
    assert satisfied(asked, ["a", "c"])


def test_others_beside_are_left_out_where_there_is_nobody_for_them():
    """The people of the rule on facts still must agree, all of them."""
    wanted = Ask(who=("g",), quorum=2, beside=(Beside(who=("h",), quorum=2),))
    asked = found(folk("a:g", "b:g+h", "c:h"), wanted)
    assert not satisfied(asked, ["a", "c"])
    assert satisfied(asked, ["a", "b", "c"])
    alone = found(folk("a:g", "b:g+h"), wanted)
    assert satisfied(alone, ["a", "b"])


def test_others_beside_who_are_among_them_count_for_both():
    """Two of many, one of them a controller, are two people."""
    wanted = Ask(who=("g", "h"), quorum=2, beside=(Beside(who=("h",)),))
    asked = found(folk("a:g", "b:g", "c:h"), wanted)
    assert not satisfied(asked, ["a", "b"])
    assert satisfied(asked, ["a", "c"])
