"""Who is asked when nobody has answered for a while. Pure.

Rules, each with what it protects from:
1. Rungs are climbed in their order, each once, also after an outage (a rung that is skipped would
   leave its people out).
2. Where the deadline has come as well it alone counts (nobody is asked what is over).
3. `widen` adds people, `replace` asks others instead: what those who left have said no longer
   counts towards the quorum (an answer of people who are not asked any more).
4. Nobody picks who comes next: the policy has, when the question was put.
5. `page` adds people as `widen` does, who are told directly, wherever others are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gates.core.asked import Requirement
from gates.core.events import Climbed, Event


def due(requirement: Requirement, events: Sequence[Event]) -> datetime:
    """When time has next something to say of an open question."""
    rungs = [climb.at for climb in requirement.ladder[_climbed(events) :]]
    reminders = requirement.reminders[requirement.reminded :]
    return min([requirement.deadline_at, *rungs[:1], *reminders[:1]])


def climb(requirement: Requirement, events: Sequence[Event], now: datetime) -> list[Event]:
    """The rungs whose time has come before the deadline has."""
    if now >= requirement.deadline_at:
        return []
    done = _climbed(events)
    return [
        Climbed(number=number, step=one.step, people=one.people, at=now)
        for number, one in enumerate(requirement.ladder[done:], start=done + 1)
        if one.at <= now
    ]


def climbed(requirement: Requirement, event: Climbed) -> Requirement:
    """Those who are asked from then on."""
    requirement = requirement.model_copy(update={"climbed": event.number})
    if event.step == "replace":
        changes = {"people": event.people, "groups": {}, "escalation": {}}
        return requirement.model_copy(update=changes)
    wider = widen(requirement, event.people)
    if event.step == "page":
        paged = tuple(dict.fromkeys((*requirement.paged, *event.people)))
        return wider.model_copy(update={"paged": paged})
    return wider


def widen(requirement: Requirement, people: dict[str, str]) -> Requirement:
    """They are asked as well, and may stand for any of the groups."""
    more = tuple(seat for one in people for seat in requirement.seats(one))
    groups = {
        group: tuple(dict.fromkeys((*members, *more)))
        for group, members in requirement.groups.items()
    }
    return requirement.model_copy(update={"people": requirement.people | people, "groups": groups})


def _climbed(events: Sequence[Event]) -> int:
    return sum(isinstance(event, Climbed) for event in events)
