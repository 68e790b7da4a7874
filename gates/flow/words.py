"""What a run says about its gates, in its log, its state and its errors."""

from __future__ import annotations

from datetime import UTC, datetime

from gates.core.errors import Cancelled, Expired, Forbidden, GateStopped, Rejected
from gates.core.model import GateReply, Purpose, RequestView, Standing

STOPS: dict[Standing, type[GateStopped]] = {
    Standing.REJECTED: Rejected,
    Standing.EXPIRED: Expired,
    Standing.CANCELLED: Cancelled,
    Standing.FORBIDDEN: Forbidden,
}
ASKED = {
    Purpose.ACTION: "asks",
    Purpose.LOOP: "goes in circles, asks",
    Purpose.IN_DOUBT: "may have happened or not, asks",
}


def what(view: RequestView) -> str:
    """`Pay a supplier 47,600.00 EUR`."""
    action, amount = view.request.action, view.request.amount
    return f"{action.title or action.name}{f' {amount}' if amount else ''}"


def waits_for(view: RequestView) -> str:
    """`Pay a supplier 47,600.00 EUR: asks 2 of Dana Okafor, Mika Lindqvist until 14:05 UTC`,
    with the address where to decide.
    """
    needed, where = view.request.requirement, f" · {view.url}" if view.url else ""
    if needed is None:
        return f"{what(view)}: waits{where}"
    given = {decision.person for decision in view.decisions}
    names = [name for person, name in needed.people.items() if person not in given]
    left = max(needed.quorum - len(given), 1)
    whom = ", ".join(names)
    count = "" if len(names) == left else f"{left} of "
    until = clock(needed.deadline_at)
    return f"{what(view)}: {ASKED[view.request.purpose]} {count}{whom} until {until}{where}"


def clock(at: datetime) -> str:
    """The hour where it is clear which day is meant, the day where it is not."""
    at = at.astimezone(UTC)
    soon = (at - datetime.now(UTC)).total_seconds() < 20 * 3600
    return f"{at:%H:%M} UTC" if soon else f"{at:%Y-%m-%d %H:%M} UTC"


def stopped(reply: GateReply) -> GateStopped:
    """How this gate ends a flow, as a sentence that names the person and the reason."""
    view = reply.view
    kind = STOPS.get(reply.standing, GateStopped)
    told = str(view.outcome) if view.outcome else reply.standing.value
    if kind is Forbidden and view.outcome is not None:
        told = f"forbidden by the policy: {view.outcome.reason}"
    return kind(
        told[:1].upper() + told[1:],
        action=view.request.action.name,
        request_id=view.request.id,
        url=view.url,
    )
