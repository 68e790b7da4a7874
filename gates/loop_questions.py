"""Questions about a loop: a call that fails the same way again and again, a proposal that goes
round.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gates.asking import Asking, beside
from gates.core.loops import (
    HALF_DONE,
    Finding,
    Guidance,
    climbed,
    counts_tries,
    level_of,
    level_reasons,
)
from gates.core.model import ApprovalRequest, Json, Judgement, Purpose, Reason, Tier, Verdict


def loop_question(
    asking: Asking,
    request: ApprovalRequest,
    finding: Finding,
    guided: Sequence[Guidance],
    now: datetime,
) -> ApprovalRequest:
    """The next round of a gate whose action failed the same way too often. `guided`: what people
    have said about that before.
    """
    evidence = finding.model_dump(mode="json") | climbed(guided)
    level = asking.policy.loop_level(level_of(evidence))
    words = f"{request.action.title or request.action.name} failed {finding.count} times: "
    return asking.again(
        request,
        purpose=Purpose.LOOP,
        ask=level.ask,
        reason=Reason(rule="loop.same_failure", text=words + finding.error),
        evidence=evidence | {"allow_more": level.allow_more} | _half_done(asking, request),
        now=now,
    )


def repeat_question(
    asking: Asking, request: ApprovalRequest, evidence: Json, now: datetime
) -> ApprovalRequest:
    """The same question, put as one about a circle: `evidence` says what came before."""
    judged, found = request.judgement, level_of(evidence)
    level = asking.policy.loop_level(found)
    words = f"{request.action.title or request.action.name}: {_found(evidence)}"
    ask = level.ask
    if judged.verdict is Verdict.REQUIRE_APPROVAL and judged.ask is not None:
        ask = beside(judged.ask, level.ask, evidence)
    judgement = Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=max(judged.tier, Tier.HIGH, key=lambda tier: tier.height),
        reasons=(
            Reason(rule=f"loop.{evidence.get('detector', 'same_failure')}", text=words),
            *level_reasons(evidence),
            *judged.reasons,
        ),
        policy_digest=judged.policy_digest,
        ask=ask,
    )
    told = {name: one for name, one in evidence.items() if name != HALF_DONE}  # not as it was once
    more_tries: Json = {}
    if counts_tries(evidence):
        more_tries = {"allow_more": level.allow_more}
    elif found > 1:
        more_tries = {"allow_more": min(level.allow_more, 1)}
    return request.model_copy(
        update={
            "purpose": Purpose.LOOP,
            "judgement": judgement,
            "requirement": asking.requirement(judgement, request.action, request.requester, now),
            "evidence": told | more_tries | _half_done(asking, request),
        }
    )


def _found(evidence: Json) -> str:
    """What goes round, in words."""
    return str(evidence.get("words") or f"failed {evidence.get('total')} times the same way")


def _half_done(asking: Asking, request: ApprovalRequest) -> Json:
    """What an agent that goes in circles has left, or somebody else that it stumbles over."""
    definition = asking.definition(request)
    if definition is None:
        return {}
    try:
        arguments = definition.parse(request.action.arguments)
        left = definition.half_done(asking.registry.resource(definition), arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, people are asked all the same
        left = [f"could not be read ({type(error).__name__}: {error})"]
    return {HALF_DONE: [*left]} if left else {}
