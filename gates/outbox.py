"""Claim, send, settle, back off: what a commit promised to the outside is kept here.

Rows are wishes ("bring the cards of this request up to date"), not messages: a handler reads
the request as it is now and makes the outside match, so that the order of deliveries does not
matter and ten changes may cost one update. A row is leased while it is worked on; a wish that
comes meanwhile is seen by its number, and the row stays due.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import col, select

from gates.core.errors import RetryLater
from gates.service import utc_now
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import OutboxRow

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
IDLE = 1.0  # seconds between looks when nobody rings: other servers' wishes are found this late
GIVES_WAY = 0.05  # seconds that a run which waits on this very server gets to go on first
SLOWEST = 60.0
FAST_TRIES = 150  # so often a doorbell is rung at short intervals before it slows down
GIVE_UP = 2_000

Handler = Callable[[str], bool]
"""Takes a request's id. True: done. False: not yet, come back soon. Raises: come back later."""


@dataclass(frozen=True)
class Wish:
    id: int
    kind: str
    request_id: str
    wanted: int
    tries: int
    lease_until: datetime


@dataclass
class Outbox:
    """Runs its handlers in threads of its own, one a kind, so that a slow channel holds up
    nobody else's.
    """

    database: Database
    handlers: Mapping[str, Handler]
    clock: Callable[[], datetime] = utc_now
    _bells: dict[str, threading.Event] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for kind in self.handlers:
            self._bells[kind] = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(kind,), name=f"outbox-{kind}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def ring(self, kinds: Collection[str] | None = None) -> None:
        """There may be something to do, of these kinds or of any."""
        for kind, bell in self._bells.items():
            if kinds is None or kind in kinds:
                bell.set()

    def stop(self) -> None:
        self._stop.set()
        self.ring()
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self, kind: str) -> None:
        bell = self._bells[kind]
        while not self._stop.is_set():
            bell.clear()
            pause = IDLE
            try:
                pause = self.work(kind)
            except Exception:
                log.exception("outbox %s: the store did not answer; trying again", kind)
            if pause > 0 and bell.wait(pause):
                self._stop.wait(GIVES_WAY)

    def work(self, kind: str) -> float:
        """Do one due wish. Returns after how many seconds to look again; 0 for at once."""
        wish = self._claim(kind)
        if wish is None:
            return self._until_due(kind)
        try:
            done = self.handlers[kind](wish.request_id)
        except RetryLater as error:
            self._settle(wish, after=error.seconds, error=str(error))
        except Exception as error:  # noqa: BLE001 - a handler's trouble must not end the loop
            log.warning("outbox %s %s: %s", kind, wish.request_id[:8], error)
            self._settle(wish, after=_slow(wish.tries), error=f"{type(error).__name__}: {error}")
        else:
            self._settle(wish, after=None if done else _quick(wish.tries))
        return 0

    def _claim(self, kind: str) -> Wish | None:
        now = self.clock()
        with self.database.read() as session:
            if session.exec(_due(kind, now)).first() is None:
                return None
        with self.database.write() as session:
            row = session.exec(_due(kind, now).with_for_update(skip_locked=True)).first()
            if row is None or row.id is None:
                return None
            until = row.lease_until = now + LEASE
            row.tries += 1
            return Wish(row.id, row.kind, row.request_id, row.wanted, row.tries, until)

    def _settle(self, wish: Wish, *, after: float | None, error: str = "") -> None:
        """`after` None: done, unless more was wished meanwhile. Who was so slow that another
        has taken over settles nothing: the row is the other's now.
        """
        with self.database.write() as session:
            now = self.clock()
            row = session.get(OutboxRow, wish.id, with_for_update=True)
            if row is None or row.lease_until != wish.lease_until:
                return
            row.lease_until = None
            row.last_error = error
            if row.wanted != wish.wanted:
                row.due_at = now
            elif after is None:
                row.state = "done"
            elif row.tries >= GIVE_UP:
                row.state = "dead"
                Unit(session, now).log("outbox", "outbox.dead", row.request_id, error=error)
            else:
                row.due_at = now + timedelta(seconds=after)

    def _until_due(self, kind: str) -> float:
        now = self.clock()
        with self.database.read() as session:
            query = select(col(OutboxRow.due_at)).where(
                OutboxRow.kind == kind,
                OutboxRow.state == "pending",
                (col(OutboxRow.lease_until).is_(None)) | (col(OutboxRow.lease_until) <= now),
            )
            due = session.exec(query.order_by(col(OutboxRow.due_at)).limit(1)).first()
        if due is None:
            return IDLE
        return min(max((due - now).total_seconds(), 0.02), IDLE)


def _due(kind: str, now: datetime):  # type: ignore[no-untyped-def]  # noqa: ANN202 - SQLModel's own
    return (
        select(OutboxRow)
        .where(
            OutboxRow.kind == kind,
            OutboxRow.state == "pending",
            col(OutboxRow.due_at) <= now,
            (col(OutboxRow.lease_until).is_(None)) | (col(OutboxRow.lease_until) <= now),
        )
        .order_by(col(OutboxRow.due_at))
        .limit(1)
    )


def _quick(tries: int) -> float:
    """For "not yet": ten times a second for a while, then every few seconds."""
    return 0.1 if tries < FAST_TRIES else 5.0


def _slow(tries: int) -> float:
    """For trouble: doubling from a quarter of a second to a minute."""
    return min(0.25 * float(2 ** min(tries - 1, 10)), SLOWEST)
