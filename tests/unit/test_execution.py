"""Attempts: one at a time, fenced, and in doubt rather than failed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core.errors import InvalidGrant
from gates.core.events import Decided
from gates.core.execution import (
    End,
    Report,
    ends,
    grant,
    lapse,
    queue,
    renew,
    replayed,
    report,
    standing,
    start,
)
from gates.core.lifecycle import outcome
from gates.core.model import DecisionKind, Execution, ExecutionState, Standing, Verdict
from tests.support.rounds import OPENED, decision, request

LEASE = timedelta(seconds=30)
ALLOWED = request(verdict=Verdict.ALLOW)
DONE = Report(ExecutionState.SUCCEEDED, result={"paid": "1.00"})
FAILED = Report(ExecutionState.FAILED, error="no", error_class="TillError")
UNKNOWN = Report(ExecutionState.IN_DOUBT, error="cut off")


def started(attempt_id: str = "one", **more: bool) -> Execution:
    return start(queue(ALLOWED), attempt_id, "executor-1", OPENED, LEASE, **more)


def test_a_second_caller_gets_nothing_while_one_is_at_work() -> None:
    """Two processes, one payment: the second is told to wait."""
    with pytest.raises(InvalidGrant, match="at work"):
        start(started(), "two", "executor-2", OPENED, LEASE)


def test_a_repeated_start_gets_the_same_attempt() -> None:
    """A lost reply costs nothing: the same id holds the same attempt."""
    execution = started()
    assert start(execution, "one", "executor-1", OPENED + LEASE, LEASE) is execution


def test_a_start_that_arrives_after_its_attempts_end_runs_nothing() -> None:
    """A message that was delayed beyond the end of its attempt opens nothing again."""
    for told in (FAILED, UNKNOWN, Report(ExecutionState.QUEUED)):
        ended = report(started(), "one", 1, told, OPENED)
        with pytest.raises(InvalidGrant, match="has ended"):
            start(ended, "one", "executor-1", OPENED, LEASE)
    older = start(report(started(), "one", 1, FAILED, OPENED), "two", "x", OPENED, LEASE)
    with pytest.raises(InvalidGrant):
        start(report(older, "two", 2, FAILED, OPENED), "one", "executor-1", OPENED, LEASE)


def test_what_has_succeeded_is_used_up() -> None:
    """A grant runs once."""
    done = report(started(), "one", 1, DONE, OPENED)
    with pytest.raises(InvalidGrant, match="has been done"):
        start(done, "two", "executor-1", OPENED, LEASE)


def test_doubt_is_only_handed_out_to_be_found_out_about() -> None:
    """An attempt in doubt is never blindly run again."""
    doubt = report(started(), "one", 1, UNKNOWN, OPENED)
    with pytest.raises(InvalidGrant, match="not known yet"):
        start(doubt, "two", "executor-1", OPENED, LEASE)
    asked = start(doubt, "two", "executor-1", OPENED, LEASE, reconciling=True)
    assert asked.last is not None
    assert (asked.last.reconciling, asked.last.number, asked.last.fence) == (True, 2, 2)


def test_failure_without_effect_may_be_tried_again_under_the_next_fence() -> None:
    """Every change of hands raises the fence."""
    again = start(report(started(), "one", 1, FAILED, OPENED), "two", "x", OPENED, LEASE)
    assert again.last is not None
    assert (again.last.number, again.last.fence) == (2, 2)
    with pytest.raises(InvalidGrant, match="no longer holds"):
        report(again, "one", 1, DONE, OPENED)


def test_a_report_counts_only_under_its_own_fence() -> None:
    """A process that slept through its lease cannot report under somebody else's."""
    with pytest.raises(InvalidGrant):
        report(started(), "one", 2, DONE, OPENED)
    with pytest.raises(InvalidGrant):
        renew(started(), "one", 2, OPENED + LEASE)


def test_a_repeated_report_changes_nothing_and_a_contradiction_is_refused() -> None:
    """The first word counts."""
    done = report(started(), "one", 1, DONE, OPENED)
    assert report(done, "one", 1, DONE, OPENED + LEASE) is done
    with pytest.raises(InvalidGrant, match="has ended as succeeded"):
        report(done, "one", 1, FAILED, OPENED)


def test_a_lease_lapses_at_its_end_and_not_before() -> None:
    """Until the last moment the holder may report; then the attempt is in doubt."""
    execution = started()
    assert lapse(execution, OPENED + LEASE - timedelta(microseconds=1)) is execution
    lapsed = lapse(execution, OPENED + LEASE)
    assert lapsed.state is ExecutionState.IN_DOUBT
    assert lapsed.last is not None
    assert lapsed.last.error_class == "LeaseLapsed"
    assert lapse(lapsed, OPENED + 2 * LEASE) is lapsed
    assert lapse(queue(ALLOWED), OPENED + LEASE).state is ExecutionState.QUEUED


def test_a_renewed_lease_holds_longer() -> None:
    """A slow call is not taken for a dead one."""
    renewed = renew(started(), "one", 1, OPENED + 2 * LEASE)
    assert lapse(renewed, OPENED + LEASE) is renewed
    with pytest.raises(InvalidGrant):
        renew(lapse(renewed, OPENED + 2 * LEASE), "one", 1, OPENED + 3 * LEASE)


def test_a_grant_names_what_it_allows_and_who_holds_it() -> None:
    """Nobody gets a grant without an attempt."""
    held = grant(ALLOWED, started())
    assert (held.fingerprint, held.attempt_id, held.fence) == (
        ALLOWED.action.fingerprint,
        "one",
        1,
    )
    with pytest.raises(InvalidGrant, match="claim it first"):
        grant(ALLOWED, queue(ALLOWED))


def test_what_the_flow_has_to_do_next() -> None:
    """Each state of an execution tells the holder, and everybody else, one thing."""
    approved = outcome(ALLOWED, [])

    def told(execution: Execution | None, attempt_id: str = "one") -> Standing:
        return standing(ALLOWED, approved, execution, attempt_id)

    assert standing(request(), None, None, "one") is Standing.WAITING
    assert told(None) is Standing.CLAIMABLE
    assert told(queue(ALLOWED)) is Standing.EXECUTING
    assert told(started()) is Standing.CLAIMED
    assert told(started(), "two") is Standing.EXECUTING
    assert told(report(started(), "one", 1, UNKNOWN, OPENED)) is Standing.EXECUTING
    assert told(report(started(), "one", 1, FAILED, OPENED)) is Standing.CLAIMABLE
    assert told(report(started(), "one", 1, DONE, OPENED)) is Standing.SUCCEEDED
    forbidden = request(verdict=Verdict.FORBID)
    assert standing(forbidden, outcome(forbidden, []), None, None) is Standing.FORBIDDEN


def test_only_failures_that_the_flow_was_told_are_replayed() -> None:
    """What was put to people, and what a reconciliation met, is not the flow's failure."""
    failed = report(started(), "one", 1, FAILED, OPENED)
    assert failed.last is not None
    asked = failed.model_copy(
        update={"attempts": (failed.last.model_copy(update={"opened_round": True}),)}
    )
    doubt = start(
        report(started(), "one", 1, UNKNOWN, OPENED), "two", "x", OPENED, LEASE, reconciling=True
    )
    met = report(doubt, "two", 2, FAILED, OPENED)
    allowed = outcome(ALLOWED, [])
    (end,) = ends([(ALLOWED, allowed, failed)])
    assert end.failure is not None
    assert end.failure.id == "one"
    assert ends([(ALLOWED, allowed, asked), (ALLOWED, allowed, met)]) == []


def test_guidance_is_an_end_that_the_flow_was_told() -> None:
    """A round that was sent back stands among the failures, in the order of rounds."""
    asked = request()
    sent = [Decided(decision=decision("dana", DecisionKind.SEND_BACK))]
    (end,) = ends([(asked, outcome(asked, sent), None)])
    assert end == End(1, asked.answers, None)


def test_a_call_is_told_again_what_it_was_told_and_nothing_else() -> None:
    """Calls are numbered over all that the gate was asked for; the fingerprint must fit."""
    told = [End(1, "a", None), End(2, "b", None)]
    assert replayed(told, 1, "a") is told[0]
    assert replayed(told, 2, "b") is told[1]
    assert replayed(told, 3, "b") is None
    assert replayed(told, 2, "a") is None
    assert replayed(told, 1, "b") is told[1]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "reconcile", "renew", "done", "failed", "unknown", "lapse"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 4),
        st.integers(0, 40),
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_happens_one_attempt_is_open_and_success_comes_once(
    steps: list[tuple[str, str, int, int]],
) -> None:
    """In any order: fences grow, one open attempt at most, and nothing follows a success."""
    execution, now = queue(ALLOWED), OPENED
    reports = {"done": DONE, "failed": FAILED, "unknown": UNKNOWN}
    for step, who, fence, seconds in steps:
        now += timedelta(seconds=seconds)
        before = execution
        try:
            if step in ("start", "reconcile"):
                asks = step == "reconcile"
                execution = start(execution, who, who, now, LEASE, reconciling=asks)
            elif step == "renew":
                execution = renew(execution, who, fence, now + LEASE)
            elif step == "lapse":
                execution = lapse(execution, now)
            else:
                execution = report(execution, who, fence, reports[step], now)
        except InvalidGrant:
            assert execution is before
        attempts = execution.attempts
        assert [one.number for one in attempts] == list(range(1, len(attempts) + 1))
        assert [one.fence for one in attempts] == sorted({one.fence for one in attempts})
        assert len({one.id for one in attempts}) == len(attempts)
        assert all(one.ended_at for one in attempts[:-1])
        running = execution.state is ExecutionState.RUNNING
        assert running == bool(attempts and not attempts[-1].ended_at)
        if before.state is ExecutionState.SUCCEEDED:
            assert execution == before
