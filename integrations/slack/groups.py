"""A directory whose groups may take their members from Slack's user groups.

Rules:
1. Persons stand in the people file alone; a user group only says which of them are in a group.
2. A member counts whose account belongs to exactly one person. Everybody else is left out.
3. What Slack says holds for seconds. Where it cannot be asked nobody is in the group, and the
   caller is told to try again: a guess could let somebody decide who was put out of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.core.asked import Person
from gates.core.errors import GatesError, Unavailable
from gates.core.people import Cover, People
from integrations.slack.identity import LookUp
from integrations.slack.transport import asking

GROUP_HOLDS = 5.0  # seconds; Slack allows some twenty looks a minute
FAILURE_HOLDS = 0.4
EMAIL_HOLDS = 60.0  # of a member whom only the e-mail names; one look for each of them

Found = TypeVar("Found")


class SlackDirectory:
    """Implements gates.ports.Directory around the people file."""

    def __init__(
        self, people: People, client: WebClient, team_ids: frozenset[str], *, match_email: bool
    ) -> None:
        self._people = people
        self._client = client
        self._look_up = LookUp(people, team_ids, match_email=match_email)
        self._members: _Remembered[list[str]] = _Remembered(GROUP_HOLDS)
        self._users: _Remembered[dict[str, Any] | None] = _Remembered(EMAIL_HOLDS)

    def person(self, person_id: str) -> Person:
        return self._people.person(person_id)

    def by_slack(self, team_id: str, user_id: str) -> Person:
        return self._people.by_slack(team_id, user_id)

    def by_email(self, email: str) -> Person:
        return self._people.by_email(email)

    @property
    def cover(self) -> Cover:
        """As the people file says it: Slack knows of no delegations."""
        return self._people.cover

    def members(self, groups: Sequence[str], now: datetime | None = None) -> Sequence[Person]:
        """As in the port; raises RetryLater or Unavailable where Slack cannot say it now."""
        asked = {group: self._people.slack_group(group) for group in groups}
        listed = self._people.members([group for group, slack in asked.items() if not slack], now)
        found = {person.id for person in listed}
        for slack_group in filter(None, asked.values()):
            for user in self._members.get(slack_group, self._users_of):
                person = self._who(user)
                if person is not None:
                    found.add(person.id)
        return [person for person in self._people.all if person.id in found]

    def forget(self) -> None:
        """Ask Slack anew for everything, the next time."""
        self._members.forget()
        self._users.forget()

    def _users_of(self, slack_group: str) -> list[str]:
        try:
            with asking("usergroups.users.list"):
                answer = self._client.usergroups_users_list(usergroup=slack_group)
        except SlackApiError as error:
            reason = error.response.get("error")
            raise Unavailable(
                f"Slack refuses to say who is in the user group {slack_group} ({reason}): "
                "see `gates slack check`."
            ) from error
        return [str(user) for user in answer["users"]]

    def _who(self, user_id: str) -> Person | None:
        person = self._look_up.by_user(user_id)
        if person is not None or not self._look_up.match_email:
            return person
        user = self._users.get(user_id, self._user)
        return None if user is None else self._look_up.by_user_email(user)

    def _user(self, user_id: str) -> dict[str, Any] | None:
        try:
            with asking("users.info"):
                return dict(self._client.users_info(user=user_id)["user"])
        except SlackApiError:
            return None  # a refusal: this one is nobody


class _Remembered(Generic[Found]):
    """Answers by key, each for some seconds; one look at a time, however many ask. Those who have
    waited for a look that failed are told so, instead of each trying for themselves.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Found]] = {}
        self._failed: dict[str, tuple[float, GatesError]] = {}

    def get(self, key: str, look: Callable[[str], Found]) -> Found:
        with self._lock:
            asked_at = self._clock()  # an answer is not younger than its question
            known, failed = self._known.get(key), self._failed.get(key)
            if known is not None and asked_at - known[0] < self._seconds:
                return known[1]
            if failed is not None and asked_at - failed[0] < FAILURE_HOLDS:
                raise failed[1]
            try:
                found = look(key)
            except GatesError as error:
                self._failed[key] = self._clock(), error
                raise
            self._known[key] = asked_at, found
            return found

    def forget(self) -> None:
        with self._lock:
            self._known.clear()
            self._failed.clear()
