"""Who comes by a ladder, whatever delegations and absences there are."""

from datetime import UTC, datetime, timedelta

import pytest

from gates import rungs, whom
from gates.core.asked import Ask, Climb, Person, PersonId, Rung, RungStep
from gates.core.errors import InvalidPolicy
from gates.core.model import Judgement, Reason, Requester, Tier, Verdict
from gates.core.people import Absence, Cover, Delegation, People

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
PEOPLE = [
    Person(id=one, name=one.upper(), groups=(group,))
    for one, group in (("a", "g"), ("b", "g"), ("c", "h"), ("d", "h"))
]


def climbed(
    step: RungStep = "widen",
    *,
    away: tuple[PersonId, ...] = (),
    given: tuple[tuple[PersonId, PersonId], ...] = (),
    behalf: PersonId | None = None,
    quorum: int = 1,
) -> tuple[tuple[Climb, ...], dict[PersonId, dict[PersonId, str]]]:
    cover = Cover(
        delegations=tuple(Delegation(giver=giver, taker=taker) for giver, taker in given),
        absences=tuple(Absence(person=one) for one in away),
    )
    directory = People(tuple(PEOPLE), {"g": "", "h": ""}, [], cover)
    ask = Ask(who=("g",), quorum=quorum, ladder=(Rung(seconds=3600, step=step, who=("h",)),))
    judgement = Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=Tier.HIGH,
        reasons=(Reason(rule="rule", text="x"),),
        policy_digest="d",
        ask=ask,
    )
    requester = Requester(agent="bot", on_behalf_of=behalf)
    found = whom.ask(directory, judgement, "x", requester, NOW)
    return rungs.of(directory, judgement, "x", requester, NOW, found)


def test_the_people_of_a_rung_come_at_its_time():
    """Each in their own seat."""
    ladder, seats = climbed()
    at = NOW + timedelta(hours=1)
    assert ladder == (Climb(at=at, step="widen", people={"c": "C", "d": "D"}),)
    assert seats == {}


def test_who_is_away_does_not_come_and_nobody_for_whom_the_agent_acts():
    """As with everybody else who is asked."""
    assert climbed(away=("c",))[0][0].people == {"d": "D"}
    assert climbed(behalf="c")[0][0].people == {"d": "D"}


def test_a_delegate_comes_in_the_seat_of_who_is_away():
    """Unless they are asked already: time gives nobody a second vote."""
    ladder, seats = climbed(away=("c",), given=(("c", "d"),))
    assert set(ladder[0].people) == {"d"}
    assert seats == {"d": {"c": "C", "d": "D"}}
    ladder, seats = climbed(away=("c",), given=(("c", "a"),))
    assert ladder[0].people == {"a": "A", "d": "D"}
    assert seats == {}


def test_those_who_come_instead_must_be_enough_by_their_seats():
    """One delegate of two is one vote."""
    assert climbed("replace", quorum=2)[0][0].step == "replace"
    with pytest.raises(InvalidPolicy, match="of whom only 1 could"):
        climbed("replace", quorum=2, away=("c",), given=(("c", "d"),))
