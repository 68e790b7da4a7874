"""Who clicked: a Slack account, one person of the directory, looked at again at each decision.

Rules, each refused with one sentence:
1. The workspace is one of ours. Names and e-mail addresses never identify anybody.
2. (workspace, user) belongs to exactly one person; none or several is nobody.
3. Slack says now that the account is live, human, a full member, and of that workspace. A flag
   that is missing counts against it: what cannot be known is not assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.core.errors import NotEntitled, UnknownPerson
from gates.core.model import Person
from gates.ports import Directory
from integrations.slack.transport import asking


@dataclass(frozen=True)
class Account:
    """The account as a signed interaction names it; `team` is empty where Slack leaves it out."""

    team: str
    user: str


def account_of(payload: Mapping[str, Any]) -> Account:
    """Read who acted. `user.team_id` is that person's own workspace; the interaction's `team`
    is null on org-wide installs and, in a modal from outside, not ours.
    """
    user = payload.get("user") or {}
    team = user.get("team_id") or (payload.get("team") or {}).get("id") or ""
    return Account(str(team), str(user.get("id") or ""))


class Identity:
    def __init__(self, directory: Directory, client: WebClient, team_ids: frozenset[str]) -> None:
        self._directory = directory
        self._client = client
        self._team_ids = team_ids

    def person(self, account: Account) -> Person:
        """Return the one person behind a live account.

        Raises UnknownPerson or NotEntitled with the sentence for them, RetryLater or
        Unavailable where Slack cannot be asked just now.
        """
        if not account.user or account.team not in self._team_ids:
            raise NotEntitled("Your Slack workspace is not one whose members may decide here.")
        try:
            person = self._directory.by_slack(account.team, account.user)
        except UnknownPerson:
            raise UnknownPerson(
                "Your Slack account belongs to no single person in the directory: "
                "ask the admin to add it."
            ) from None
        self._check_alive(account)
        return person

    def _check_alive(self, account: Account) -> None:
        try:
            with asking("users.info"):
                user = self._client.users_info(user=account.user)["user"]
        except SlackApiError:
            raise NotEntitled("Slack does not know your account any more.") from None
        if user.get("id") != account.user or user.get("team_id") != account.team:
            raise NotEntitled("Your account belongs to another Slack workspace.")
        if user.get("deleted") is not False:
            raise NotEntitled("Your Slack account is deactivated.")
        if user.get("is_bot") is not False:
            raise NotEntitled("Apps cannot decide.")
        if user.get("is_stranger", False) is not False:
            raise NotEntitled("Members of other organizations cannot decide here.")
        if user.get("is_restricted") is not False or user.get("is_ultra_restricted") is not False:
            raise NotEntitled("Guests of this Slack workspace cannot decide.")
