"""What time says of an open question beside its ladder: reminders, and that it goes on. Pure.

Rules, each with what it protects from:
1. Of reminders that were missed only the last is given (nobody needs two at once).
2. A question that is kept open goes on for as long again as it had, counted from its deadline;
   after an outage of more than that, from now. Whom the policy names for an escalation is asked as
   well, once.
3. Nothing here is an answer: silence never approves.
"""

from __future__ import annotations

from datetime import datetime

from gates.core import ladder
from gates.core.asked import Requirement
from gates.core.events import Event, KeptOpen, Reminded


def remind(requirement: Requirement, now: datetime) -> list[Event]:
    """The last reminder whose time has come, where it has not been given. `requirement`: as it is
    by now.
    """
    number = sum(at <= now for at in requirement.reminders)
    return [Reminded(number=number, at=now)] if number > requirement.reminded else []


def keep_open(requirement: Requirement, now: datetime) -> KeptOpen:
    """The deadline of such a question has come."""
    until = _again(requirement, requirement.deadline_at)
    if until <= now:
        until = _again(requirement, now)
    return KeptOpen(until=until, people=requirement.escalation, at=now)


def kept(requirement: Requirement, event: KeptOpen) -> Requirement:
    """Those who are asked from then on, and until when."""
    changes = {"deadline_at": event.until, "escalation": {}, "kept": requirement.kept + 1}
    return ladder.widen(requirement, event.people).model_copy(update=changes)


def _again(requirement: Requirement, start: datetime) -> datetime:
    return min(limit.after(start) for limit in requirement.limits)
