"""While information is asked for the clock stands still: what was left is left."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core import informing, lifecycle, pausing
from gates.core.asked import Climb, Limit, Requirement
from gates.core.calendars import Calendar, between
from gates.core.errors import (
    AlreadyAsked,
    InvalidInput,
    NotEntitled,
    NothingAsked,
    RequestClosed,
    SelfApproval,
)
from gates.core.events import DeadlinePassed, Decided, Escalated, Event, InfoAnswered, InfoAsked
from gates.core.ladder import due
from gates.core.model import ApprovalRequest, DecisionKind, OutcomeKind, Verdict
from tests.support.rounds import APPROVE, DEADLINE, OPENED, decision, request

HOUR = timedelta(hours=1)
DANA, MIKA = ("dana", "Dana"), ("mika", "Mika")
DAY = ((540, 1020),)  # 09:00 to 17:00
BERLIN = Calendar(name="office", zone="Europe/Berlin", hours=(DAY,) * 5 + ((),) * 2)
ALWAYS = Calendar(name="always", zone="Europe/Berlin", hours=(((0, 1440),),) * 7)


def asked(verdict: Verdict = Verdict.REQUIRE_APPROVAL, **changes: object) -> ApprovalRequest:
    plain = request(1, verdict=verdict, on_behalf_of="sam")
    assert plain.requirement is not None
    requirement = plain.requirement.model_copy(update=changes)
    return plain.model_copy(update={"requirement": requirement})


def counted(calendar: Calendar, opened: datetime, hours: float) -> ApprovalRequest:
    """Opened then, with so many hours of the calendar for an answer."""
    limit = Limit(seconds=int(hours * 3600), calendar=calendar)
    one = asked(limits=(limit,), deadline_at=limit.after(opened))
    return one.model_copy(update={"opened_at": opened})


def now(one: ApprovalRequest, events: list[Event]) -> Requirement:
    found = lifecycle.widened(one, events).requirement
    assert found is not None
    return found


def at(hours: float) -> datetime:
    return OPENED + hours * HOUR


def paused(one: ApprovalRequest, start: datetime, end: datetime) -> list[Event]:
    events = informing.ask(one, [], DANA, "what for?", start)
    return [*events, *informing.answer(one, events, MIKA, "for the roof", end)]


def test_what_was_left_is_left_after_the_answer():
    """Of the deadline, each rung and each reminder; those that are past stay."""
    rungs = tuple(Climb(at=at(hour), step="widen", people={f"p{hour}": "P"}) for hour in (2, 8, 10))
    one = asked(ladder=rungs, reminders=(at(3), at(9)))
    events = [*lifecycle.expire(one, [], at(5))]
    events += informing.ask(one, events, DANA, "what for?", at(6))
    events += informing.answer(one, events, MIKA, "for the roof", at(11))
    found = now(one, events)
    assert found.deadline_at == DEADLINE + 5 * HOUR
    assert [climb.at for climb in found.ladder] == [at(2), at(13), at(15)]
    assert found.reminders == (at(3), at(14))
    assert due(found, events) == at(13)


def test_nothing_of_time_happens_while_a_question_is_open():
    """Neither rung, nor reminder, nor deadline; nor does a veto window consent."""
    rung = Climb(at=at(8), step="widen", people={"lee": "Lee"})
    for verdict in (Verdict.REQUIRE_APPROVAL, Verdict.VETO_WINDOW):
        one = asked(verdict, ladder=(rung,), reminders=(at(9),))
        events = informing.ask(one, [], DANA, "what for?", at(6))
        assert lifecycle.expire(one, events, at(6 + 23.9)) == []
        assert pausing.waiting(now(one, events)) is not None


def test_the_clock_goes_on_by_itself():
    """After as long as the deadline gave, over all pauses; then it ends as ever."""
    one = asked()
    events = informing.ask(one, [], DANA, "what for?", at(6))
    assert now(one, events).inquiries[0].until == at(30)
    assert now(one, events).deadline_at == at(48)
    assert lifecycle.expire(one, events, at(47.9)) == []
    assert lifecycle.expire(one, events, at(48)) == [DeadlinePassed(at=at(48))]
    late = [*events, *informing.answer(one, events, MIKA, "for the roof", at(40))]
    assert now(one, late).deadline_at == at(48)
    again = [*late, *informing.ask(one, late, DANA, "which roof?", at(41))]
    assert now(one, again).deadline_at == at(48)


@given(st.lists(st.tuples(st.floats(0.01, 20), st.floats(0.01, 30)), max_size=8))
def test_all_pauses_together_are_no_longer_than_the_deadline(spans):
    """However often somebody asks, and whenever it is answered."""
    one, events, clock = asked(), [], OPENED
    for wait, pause in spans:
        clock += wait * HOUR
        try:
            events += informing.ask(one, events, DANA, "what for?", clock)
            clock += pause * HOUR
            events += informing.answer(one, events, MIKA, "for this", clock)
        except RequestClosed:
            break
    assert now(one, events).deadline_at <= DEADLINE + (DEADLINE - OPENED)
    assert lifecycle.window(lifecycle.widened(one, events)) == DEADLINE - OPENED


@given(st.integers(0, 40 * 24 * 60), st.integers(1, 40 * 60), st.data())
def test_working_time_that_was_left_is_left(start, hours, data):
    """In the calendar that the deadline counts, over nights, weekends and both clock changes."""
    calendar = data.draw(st.sampled_from([BERLIN, ALWAYS]))
    month = data.draw(st.sampled_from([3, 10]))
    opened = datetime(2026, month, 5, tzinfo=UTC) + timedelta(minutes=start)
    one = counted(calendar, opened, hours / 60)
    end = now(one, []).deadline_at
    begun = opened + (end - opened) * data.draw(st.floats(0, 0.999))
    latest = pausing.latest(one, now(one, []), begun)
    heard = begun + (latest - begun) * data.draw(st.floats(0, 1))
    found = now(one, paused(one, begun, heard))
    assert between(heard, found.deadline_at, calendar) == between(begun, end, calendar)
    assert found.deadline_at >= end


@pytest.mark.parametrize(
    ("calendar", "opened", "begun", "heard", "end"),
    [  # UTC; Berlin is +1, from 29 March on +2, and +1 again from 25 October on
        (BERLIN, "03-06 14:00", "03-06 15:00", "03-09 09:00", "03-09 12:00"),  # a weekend
        (BERLIN, "03-06 14:00", "03-07 12:00", "03-07 20:00", "03-09 10:00"),  # all of it closed
        (BERLIN, "03-27 15:00", "03-27 15:30", "03-30 07:30", "03-30 11:00"),  # spring
        (ALWAYS, "03-28 22:00", "03-28 23:00", "03-29 03:00", "03-29 06:00"),
        (BERLIN, "10-23 14:00", "10-23 14:30", "10-26 08:30", "10-26 12:00"),  # autumn
    ],
)
def test_it_counts_as_the_deadline_does(calendar, opened, begun, heard, end):
    """Four hours, as somebody would count them by hand."""
    told = [datetime.strptime(f"2026-{one}+0000", "%Y-%m-%d %H:%M%z") for one in (opened, begun)]
    then = [datetime.strptime(f"2026-{one}+0000", "%Y-%m-%d %H:%M%z") for one in (heard, end)]
    one = counted(calendar, told[0], 4)
    assert now(one, paused(one, told[1], then[0])).deadline_at == then[1]


def test_one_question_at_a_time():
    """The second is told of the first."""
    events = informing.ask(asked(), [], DANA, "what for?", at(1))
    with pytest.raises(AlreadyAsked, match="Dana waits for information already: 'what for"):
        informing.ask(asked(), events, MIKA, "who?", at(2))


def test_who_may_ask_and_answer():
    """Those who are asked; whom the agent acts for may only answer, as may people in command."""
    one = asked()
    with pytest.raises(SelfApproval):
        informing.ask(one, [], ("sam", "Sam"), "what for?", at(1))
    with pytest.raises(NotEntitled):
        informing.ask(one, [], ("lee", "Lee"), "what for?", at(1))
    with pytest.raises(InvalidInput):
        informing.ask(one, [], DANA, " ", at(1))
    events = informing.ask(one, [], DANA, "what for?", at(1))
    with pytest.raises(InvalidInput):
        informing.answer(one, events, MIKA, "", at(2))
    with pytest.raises(NotEntitled, match="cannot answer"):
        informing.answer(one, events, ("lee", "Lee"), "x", at(2))
    for who, commands in ((("sam", "Sam"), False), (DANA, False), (("lee", "Lee"), True)):
        (told,) = informing.answer(one, events, who, "x", at(2), commands=commands)
        assert isinstance(told, InfoAnswered)
    with pytest.raises(NothingAsked, match="any more: Mika has answered"):
        informing.answer(one, paused(one, at(1), at(2)), DANA, "x", at(3))
    with pytest.raises(NothingAsked):
        informing.answer(one, [], DANA, "x", at(3))


def test_what_is_over_is_not_saved_by_a_question():
    """A deadline that nobody has seen is seen then; what has its answer takes none."""
    one = asked()
    assert informing.ask(one, [], DANA, "what for?", DEADLINE) == [DeadlinePassed(at=DEADLINE)]
    ended = [Decided(decision=decision("dana", APPROVE))]
    for refused in (
        lambda: informing.ask(one, ended, MIKA, "what for?", at(2)),
        lambda: informing.answer(one, ended, MIKA, "x", at(2)),
    ):
        with pytest.raises(RequestClosed):
            refused()


def test_neither_is_a_vote_and_deciding_is_possible_all_the_while():
    """Who has asked may decide, which ends it; a decision of somebody else does not."""
    plain = request(2)
    events = informing.ask(plain, [], DANA, "what for?", at(6))
    assert lifecycle.outcome(plain, events) is None
    events += lifecycle.decide(plain, events, decision("mika", APPROVE, hour=7))
    assert pausing.waiting(now(plain, events)) is not None
    mine = lifecycle.decide(plain, events, decision("dana", APPROVE, hour=8))
    found = lifecycle.outcome(plain, [*events, *mine])
    assert found is not None
    assert found.kind is OutcomeKind.APPROVED
    three = request(3)
    events = informing.ask(three, [], DANA, "what for?", at(6))
    events += lifecycle.decide(three, events, decision("dana", APPROVE, hour=8))
    assert pausing.waiting(now(three, events)) is None
    assert now(three, events).deadline_at == DEADLINE + 2 * HOUR


def test_a_veto_window_that_was_paused_consents_at_its_moved_end():
    """And says how long the window was, without the pause."""
    one = asked(Verdict.VETO_WINDOW)
    events = paused(one, at(20), at(30))
    assert lifecycle.expire(one, events, at(33.9)) == []
    events += lifecycle.expire(one, events, at(34))
    found = lifecycle.outcome(one, events)
    assert found is not None
    assert (found.kind, found.at) == (OutcomeKind.APPROVED, at(34))
    assert found.reason == "nobody objected within 1d"


def test_an_escalation_ends_the_wait_and_gives_as_long_again_as_the_window_was():
    """The pause is no part of that."""
    one = asked(Verdict.VETO_WINDOW, escalation={"lee": "Lee"})
    events = informing.ask(one, [], DANA, "what for?", at(20))
    events += lifecycle.decide(
        one, events, decision("mika", DecisionKind.ESCALATE, hour=30, reason="not mine")
    )
    assert isinstance(events[-1], Escalated)
    assert pausing.waiting(now(one, events)) is None
    assert now(one, events).deadline_at == at(30 + 24)


def test_a_window_of_two_clocks_never_consents_before_either():
    """It takes the later of both after a pause as well."""
    limits = (Limit(seconds=3600, calendar=BERLIN), Limit(seconds=7200))
    friday = datetime(2026, 3, 6, 15, tzinfo=UTC)  # 16:00 in Berlin
    one = asked(Verdict.VETO_WINDOW, limits=limits, deadline_at=friday + 2 * HOUR)
    one = one.model_copy(update={"opened_at": friday})
    found = now(one, paused(one, friday + HOUR / 2, friday + HOUR))
    assert found.deadline_at >= friday + 2.5 * HOUR


def test_a_clock_that_was_set_back_shortens_nothing():
    """An answer that seems to come before its question gives back the time that there was."""
    one = asked()
    events: list[Event] = [
        InfoAsked(by="dana", name="Dana", question="?", until=at(30), at=at(6)),
        InfoAnswered(by="mika", name="Mika", text="!", at=at(5)),
    ]
    assert now(one, events).deadline_at == DEADLINE
