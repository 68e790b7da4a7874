"""The clock stands still while somebody waits for information. Pure.

Rules, each with what it protects from:
1. What was left when the question was asked, of the deadline, of each rung and of each reminder,
   counts from the answer on, in the time that it counts (who has to wait must not run out of time).
2. All pauses of a round together last at most as long as its deadline gave (nobody stalls a run
   for ever). Everything is moved to that end at once, and back where the answer comes before it: so
   the clock goes on by itself, whether or not a server sees that moment.
3. A veto window that counts several times is moved by the one that takes it farthest (time must not
   consent too early); a deadline by the one that it came by.
4. Neither a question nor an answer is a vote.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from gates.core.asked import Inquiry, Requirement
from gates.core.calendars import Calendar, between, moved
from gates.core.events import InfoAnswered, InfoAsked
from gates.core.model import ApprovalRequest, Verdict


def waiting(requirement: Requirement | None) -> Inquiry | None:
    """What waits for an answer."""
    last = requirement.inquiries[-1:] if requirement else ()
    return last[0] if last and last[0].open else None


def latest(request: ApprovalRequest, now_asked: Requirement, now: datetime) -> datetime:
    """When the clock goes on again without an answer. `request`: as it was opened; `now_asked`: its
    requirement by now.
    """
    asked = request.requirement
    if asked is None:
        return now
    clock = _clock(request, asked)
    left = between(request.opened_at, asked.deadline_at, clock)
    for one in now_asked.inquiries:
        left -= between(one.at, one.until, clock)
    if left <= timedelta():
        return now
    return clock.add(now, left) if clock else now + left


def told(request: ApprovalRequest, event: InfoAsked | InfoAnswered) -> ApprovalRequest:
    """The request after a question or an answer."""
    asked = request.requirement
    if asked is None:
        return request
    if isinstance(event, InfoAsked):
        inquiry = Inquiry(
            person=event.by,
            name=event.name,
            question=event.question,
            at=event.at,
            until=event.until,
        )
        asked = _moved(request, asked, event.at, event.until)
        asked = asked.model_copy(update={"inquiries": (*asked.inquiries, inquiry)})
        return request.model_copy(update={"requirement": asked})
    answer = {
        "answer": event.text,
        "answered_by": event.by,
        "answered_name": event.name,
        "answered_at": event.at,
    }
    return _over(request, event.at, answer)


def left(request: ApprovalRequest, at: datetime, person: str = "") -> ApprovalRequest:
    """The request once nobody waits for the answer any more: `person` alone, or whoever did."""
    inquiry = waiting(request.requirement)
    if inquiry is None or person not in ("", inquiry.person):
        return request
    return _over(request, at, {})


def _over(request: ApprovalRequest, at: datetime, answer: dict[str, object]) -> ApprovalRequest:
    asked, inquiry = request.requirement, waiting(request.requirement)
    if asked is None or inquiry is None:
        return request
    until = max(min(inquiry.until, at), inquiry.at)  # a clock that was set back
    if until < inquiry.until:
        asked = _moved(request, asked, inquiry.until, until)
    closed = inquiry.model_copy(update={"open": False, "until": until} | answer)
    inquiries = (*asked.inquiries[:-1], closed)
    changed = asked.model_copy(update={"inquiries": inquiries})
    return request.model_copy(update={"requirement": changed})


def _moved(
    request: ApprovalRequest, asked: Requirement, since: datetime, until: datetime
) -> Requirement:
    """All that is still to come, as if it was `until` when it was `since`."""
    clocks = [limit.calendar for limit in asked.limits] or [None]
    if request.judgement.verdict is Verdict.VETO_WINDOW:
        deadline_at = max(moved(asked.deadline_at, since, until, one) for one in clocks)
    else:
        clock = _clock(request, asked)
        deadline_at = moved(asked.deadline_at, since, until, clock)
    counted = clocks[0]  # by which rungs and reminders were set
    ladder = tuple(
        one.model_copy(update={"at": moved(one.at, since, until, counted)}) for one in asked.ladder
    )
    reminders = tuple(moved(at, since, until, counted) for at in asked.reminders)
    changes = {
        "deadline_at": deadline_at,
        "ladder": ladder,
        "reminders": reminders,
        "moved": asked.moved + (deadline_at - asked.deadline_at),
    }
    return asked.model_copy(update=changes)


def _clock(request: ApprovalRequest, asked: Requirement) -> Calendar | None:
    """In which the deadline counts: of several limits that by which it came."""
    if not asked.limits:
        return None
    first = max if request.judgement.verdict is Verdict.VETO_WINDOW else min
    return first(asked.limits, key=lambda one: one.after(request.opened_at)).calendar
