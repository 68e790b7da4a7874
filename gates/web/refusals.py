"""Every call that the server refuses is in the log: who, from where, what, and why not.

Rules:
1. The entry is committed before the caller has its answer; without the store the answer goes out
   all the same, and the entry follows.
2. Nothing that a caller chose freely is written: no path, no body, no name. A login token that was
   typed into a wrong address does not end up in the log, and nobody writes texts into it.
3. Nobody fills the disk. The same refusal is counted for a minute and then written as a number;
   of different ones only so many are told apart, and the others are counted together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gates.access import Access
from gates.core.errors import GatesError
from gates.service import Gates
from gates.store.repository import Unit
from gates.web.direct import ROUTE
from gates.web.errors import HEADER

log = logging.getLogger(__name__)

KIND = "call.refused"
WINDOW = 60.0  # seconds for which the same refusal is only counted
MOST_AT_ONCE = 2_000  # different refusals that are told apart in a burst
REFILL = 1.0  # a second: of those that are told apart, once the burst is used up
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
UNKNOWN, OTHER, MANY = "unknown", "other", "many"


class Refusal(NamedTuple):
    """`key`: id of the API key, empty without a valid one. `route`: its template, or unknown."""

    actor: str
    key: str
    peer: str
    method: str
    route: str
    status: int
    code: str


class Refusals:
    """`write` stores refusals with how often each happened, in one transaction."""

    def __init__(
        self,
        write: Callable[[Iterable[tuple[Refusal, int]]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._counts: dict[Refusal, int] = {}
        self._left = float(MOST_AT_ONCE)
        self._seen = clock()

    async def note(self, refusal: Refusal) -> None:
        """Written at once where it is new; else counted until the next `flush`."""
        if refusal not in self._counts and not self._afford():
            refusal = Refusal(MANY, "", MANY, MANY, MANY, 0, MANY)
        if refusal in self._counts:
            self._counts[refusal] += 1
            return
        self._counts[refusal] = 0
        await self._store([(refusal, 1)])

    async def flush(self) -> None:
        """Write what was counted; from here on each refusal is new again."""
        counts, self._counts = self._counts, {}
        await self._store([(one, times) for one, times in counts.items() if times])

    async def keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(WINDOW)
            await self.flush()

    async def _store(self, entries: list[tuple[Refusal, int]]) -> None:
        if not entries:
            return
        try:
            await run_in_threadpool(self._write, entries)
        except SQLAlchemyError as error:
            log.warning("refusals cannot be written now, and will be: %s", error)
            for one, times in entries:
                self._counts[one] = self._counts.get(one, 0) + times

    def _afford(self) -> bool:
        now = self._clock()
        self._left = min(MOST_AT_ONCE, self._left + (now - self._seen) * REFILL)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def into(gates: Gates) -> Callable[[Iterable[tuple[Refusal, int]]], None]:
    """A writer into this server's log."""

    def write(entries: Iterable[tuple[Refusal, int]]) -> None:
        with gates.database.write() as session:
            unit = Unit(session, gates.clock())
            for one, times in entries:
                about = one._asdict()
                unit.log(about.pop("actor"), KIND, one.route, **about, times=times)

    return write


class NotesRefusals:
    """ASGI middleware, the outermost: sees what every other part refused."""

    def __init__(self, app: ASGIApp, refusals: Refusals, access: Access, cookie: str) -> None:
        self.app = app
        self.refusals = refusals
        self.access = access
        self.cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            refused = message["type"] == "http.response.start" and message["status"] >= 400  # noqa: PLR2004
            if refused and message["status"] != HTTPStatus.SERVICE_UNAVAILABLE:
                await self.refusals.note(await self._refusal(scope, message))
            await send(message)

        await self.app(scope, receive, noted)

    async def _refusal(self, scope: Scope, answer: Message) -> Refusal:
        status, headers = answer["status"], dict(answer.get("headers", ()))
        actor, key = await run_in_threadpool(self._actor, Request(scope))
        client, method = scope.get("client"), scope["method"]
        return Refusal(
            actor,
            key,
            peer=client[0] if client else UNKNOWN,
            method=method if method in METHODS else OTHER,
            route=str(scope.get(ROUTE) or getattr(scope.get("route"), "path", UNKNOWN)),
            status=status,
            code=headers.get(HEADER.encode(), HTTPStatus(status).phrase.encode()).decode(),
        )

    def _actor(self, request: Request) -> tuple[str, str]:
        """Who this is, as a valid key or session says; what is claimed otherwise is not used."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        try:
            if kind == "Bearer":
                holder = self.access.key_holder(secret)
                return holder.requester.agent, holder.key_id
            token = secret if kind == "Session" else request.cookies.get(self.cookie, "")
            return (self.access.session(token).person_id, "") if token else (UNKNOWN, "")
        except (GatesError, SQLAlchemyError, ValueError):
            return UNKNOWN, ""
