"""What the gates of this process share: the way to the server, and one record a run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import uuid4
from weakref import WeakKeyDictionary

from gates.actions import ActionDefinition
from gates.client import GatesClient
from gates.core.messages import AttemptReport, Awaited, Proposal
from gates.core.model import GateReply, Grant, Step, Suspension
from gates.flow.keys import Keys
from gates.settings import PREFIX, ClientSettings


class Transport(Protocol):
    """What a flow says to the authority; `GatesClient` is one."""

    def propose(self, proposal: Proposal) -> GateReply: ...
    def claim(self, request_id: str, proposal: Proposal) -> GateReply: ...
    def wait(
        self, request_id: str, *, attempt_id: str, call: int, after: int, seconds: float
    ) -> GateReply: ...
    def trail(self, request_id: str) -> list[Step]: ...
    def news(self, awaited: Sequence[Awaited], seconds: float) -> list[GateReply]: ...
    def suspending(
        self, request_ids: Sequence[str], wake_at: datetime | None = None
    ) -> Suspension: ...
    def staying(self, request_ids: Sequence[str]) -> None: ...
    def leaving(self, request_ids: Sequence[str], *, withdraw: bool, reason: str) -> None: ...
    def renew(self, attempt_id: str, fence: int, lease_seconds: int) -> Grant: ...
    def report(self, attempt_id: str, report: AttemptReport) -> GateReply: ...


class Resting(NamedTuple):
    """What a call rests for: an open request, shown as `words`; or an executor's work, which is
    nothing to suspend for. It lingers until then (monotonic seconds), and its author waits no
    longer than `until`.
    """

    request_id: str
    words: str
    lingers: float = 0.0
    of_people: bool = True
    until: datetime | None = None


@dataclass
class Pass:
    """One pass of one run in this process: its keys, and whether it may be suspended now.

    A run must not be suspended while one of its calls holds a grant: the process would end in
    the middle of the action. So calls `enter` before they can get a grant and rest while
    nothing can happen. A suspension waits until all rest, none of them for an executor, and none
    lingers any more; it is for all that they rest for.
    """

    keys: Keys = field(default_factory=Keys)
    roots: dict[str, str] = field(default_factory=dict)
    _busy: int = 0
    _resting: dict[int, Sequence[Resting]] = field(default_factory=dict)
    _suspending: bool = False
    _ended: BaseException | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def enter(self) -> None:
        """Raises what ended this pass, if something has."""
        with self._changed:
            self._changed.wait_for(lambda: not self._suspending)
            self._busy += 1
            if self._ended is not None:
                raise self._ended

    def leave(self) -> None:
        with self._changed:
            self._busy -= 1

    @contextmanager
    def resting(self, *what: Resting) -> Iterator[None]:
        """Between `enter` and `leave`: in this block nothing can happen."""
        mark = object()
        with self._changed:
            self._busy -= 1
            self._resting[id(mark)] = what
        try:
            yield
        finally:
            with self._changed:
                self._resting.pop(id(mark), None)
            self.enter()

    @contextmanager
    def suspending(self) -> Iterator[Sequence[Resting]]:
        """All that the run would suspend for; nothing where a call is busy, lingers, or rests
        for an executor. What leaves this block by raising ends the pass.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._suspending)
            if self._ended is not None:
                raise self._ended
            what = [one for some in self._resting.values() for one in some]
            now = time.monotonic()
            free = self._busy == 0 and all(w.of_people and w.lingers <= now for w in what)
            self._suspending = free
        try:
            yield what if free else ()
        except BaseException as ended:
            self._ended = ended if not isinstance(ended, Exception) else None
            raise
        finally:
            if free:
                with self._changed:
                    self._suspending = False
                    self._changed.notify_all()


@dataclass
class Session:
    """`linger`: seconds in which a person's answer costs no restart; `lease`: seconds for which
    a process that runs an action may be silent. `suspends` is False in tests of flows;
    `definitions` are those that the flow has named so far.
    """

    transport: Transport
    linger: float
    lease: int
    suspends: bool = True
    definitions: dict[str, ActionDefinition[Any, Any]] = field(default_factory=dict)
    script: str = field(default_factory=lambda: f"script-{uuid4().hex}")
    script_pass: Pass = field(default_factory=Pass)
    _passes: WeakKeyDictionary[Any, Pass] = field(default_factory=WeakKeyDictionary)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_of(self, anchor: Any) -> Pass:
        """`anchor` lives as long as one pass of a run does."""
        with self._lock:
            return self._passes.setdefault(anchor, Pass())


chosen: ContextVar[Session | None] = ContextVar("gates_session", default=None)


def current() -> Session:
    """The session of `gates.testing`, or the one that the environment describes.

    Raises InvalidInput where there is no key.
    """
    session = chosen.get()
    if session is not None:
        return session
    told = (one for one in os.environ.items() if one[0].upper().startswith(PREFIX))
    return _as_told(tuple(sorted(told)))


@lru_cache(maxsize=8)
def _as_told(_environment: tuple[tuple[str, str], ...]) -> Session:
    """Reading settings takes longer than looking whether they are the same as before."""
    settings = ClientSettings()
    return _from_environment(
        settings.url,
        settings.api_key,
        settings.api_key_file,
        settings.linger,
        settings.patience,
        settings.lease,
    )


@cache
def _from_environment(
    url: str, api_key: str, key_file: Path | None, linger: float, patience: float, lease: int
) -> Session:
    settings = ClientSettings(
        url=url,
        api_key=api_key,
        api_key_file=key_file,
        linger=linger,
        patience=patience,
        lease=lease,
    )
    client = GatesClient(url, key=settings.key(), patience=patience, fresh_key=settings.key)
    return Session(client, linger, lease)


def _forget() -> None:
    """Sockets are not to be shared with a parent."""
    _as_told.cache_clear()
    _from_environment.cache_clear()


os.register_at_fork(after_in_child=_forget)
