"""What the sandbox remembers: people, channels, messages, modals, triggers, faults.

One lock guards everything; `changed` wakes whoever waits for something to appear.
"""

from __future__ import annotations

import copy
import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")

BOT_SCOPES = frozenset(
    {"chat:write", "users:read", "users:read.email", "im:write", "channels:read"}
    | {
        "channels:history",
        "groups:read",
        "groups:history",
        "im:history",
        "usergroups:read",
        "commands",
    }
)
APP_SCOPES = frozenset({"connections:write"})


@dataclass
class Limits:
    """Slack's numbers; tests shorten the waits, never the rules. Seconds unless named."""

    ack: float = 3.0
    trigger: float = 3.0
    response_url: float = 1800.0
    response_url_uses: int = 5
    post_interval: float = 1.0  # one chat.postMessage a channel in this time
    per_minute: dict[str, int] = field(
        default_factory=lambda: defaultdict(
            lambda: 100,
            {"chat.update": 50, "users.lookupByEmail": 50, "conversations.history": 50}
            | {"usergroups.users.list": 20},
        )
    )


@dataclass
class User:
    id: str
    name: str
    real_name: str
    email: str | None
    team_id: str
    deleted: bool = False
    is_bot: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False
    is_email_confirmed: bool = True
    tz: str = "Etc/UTC"


@dataclass
class UserGroup:
    id: str
    members: list[str]
    enabled: bool = True


@dataclass
class Channel:
    id: str
    name: str
    members: set[str]
    is_im: bool = False
    is_private: bool = False
    is_archived: bool = False


@dataclass
class Message:
    """One message with all that it ever looked like; `versions[-1]` is what people see."""

    channel: str
    ts: str
    user: str
    versions: list[Json]
    metadata: Json | None = None
    edits: int = 0
    thread: str = ""  # the message below which it stands

    @property
    def text(self) -> str:
        return str(self.versions[-1]["text"])

    @property
    def blocks(self) -> list[Json]:
        return list(self.versions[-1]["blocks"])

    def button(self, action_id: str, version: int = -1) -> tuple[Json, Json]:
        """Return (block, button) in one version; `LookupError` if the person sees no such."""
        for block in self.versions[version]["blocks"]:
            for element in [*block.get("elements", []), block.get("accessory") or {}]:
                if element.get("type") == "button" and element.get("action_id") == action_id:
                    return block, element
        raise LookupError(f"no button {action_id!r} on the message {self.ts}")

    def has_button(self, action_id: str) -> bool:
        try:
            self.button(action_id)
        except LookupError:
            return False
        return True


@dataclass
class Ephemeral:
    channel: str
    user: str
    text: str
    blocks: list[Json]


@dataclass
class View:
    """A modal on one person's screen."""

    id: str
    user: str
    body: Json
    hash: str
    open: bool = True


@dataclass
class Trigger:
    user: str
    born: float
    used: bool = False


@dataclass
class ResponseUrl:
    channel: str
    user: str
    message_ts: str
    born: float
    uses: int = 0


@dataclass
class Fault:
    """What happens to the next `times` calls of one method.

    `kind`: `status` (answer `status` without doing anything), `ratelimited` (429 with
    `retry_after`), `lose_reply` (do it, then close the connection without a word),
    `drop` (close the connection before doing it), `error` (answer ok=false with `error`).
    """

    method: str
    kind: str
    times: int = 1
    status: int = 500
    retry_after: int = 1
    error: str = "internal_error"


class Workspace:
    """The state of the pretended Slack."""

    def __init__(
        self, *, limits: Limits, team_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.team_id = team_id
        self.app_id = "A0GATES"
        self.bot_user = "U0GATESBOT"
        self.bot_id = "B0GATES"
        self.tokens: dict[str, frozenset[str]] = {}
        self.users: dict[str, User] = {}
        self.user_groups: dict[str, UserGroup] = {}
        self.channels: dict[str, Channel] = {}
        self.messages: dict[tuple[str, str], Message] = {}
        self.ephemerals: list[Ephemeral] = []
        self.views: dict[str, View] = {}
        self.homes: dict[str, Json] = {}
        self.triggers: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.tickets: set[str] = set()
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, Json]] = []
        self.refuse_sockets = False
        self.refused = 0  # calls, for their pace
        self.refuse_addresses = False
        self.base = ""  # the HTTP address, set by the server
        self.socket_base = ""
        self._numbers = itertools.count(1)
        self._last_post: dict[str, float] = {}
        self._recent: dict[str, deque[float]] = defaultdict(deque)
        self._last_ts = 0

    def new_id(self, letter: str) -> str:
        return f"{letter}{next(self._numbers):08d}"

    def new_ts(self) -> str:
        """Return a message's time stamp: microseconds, unique, ever growing."""
        self._last_ts = max(self._last_ts + 1, int(time.time() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def notify(self) -> None:
        with self.lock:
            self.changed.notify_all()

    def wait_for(self, look: Callable[[], T | None], what: str, seconds: float) -> T:
        """Return the first truthy result of `look`; `TimeoutError` names `what` was awaited."""
        with self.lock:
            result: T | None = None

            def seen() -> bool:
                nonlocal result
                result = look()
                return bool(result)

            if not self.changed.wait_for(seen, timeout=seconds) or result is None:
                raise TimeoutError(f"{what} did not appear within {seconds} s")
            return result

    def trigger(self, user: str) -> str:
        name = f"{self.new_id('TR')}.trigger"
        self.triggers[name] = Trigger(user, self.clock())
        return name

    def use_trigger(self, name: object) -> Trigger | str:
        """Return the trigger, or Slack's error: unknown, expired or used before."""
        found = self.triggers.get(str(name))
        if found is None:
            return "invalid_trigger_id"
        if found.used:
            return "exchanged_trigger_id"
        if self.clock() - found.born > self.limits.trigger:
            return "expired_trigger_id"
        found.used = True
        return found

    def retry_after(self, method: str, channel: str | None) -> float:
        """Return the seconds to wait before this call is let through; 0 lets it through now."""
        now = self.clock()
        recent = self._recent[method]
        while recent and now - recent[0] >= 60:
            recent.popleft()
        if len(recent) >= self.limits.per_minute[method]:
            return 60 - (now - recent[0])
        if method == "chat.postMessage" and channel is not None:
            wait = self._last_post.get(channel, -1e9) + self.limits.post_interval - now
            if wait > 0:
                return wait
            self._last_post[channel] = now
        recent.append(now)
        return 0.0

    def take_fault(self, method: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and fault.times > 0:
                fault.times -= 1
                return copy.copy(fault)
        return None

    def direct_channel(self, user: str) -> Channel:
        """Return the direct-message channel of the bot with this person, made on first use."""
        members = {user, self.bot_user}
        for channel in self.channels.values():
            if channel.is_im and channel.members == members:
                return channel
        channel = Channel(self.new_id("D"), "directmessage", members, is_im=True)
        self.channels[channel.id] = channel
        return channel
