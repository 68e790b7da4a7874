"""What nobody is to begin any more: work in the queue whose approval or whose run is gone.

Rules:
1. Under the request's lock, where an executor that leases it at the same moment stands too: it is
   withdrawn, or in that executor's hands, and never both.
2. The approval goes with its work, in one transaction: what is not handed out is not approved.
"""

from __future__ import annotations

from gates.core import lifecycle
from gates.core.execution import withdraw
from gates.core.model import ExecutionState
from gates.recording import Recording
from gates.store import runs
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit

WATCH = "watch"


def out_of_the_queue(unit: Unit, one: Aggregate, actor: str, why: str) -> None:
    """Its execution has its end, if it waits for an executor."""
    before = one.execution
    after = before and withdraw(before)
    if after is not None and after is not before:
        unit.save(one, after)
        unit.log(
            actor, "grant.withdrawn", one.request.id, why=why, attempts_before=len(after.attempts)
        )


def left_by_its_run(gates: Recording, unit: Unit, one: Aggregate, words: str) -> bool:
    """Take back what a run that is over has left here: a question, an approval that nobody has
    used, work that nobody has begun. False where there is nothing to take back.
    """
    execution = one.execution
    queued = execution is not None and execution.state is ExecutionState.QUEUED
    if execution is not None and not queued:
        return False
    events = lifecycle.run_ended(one.request, one.events, words, unit.now, queued=queued)
    if events:
        out_of_the_queue(unit, one, WATCH, words)
        gates.record(unit, one, events, actor=WATCH)
    return bool(events)


def left_too_late(gates: Recording, unit: Unit, one: Aggregate) -> None:
    """Work that comes back into the queue, since nothing was done, after its run has ended."""
    if one.execution is not None and one.execution.state is ExecutionState.QUEUED:
        at = runs.ended_at(unit, one.row.root_run_id)
        if at is not None:
            left_by_its_run(gates, unit, one, f"the run had ended at {at:%Y-%m-%d %H:%M} UTC")
