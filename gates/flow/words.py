"""What a run says about its gates, in its log, its state and its errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from gates.core.errors import (
    Cancelled,
    Expired,
    Forbidden,
    GateStopped,
    Rejected,
    SentBack,
    Skipped,
)
from gates.core.model import GateReply, Purpose, RequestView, Standing, Step
from gates.core.wording import approvers, asks, unless_objected

STOPS: dict[Standing, type[GateStopped]] = {
    Standing.REJECTED: Rejected,
    Standing.SENT_BACK: SentBack,
    Standing.EXPIRED: Expired,
    Standing.CANCELLED: Cancelled,
    Standing.FORBIDDEN: Forbidden,
}
STANDS = "what was decided stands for this run; start a new run to ask anew"
MOST_TOLD = 5  # of the requests that a run waits for at once
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
    with the address where to decide; `asks one of each: ...` where each group must agree, `runs at
    14:05 UTC unless somebody objects` in a veto window.
    """
    needed, where = view.request.requirement, f" · {view.url}" if view.url else ""
    if needed is None:
        return f"{what(view)}: waits{where}"
    until = clock(needed.deadline_at)
    if unless_objected(view.request):
        may = ", ".join(needed.people.values())
        return f"{what(view)}: runs at {until} unless somebody objects ({may} may){where}"
    whom = asks(needed, approvers(view))
    return f"{what(view)}: {ASKED[view.request.purpose]} {whom} until {until}{where}"


def since(view: RequestView) -> str:
    """What came before this round, on one line; empty for a first one."""
    return "; ".join(view.request.before)


def left_unused(one: object) -> str:
    """About a question under another key of this run."""
    found = one if isinstance(one, dict) else {}
    was = "asked" if found.get("outcome") == "None" else str(found.get("outcome"))
    return (
        f"The same was {was} under the key {found.get('key')!r}, and nobody has used that. Has "
        "this flow's code changed while it was suspended? It is asked anew, not taken over."
    )


def all_waits(told: Sequence[str]) -> str:
    """One line for all that a run waits for."""
    if len(told) == 1:
        return told[0]
    shown = "; ".join(told[:MOST_TOLD])
    more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return f"{len(told)} decisions: {shown}{more}"


def clock(at: datetime) -> str:
    """The hour where it is clear which day is meant, the day where it is not."""
    at = at.astimezone(UTC)
    soon = (at - datetime.now(UTC)).total_seconds() < 20 * 3600
    return f"{at:%H:%M} UTC" if soon else f"{at:%Y-%m-%d %H:%M} UTC"


def stopped(reply: GateReply, steps: Sequence[Step]) -> GateStopped:
    """How this gate ends a flow, as a sentence that names the person and the reason. `steps`:
    all that the run has done.
    """
    view = reply.view
    kind = STOPS.get(reply.standing, GateStopped)
    if kind is Rejected and view.outcome is not None and view.outcome.skipped:
        kind = Skipped
    told = str(view.outcome) if view.outcome else reply.standing.value
    if kind is Forbidden and view.outcome is not None:
        told = f"forbidden by the policy: {view.outcome.reason}"
    return kind(
        told[:1].upper() + told[1:],
        guidance=view.outcome.reason if view.outcome and kind is SentBack else "",
        action=view.request.action.name,
        request_id=view.request.id,
        url=view.url,
        done=[step for step in steps if step.state != "undone"],
    )


def stands(stopped: GateStopped) -> str:
    """For the log. What people have decided is told again as often as the run asks."""
    told = str(stopped)
    if isinstance(stopped, Skipped) or not isinstance(stopped, (Rejected, Expired)):
        return told
    return f"{told}; {STANDS}"


def ended(sentence: str, steps: Sequence[Step]) -> str:
    """The run's last word: how it ended, and what stands done and half done."""
    left = [str(step) for step in steps if step.state != "undone"]
    back = [step.summary for step in steps if step.state == "undone"]
    parts = [f"What stands: {'; '.join(left)}."] if left else []
    parts += [f"Taken back: {'; '.join(back)}."] if back else []
    if not parts:
        return sentence
    return " ".join([sentence if sentence.endswith(".") else f"{sentence}.", *parts])
