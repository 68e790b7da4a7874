"""A line of a batch, proposed to run: do people's words about the batch do for it?

Rules, each with what it protects from:
1. A line runs through the one gate that its batch and its number name, as the very action that was
   shown there (an approval that is used twice, or for something else).
2. It is judged, and its world is read, anew. What is forbidden now stays forbidden; what has
   changed, or what the policy now wants more for, is asked alone, with what is different.
3. What the policy alone let run as a batch, it has to let run as a line.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gates.claiming import Claiming, does_for
from gates.core import batches, lifecycle
from gates.core.drift import UNREADABLE, differences
from gates.core.errors import InvalidInput, Unavailable
from gates.core.gate_keys import line_key
from gates.core.messages import LineOf, Proposal
from gates.core.model import ApprovalRequest, Covered, Line, OutcomeKind, Verdict
from gates.rounds import Origin
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit


def origin_of(gates: Claiming, proposal: Proposal, origin: Origin) -> Origin:
    """A line is judged with the size of its batch beside it. Raises InvalidInput, NotFound."""
    if proposal.batch is None:
        return origin
    batch = _batch(gates, proposal, proposal.batch)
    amounts = [line.amount for line in batch.request.lines]
    return replace(origin, batch_count=len(amounts), batch_total=batches.total(amounts))


def covered(gates: Claiming, proposal: Proposal, request: ApprovalRequest) -> ApprovalRequest:
    """The first round of a line's gate, approved with its batch or with why it is not.

    Raises InvalidInput for what the batch does not let run, Unavailable where the world cannot be
    looked at.
    """
    told = proposal.batch
    if told is None or request.round > 1:
        return request
    batch = _batch(gates, proposal, told)
    line = _line(batch, told, proposal, request)
    if not request.judgement.verdict.asks:
        return request
    why = _why_not(gates, batch, line, request, gates.clock())
    if why:
        words = f"Line {told.line} of batch {batch.request.id[:8]}: {why}"
        return request.model_copy(update={"before": (words, *request.before)})
    assert batch.outcome is not None  # noqa: S101 - _line has looked
    amounts = [one.amount for one in batch.request.lines]
    given = Covered(
        request_id=batch.request.id,
        line=told.line,
        by=batch.outcome.by,
        count=len(amounts),
        total=batches.total(amounts),
    )
    return request.model_copy(update={"covered": given, "requirement": None})


def _batch(gates: Claiming, proposal: Proposal, told: LineOf) -> Aggregate:
    with gates.database.read() as session:
        batch = Unit(session, gates.clock()).load(told.request_id)
    if batch.row.root_run_id != proposal.run.root_run_id or not batch.request.lines:
        raise InvalidInput(f"batch = {told.request_id[:8]!r} is no batch of this run.")
    return batch


def _line(batch: Aggregate, told: LineOf, proposal: Proposal, request: ApprovalRequest) -> Line:
    asked, name = batch.request, f"Line {told.line} of batch {batch.request.id[:8]}"
    if told.line > len(asked.lines):
        raise InvalidInput(f"{name}: it has {len(asked.lines)} lines.")
    line = asked.lines[told.line - 1]
    same = proposal.key == line_key(asked.gate_key, told.line)
    if not same or request.action.fingerprint != line.fingerprint:
        raise InvalidInput(f"{name} is something else than this proposal: propose that line.")
    if batch.outcome is None or batch.outcome.kind is not OutcomeKind.APPROVED:
        raise InvalidInput(f"{name} cannot run: the batch is {batch.outcome or 'not decided'}.")
    refusals = batches.refused(asked, batch.decisions)
    if told.line in refusals and refusals[told.line][0] != batches.POLICY:
        by, why = refusals[told.line]
        raise InvalidInput(f"{name} was refused by {by}: {why}")
    return line


def _why_not(
    gates: Claiming, batch: Aggregate, line: Line, request: ApprovalRequest, now: datetime
) -> str:
    """Why the line is asked alone; empty where the batch's approval does for it."""
    if UNREADABLE in request.precondition:
        raise Unavailable(
            f"{request.action.name}: what was approved cannot be looked at now "
            f"({request.precondition[UNREADABLE]}). The approval stands."
        )
    if line.judgement.verdict is Verdict.FORBID:
        return "the policy refused it then"
    lost = gates.lost(batch, now)
    if lost is not None:
        return f"{lost[1]}: {'; '.join(lost[2])}"
    drifted = differences(line.precondition, request.precondition)
    if drifted:
        return f"changed since people were asked: {'; '.join(drifted)}"
    if batch.request.requirement is None:
        return "the policy alone let the batch run, and wants people now"
    then, today = line.judgement, request.judgement
    same = (then.policy_digest, then.verdict, then.ask) == (
        today.policy_digest,
        today.verdict,
        today.ask,
    )
    if same or does_for(batch, request, now):
        return ""
    silent = lifecycle.silent(batch.outcome)
    return "silence is not enough for it now" if silent else "the policy wants more for it now"
