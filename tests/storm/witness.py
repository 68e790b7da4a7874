"""Remembers what the log said while the storm went on: an entry that was there once stays as it
was. Reads the tables past the server.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, field

import psycopg

from tests.storm.checker import Store, entry_digest
from tests.storm.journal import Journal

EVERY = 2.0  # seconds
BEHIND = 500  # entries: a number may be committed after a later one


@dataclass
class Witness:
    database: str
    journal: Journal
    _seen: dict[int, str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self._look()
            except (sqlite3.Error, psycopg.Error):
                continue  # the disk is full, or the database away: it looks again

    def _look(self) -> None:
        since = max(self._seen, default=0) - BEHIND
        with Store(self.database) as store:
            rows = store.rows("SELECT * FROM log WHERE seq > ?", since)
        for row in rows:
            digest = entry_digest(row)
            if self._seen.setdefault(row["seq"], digest) == digest:
                continue
            self.journal.note("seen", seq=row["seq"], digest=self._seen[row["seq"]])
        for row in rows:
            if row["seq"] > since + BEHIND:
                self.journal.note("seen", seq=row["seq"], digest=self._seen[row["seq"]])
