"""What judges beside the policy say, and what becomes of its answer by that. Pure.

Rules, each with what it protects from:
1. The strictest counts (one judge that sees nothing does not outvote one that does).
2. A judge may raise and never lower (an LLM that was talked round must not open a gate).
3. One that fails, is late or is not there has said `unknown`, which asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from gates.core.model import Judgement, Level, Reason, Signal, Tier, Verdict
from gates.core.policy import Defaults

_TIERS = {
    Level.UNKNOWN: Tier.AMBIGUOUS,
    Level.AMBIGUOUS: Tier.AMBIGUOUS,
    Level.HIGH: Tier.HIGH,
    Level.EXPERT: Tier.EXPERT,
    Level.FORBID: Tier.EXPERT,
}


def raised(judgement: Judgement, signals: Sequence[Signal], defaults: Defaults) -> Judgement:
    """The policy's answer and what the judges make of it; who is asked stays the policy's to say,
    those of the defaults where it asks nobody.
    """
    heard = [one for one in signals if one.level is not Level.NONE]
    if not heard:
        return judgement
    verdict = max((judgement.verdict, *map(_verdict, heard)), key=lambda one: one.strictness)
    tier = max((judgement.tier, *(_TIERS[one.level] for one in heard)), key=lambda one: one.height)
    asks = verdict is Verdict.REQUIRE_APPROVAL
    reasons = tuple(Reason(rule=f"judge {one.judge}", text=_words(one)) for one in heard)
    return judgement.model_copy(
        update={
            "verdict": verdict,
            "tier": tier,
            "reasons": (*judgement.reasons, *reasons),
            "ask": (judgement.ask or defaults.ask) if asks else None,
        }
    )


def _verdict(signal: Signal) -> Verdict:
    return Verdict.FORBID if signal.level is Level.FORBID else Verdict.REQUIRE_APPROVAL


def _words(signal: Signal) -> str:
    reason = signal.reason or "gives no reason"
    if signal.level is Level.UNKNOWN:
        return f"Judge {signal.judge} could not say: {reason}"
    return f"Judge {signal.judge} ({signal.level.value}): {reason}"
