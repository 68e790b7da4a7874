"""One vote a seat, one seat a person, whatever delegations there are and whatever the order."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from gates.core.asked import Requirement
from gates.core.events import Decided
from gates.core.lifecycle import disentitled, outcome, widened
from gates.core.model import OutcomeKind
from gates.core.quorum import missing, satisfied, unmet, votes
from gates.core.wording import asks, places
from tests.support.rounds import DEADLINE, decision, request

NAMES = {"dana": "Dana", "mika": "Mika", "sam": "Sam", "tess": "Tess"}
SEATS = st.dictionaries(
    st.sampled_from("pqrstu"),
    st.sets(st.sampled_from("abcd"), max_size=3).map(sorted),
    max_size=6,
)
GROUPS = st.dictionaries(
    st.sampled_from(["g1", "g2", "g3"]), st.sets(st.sampled_from("abcd")).map(sorted)
)


def wanted(quorum: int, **more: object) -> Requirement:
    return Requirement.model_validate(
        {"people": NAMES, "quorum": quorum, "deadline_at": DEADLINE} | more
    )


def by_hand(groups: dict[str, list[str]], people: dict[str, list[str]]) -> int:
    """The most groups that can be stood for, found by trying everything."""
    if not groups:
        return 0
    name, *_ = groups
    rest = {one: members for one, members in groups.items() if one != name}
    best = by_hand(rest, people)
    for person, seats in people.items():
        others = {one: two for one, two in people.items() if one != person}
        for seat in set(seats) & set(groups[name]):
            left = {one: [two for two in found if two != seat] for one, found in others.items()}
            best = max(best, 1 + by_hand(rest, left))
    return best


def test_whoever_decides_for_another_takes_that_seat_and_no_second():
    """Dana and her delegate are one vote; two who delegate to one person are one vote."""
    asked = wanted(2, stands_for={"mika": {"dana": "Dana"}})
    assert missing(asked, ["dana", "mika"]) == 1
    assert asks(asked, ["mika"]) == "1 of Sam, Tess"  # Dana's vote is given
    assert satisfied(asked, ["mika", "sam"])
    both = wanted(2, stands_for={"mika": {"dana": "Dana", "sam": "Sam"}})
    assert missing(both, ["mika"]) == 1
    assert satisfied(both, ["mika", "sam"])  # Mika for Dana, Sam for Sam


def test_a_member_who_is_a_delegate_too_counts_once():
    """And takes whichever seat is free."""
    asked = wanted(2, stands_for={"mika": {"mika": "Mika", "dana": "Dana"}})
    assert missing(asked, ["mika"]) == 1
    assert satisfied(asked, ["mika", "dana"])


def test_a_place_can_be_filled_by_a_delegate_and_no_seat_fills_two():
    """One of each: Mika for Dana fills hers; Dana's two groups are still one seat."""
    groups = {"a": ("dana",), "b": ("sam",)}
    asked = wanted(2, groups=groups, stands_for={"mika": {"dana": "Dana"}})
    assert satisfied(asked, ["mika", "sam"])
    assert [place.could for place in places(asked, ["sam"])] == [("Dana", "Mika"), ()]
    assert asks(asked, ["sam"]) == "1 of a (Dana, Mika)"
    twice = wanted(2, groups={"a": ("dana",), "b": ("dana",)}, stands_for=asked.stands_for)
    assert not satisfied(twice, ["mika", "dana"])


def test_the_order_of_decisions_does_not_matter():
    """A member of one group who may stand for the other's only member: whoever is first."""
    stands_for = {"mika": {"mika": "Mika", "tess": "Tess"}}
    groups = {"controllers": ("dana", "mika"), "treasury": ("tess",)}
    asked = request(2, people=NAMES)
    asked = asked.model_copy(
        update={"requirement": wanted(2, groups=groups, stands_for=stands_for)}
    )
    for order in permutations(("dana", "mika")):
        events = [
            Decided(decision=decision(one, hour=hour, stands_for=stands_for.get(one, {})))
            for hour, one in enumerate(order, 1)
        ]
        found = outcome(asked, events)
        assert found is not None
        assert found.kind is OutcomeKind.APPROVED
        assert set(found.by) == {"Dana", "Mika (also for Tess)"}


def test_a_decision_takes_no_more_seats_than_it_was_offered_and_none_that_have_gone():
    """What the decision says of itself is cut to what was asked; nothing is a vote for nobody."""
    offered = wanted(1, stands_for={"mika": {"dana": "Dana"}})
    asked = request(people=NAMES).model_copy(update={"requirement": offered})
    own = [Decided(decision=decision("mika"))]
    assert outcome(asked, own) is None
    narrowed = widened(asked, own).requirement
    assert narrowed is not None
    assert narrowed.seats("mika") == ()
    more = [Decided(decision=decision("mika", stands_for={"dana": "Dana", "sam": "Sam"}))]
    kept = widened(asked, more).requirement
    assert kept is not None
    assert kept.seats("mika") == ("dana",)
    assert disentitled(asked, more, {"mika": {"dana": "Dana"}}) == []
    assert disentitled(asked, more, {}) == ["Mika may no longer approve this"]


@given(GROUPS, SEATS)
def test_the_flow_finds_as_many_as_trying_everything(groups, people):
    """And never more: no person twice, no seat twice."""
    assert len(groups) - len(unmet(groups, people)) == by_hand(groups, people)


@given(SEATS, st.sampled_from("abcd"))
def test_a_delegate_never_adds_a_vote(people, seat):
    """Votes are no more than people, and no more than seats; whoever joins a seat adds none."""
    count = votes(people)
    seats = {one for found in people.values() for one in found}
    assert count <= min(len(people), len(seats))
    holders = [one for one, found in people.items() if seat in found]
    if holders:
        assert votes(people | {"new": [seat]}) <= max(count, min(len(people) + 1, len(seats)))
        assert votes({"p": [seat]} | {"new": [seat]}) == 1


@given(GROUPS, SEATS)
def test_more_people_never_fill_less(groups, people):
    """An approval more takes nothing away."""
    fewer = dict(list(people.items())[:-1])
    assert len(unmet(groups, people)) <= len(unmet(groups, fewer))
    assert votes(fewer) <= votes(people) <= votes(fewer) + 1


@given(
    st.integers(1, 4),
    st.dictionaries(st.sampled_from(sorted(NAMES)), st.sets(st.sampled_from(sorted(NAMES)))),
    st.dictionaries(st.sampled_from(["g1", "g2"]), st.sets(st.sampled_from(sorted(NAMES)))),
    st.permutations(sorted(NAMES)),
    st.integers(0, 4),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_the_same_votes_end_the_same(quorum, seats, groups, order, agree, dice):
    """Approved exactly where those who agreed are enough, and in any other order, too."""
    stands_for = {one: {seat: seat for seat in sorted(taken)} for one, taken in seats.items()}
    slots = {group: tuple(sorted(members)) for group, members in groups.items()}
    requirement = wanted(quorum, groups=slots, stands_for=stands_for)
    asked = request(people=NAMES).model_copy(update={"requirement": requirement})
    agreed = order[:agree]

    def ended(people: list[str]) -> bool:
        told = (decision(one, stands_for=stands_for.get(one, {})) for one in people)
        found = outcome(asked, [Decided(decision=one) for one in told])
        return found is not None and found.kind is OutcomeKind.APPROVED

    shuffled = dice.sample(agreed, len(agreed))
    nobody = [one for one in agreed if stands_for.get(one) == {}]
    if not nobody:  # whoever was offered no seat was not asked
        assert ended(agreed) == ended(shuffled) == satisfied(requirement, agreed)
