"""A burst of requests becomes one message at a place, which is kept current as they are decided.

Its members are notices that share a message. Whoever comes to it first draws it for all of them,
so that five hundred requests cost a handful of calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from gates.cards import Cards, Notice
from gates.ports import Shown
from gates.service import Gates
from integrations.slack.digest import digest
from integrations.slack.posting import Draft, Payload, Posting
from integrations.slack.settings import SlackSettings

EVENT = "gates_digest"
CHANNEL = "slack"
JOINED = timedelta(minutes=10)  # so long do further ones join a digest
REDRAWN = 2.0  # seconds between two drawings: what changes meanwhile is in the next one


@dataclass
class Bursts:
    settings: SlackSettings
    gates: Gates
    cards: Cards
    posting: Posting

    def first(self, request_id: str, place: str, channel: str) -> Shown | None:
        """Show a request with all others that wait for this place, if those are too many for cards
        of their own; else None.
        """
        most = self.settings.digest_after
        if not most:
            return None
        waiting = self.cards.waiting_at(CHANNEL, place)
        since = self.gates.clock() - timedelta(seconds=self.settings.digest_window)
        if len(waiting) + self.cards.posted_since(CHANNEL, place, since) <= most:
            return None
        standings = self.cards.standings(waiting)
        fresh = [one for one in waiting if one in standings and standings[one][1]]
        if request_id not in fresh:
            return None
        standing = self._standing(place)
        message = standing.message if standing else ""
        posted = standing.posted_at if standing else None
        joining = [
            Notice(one, place, message, 0, posted_at=posted, digest=True) for one in sorted(fresh)
        ]
        self.cards.shown(CHANNEL, *joining)
        return self.again(joining[0], channel)

    def _standing(self, place: str) -> Notice | None:
        """The digest that further requests join."""
        found = [
            one
            for one in self.cards.notices_at(CHANNEL, place)
            if one.digest and one.message and one.posted_at is not None
        ]
        last = max(found, key=lambda one: str(one.posted_at), default=None)
        if last is None or last.posted_at is None:
            return None
        return last if last.posted_at > self.gates.clock() - JOINED else None

    def current(self, known: Notice, revision: int) -> bool:
        """Whether what this request's digest shows is as new as this."""
        return bool(known.message) and known.revision >= revision

    def again(self, known: Notice, channel: str) -> Shown:
        """Draw it as all its members stand now."""
        members = self.cards.notices_at(CHANNEL, known.place, known.message)
        members = [one for one in members if one.digest]
        standings = self.cards.standings([one.request_id for one in members])
        draft = self._draft(members)
        message, posted = known.message, known.posted_at
        if not message:
            message = self._found(known.place, channel)
            posted = self.gates.clock()
        if not message or not self.posting.update(channel, message, draft):
            message, posted = self.posting.post(channel, draft), self.gates.clock()
        drawn = [
            replace(one, message=message, revision=standings[one.request_id][0], posted_at=posted)
            for one in members
            if one.request_id in standings
        ]
        self.cards.shown(CHANNEL, *drawn)
        return Shown(rest=max(self.settings.pace, REDRAWN if self.settings.pace else 0.0))

    def _draft(self, members: Sequence[Notice]) -> Draft:
        ids = {one.request_id for one in members}
        waiting = [view for view in self.gates.waiting(1_000) if view.request.id in ids]
        text, blocks = digest(waiting, len(ids))
        return Draft(text, blocks, EVENT)

    def _found(self, place: str, channel: str) -> str:
        """One that was posted, and whose answer got lost."""
        known = {one.message for one in self.cards.notices_at(CHANNEL, place)}

        def unknown(ts: str, _payload: Payload) -> bool:
            return ts not in known

        found = self.posting.find(channel, EVENT, unknown, self.gates.clock() - JOINED)
        return found[0] if found else ""
