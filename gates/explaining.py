"""Why a stored request was judged as it was, rule by rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gates.core.model import ApprovalRequest, Json, Value
from gates.core.policy import Question
from gates.core.policy.explaining import Explanation, explain
from gates.service import Gates


class Explained(Value):
    """`notes`: where this is not what was judged then, in words."""

    request_id: str
    explanation: Explanation
    notes: tuple[str, ...] = ()


def explained(gates: Gates, request_id: str) -> Explained:
    """By id or a prefix; by the policy that is in force. Raises NotFound."""
    request = gates.view(request_id).request
    circumstances, when = _circumstances(gates, request)
    question = Question(
        action=request.action,
        amount=request.amount,
        claims=request.claims,
        facts=request.facts,
        requester=request.requester,
        counterparty=request.counterparty,
        circumstances=circumstances,
        effect=request.effect,
        in_process=request.in_process,
    )
    found = explain(gates.asking.policy, question, set(_kept(request, "lifted")))
    return Explained(
        request_id=request.id,
        explanation=found,
        notes=tuple(_notes(request, found, when)),
    )


def _notes(request: ApprovalRequest, found: Explanation, when: str) -> Iterator[str]:
    then, now = request.judgement, found.judgement
    if then.policy_digest != now.policy_digest:
        yield (
            f"it was judged by policy {then.policy_digest[:12]}; this is {now.policy_digest[:12]}, "
            "which is in force"
        )
    if then.verdict is not now.verdict:
        said = "; ".join(f"{one.rule}: {one.text}" for one in then.reasons)
        yield f"the verdict was {then.verdict.value} ({said})"
    if when:
        yield when


def _circumstances(gates: Gates, request: ApprovalRequest) -> tuple[dict[str, Json], str]:
    """As they were kept with the request, else as they are now."""
    kept = _kept(request, "circumstances")
    wanted = gates.asking.policy.mentions(request.action.name)
    if kept or not wanted:
        return kept, ""
    asked = Question(
        action=request.action,
        amount=request.amount,
        claims=request.claims,
        facts=request.facts,
        requester=request.requester,
        counterparty=request.counterparty,
    )
    found: dict[str, Json] = {}
    for source in gates.asking.circumstances:
        if not wanted.isdisjoint(source.names):
            found |= source.look(asked, request.run, gates.clock())
    return found, f"{', '.join(sorted(wanted))}: as they are now, not as they were"


def _kept(request: ApprovalRequest, name: str) -> dict[str, Any]:
    """What a request keeps of its judging beside the facts, where it does."""
    found: dict[str, Any] = getattr(request, name, {})
    return found
