"""Signed messages that have been taken, so that none is taken twice, by whichever server.

A signature proves who wrote a message, not that it comes for the first time: who has overheard
one could send it again for as long as its time stamp counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from gates.service import utc_now
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import SignedRow

SWEEP = timedelta(minutes=1)  # between two looks for what has expired


@dataclass
class Replays:
    """`window`: for how long after its time stamp a message counts at all."""

    database: Database
    source: str
    window: timedelta
    clock: Callable[[], datetime] = utc_now
    _swept: datetime = field(default=datetime.min.replace(tzinfo=UTC))

    def first(self, stamp: str, signature: str) -> bool:
        """Whether this message comes for the first time; durable before it returns. A repeat is
        counted, and the 1st, 10th, 100th... of it is in the log.
        """
        now, digest = self.clock(), hashlib.sha256(f"{stamp}:{signature}".encode()).hexdigest()
        # Twice the window: another server's clock may lag behind.
        until = datetime.fromtimestamp(int(stamp), UTC) + 2 * self.window
        try:
            with self.database.write() as session:
                session.add(SignedRow(digest=digest, expires_at=until))
                if now - self._swept >= SWEEP:
                    session.exec(delete(SignedRow).where(col(SignedRow.expires_at) < now))
                    self._swept = now
        except IntegrityError:
            self._count(digest)
            return False
        return True

    def _count(self, digest: str) -> None:
        with self.database.write() as session:
            row = session.get(SignedRow, digest, with_for_update=True)
            if row is None:  # it has expired this very moment
                return
            row.repeats += 1
            if str(row.repeats).strip("0") == "1":
                unit = Unit(session, self.clock())
                unit.log("unknown", "request.replayed", digest, at=self.source, times=row.repeats)
