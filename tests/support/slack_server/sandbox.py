"""The sandbox as tests use it: people who look, click and submit, and a network that fails."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from tests.support.slack_server.blockkit import check_view
from tests.support.slack_server.methods import shown, view_payload
from tests.support.slack_server.methods_views import (
    ClientRefusalError,
    button_of,
    pressed,
    states,
)
from tests.support.slack_server.server import HttpDoor, SocketDoor
from tests.support.slack_server.workspace import (
    APP_SCOPES,
    BOT_SCOPES,
    Channel,
    Ephemeral,
    Fault,
    Json,
    Limits,
    Message,
    ResponseUrl,
    User,
    UserGroup,
    View,
    Workspace,
)

T = TypeVar("T")
BOT_TOKEN = "xoxb-sandbox-bot"
APP_TOKEN = "xapp-sandbox-app"
SIGNING_SECRET = "sandbox-signing-secret"
TROUBLE = "We had some trouble connecting. Try again?"


@dataclass(frozen=True)
class Delivery:
    """What became of one click or submission, as the person saw it.

    `error` is what Slack shows the person (`None`: nothing went wrong); `payload` is the app's
    answer (`{}` for an empty ack); `seconds` until the ack.
    """

    transport: str
    acked: bool
    seconds: float
    payload: Json
    error: str | None = None
    field_errors: dict[str, str] | None = None


class SlackSandbox:
    """A Slack on loopback. Use as a context manager; `base_url` goes into the app's settings.

    With `app_url` set, interactions are signed and posted there; without, they go over Socket
    Mode to whoever is connected.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        app_url: str | None = None,
        port: int = 0,
        team_id: str = "T0SANDBOX",
        bot_scopes: frozenset[str] = BOT_SCOPES,
    ) -> None:
        self.space = Workspace(limits=limits or Limits(), team_id=team_id)
        self.app_url = app_url
        self._sender = httpx.Client(trust_env=False)  # to make one costs more than a click
        self.space.tokens = {BOT_TOKEN: bot_scopes, APP_TOKEN: APP_SCOPES}
        self.space.users[self.space.bot_user] = User(
            self.space.bot_user, "gates", "Gates", None, self.space.team_id, is_bot=True
        )
        self.http = HttpDoor(self.space, port)
        self.sockets = SocketDoor(self.space)
        self.space.base, self.space.socket_base = self.http.base, self.sockets.base

    @property
    def base_url(self) -> str:
        return f"{self.space.base}/api/"

    @property
    def team_id(self) -> str:
        return self.space.team_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sockets.close()
        self.http.close()
        self._sender.close()

    # -- the workspace ---------------------------------------------------------------------

    def add_user(self, name: str, email: str | None = None, **flags: Any) -> User:
        """Add a person; flags: deleted, is_bot, is_restricted, is_ultra_restricted,
        is_stranger, team_id, real_name, id.
        """
        with self.space.lock:
            real_name = flags.pop("real_name", name.title())
            team = flags.pop("team_id", self.space.team_id)
            number = flags.pop("id", None) or self.space.new_id("U")
            user = User(number, name, real_name, email, team, **flags)
            self.space.users[user.id] = user
            return user

    def add_channel(self, name: str, *members: User, private: bool = False) -> Channel:
        """Add a channel with these members and the app's bot."""
        with self.space.lock:
            people = {user.id for user in members} | {self.space.bot_user}
            channel = Channel(self.space.new_id("C"), name, people, is_private=private)
            self.space.channels[channel.id] = channel
            return channel

    def add_user_group(self, *members: User, id: str) -> UserGroup:  # noqa: A002 Slack's name
        """Add a user group with these members."""
        with self.space.lock:
            group = UserGroup(id, [user.id for user in members])
            self.space.user_groups[id] = group
            return group

    def add_message(self, channel: Channel, text: str) -> Message:
        """Somebody else says something in the channel."""
        with self.space.lock:
            look = {"text": text, "blocks": []}
            message = Message(channel.id, self.space.new_ts(), "U0SOMEBODY", [look])
            self.space.messages[channel.id, message.ts] = message
            return message

    # -- what people see -------------------------------------------------------------------

    def messages(self, channel: Channel | str) -> list[Message]:
        name = channel if isinstance(channel, str) else channel.id
        with self.space.lock:
            found = [m for (where, _), m in self.space.messages.items() if where == name]
            return [one for one in found if not one.thread]

    def thread(self, message: Message) -> list[Message]:
        """The replies below a message."""
        with self.space.lock:
            return [m for m in self.space.messages.values() if m.thread == message.ts]

    def direct_messages(self, user: User) -> list[Message]:
        with self.space.lock:
            return self.messages(self.space.direct_channel(user.id))

    def ephemerals(self, user: User) -> list[Ephemeral]:
        with self.space.lock:
            return [e for e in self.space.ephemerals if e.user == user.id]

    def told(self, user: User) -> list[str]:
        """Return everything said to this person alone: ephemerals, then direct messages."""
        texts = [e.text for e in self.ephemerals(user)]
        return texts + [m.text for m in self.direct_messages(user)]

    def open_views(self, user: User) -> list[View]:
        with self.space.lock:
            return [v for v in self.space.views.values() if v.user == user.id and v.open]

    def calls(self, method: str) -> list[Json]:
        with self.space.lock:
            return [args for name, args in self.space.calls if name == method]

    def wait_for(self, look: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
        """Return the first truthy `look()`; woken by every change, no polling."""
        return self.space.wait_for(look, what, seconds)

    def wait_message(self, channel: Channel, seconds: float = 60.0) -> Message:
        return self.wait_for(lambda: self.messages(channel), "a message", seconds)[-1]

    def wait_view(self, user: User, seconds: float = 60.0) -> View:
        return self.wait_for(lambda: self.open_views(user), "a modal", seconds)[-1]

    def wait_told(self, user: User, count: int = 1, seconds: float = 60.0) -> str:
        """Return the `count`-th thing said to this person alone."""

        def enough() -> list[str] | None:
            texts = self.told(user)
            return texts if len(texts) >= count else None

        return self.wait_for(enough, f"a private word to {user.name}", seconds)[count - 1]

    def wait_connected(self, count: int = 1, seconds: float = 60.0) -> None:
        self.wait_for(lambda: self.sockets.connected >= count, "a socket", seconds)

    # -- what people do --------------------------------------------------------------------

    def click(
        self,
        user: User,
        message: Message,
        action_id: str,
        *,
        version: int = -1,
        replace: Json | None = None,
    ) -> Delivery:
        """Click a button; `version` picks what the person has on screen (an older edit).

        `replace` puts other top-level parts into the payload (`{"team": None}`: an org-wide
        install).
        """
        payload = self.click_payload(user, message, action_id, version=version)
        return self.deliver(payload | (replace or {}))

    def click_payload(
        self, user: User, message: Message, action_id: str, *, version: int = -1
    ) -> Json:
        """Build the `block_actions` payload of one click, with a fresh trigger and URL."""
        space = self.space
        with space.lock:
            channel = space.channels[message.channel]
            if user.id not in channel.members:
                raise ClientRefusalError(f"{user.name} cannot see this channel")
            block, button = message.button(action_id, version)
            name = space.new_id("R")
            space.response_urls[name] = ResponseUrl(channel.id, user.id, message.ts, space.clock())
            where = {"message_ts": message.ts, "channel_id": channel.id, "is_ephemeral": False}
            return self._envelope(user, "block_actions") | {
                "container": {"type": "message", **where},
                "channel": {"id": channel.id, "name": channel.name},
                "message": shown(space, message, metadata=False),
                "state": {"values": {}},
                "response_url": f"{space.base}/actions/{space.team_id}/{name}",
                "actions": [pressed(block, button, space.new_ts())],
            }

    def press(self, view: View, action_id: str) -> Delivery:
        """Press a button that stands within an open modal."""
        return self.deliver(self.press_payload(view, action_id))

    def press_payload(self, view: View, action_id: str) -> Json:
        space = self.space
        with space.lock:
            if not view.open:
                raise ClientRefusalError("the modal is closed")
            block, button = button_of(view.body["blocks"], action_id)
            return self._envelope(space.users[view.user], "block_actions") | {
                "container": {"type": "view", "view_id": view.id},
                "view": view_payload(space, view),
                "actions": [pressed(block, button, space.new_ts())],
            }

    def submit(
        self,
        view: View,
        values: dict[str, str],
        *,
        by: User | None = None,
        replace: Json | None = None,
    ) -> Delivery:
        """Fill the modal (`{action_id: text}`) and press its button, as Slack's client lets one."""
        user = by or self.space.users[view.user]
        delivery = self.deliver(self.submit_payload(view, user, values) | (replace or {}))
        return self._after_submit(view, delivery)

    def submit_payload(self, view: View, user: User, values: dict[str, str]) -> Json:
        with self.space.lock:
            if not view.open:
                raise ClientRefusalError("the modal is closed")
            state = states(view.body["blocks"], values)
            return self._envelope(user, "view_submission") | {
                "view": view_payload(self.space, view, state),
                "response_urls": [],
            }

    def _envelope(self, user: User, kind: str) -> Json:
        space = self.space
        return {
            "type": kind,
            "team": {"id": user.team_id, "domain": "sandbox"},
            "user": {
                "id": user.id,
                "username": user.name,
                "name": user.name,
                "team_id": user.team_id,
            },
            "api_app_id": space.app_id,
            "token": "deprecated",
            "trigger_id": space.trigger(user.id),
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def _after_submit(self, view: View, delivery: Delivery) -> Delivery:
        """Show what Slack shows: the modal closes, shows errors, changes, or has trouble."""
        if not delivery.acked:
            return delivery
        answer = delivery.payload
        if not answer or answer == {"response_action": "clear"}:
            view.open = False
            return delivery
        action = answer.get("response_action")
        blocks = {block.get("block_id") for block in view.body["blocks"]}
        errors = answer.get("errors")
        if action == "errors" and isinstance(errors, dict) and errors and errors.keys() <= blocks:
            return Delivery(**{**delivery.__dict__, "field_errors": errors})
        if action == "update" and not check_view(answer.get("view")):
            view.body = answer["view"]
            return delivery
        return Delivery(**{**delivery.__dict__, "error": TROUBLE})

    # -- delivery --------------------------------------------------------------------------

    def deliver(self, payload: Json) -> Delivery:
        """Send an interaction over the app's transport and wait for its ack (3 s)."""
        return self._over_http(payload) if self.app_url else self._over_socket(payload)

    def _over_socket(self, payload: Json) -> Delivery:
        start = time.monotonic()
        future = self.sockets.deliver(payload)
        if future is None:
            return Delivery("socket", acked=False, seconds=0.0, payload={}, error=TROUBLE)
        try:
            answer = future.result(timeout=self.space.limits.ack)
        except FutureTimeoutError:
            spent = time.monotonic() - start
            return Delivery("socket", acked=False, seconds=spent, payload={}, error=TROUBLE)
        spent = time.monotonic() - start
        return Delivery("socket", acked=True, seconds=spent, payload=answer.get("payload") or {})

    def signed(self, payload: Json, *, at: float | None = None) -> tuple[bytes, dict[str, str]]:
        """Return (body, headers) of the request that Slack would send."""
        body = httpx.QueryParams({"payload": json.dumps(payload)}).__str__().encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return body, form | self.signing(body, at=at)

    def signing(self, body: bytes, *, at: float | None = None) -> dict[str, str]:
        stamp = str(int(time.time() if at is None else at))
        base = b"v0:" + stamp.encode() + b":" + body
        mac = hmac.new(SIGNING_SECRET.encode(), base, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={mac}"}

    def _over_http(self, payload: Json) -> Delivery:
        body, headers = self.signed(payload)
        start = time.monotonic()
        try:
            answer = self._sender.post(
                str(self.app_url), content=body, headers=headers, timeout=self.space.limits.ack
            )
        except httpx.HTTPError:
            spent = time.monotonic() - start
            return Delivery("http", acked=False, seconds=spent, payload={}, error=TROUBLE)
        spent = time.monotonic() - start
        if answer.status_code != 200:
            return Delivery("http", acked=False, seconds=spent, payload={}, error=TROUBLE)
        try:
            content = json.loads(answer.text) if answer.text else {}
        except ValueError:
            content = {"text": answer.text}
        return Delivery("http", acked=True, seconds=spent, payload=content)

    # -- faults ----------------------------------------------------------------------------

    def fail_next(self, method: str, kind: str, **more: Any) -> None:
        """Arrange for the next call(s) of a method to go wrong; kinds: see `Fault`."""
        with self.space.lock:
            self.space.faults.append(Fault(method, kind, **more))

    def cut_sockets(self) -> int:
        return self.sockets.cut()

    def outage(self, *, on: bool, addresses: bool = False) -> None:
        """Refuse (or accept again) new sockets, and cut those that stand; `addresses`: give them
        out all the same.
        """
        with self.space.lock:
            self.space.refuse_sockets = on
            self.space.refuse_addresses = on and not addresses
        if on:
            self.sockets.cut()
