"""Where a request is shown in Slack. Pure.

A place is a channel's id, or one person's: `direct:dana` (a card of their own), `requester:dana`
(how it ended), `remind:dana`, `remind2:dana` (the policy's second reminder), `home:dana` (all that
waits for them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gates.core.model import RequestView, Tier
from gates.ports import Errand

DIRECT, REQUESTER, REMIND, HOME = "direct", "requester", "remind", "home"


def parted(place: str) -> tuple[str, str]:
    """The kind of place and whose; a channel has neither."""
    kind, colon, who = place.partition(":")
    return (kind, who) if colon else ("", "")


def of_person(kind: str, person_id: str) -> str:
    return f"{kind}:{person_id}"


def of_reminder(view: RequestView, person_id: str) -> str:
    """That of the policy's last reminder where it has any."""
    asked = view.request.requirement
    number = asked.reminded if asked and asked.reminders else 0
    return of_person(f"{REMIND}{number or ''}", person_id)


def is_reminder(kind: str) -> bool:
    return kind.rstrip("0123456789") == REMIND


def channel_of(view: RequestView, channels: Mapping[Tier, str], usual: str) -> str:
    """The policy's own channel, else the one of the tier, else the usual one."""
    judgement = view.request.judgement
    own = judgement.ask.channel if judgement.ask else ""
    return own or channels.get(judgement.tier) or usual


def wanted(view: RequestView, channel: str, *, reminds: bool) -> Iterable[Errand]:
    """Where a request has to be shown, and to whom something has to be said."""
    request, ask = view.request, view.request.judgement.ask
    if request.requirement is None:
        return
    ways = ask.notify if ask else ("channel",)
    people = request.requirement.people
    if "channel" in ways:
        yield Errand(place=channel, request_id=request.id)
    if view.outcome is not None:
        if request.requester.on_behalf_of:
            place = of_person(REQUESTER, request.requester.on_behalf_of)
            yield Errand(place=place, request_id=request.id)
        return
    for person in people:
        if "direct" in ways or person in request.requirement.paged:
            yield Errand(place=of_person(DIRECT, person), request_id=request.id)
        if request.requirement.reminded or (reminds and not request.requirement.reminders):
            yield Errand(place=of_reminder(view, person), request_id=request.id)
