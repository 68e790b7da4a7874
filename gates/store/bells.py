"""Wake-ups between servers on one PostgreSQL, by NOTIFY and LISTEN.

They are sent after the commit that they are about, on a connection of their own and many at
once: a NOTIFY within the transaction would queue all commits behind one lock. One that is lost
with its server costs nothing but the slow look that stands behind every wait.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg

from gates.store.database import Database

log = logging.getLogger(__name__)

CHANNEL = "gates"
MOST_AT_ONCE = 200  # names of up to 32 characters: PostgreSQL takes 8,000 bytes
GATHERS = 0.002  # seconds in which more may join a message that is on its way
LOOKS = 0.5  # seconds between looks whether to stop
PAUSE = 1.0  # seconds between tries while the database is away
QUIET: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
MOST_KEPT = 10_000


@dataclass
class Bells:
    """`heard` is called with each name that another server rings; `missed` when some may have
    been lost: at the start, and after every reconnection.
    """

    database: Database
    heard: Callable[[str], None]
    missed: Callable[[], None]
    _me: str = field(default_factory=lambda: uuid4().hex[:8])
    _names: queue.Queue[str] = field(default_factory=lambda: queue.Queue(MOST_KEPT))
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def tell(self, name: str) -> None:
        """From any thread; never waits. What finds no room is lost."""
        try:
            self._names.put_nowait(name)
        except queue.Full:
            log.debug("bells: %s finds no room", name)

    def start(self) -> None:
        for work in (self._listen, self._tell):
            thread = threading.Thread(
                target=self._again_and_again, args=(work,), name="bells", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _again_and_again(self, work: Callable[[Any], None]) -> None:
        while not self._stop.is_set():
            try:
                with closing(self._connected()) as connection:
                    work(connection)
            except psycopg.Error as error:
                log.warning("bells: PostgreSQL does not answer (%s); trying again", error)
                self._stop.wait(PAUSE)

    def _connected(self) -> Any:
        dialect = self.database.engine.dialect
        positional, named = dialect.create_connect_args(self.database.engine.url)
        return psycopg.connect(*positional, **{**named, **QUIET}, autocommit=True)

    def _listen(self, connection: Any) -> None:
        connection.execute(f"LISTEN {CHANNEL}")
        self.missed()
        while not self._stop.is_set():
            for notice in connection.notifies(timeout=LOOKS):
                sender, *names = notice.payload.split()
                if sender != self._me:
                    for name in names:
                        self.heard(name)

    def _tell(self, connection: Any) -> None:
        connection.execute("SET synchronous_commit = off")  # nothing here outlives a crash
        while not self._stop.is_set():
            names = self._gathered()
            if names:
                words = " ".join((self._me, *names))
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, words))

    def _gathered(self) -> set[str]:
        try:
            names = {self._names.get(timeout=LOOKS)}
        except queue.Empty:
            return set()
        self._stop.wait(GATHERS)
        while len(names) < MOST_AT_ONCE:
            try:
                names.add(self._names.get_nowait())
            except queue.Empty:
                break
        return names
