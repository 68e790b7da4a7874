"""From a person of the directory to their Slack account: where to write to, and what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.core.errors import UnknownPerson
from gates.ports import Directory
from integrations.slack.posting import telling
from integrations.slack.transport import asking

KEPT = 600.0  # seconds that what Slack said of an account is believed, for messages alone
UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class Reached:
    """`channel`: the direct messages with them."""

    user: str
    channel: str
    zone: ZoneInfo


@dataclass
class Accounts:
    """Who decides is found out anew each time; whom a message goes to is remembered a while."""

    directory: Directory
    client: WebClient
    team_ids: frozenset[str]
    match_email: bool = False
    now: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[Reached | None, float]] = field(default_factory=dict)

    def reach(self, person_id: str) -> Reached | None:
        """None for who has no account of ours, or none that takes messages.

        Raises RetryLater or Unavailable.
        """
        known = self._known.get(person_id)
        if known is not None and self.now() < known[1]:
            return known[0]
        found = self._found(person_id)
        self._known[person_id] = found, self.now() + KEPT
        return found

    def _found(self, person_id: str) -> Reached | None:
        user = self._user(person_id)
        if not user:
            return None
        try:
            with asking("users.info"):
                told = self.client.users_info(user=user)["user"]
            if told.get("deleted") or told.get("is_bot"):
                return None
            with asking("conversations.open"):
                channel = self.client.conversations_open(users=user)["channel"]["id"]
        except SlackApiError as error:
            if error.response.get("error") in {"user_not_found", "user_disabled", "cannot_dm_bot"}:
                return None
            with telling(user):
                raise
        return Reached(user, str(channel), _zone(told.get("tz")))

    def _user(self, person_id: str) -> str:
        try:
            person = self.directory.person(person_id)
        except UnknownPerson:  # whom an agent acts for may be a service
            return ""
        accounts = [one.partition("/") for one in person.slack]
        mine = [user for team, _, user in accounts if team in self.team_ids]
        if mine or not (self.match_email and person.email):
            return mine[0] if mine else ""
        try:
            with asking("users.lookupByEmail"):
                user = self.client.users_lookupByEmail(email=person.email)["user"]
        except SlackApiError:
            return ""
        return str(user["id"]) if user.get("team_id") in self.team_ids else ""


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name)) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
