"""What a restored backup does to executions: nobody knows any more what came of them. Pure.

The store is behind the real system, so what it calls open, approved, queued or running may have
been done since. Rules, each with what it protects from:
1. Whatever could run is in doubt first: the real system is asked before anything runs (a second
   payment).
2. What the real system does not know is claimed again, with every check of a claim (an approval
   that is older than the world it was given for).
3. Fences jump (a process from before the restore that reports under a number used again).
"""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from gates.core.execution import Report
from gates.core.model import Attempt, Execution, ExecutionState

RESTORED = "Restored"
JUMP = 10_000  # more than could have been counted between a backup and its restore
WORDS = "the store was restored from a backup, and what happened after the backup is not known"
BEFORE = "whoever had it before the store was restored"


def closed(execution: Execution, now: datetime) -> Execution:
    """An attempt that was open when the backup was made has ended, nobody knows how."""
    last = execution.last
    if last is None or last.ended_at is not None:
        return execution
    state = ExecutionState.IN_DOUBT
    ended = {"ended_at": now, "state": state, "error": WORDS, "error_class": RESTORED}
    attempts = (*execution.attempts[:-1], last.model_copy(update=ended))
    return execution.model_copy(update={"state": state, "attempts": attempts})


def doubted(execution: Execution, now: datetime, *, in_process: bool = False) -> Execution:
    """In doubt, for an executor to look into. What a flow runs by itself no executor can look
    into: there an attempt stands in that lapses at once, so that people are asked.
    """
    last = execution.last
    mark = Attempt(
        id=uuid4().hex,
        number=len(execution.attempts) + 1,
        holder=BEFORE,
        fence=(last.fence if last else 0) + JUMP,
        lease_until=now,
        started_at=now,
    )
    begun = execution.model_copy(
        update={"state": ExecutionState.RUNNING, "attempts": (*execution.attempts, mark)}
    )
    return begun if in_process else closed(begun, now)


def weighed(execution: Execution, told: Report) -> Report:
    """What is not there after a restore has to be claimed again, not only queued again."""
    if told.state is not ExecutionState.QUEUED:
        return told
    looked_at = next((one for one in reversed(execution.attempts) if not one.reconciling), None)
    if looked_at is None or looked_at.error_class != RESTORED:
        return told
    return Report(ExecutionState.FAILED, error=told.error)
