"""The one use of a grant and its numbered tries. Pure: values in, values out.

Rules, each with what it protects from:
1. One open attempt at a time; a second caller gets nothing (two processes, one payment).
2. A message repeated with the same attempt id gets the same answer (a lost reply), as long as
   that attempt is open (a message that comes after its end must not run anything again).
3. A report counts only under the fence that it was handed out with (a process that slept
   through its lease).
4. An attempt whose lease lapses is in doubt, never failed (the call may have landed).
5. Only a failure proven without effect may be tried again; in doubt goes to reconciliation,
   and where that cannot tell, to a person.
6. A grant is redeemed once, while its attempt is open (one approval, two calls).
7. What is withdrawn is never begun, and what somebody has in hand is not withdrawn (an approval
   that no longer holds, half used).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gates.core.canonical import digest
from gates.core.errors import InvalidGrant
from gates.core.model import (
    RUN_ENDED,
    ApprovalRequest,
    Attempt,
    Execution,
    ExecutionState,
    Grant,
    Json,
    Outcome,
    OutcomeKind,
    Standing,
    Verdict,
)


@dataclass(frozen=True)
class Report:
    """How an attempt ended, as its holder tells. `differences`: booked against approved."""

    state: ExecutionState
    result: Json | None = None
    error: str = ""
    error_class: str = ""
    differences: tuple[str, ...] = ()


def queue(request: ApprovalRequest) -> Execution:
    return Execution(request_id=request.id, state=ExecutionState.QUEUED)


def start(
    execution: Execution,
    attempt_id: str,
    holder: str,
    now: datetime,
    lease: timedelta,
    *,
    reconciling: bool = False,
) -> Execution:
    """Hand the execution to a holder. Raises InvalidGrant where it is used, held or in doubt."""
    last = execution.last
    if last is not None and last.id == attempt_id and not last.ended_at:
        return execution
    if any(attempt.id == attempt_id for attempt in execution.attempts):
        raise InvalidGrant(f"Attempt {attempt_id[:12]} has ended: another try wants another id.")
    if execution.state is ExecutionState.SUCCEEDED:
        raise InvalidGrant("This grant was used: what it allowed has been done.")
    if execution.state is ExecutionState.WITHDRAWN:
        raise InvalidGrant("This grant no longer holds: its work was withdrawn. Propose again.")
    if execution.state is ExecutionState.RUNNING:
        raise InvalidGrant("Another process is at work on this grant: wait for its report.")
    if execution.state is ExecutionState.IN_DOUBT and not reconciling:
        raise InvalidGrant("How the last attempt ended is not known yet: wait until it is.")
    attempt = Attempt(
        id=attempt_id,
        number=len(execution.attempts) + 1,
        holder=holder,
        fence=(last.fence if last else 0) + 1,
        lease_until=now + lease,
        started_at=now,
        reconciling=reconciling,
    )
    return execution.model_copy(
        update={"state": ExecutionState.RUNNING, "attempts": (*execution.attempts, attempt)}
    )


def withdraw(execution: Execution) -> Execution:
    """Nobody is to begin it any more. Unchanged where it does not wait for an executor."""
    if execution.state is not ExecutionState.QUEUED:
        return execution
    return execution.model_copy(update={"state": ExecutionState.WITHDRAWN})


def renew(execution: Execution, attempt_id: str, fence: int, until: datetime) -> Execution:
    """Extend the lease of a holder that is still at work. Raises InvalidGrant if it is not."""
    attempt = _held(execution, attempt_id, fence)
    return _replace(execution, attempt.model_copy(update={"lease_until": until}))


def report(
    execution: Execution, attempt_id: str, fence: int, told: Report, now: datetime
) -> Execution:
    """Close an attempt. A repeated report changes nothing; one under an old fence is refused."""
    last = execution.last
    if last is not None and last.id == attempt_id and last.ended_at and last.fence == fence:
        if last.state is not told.state:
            raise InvalidGrant(
                f"Attempt {last.number} has ended as {last.state.value}; "
                f"{told.state.value} comes too late."
            )
        return execution
    return _ended(execution, _held(execution, attempt_id, fence), told, now)


def redeem(execution: Execution, attempt_id: str, fence: int, now: datetime) -> Execution:
    """Use the grant of an open attempt up, for one call through a proxy. Raises InvalidGrant
    where it was used, or its attempt is over, asks only, or has lost its lease.
    """
    attempt = _held(execution, attempt_id, fence)
    if attempt.reconciling:
        raise InvalidGrant("This grant is for finding out what happened: it allows no call.")
    if now >= attempt.lease_until:
        raise InvalidGrant("The lease of this grant has run out: propose again.")
    if attempt.redeemed_at is not None:
        raise InvalidGrant(
            f"This grant was redeemed at {attempt.redeemed_at:%Y-%m-%d %H:%M:%S} UTC: "
            "it counts once.",
            replayed=True,
        )
    return _replace(execution, attempt.model_copy(update={"redeemed_at": now}))


def lapse(execution: Execution, now: datetime) -> Execution:
    """A lease that ran out without a report: in doubt. Unchanged where it has not."""
    last = execution.last
    if last is None or last.ended_at or now < last.lease_until:
        return execution
    words = f"no report from {last.holder} within its lease"
    told = Report(ExecutionState.IN_DOUBT, error=words, error_class="LeaseLapsed")
    return _ended(execution, last, told, now)


def grant(request: ApprovalRequest, execution: Execution) -> Grant:
    """The grant that the open attempt holds."""
    attempt = execution.last
    if attempt is None:
        raise InvalidGrant("Nobody holds this grant: claim it first.")
    return Grant(
        request_id=request.id,
        fingerprint=request.action.fingerprint,
        policy_digest=request.judgement.policy_digest,
        attempt_id=attempt.id,
        fence=attempt.fence,
        lease_until=attempt.lease_until,
    )


def standing(
    request: ApprovalRequest,
    outcome: Outcome | None,
    execution: Execution | None,
    attempt_id: str | None,
) -> Standing:
    """What the flow has to do next. `attempt_id`: the attempt that this caller may hold."""
    if outcome is None:
        return Standing.WAITING
    if outcome.kind is not OutcomeKind.APPROVED:
        if outcome.by == (RUN_ENDED,):
            return Standing.CANCELLED  # no round follows by itself
        if request.judgement.verdict is Verdict.FORBID:
            return Standing.FORBIDDEN
        return _ENDS[outcome.kind]
    if execution is None:
        return Standing.CLAIMABLE
    return _at_work(execution, attempt_id)


_ENDS = {
    OutcomeKind.REJECTED: Standing.REJECTED,
    OutcomeKind.SENT_BACK: Standing.SENT_BACK,
    OutcomeKind.EXPIRED: Standing.EXPIRED,
    OutcomeKind.CANCELLED: Standing.CANCELLED,
    OutcomeKind.VOIDED: Standing.WAITING,  # the next round is being opened
}


def _at_work(execution: Execution, attempt_id: str | None) -> Standing:
    if execution.state is ExecutionState.SUCCEEDED:
        return Standing.SUCCEEDED
    if execution.state is ExecutionState.FAILED:
        return Standing.CLAIMABLE
    if execution.state is ExecutionState.WITHDRAWN:  # its approval goes in the same transaction
        return Standing.CANCELLED
    last = execution.last
    if execution.state is ExecutionState.RUNNING and last is not None and last.id == attempt_id:
        return Standing.CLAIMED
    return Standing.EXECUTING


@dataclass(frozen=True)
class End:
    """What a gate has told its flow before it went on: that an attempt failed, or guidance where
    there is no `failure`. `answers` is the fingerprint of the proposal that got it.
    """

    round: int
    answers: str
    failure: Attempt | None


def ends(rounds: Sequence[tuple[ApprovalRequest, Outcome | None, Execution | None]]) -> list[End]:
    """Oldest first; failures that were put to people instead of being told are not among them."""
    found = []
    for request, outcome, execution in rounds:
        for attempt in execution.attempts if execution else ():
            failed = attempt.state is ExecutionState.FAILED
            if failed and not attempt.opened_round and not attempt.reconciling:
                found.append(End(request.round, request.answers, attempt))
        if outcome is not None and outcome.kind is OutcomeKind.SENT_BACK:
            found.append(End(request.round, request.answers, None))
    return found


def replayed(told: Sequence[End], call: int, answers: str) -> End | None:
    """What the flow's `call` of the gate was told in an earlier pass, if it was. A run that starts
    from its top is told the same again; a flow that proposes something else at the same call is
    not, and has used up a number.
    """
    return next((end for end in told[max(call, 1) - 1 :] if end.answers == answers), None)


def idempotency_key(request: ApprovalRequest) -> str:
    """One a gate and fingerprint: what a person allows again in a later round runs under the
    same key, so that the real system recognizes an effect of the earlier one.
    """
    key = digest([request.gate_id, request.action.fingerprint])
    return f"GATE-{key[:16].upper()}"


def _held(execution: Execution, attempt_id: str, fence: int) -> Attempt:
    last = execution.last
    if last is None or last.id != attempt_id or last.fence != fence or last.ended_at:
        raise InvalidGrant(
            f"Attempt {attempt_id[:12]} no longer holds this grant: "
            "its lease ran out or another took over. Propose again."
        )
    return last


def _ended(execution: Execution, attempt: Attempt, told: Report, now: datetime) -> Execution:
    closed = attempt.model_copy(
        update={
            "ended_at": now,
            "state": told.state,
            "error": told.error,
            "error_class": told.error_class,
        }
    )
    return _replace(execution, closed).model_copy(
        update={"state": told.state, "result": told.result, "differences": told.differences}
    )


def _replace(execution: Execution, attempt: Attempt) -> Execution:
    return execution.model_copy(update={"attempts": (*execution.attempts[:-1], attempt)})
