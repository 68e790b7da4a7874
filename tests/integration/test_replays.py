"""Signed messages are taken once, on both databases, whatever races."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlmodel import select

from gates.replays import Replays
from gates.store.database import Database
from gates.store.tables import LogRow, SignedRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))


def test_of_many_at_once_one_is_the_first(database: Database) -> None:
    """Two servers, sixteen copies: one is taken, and the repeats are counted and logged."""
    servers = [Replays(database, "slack", timedelta(minutes=5), lambda: NOW) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: servers[n % 2].first(STAMP, "v0=a"), range(16)))
    assert taken.count(True) == 1
    with database.read() as session:
        assert [row.repeats for row in session.exec(select(SignedRow)).all()] == [15]
        logged = [
            row for row in session.exec(select(LogRow)).all() if row.kind.endswith("replayed")
        ]
    assert len(logged) == 2  # the first and the tenth


def test_another_signature_or_another_time_is_another_message(database: Database) -> None:
    """The signature covers the time; both are looked at."""
    replays = Replays(database, "slack", timedelta(minutes=5), lambda: NOW)
    assert replays.first(STAMP, "v0=a")
    assert replays.first(STAMP, "v0=b")
    assert replays.first(str(int(STAMP) + 1), "v0=a")
    assert not replays.first(STAMP, "v0=b")
