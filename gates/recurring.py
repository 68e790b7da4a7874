"""The same failure of a call, or about its subject, over runs: whether this one closes a circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gates import reports
from gates.core.canonical import digest
from gates.core.loops import Allowance, Call, Finding, Guidance, allowed, guidance, look
from gates.core.loops.levels import REMEMBERED
from gates.core.messages import AttemptReport
from gates.core.model import ApprovalRequest, OutcomeKind
from gates.core.policy import LoopPolicy
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit


class Recurring(NamedTuple):
    """`guided`: what people have said about it before."""

    finding: Finding
    guided: tuple[Guidance, ...]


def recurring(
    unit: Unit, request: ApprovalRequest, attempt_id: str, told: AttemptReport, loops: LoopPolicy
) -> Recurring | None:
    """What a report of an attempt of `request` adds up to."""
    if told.state != "failed":
        return None
    limits, since = loops.thresholds.of_action(request.action.name), unit.now - REMEMBERED
    call = reports.as_call(request, attempt_id, told, unit, limits)
    calls = unit.failures(call, since)
    if any(one.attempt_id == attempt_id for _, one in calls):
        return None  # a repeated report
    before = unit.loop_rounds(call, request.action.fingerprint, since - REMEMBERED)
    allowances = [one for one in map(_allowance, before) if one]
    found = look([*(one for _, one in calls), call], allowances, loops)
    if found is not None:
        found = look([*_with_run(unit, calls, call), call], allowances, loops, unit.pauses)
    if found is None:
        return None
    told_before = [
        guidance(one.decisions, one.outcome) for one in before if _same_trouble(one, request, found)
    ]
    return Recurring(found, tuple(one for one in told_before if one and one.at >= since))


def _with_run(unit: Unit, calls: Sequence[tuple[int, Call]], last: Call) -> list[Call]:
    """`calls`, and between them whatever the last one's run has done since its first failure."""
    own = [number for number, call in calls if call.failed and call.root_run_id == last.root_run_id]
    if not own:
        return [call for _, call in calls]
    merged = dict(calls) | dict(unit.calls_of_run(last.root_run_id, own[0]))
    return [merged[number] for number in sorted(merged)]


def _allowance(asked: Aggregate) -> Allowance | None:
    request, outcome = asked.request, asked.outcome
    if outcome is None or outcome.kind is not OutcomeKind.APPROVED:
        return None
    if asked.row.settled_at is None or "signature" not in request.evidence:
        return None
    return Allowance(
        action=request.action.name,
        arguments_digest=digest(request.action.arguments),
        business_key=" ".join(request.action.subject),
        signature=str(request.evidence["signature"]),
        more=allowed(request, asked.decisions),
        at=asked.row.settled_at,
    )


def _same_trouble(asked: Aggregate, request: ApprovalRequest, finding: Finding) -> bool:
    """The same failure about the same thing: guidance may have changed the arguments."""
    action = asked.request.action
    same = (action.name, action.subject) == (request.action.name, request.action.subject)
    return same and asked.request.evidence.get("signature") == finding.signature
