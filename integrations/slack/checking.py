"""Whether Slack is set up as it must be: what is missing, and the cure. `gates slack check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from slack_sdk.errors import SlackApiError

from gates.core.asked import Person
from gates.core.errors import GatesError, RetryLater
from gates.core.people import People
from gates.health import Finding, bad, ok, warning
from integrations.slack.groups import SlackDirectory
from integrations.slack.identity import Account, LookUp, refusal
from integrations.slack.scopes import SCOPES
from integrations.slack.settings import SlackSettings
from integrations.slack.transport import asking, web_client

PATIENCE = 60.0  # seconds, each time that Slack asks for some
INSTALL = "add it under OAuth & Permissions (or paste the manifest again), reinstall the app"
Say = dict[str, Any]


class Checkup:
    """Asks Slack what we would need of it. Changes nothing there."""

    def __init__(
        self, settings: SlackSettings, people: People, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._settings = settings
        self._people = people
        self._sleep = sleep
        self._client = web_client(settings)
        self._look_up = LookUp(people, settings.team_ids, match_email=settings.match_email)
        self._seen_in: set[str] | None = None  # who is in one of the channels

    def findings(self) -> Iterator[Finding]:
        """The most important first; without a bot token that works nothing else can be told."""
        found = list(self._token())
        yield from found
        if any(one.check == "bot token" and one.level == "bad" for one in found):
            return
        for check in (self._entrance, self._channels, self._accounts, self._groups):
            try:
                yield from check()
            except GatesError as error:
                name = check.__name__.strip("_")
                yield bad(name, f"could not be looked at: {error.message}", "try again in a moment")

    # -- tokens and scopes -----------------------------------------------------------------

    def _token(self) -> Iterator[Finding]:
        try:
            answer = self._patiently("auth.test", self._client.auth_test)
        except SlackApiError as error:
            cure = "copy the Bot User OAuth Token again (OAuth & Permissions)"
            yield bad("bot token", f"refused: {_reason(error)}", cure)
            return
        except GatesError as error:
            cure = "look at GATES_SLACK_API_BASE_URL and the way to it"
            yield bad("bot token", f"Slack cannot be asked: {error.message}", cure)
            return
        team = str(answer.get("team_id"))
        yield ok("bot token", f"{answer.get('user')} of {answer.get('team')} ({team})")
        if team in self._settings.team_ids:
            yield ok("workspace", f"{team} may decide")
        else:
            listed = ", ".join(sorted(self._settings.team_ids))
            cure = f"add {team} to GATES_SLACK_TEAM_IDS"
            yield bad("workspace", f"{team} is not among those who may decide ({listed})", cure)
        yield from self._scopes(answer.headers)

    def _scopes(self, headers: Any) -> Iterator[Finding]:
        named = {str(name).lower(): value for name, value in headers.items()}
        value = named.get("x-oauth-scopes")
        if value is None:
            yield warning("scopes", "Slack does not say which there are", "look at the app's page")
            return
        text = value[0] if isinstance(value, list) else str(value)
        given = {scope.strip() for scope in text.split(",")}
        for scope, what in SCOPES.items():
            if scope in given:
                yield ok("scope", f"{scope}: {what}")
            else:
                yield bad("scope", f"{scope} is missing: {what}", INSTALL)

    def _entrance(self) -> Iterator[Finding]:
        """How Slack reaches us."""
        if self._settings.mode == "http":
            words = "known to Slack alone: the first click shows whether it is right"
            yield warning("signing secret", words, "click a button; it must not show an error")
            return
        token = self._settings.app_token.get_secret_value()
        try:
            self._patiently(
                "apps.connections.open", lambda: self._client.apps_connections_open(app_token=token)
            )
        except SlackApiError as error:
            cure = "make another: Basic Information, App-Level Tokens, scope connections:write"
            if _reason(error) == "not_allowed":
                cure = "turn Socket Mode on in the app's settings"
            yield bad("app token", f"refused: {_reason(error)}", cure)
        else:
            yield ok("app token", "opens a Socket Mode connection")

    # -- the channel -----------------------------------------------------------------------

    def _channels(self) -> Iterator[Finding]:
        yield from self._channel(self._settings.channel, "GATES_SLACK_CHANNEL")
        for channel in sorted(set(self._settings.channels.values()) - {self._settings.channel}):
            yield from self._channel(channel, "GATES_SLACK_CHANNELS")

    def _channel(self, channel: str, say: str) -> Iterator[Finding]:
        try:
            answer = self._patiently(
                "conversations.info", lambda: self._client.conversations_info(channel=channel)
            )
            found = dict(answer["channel"])
        except SlackApiError as error:
            cure = f"look at {say}; in a private channel type `/invite @Gates` first"
            if _reason(error) == "missing_scope":
                cure = INSTALL
            yield bad("channel", f"{channel}: {_reason(error)}", cure)
            return
        name = f"#{found.get('name')} ({channel})"
        if found.get("is_archived"):
            yield bad("channel", f"{name} is archived", f"unarchive it, or change {say}")
        elif not found.get("is_member"):
            yield bad("channel", f"the app is not in {name}", "type `/invite @Gates` there")
        else:
            yield ok("channel", f"the app is in {name}")
        if found.get("is_ext_shared") or found.get("is_pending_ext_shared"):
            words = f"{name} is shared with another organization, who can read the cards"
            yield warning("channel", words, "use a channel of your own; they cannot decide")
        self._seen_in = (self._seen_in or set()) | self._members(channel)

    def _members(self, channel: str) -> set[str]:
        found: set[str] = set()
        cursor = ""
        while True:
            page = self._patiently(
                "conversations.members",
                lambda at=cursor: self._client.conversations_members(  # type: ignore[misc]
                    channel=channel, cursor=at, limit=999
                ),
            )
            found |= {str(user) for user in page["members"]}
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return found

    # -- people ----------------------------------------------------------------------------

    def _accounts(self) -> Iterator[Finding]:
        """Everybody of the people file as a click of theirs would be judged."""
        for person in self._people.all:
            accounts = [Account(*one.split("/")) for one in person.slack]
            ours = [one for one in accounts if one.team in self._settings.team_ids]
            for account in ours:
                yield self._account(person, account)
            if not ours:
                yield self._by_email(person, foreign=bool(accounts))

    def _account(self, person: Person, account: Account) -> Finding:
        who = f"{person.id}: {account.team}/{account.user}"
        cure = "correct or remove the account in the people file"
        try:
            user = self._user(account.user)
        except SlackApiError as error:
            return bad("person", f"{who}: {_reason(error)}", cure)
        if sentence := refusal(user, account):
            return bad("person", f"{who}: {sentence}", cure)
        mailed = self._look_up.mailed(user)
        if mailed is not None and mailed.id != person.id:
            words = f"{who} has the e-mail of {mailed.id}"
            return bad("person", words, "make the two entries of the people file one")
        return self._can_click(who, account.user)

    def _by_email(self, person: Person, *, foreign: bool) -> Finding:
        if not person.email or not self._settings.match_email:
            where = "none in GATES_SLACK_TEAM_IDS" if foreign else "none"
            words = f"{person.id}: no Slack account ({where})"
            return warning("person", words, "add `slack: TEAM/USER`, or let them use the inbox")
        try:
            answer = self._patiently(
                "users.lookupByEmail",
                lambda: self._client.users_lookupByEmail(email=person.email),
            )
        except SlackApiError as error:
            words = f"{person.id}: nobody in Slack has their e-mail ({_reason(error)})"
            return warning("person", words, "correct it in the people file or in Slack")
        found = dict(answer["user"])
        account = Account(str(found.get("team_id")), str(found.get("id")))
        who = f"{person.id}: {account.team}/{account.user} by e-mail"
        if self._look_up.by_user_email(found) is None:
            why = refusal(found, account) or "the address is not confirmed"
            return bad("person", f"{who}: {why}", "add `slack: TEAM/USER` of another account")
        return self._can_click(who, account.user)

    def _can_click(self, who: str, user: str) -> Finding:
        if self._seen_in is not None and user not in self._seen_in:
            words = f"{who} is in no channel with cards: they get direct messages alone"
            return warning("person", words, "invite them there, if they should see the cards")
        return ok("person", who)

    def _user(self, user: str) -> Say:
        answer = self._patiently("users.info", lambda: self._client.users_info(user=user))
        return dict(answer["user"])

    # -- groups ----------------------------------------------------------------------------

    def _groups(self) -> Iterator[Finding]:
        settings = self._settings
        directory = SlackDirectory(
            self._people, self._client, settings.team_ids, match_email=settings.match_email
        )
        for group, slack_group in self._people.groups.items():
            if not slack_group:
                continue
            try:
                people = directory.members([group])
            except GatesError as error:
                cure = f"look at slack_group of {group!r} in the people file"
                yield bad("group", f"{group}: {error.message}", cure)
                continue
            names = ", ".join(person.id for person in people)
            if people:
                yield ok("group", f"{group} ({slack_group}): {names}")
            else:
                words = f"{group} ({slack_group}) has nobody of the people file"
                yield bad("group", words, "put people into the user group, or into the file")

    def _patiently(self, method: str, call: Callable[[], Any]) -> Any:
        """Wait where Slack asks for it, once. Raises SlackApiError for a refusal."""
        try:
            with asking(method):
                return call()
        except RetryLater as error:
            self._sleep(min(error.seconds, PATIENCE))
        with asking(method):
            return call()


def _reason(error: SlackApiError) -> str:
    return str(error.response.get("error"))
