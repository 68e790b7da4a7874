"""Reminders and questions that are kept open: each once, and silence is never an answer."""

from datetime import timedelta

import pytest

from gates.core import lifecycle
from gates.core.asked import Climb, Limit, Requirement
from gates.core.errors import InvalidInput, InvalidPolicy
from gates.core.events import Climbed, Decided, KeptOpen, Reminded
from gates.core.ladder import due
from gates.core.model import ApprovalRequest, DecisionKind, OutcomeKind, RequestView
from gates.core.policy import load_policy
from integrations.slack.late import is_late
from tests.support.policies import HEAD, demo_people, policy, question
from tests.support.rounds import DEADLINE, OPENED, decision, request

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


def asked(**changes: object) -> ApprovalRequest:
    plain = request(1)
    assert plain.requirement is not None
    requirement = plain.requirement.model_copy(update=changes)
    return plain.model_copy(update={"requirement": requirement})


def reminding() -> ApprovalRequest:
    return asked(reminders=(OPENED + 2 * HOUR, OPENED + 4 * HOUR))


def kept() -> ApprovalRequest:
    length = int((DEADLINE - OPENED).total_seconds())
    limits = (Limit(seconds=length),)
    return asked(limits=limits, keep_open=True, escalation={"lee": "Lee"})


def now(asked_: ApprovalRequest, events: list) -> Requirement:
    found = lifecycle.widened(asked_, events).requirement
    assert found is not None
    return found


def test_each_reminder_is_given_once():
    """At its time, and not again; what is due next is the one after it."""
    one = reminding()
    assert lifecycle.expire(one, [], OPENED + 1.9 * HOUR) == []
    first = lifecycle.expire(one, [], OPENED + 2 * HOUR)
    assert first == [Reminded(number=1, at=OPENED + 2 * HOUR)]
    assert lifecycle.expire(one, first, OPENED + 3 * HOUR) == []
    assert due(now(one, []), []) == OPENED + 2 * HOUR
    assert due(now(one, first), first) == OPENED + 4 * HOUR
    second = lifecycle.expire(one, first, OPENED + 4 * HOUR)
    assert due(now(one, [*first, *second]), []) == DEADLINE


def test_reminders_that_were_missed_are_one():
    """Nobody is reminded twice at once."""
    assert lifecycle.expire(reminding(), [], OPENED + 5 * HOUR) == [
        Reminded(number=2, at=OPENED + 5 * HOUR)
    ]


def test_whoever_is_paged_is_asked_as_well():
    """And is known as somebody to be told directly."""
    rung = Climb(at=OPENED + HOUR, step="page", people={"lee": "Lee"})
    one = asked(ladder=(rung,))
    found = now(one, lifecycle.expire(one, [], OPENED + HOUR))
    assert "lee" in found.people
    assert found.paged == ("lee",)


def test_a_question_that_is_kept_open_goes_on_for_as_long_again():
    """From its deadline, with those to whom one would escalate it; never with an answer."""
    events = lifecycle.expire(kept(), [], DEADLINE)
    length = DEADLINE - OPENED
    assert events == [KeptOpen(until=DEADLINE + length, people={"lee": "Lee"}, at=DEADLINE)]
    assert lifecycle.outcome(kept(), events) is None
    found = now(kept(), events)
    assert (found.kept, found.deadline_at, found.escalation) == (1, DEADLINE + length, {})
    assert "lee" in found.people
    assert lifecycle.expire(kept(), events, DEADLINE + HOUR) == []
    (again,) = lifecycle.expire(kept(), events, DEADLINE + length)
    assert isinstance(again, KeptOpen)
    assert (again.until, again.people) == (DEADLINE + 2 * length, {})


def test_after_a_long_outage_it_counts_from_now():
    """Periods that nobody saw are not made up for one by one."""
    later = DEADLINE + 100 * DAY
    (event,) = lifecycle.expire(kept(), [], later)
    assert isinstance(event, KeptOpen)
    assert event.until == later + (DEADLINE - OPENED)


def test_rungs_that_an_outage_missed_are_climbed_where_it_is_kept_open():
    """The question lives, so their people are still wanted."""
    rung = Climb(at=OPENED + HOUR, step="widen", people={"kim": "Kim"})
    plain = kept()
    assert plain.requirement is not None
    requirement = plain.requirement.model_copy(update={"ladder": (rung,)})
    one = plain.model_copy(update={"requirement": requirement})
    kinds = [type(event) for event in lifecycle.expire(one, [], DEADLINE)]
    assert kinds == [KeptOpen, Climbed]


def test_who_decides_before_the_timer_has_seen_the_deadline_is_heard():
    """Late by the deadline, and in time for what follows it."""
    hours = (DEADLINE - OPENED) / HOUR
    events = lifecycle.decide(kept(), [], decision("dana", hour=int(hours) + 1))
    assert [type(event) for event in events] == [KeptOpen, Decided]
    found = lifecycle.outcome(kept(), events)
    assert found is not None
    assert found.kind is OutcomeKind.APPROVED


def test_whom_the_deadline_has_asked_nobody_escalates_to_again():
    """Whoever tries is told who decides."""
    events = lifecycle.expire(kept(), [], DEADLINE)
    hour = int((DEADLINE - OPENED) / HOUR) + 1
    again = decision("dana", hour=hour).model_copy(update={"kind": DecisionKind.ESCALATE})
    with pytest.raises(InvalidInput, match=r"is asked already: .*Lee"):
        lifecycle.decide(kept(), events, again)


def test_a_click_after_the_deadline_of_a_question_kept_open_is_not_late():
    """It goes on, whether or not the timer has said so."""
    view = RequestView.model_construct(request=kept(), outcome=None)
    assert not is_late(view, DEADLINE + HOUR)
    ends = RequestView.model_construct(request=request(1), outcome=None)
    assert is_late(ends, DEADLINE + HOUR)


RULE = "  - {name: %s, on: erp.*, verdict: require_approval, because: x, ask: {%s}}\n"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ("remind: [24h]", "remind '24h' is not before the deadline"),
        ("remind: [4h, 2h]", "remind '2h' is not after the one before it"),
        ("remind: [soon]", "remind 'soon' is not a duration"),
        ("at_end: keep", "unknown at_end 'keep': did you mean 'keep_open'"),
    ],
)
def test_a_mistake_is_refused_where_it_stands(ask, words):
    """In the line of the `ask`."""
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(HEAD + RULE % ("r", ask), "p.yaml", demo_people())
    found = caught.value.details["problems"]
    assert any(words in one and one.startswith("p.yaml:4:") for one in found), found


def test_time_alone_consents_to_a_veto_window():
    """Kept open it never would."""
    rule = RULE.replace("require_approval", "veto_window, window: 2h") % ("r", "at_end: keep_open")
    with pytest.raises(InvalidPolicy, match="keep_open contradicts veto_window"):
        policy(rule)


def test_of_several_rules_the_reminders_add_up_and_one_is_enough_to_end_it():
    """The stricter end counts."""
    rules = RULE % ("a", "remind: [2h], at_end: keep_open") + RULE % ("b", "remind: 4h")
    ask = policy(rules).judge(question()).ask
    assert ask is not None
    assert (ask.remind, ask.keep_open) == ((2 * 3600, 4 * 3600), False)


def test_a_shorter_deadline_leaves_the_reminders_after_it_out():
    """Of those that stand in the defaults; an empty list leaves out all."""
    head = HEAD.replace("deadline: 24h", "deadline: 24h, remind: [4h, 8h], at_end: keep_open")
    short, none = RULE % ("r", "deadline: 6h"), RULE % ("r", "remind: [], at_end: reject")
    found = [policy(one, head).judge(question()).ask for one in (short, none)]
    assert [(one.remind, one.keep_open) for one in found if one] == [
        ((4 * 3600,), True),
        ((), False),
    ]
