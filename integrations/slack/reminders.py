"""Whoever has not decided is reminded once before the deadline, and not at night; or whenever the
policy says so, and of reminders that nobody has seen only by the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gates.cards import Cards, Notice
from gates.core.asked import PersonId, Requirement
from gates.core.model import RequestView
from gates.ports import Shown
from gates.service import Gates
from gates.web.words import is_mine
from integrations.slack.accounts import Reached
from integrations.slack.places import of_reminder
from integrations.slack.posting import Draft, Payload, Posting
from integrations.slack.reminding import awake, moment, quiet, reminder
from integrations.slack.settings import SlackSettings

EVENT = "gates_reminder"
CHANNEL = "slack"


@dataclass
class Reminders:
    settings: SlackSettings
    gates: Gates
    cards: Cards
    posting: Posting

    def remind(self, view: RequestView, person: PersonId, reached: Reached, place: str) -> Shown:
        """One message for all that is due now: it may be many. `place` is not that of the request
        any more where another reminder has overtaken this one.
        """
        at = self._at(view, reached)
        if at is None or not is_mine(view, person) or place != of_reminder(view, person):
            return Shown()
        known = self.cards.notice(view.request.id, CHANNEL, place)
        if known is not None and known.message:
            return Shown()
        if at > self.gates.clock():
            return Shown(again=at)
        due = self._due(view, person, reached)
        if known is not None:
            ids = {one.request.id for one in due}
            found = self.posting.find(
                reached.channel,
                EVENT,
                lambda _ts, payload: view.request.id in _ids(payload),
                self.gates.clock() - timedelta(hours=1),
            )
            if found is not None:
                told = ids & set(_ids(found[1]))
                self._note([one for one in due if one.request.id in told], person, found[0])
                return Shown()
        self._note(due, person, "")
        text, blocks = reminder(due)
        payload = {"ids": [one.request.id for one in due]}
        message = self.posting.post(reached.channel, Draft(text, blocks, EVENT, payload))
        self._note(due, person, message)
        return Shown(rest=self.settings.pace)

    def _note(self, views: Sequence[RequestView], person: PersonId, message: str) -> None:
        now = self.gates.clock() if message else None
        notices = [
            Notice(one.request.id, of_reminder(one, person), message, 0, posted_at=now)
            for one in views
        ]
        self.cards.shown(CHANNEL, *notices)

    def _due(self, view: RequestView, person: PersonId, reached: Reached) -> list[RequestView]:
        """First this one, then all others of which this person is to be reminded by now."""
        now, found = self.gates.clock(), [view]
        for one in self.gates.waiting(200):
            at = self._at(one, reached)
            if one.request.id == view.request.id or at is None or at > now:
                continue
            told = self.cards.notice(one.request.id, CHANNEL, of_reminder(one, person))
            if is_mine(one, person) and (told is None or not told.message):
                found.append(one)
        return found

    def _at(self, view: RequestView, reached: Reached) -> datetime | None:
        requirement = view.request.requirement
        if requirement is None:
            return None
        if requirement.reminders:
            return self._by_policy(view.request.opened_at, requirement, reached)
        if not self.settings.remind:
            return None
        return moment(
            view.request.opened_at,
            requirement.deadline_at,
            timedelta(minutes=self.settings.remind),
            reached.zone,
            quiet(self.settings.quiet_hours),
        )

    def _by_policy(
        self, opened: datetime, requirement: Requirement, reached: Reached
    ) -> datetime | None:
        if not requirement.reminded:
            return None
        return awake(
            requirement.reminders[requirement.reminded - 1],
            opened,
            requirement.deadline_at,
            reached.zone,
            quiet(self.settings.quiet_hours),
        )


def _ids(payload: Payload) -> list[str]:
    found = payload.get("ids")
    return [str(one) for one in found] if isinstance(found, list) else []
