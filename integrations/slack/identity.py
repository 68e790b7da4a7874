"""Who clicked: a Slack account, one person of the directory, looked at again at each decision.

Rules, each refused with one sentence:
1. The workspace is one of ours. Names never identify anybody.
2. (workspace, user) belongs to exactly one person; none or several is nobody.
3. Slack says now that the account is live, human, a full member, and of that workspace. A flag
   that is missing counts against it: what cannot be known is not assumed.
4. By e-mail somebody is found only where the settings allow it, the address is confirmed, and the
   person has no other account in that workspace (it would be a second, which nobody wrote down).
5. Where file and e-mail name two persons, nobody is found: two entries of one human could approve
   each other's requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.core.asked import Person
from gates.core.errors import NotEntitled, UnknownPerson
from gates.core.model import Json
from gates.ports import Directory
from gates.service import utc_now
from integrations.slack.transport import asking

FLAGS = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger")
NOBODY = "Your Slack account belongs to no single person in the directory: ask the admin to add it."
TWO = (
    "Your Slack account is one person in the directory and its e-mail is another: "
    "ask the admin to make them one."
)


@dataclass(frozen=True)
class Account:
    """The account as a signed interaction names it; `team` is empty where Slack leaves it out."""

    team: str
    user: str


@dataclass(frozen=True)
class Verified:
    """One person, and how that was found out; `flags` as Slack told them at that moment."""

    person: Person
    account: Account
    found_by: str
    looked_at: datetime
    flags: Mapping[str, bool]

    def record(self, **more: str) -> Json:
        """What a decision keeps of it. No name and no address: the ids lead to them."""
        return {
            "team": self.account.team,
            "user": self.account.user,
            "found_by": self.found_by,
            "looked_at": self.looked_at.isoformat(timespec="milliseconds"),
            "flags": dict(self.flags),
            **more,
        }


def account_of(payload: Mapping[str, Any]) -> Account:
    """Read who acted. `user.team_id` is that person's own workspace; the interaction's `team`
    is null on org-wide installs and, in a modal from outside, not ours.
    """
    user = payload.get("user") or {}
    team = user.get("team_id") or (payload.get("team") or {}).get("id") or ""
    return Account(str(team), str(user.get("id") or ""))


def refusal(user: Mapping[str, Any], account: Account) -> str:
    """Why an account as `users.info` shows it may not decide, or nothing."""
    if user.get("id") != account.user or user.get("team_id") != account.team:
        return "Your account belongs to another Slack workspace."
    if user.get("deleted") is not False:
        return "Your Slack account is deactivated."
    if user.get("is_bot") is not False:
        return "Apps cannot decide."
    if user.get("is_stranger", False) is not False:
        return "Members of other organizations cannot decide here."
    if user.get("is_restricted") is not False or user.get("is_ultra_restricted") is not False:
        return "Guests of this Slack workspace cannot decide."
    return ""


class LookUp:
    """From an account to the one person whose it is."""

    def __init__(
        self, directory: Directory, team_ids: frozenset[str], *, match_email: bool
    ) -> None:
        self._directory = directory
        self._team_ids = team_ids
        self.match_email = match_email

    def by_account(self, account: Account) -> Person | None:
        try:
            return self._directory.by_slack(account.team, account.user)
        except UnknownPerson:
            return None

    def by_user(self, user_id: str) -> Person | None:
        """Where Slack leaves the workspace out: the one person of ours with this user id."""
        accounts = [Account(team, user_id) for team in sorted(self._team_ids)]
        found = {one.id: one for one in map(self.by_account, accounts) if one is not None}
        return next(iter(found.values())) if len(found) == 1 else None

    def by_user_email(self, user: Mapping[str, Any]) -> Person | None:
        """A live account of ours that only its e-mail names."""
        account = Account(str(user.get("team_id") or ""), str(user.get("id") or ""))
        if account.team not in self._team_ids or refusal(user, account):
            return None
        person = self.mailed(user)
        return person if person is not None and self.may_match(person, user) else None

    def mailed(self, user: Mapping[str, Any]) -> Person | None:
        """Who has the account's e-mail, which Slack leaves out where a scope is missing."""
        email = (user.get("profile") or {}).get("email")
        if not email:
            return None
        try:
            return self._directory.by_email(str(email))
        except UnknownPerson:
            return None

    def may_match(self, person: Person, user: Mapping[str, Any]) -> bool:
        """Whether this account's e-mail may stand for that person."""
        has_one = any(one.startswith(f"{user.get('team_id')}/") for one in person.slack)
        return self.match_email and user.get("is_email_confirmed") is True and not has_one


class Identity:
    def __init__(
        self,
        directory: Directory,
        client: WebClient,
        team_ids: frozenset[str],
        *,
        match_email: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._look_up = LookUp(directory, team_ids, match_email=match_email)
        self._client = client
        self._team_ids = team_ids
        self._clock = clock

    def verify(self, account: Account) -> Verified:
        """Return the one person behind a live account, and how they were found.

        Raises UnknownPerson or NotEntitled with the sentence for them, RetryLater or
        Unavailable where Slack cannot be asked just now.
        """
        if not account.user or account.team not in self._team_ids:
            raise NotEntitled("Your Slack workspace is not one whose members may decide here.")
        listed = self._look_up.by_account(account)
        if listed is None and not self._look_up.match_email:
            raise UnknownPerson(NOBODY)
        looked_at = self._clock()
        user = self._user(account)
        mailed = self._look_up.mailed(user)
        if listed is not None and mailed is not None and listed.id != mailed.id:
            raise UnknownPerson(TWO)
        flags = {flag: bool(user.get(flag, False)) for flag in FLAGS}
        if listed is not None:
            return Verified(listed, account, "file", looked_at, flags)
        if mailed is None or not self._look_up.may_match(mailed, user):
            raise UnknownPerson(NOBODY)
        return Verified(mailed, account, "email", looked_at, flags)

    def _user(self, account: Account) -> Mapping[str, Any]:
        try:
            with asking("users.info"):
                user: Mapping[str, Any] = self._client.users_info(user=account.user)["user"]
        except SlackApiError as error:
            if error.response.get("error") in {"user_not_found", "user_not_visible"}:
                raise NotEntitled("Slack does not know your account any more.") from None
            raise NotEntitled(
                f"Slack does not let us look at your account ({error.response.get('error')}): "
                "ask the admin to run `gates slack check`."
            ) from None
        sentence = refusal(user, account)
        if sentence:
            raise NotEntitled(sentence)
        return user
