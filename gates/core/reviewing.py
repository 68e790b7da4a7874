"""Looking at a sample of what ran by itself. Pure: values in, events out.

Rules, each with what it protects from:
1. The server draws, when a round is opened, with dice of its own (a flow that could foresee or
   repeat the draw would keep what it does out of the sample); flows are not told either.
2. Nothing waits for a review, and none changes an outcome (a sample that held up would be an
   approval in disguise).
3. Those may look whom the policy's `ask` names, not whom the agent acts for; each counts once.
4. `wrong` says why, so that somebody can do better.
"""

from __future__ import annotations

from collections.abc import Sequence

from gates.core.errors import (
    AlreadyDecided,
    InvalidInput,
    NotEntitled,
    ReasonNeeded,
    SelfApproval,
)
from gates.core.events import Event, Reviewed
from gates.core.model import ApprovalRequest, Judgement, Outcome, OutcomeKind, Review, Verdict

THOUSAND = 1_000


def drawn(judgement: Judgement, dice: int) -> bool:
    """`dice`: a number from 0 to 999, each as likely as the others."""
    return judgement.verdict is Verdict.REVIEW_LATER and dice < judgement.sample_permille


def said(events: Sequence[Event]) -> tuple[Review, ...]:
    return tuple(event.review for event in events if isinstance(event, Reviewed))


def review(
    request: ApprovalRequest,
    events: Sequence[Event],
    found: Outcome | None,
    given: Review,
    *,
    wanted: bool,
    entitled: bool,
) -> list[Event]:
    """One person's word. `wanted`: it was drawn; `entitled`: they are of those who may look.

    Raises InvalidInput, ReasonNeeded, SelfApproval, NotEntitled or AlreadyDecided.
    """
    if not wanted or found is None or found.kind is not OutcomeKind.APPROVED:
        raise InvalidInput(
            f"Request {request.id[:8]} is none of those to look at: see `gates reviews`."
        )
    if given.person == request.requester.on_behalf_of:
        raise SelfApproval(
            f"{given.name}, the agent acts for you, so somebody else has to look at this."
        )
    if not entitled:
        ask = request.judgement.ask
        who = ", ".join(ask.who) if ask else "nobody"
        raise NotEntitled(f"{given.name} is not among those who look at this ({who}).")
    if any(one.person == given.person for one in said(events)):
        raise AlreadyDecided(f"{given.name} has looked at this already.")
    if given.verdict == "wrong" and not given.reason:
        raise ReasonNeeded("reason is empty: say what is wrong, so that it can be mended.")
    return [Reviewed(review=given)]
