"""Engines, transactions and migrations.

A write transaction on SQLite begins IMMEDIATE and queues in this process: SQLite's own busy
handler polls, and a deferred transaction that upgrades can only fail. On PostgreSQL commands
lock the rows that they change.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlmodel import Session

from gates.core.errors import InvalidInput

BUSY_SECONDS = 30
MIGRATIONS = str(Path(__file__).parent / "migrations")
RESTED_SECONDS = 1.0  # a connection that was idle for longer is asked whether it still lives
MOST_OWNERS = 10_000
OWNERS = "owners"  # in a session's info: whose the runs are, as once read; that never changes
UNITS = "units"  # in a session's info: what has rows of its own to write before the commit
AFTER = "after"  # in a session's info: what is to be called once its transaction is committed
WISHED = "wished"  # in a session's info: the kinds of outbox rows that its transaction wishes for


class Database:
    """`url` is SQLAlchemy's; sqlite:///FILE and postgresql://... are supported. `wished` is
    called after each commit that has something for the outbox, with its kinds. `wait_seconds`:
    how long a command waits for a connection where all are in use.
    """

    wished: Callable[[Collection[str]], None]

    def __init__(self, url: str, wait_seconds: float = BUSY_SECONDS) -> None:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise InvalidInput(
                f"GATES_DATABASE_URL = {parsed.render_as_string()!r}: "
                "use sqlite:///FILE or postgresql://USER@HOST/DATABASE."
            )
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        made = _sqlite if self.is_sqlite else _postgresql
        self.engine = made(parsed, wait_seconds)
        self._writing = self.engine.execution_options(gates_write=True)
        self._reading = self.engine
        if not self.is_sqlite:  # under READ COMMITTED a transaction gives a reader nothing
            self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        self._owners: dict[str, str] = {}
        self.wished = lambda _kinds: None

    @contextmanager
    def read(self) -> Iterator[Session]:
        with (
            self._reading.connect() as connection,
            Session(connection, info={OWNERS: self._known_owners()}) as session,
        ):
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: commits at the end, rolls back on any error."""
        with (
            self._turn,
            self._writing.begin() as connection,
            Session(
                connection, expire_on_commit=False, info={OWNERS: self._known_owners()}
            ) as session,
        ):
            yield session
            session.flush()
            units = session.info.get(UNITS, ())
            for unit in units:
                unit.flush(commit=unit is units[-1])
        if kinds := session.info.get(WISHED):
            self.wished(kinds)
        for call in session.info.get(AFTER, ()):
            call()

    def _known_owners(self) -> dict[str, str]:
        if len(self._owners) > MOST_OWNERS:
            self._owners = {}
        return self._owners

    def reach(self) -> None:
        """Raises InvalidInput where the store cannot be opened, without saying a password."""
        try:
            with self._reading.connect():
                return
        except OperationalError as error:
            self.close()
            plain = self.engine.url.set(drivername=self.engine.dialect.name)
            shown = plain.difference_update_query(["password"]).render_as_string()
            cure = "start PostgreSQL, or mend address, user and password (~/.pgpass)"
            if self.is_sqlite:
                cure = "is its folder there, and may this user write in it?"
            raise InvalidInput(
                f"GATES_DATABASE_URL = {shown!r} cannot be opened "
                f"({' '.join(str(error.orig).split())[:300]}): {cure}"
            ) from error

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to `revision`; safe to call by several servers at once.

        Raises InvalidInput where the store was written by a newer release.
        """
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        with (
            self._writing.connect() as connection,
            self.rebuildable(connection),
            connection.begin(),
        ):
            config.attributes["connection"] = connection
            config.attributes["known"] = revisions()
            before = _revision(connection)
            command.upgrade(config, revision)
            if self.is_sqlite and _revision(connection) != before:
                _refuse_loose_ends(connection)

    def revision(self) -> str | None:
        """Of the schema as it is; None where there is none yet."""
        with self._reading.connect() as connection:
            return _revision(connection)

    @contextmanager
    def rebuildable(self, connection: Connection) -> Iterator[None]:
        """Around the transaction that migrates. SQLite changes a table by writing it anew and
        dropping the old one; while references are enforced that would count as their loss.
        """
        if not self.is_sqlite:
            yield
            return
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101 - connected
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            yield
        finally:
            driver.execute("PRAGMA foreign_keys=ON")

    def close(self) -> None:
        self.engine.dispose()


def revisions() -> list[str]:
    """All that this release knows, the oldest first."""
    return [one.revision for one in ScriptDirectory(MIGRATIONS).walk_revisions()][::-1]


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_loose_ends(connection: Connection) -> None:
    loose = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if loose is not None:
        raise InvalidInput(f"The store's table {loose[0]} refers to rows that are not there.")


def _sqlite(url: Any, wait_seconds: float) -> Engine:
    arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, pool_size=20, pool_timeout=wait_seconds)

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


def _postgresql(url: Any, wait_seconds: float) -> Engine:
    engine = create_engine(url, pool_size=20, max_overflow=20, pool_timeout=wait_seconds)

    @event.listens_for(engine, "checkin")
    def _checkin(_connection: Any, record: Any) -> None:
        record.info["rested_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _checkout(connection: Any, record: Any, _proxy: Any) -> None:
        """A ping for each checkout would be a round trip for each command."""
        rested = time.monotonic() - record.info.get("rested_since", math.inf)
        if rested > RESTED_SECONDS and not _alive(connection):
            raise DisconnectionError("the server has closed this connection")

    return engine


def _alive(connection: Any) -> bool:
    try:
        connection.execute("")
        connection.rollback()
    except psycopg.OperationalError:
        return False
    return True
