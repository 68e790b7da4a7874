"""What a policy says of a batch, from what it says of each line. Pure.

Whoever is asked about any line must agree to the whole: the tier of a line may rest on a claim, and
what is claimed must not put the people of one line in the place of those of another.
"""

from __future__ import annotations

from collections.abc import Sequence

from gates.core.model import Judgement, Line, Reason, Verdict
from gates.core.policy.voices import added

NAMED = 3  # lines of one rule that are named


def joined(lines: Sequence[Line], policy_digest: str) -> Judgement:
    """What the policy says of the whole."""
    left = [one for one in lines if one.judgement.verdict is not Verdict.FORBID]
    if not left:
        left = list(lines)
    verdict = max((one.judgement.verdict for one in left), key=lambda one: one.strictness)
    equal = [one.judgement for one in left if one.judgement.verdict is verdict]
    equal.sort(key=lambda one: one.tier.height, reverse=True)
    asks = [one.ask for one in equal if one.ask is not None]
    forbidden = [one for one in lines if one.judgement.verdict is Verdict.FORBID]
    told = _reasons([one for one in left if one.judgement.verdict is verdict], "")
    if verdict is not Verdict.FORBID:
        told += _reasons(forbidden, " refused")
    return Judgement(
        verdict=verdict,
        tier=equal[0].tier,
        reasons=tuple(told),
        policy_digest=policy_digest,
        ask=added(verdict, asks[0], asks[1:]) if asks else None,
    )


def _reasons(lines: Sequence[Line], what: str) -> list[Reason]:
    """Of each rule the first lines that it speaks of, and how many more."""
    by_rule: dict[str, list[str]] = {}
    for line in lines:
        for one in line.judgement.reasons:
            by_rule.setdefault(one.rule, []).append(f"line {line.number}{what}: {one.text}")
    found = []
    for rule, texts in by_rule.items():
        more = f"; and {len(texts) - NAMED} more lines" if len(texts) > NAMED else ""
        found.append(Reason(rule=rule, text="; ".join(texts[:NAMED]) + more))
    return found
