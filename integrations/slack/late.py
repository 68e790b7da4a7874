"""What is said to whoever clicks a button whose time is over: how it ended, when, and what to look
at instead. Pure.
"""

from __future__ import annotations

from datetime import datetime

from gates.core.model import DecisionKind, OutcomeKind, RequestView
from gates.core.wording import unless_objected
from gates.web.words import ended_by, status
from integrations.slack.text import clean, cut, escape, link, when

LONGEST = 400  # characters of somebody's reason
NO_CHANGE = "Your click has changed nothing."


def is_late(view: RequestView, now: datetime) -> bool:
    """Whether no answer can count any more; the deadline's own event may come a moment later."""
    asked = view.request.requirement
    if view.outcome is not None or asked is None:
        return view.outcome is not None
    return now >= asked.deadline_at and not asked.keep_open


def has_escalated(view: RequestView) -> str:
    """Who has, if anybody: nobody else can then."""
    escalates = DecisionKind.ESCALATE
    return next((one.name for one in view.decisions if one.kind is escalates), "")


def too_late(view: RequestView, following: RequestView | None, now: datetime) -> str:
    """Markup of ours; `following` is the last round, if it is a later one."""
    parts = [_happened(view, now), NO_CHANGE]
    if following is not None and following.outcome is None:
        words = f"Round {following.request.round} is open"
        parts.append(f"{link(following.url, words) or words}.")
    else:
        parts.append(link(view.url, "See it in the inbox"))
    return " ".join(filter(None, parts))


def _happened(view: RequestView, now: datetime) -> str:
    outcome, requirement = view.outcome, view.request.requirement
    if not is_late(view, now):
        asked = ", ".join(requirement.people.values()) if requirement else ""
        return f"{_said(has_escalated(view))} has escalated this already: {_said(asked)} decide."
    if outcome is None:
        at = f" ({when(requirement.deadline_at)})" if requirement else ""
        if unless_objected(view.request):
            return f"The window has passed{at}, and nobody has objected in it."
        return f"The deadline has passed{at}, and silence never approves."
    at = when(outcome.at)
    if outcome.kind is OutcomeKind.EXPIRED:
        return f"This has expired, {at}: {_said(outcome.reason)}."
    names = ", ".join(ended_by(view))
    by = f" by {_said(names)}" if names else ""
    reason = f": {_said(outcome.reason)}" if outcome.reason else ""
    return f"{_said(status(view).words)}{by}, {at}{reason}".rstrip(".") + "."


def _said(text: str) -> str:
    return escape(cut(clean(text), LONGEST))
