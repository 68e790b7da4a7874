"""How much care an answer takes. Pure.

Who approves what weighs much looks at it twice: a surface with buttons shows amount and payee once
more before it takes the approval (`wants_second_look`), and where the tier or the policy's `reason`
says so, an approval counts only with a reason (`wants_reason`), whatever it comes through.
"""

from __future__ import annotations

from gates.core.model import ApprovalRequest, Purpose, Tier

SECOND_LOOK = (Tier.HIGH, Tier.EXPERT)
REASONED = (Tier.EXPERT,)


def wants_reason(request: ApprovalRequest) -> bool:
    """Whether an approval has to say why."""
    judgement = request.judgement
    return judgement.tier in REASONED or bool(judgement.ask and judgement.ask.reason)


def wants_second_look(request: ApprovalRequest) -> bool:
    """Whether one click is too little. What may have happened already is never run again so."""
    heavy = request.judgement.tier in SECOND_LOOK or request.purpose is Purpose.IN_DOUBT
    return heavy or wants_reason(request)
