"""Engines, transactions and migrations.

A write transaction on SQLite begins IMMEDIATE and queues in this process: SQLite's own busy
handler polls, and a deferred transaction that upgrades can only fail. On PostgreSQL commands
lock the rows that they change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlmodel import Session

from gates.core.errors import InvalidInput

BUSY_SECONDS = 30
WISHED = "wished"  # in a session's info: the kinds of outbox rows that its transaction wishes for


class Database:
    """`url` is SQLAlchemy's; sqlite:///FILE and postgresql://... are supported. `wished` is
    called after each commit that has something for the outbox, with its kinds.
    """

    wished: Callable[[Collection[str]], None]

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise InvalidInput(
                f"GATES_DATABASE_URL = {parsed.render_as_string()!r}: "
                "use sqlite:///FILE or postgresql://USER@HOST/DATABASE."
            )
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.engine = _sqlite(parsed) if self.is_sqlite else _postgresql(parsed)
        self._writing = self.engine.execution_options(gates_write=True)
        self._reading = self.engine
        if not self.is_sqlite:  # under READ COMMITTED a transaction gives a reader nothing
            self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        self.wished = lambda _kinds: None

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._reading) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: commits at the end, rolls back on any error."""
        with self._turn, Session(self._writing, expire_on_commit=False) as session:
            yield session
            session.commit()
        if kinds := session.info.get(WISHED):
            self.wished(kinds)

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to `revision`; safe to call by several servers at once."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._writing.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def close(self) -> None:
        self.engine.dispose()


def _sqlite(url: Any) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, pool_size=20
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("gates_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @event.listens_for(engine, "checkin")
    def _checkin(connection: Any, _record: Any) -> None:
        # A COMMIT that fails (a reference that is checked there) leaves SQLite's transaction open.
        if connection is not None and connection.in_transaction:
            connection.rollback()

    return engine


def _postgresql(url: Any) -> Engine:
    return create_engine(url, pool_size=20, max_overflow=20, pool_pre_ping=True)
