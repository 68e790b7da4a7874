"""Questions about a loop: a call that fails the same way again and again, a proposal that goes
round.

A loop that nobody of its level could answer for goes to the next who can, and says so: whoever is
away must not stop a failure from being told. What the level allows stays as it is, since those who
stand in for it are no easier yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gates.asking import Asking, beside
from gates.core.asked import Ask
from gates.core.errors import InvalidPolicy
from gates.core.loops import (
    HALF_DONE,
    Finding,
    Guidance,
    climbed,
    counts_tries,
    level_of,
    level_reasons,
)
from gates.core.loops.telling import times, whole
from gates.core.model import (
    Action,
    ApprovalRequest,
    Json,
    Judgement,
    Purpose,
    Reason,
    Tier,
    Verdict,
)
from gates.looking import definition_of


def loop_question(
    asking: Asking,
    request: ApprovalRequest,
    finding: Finding,
    guided: Sequence[Guidance],
    now: datetime,
) -> ApprovalRequest:
    """The next round of a gate whose action failed the same way too often. `guided`: what people
    have said about that before. Raises InvalidPolicy where nobody at all could answer.
    """
    evidence = finding.model_dump(mode="json") | climbed(guided)
    level = asking.policy.loop_level(level_of(evidence))
    ask, others = _who_can(asking, request, level_of(evidence), now)
    words = f"{request.action.title or request.action.name} failed {times(finding.total)}: "
    return asking.again(
        request,
        purpose=Purpose.LOOP,
        ask=ask,
        reason=Reason(rule="loop.same_failure", text=words + finding.error),
        more=others,
        evidence=evidence | {"allow_more": level.allow_more} | _half_done(asking, request),
        now=now,
    )


def repeat_question(
    asking: Asking, request: ApprovalRequest, evidence: Json, now: datetime
) -> ApprovalRequest:
    """The same question, put as one about a circle: `evidence` says what came before."""
    judged, found = request.judgement, level_of(evidence)
    level = asking.policy.loop_level(found)
    words = _named(request.action, _found(evidence))
    own = judged.ask if judged.verdict is Verdict.REQUIRE_APPROVAL else None
    others: tuple[Reason, ...] = ()
    if own is not None and found == 1:  # whoever has to agree anyhow is asked alone
        ask = own
    else:
        ask, others = _who_can(asking, request, found, now)
        ask = beside(own, ask, evidence) if own is not None else ask
    judgement = Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=max(judged.tier, Tier.HIGH, key=lambda tier: tier.height),
        reasons=(
            Reason(rule=f"loop.{evidence.get('detector', 'same_failure')}", text=words),
            *level_reasons(evidence),
            *others,
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


def _who_can(
    asking: Asking, request: ApprovalRequest, level: int, now: datetime
) -> tuple[Ask, tuple[Reason, ...]]:
    """Whom to ask about a loop on this level, and why that is not who the policy names there."""
    asks, judged = asking.policy.loop_asks(level), request.judgement
    if judged.verdict is Verdict.REQUIRE_APPROVAL and judged.ask is not None:
        asks.append(judged.ask)
    problem = _problem(asking, request, asks[0], f"loops, level {level}", now)
    if not problem:
        return asks[0], ()
    for ask in asks[1:]:
        if not _problem(asking, request, ask, "loops", now):
            return ask, (Reason(rule="loop.nobody", text=f"{problem} Others are asked instead."),)
    return asks[0], ()


def _problem(asking: Asking, request: ApprovalRequest, ask: Ask, rule: str, now: datetime) -> str:
    """Why these people could not answer; empty where they could."""
    judgement = Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=Tier.HIGH,
        reasons=(Reason(rule=rule, text=""),),
        policy_digest=asking.policy.digest,
        ask=ask,
    )
    try:
        asking.requirement(judgement, request.action, request.requester, now)
    except InvalidPolicy as error:
        return error.message
    return ""


def _named(action: Action, found: str) -> str:
    """What was found, with the action's title; once, where it begins with its name."""
    name = f"{action.name} "
    about = action.title or action.name
    return f"{about} {found[len(name) :]}" if found.startswith(name) else f"{about}: {found}"


def _found(evidence: Json) -> str:
    """What goes round, in words."""
    failed = f"failed {times(whole(evidence.get('total')))} in the same way"
    return str(evidence.get("words") or failed)


def _half_done(asking: Asking, request: ApprovalRequest) -> Json:
    """What an agent that goes in circles has left, or somebody else that it stumbles over."""
    definition = definition_of(asking.registry, request)
    if definition is None:
        return {}
    try:
        arguments = definition.parse(request.action.arguments)
        left = definition.half_done(asking.registry.resource(definition), arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, people are asked all the same
        left = [f"could not be read ({type(error).__name__}: {error})"]
    return {HALF_DONE: [*left]} if left else {}
