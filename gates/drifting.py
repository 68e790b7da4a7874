"""What becomes of an executor's report that the world is no longer as it was approved.

Nothing was done, so nothing is in doubt. The server looks itself: where it sees a change too, the
round is void and the next one asks with the difference; where it sees none the work is queued
again, for a few times, and then people are asked: two that read the same system should agree.
"""

from __future__ import annotations

from contextlib import suppress

from gates.claiming import Stale
from gates.core import execution as tries
from gates.core.errors import InvalidGrant, InvalidInput, Unavailable
from gates.core.messages import AttemptReport
from gates.core.model import Attempt, Execution, ExecutionState, GateReply, Json
from gates.service import Gates, KeyHolder
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit
from gates.withdrawing import left_too_late

DRIFTED = "Drifted"  # the error class of an attempt that found another world
MOST_DISPUTED = 3  # as often may an executor see a change that the server does not see


def report_drift(
    gates: Gates, caller: KeyHolder, attempt_id: str, told: AttemptReport
) -> GateReply:
    """A repeated report gets the same answer. Raises InvalidInput or InvalidGrant."""
    rounds = None
    while rounds is None:  # again where the request moved on while the world was read
        with gates.database.read() as session:
            unit = Unit(session, gates.clock())
            seen = unit.load_of_attempt(attempt_id)
        attempt = _drifting(seen, attempt_id)
        stale = None if attempt.ended_at else _look(gates, seen, told)
        rounds = _write(gates, caller, seen, attempt_id, told, stale)
    gates.woken(seen.request.gate_id)
    return gates.reply(rounds, attempt_id, 0)


def _drifting(seen: Aggregate, attempt_id: str) -> Attempt:
    tried = seen.execution.attempts if seen.execution else ()
    attempt = next(one for one in tried if one.id == attempt_id)
    if attempt.reconciling or seen.request.in_process:
        raise InvalidInput(
            "state = 'drifted' is for an executor that was to execute: report unclear, failed or "
            "in_doubt."
        )
    return attempt


def _look(gates: Gates, seen: Aggregate, told: AttemptReport) -> Stale | None:
    """Why people are asked again; None where the work is queued once more."""
    with suppress(Unavailable):  # then it counts as not seen
        stale = gates.stale(seen)
        if stale is not None:
            return stale
    tried = seen.execution.attempts if seen.execution else ()
    if 1 + sum(one.error_class == DRIFTED for one in tried) < MOST_DISPUTED:
        return None
    read: Json = {"executor_read": told.precondition, "executor_says": told.error}
    asked = gates.asking.disputed_question(seen.request, told.error, read, gates.clock())
    return Stale("executor", "the executor sees what the server does not", (told.error,), asked)


def _write(
    gates: Gates,
    caller: KeyHolder,
    seen: Aggregate,
    attempt_id: str,
    told: AttemptReport,
    stale: Stale | None,
) -> list[Aggregate] | None:
    """All rounds of the gate, or None where the request is no longer where it was seen."""
    refusal = None
    with gates.database.write() as session:
        unit = Unit(session, gates.clock())
        rounds = unit.gate(seen.row.gate_id, lock=True)
        current = rounds[seen.row.round - 1]
        if current.row.version != seen.row.version:
            return None
        try:
            after = _closed(current.execution, attempt_id, told, stale, unit)
        except InvalidGrant as error:
            refusal = error
            unit.log(caller.requester.agent, "report.refused", seen.request.id, attempt=attempt_id)
        else:
            if after is not current.execution:
                unit.save(current, after)
                _log(unit, caller, current, after, told, stale)
                if stale is not None:
                    gates.ask_anew(unit, rounds, stale)
                left_too_late(gates, unit, current)
    if refusal is not None:
        raise refusal
    return rounds


def _closed(
    execution: Execution | None,
    attempt_id: str,
    told: AttemptReport,
    stale: Stale | None,
    unit: Unit,
) -> Execution:
    """Put to people it is over; otherwise it is queued, since nothing was done."""
    if execution is None:
        raise InvalidGrant("There is nothing to report on: claim the request first.")
    last = execution.last
    if last is not None and (last.id, last.error_class) == (attempt_id, DRIFTED):
        return execution  # said twice
    state = ExecutionState.FAILED if stale else ExecutionState.QUEUED
    report = tries.Report(state, error=told.error, error_class=DRIFTED)
    after = tries.report(execution, attempt_id, told.fence, report, unit.now)
    closed = after.attempts[-1].model_copy(update={"opened_round": stale is not None})
    return after.model_copy(update={"attempts": (*after.attempts[:-1], closed)})


def _log(
    unit: Unit,
    caller: KeyHolder,
    current: Aggregate,
    after: Execution,
    told: AttemptReport,
    stale: Stale | None,
) -> None:
    unit.log(
        caller.requester.agent,
        "attempt.drifted",
        current.request.id,
        attempt=after.attempts[-1].id,
        number=len(after.attempts),
        executor_says=told.error,
        server_sees=[*stale.differences] if stale else [],
    )
