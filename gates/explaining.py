"""Why a stored request was judged as it was, rule by rule."""

from __future__ import annotations

from collections.abc import Iterator

from gates.core.model import ApprovalRequest, Json
from gates.core.policy import Question
from gates.core.policy.explaining import Explanation, explain
from gates.core.value import Value
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
    question = Question.of(request).model_copy(update={"circumstances": circumstances})
    found = explain(gates.asking.policy, question, request.lifted.keys())
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
    wanted = gates.asking.policy.mentions(request.action.name)
    if request.circumstances or not wanted:
        return request.circumstances, ""
    asked = Question.of(request)
    found: dict[str, Json] = {}
    for source in gates.asking.circumstances:
        if not wanted.isdisjoint(source.names):
            found |= source.look(asked, request.run, gates.clock())
    return found, f"{', '.join(sorted(wanted))}: as they are now, not as they were"
