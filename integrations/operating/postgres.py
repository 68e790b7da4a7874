"""Copies of a PostgreSQL store, through PostgreSQL's own pg_dump and pg_restore."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import make_url

from gates.core.errors import InvalidInput, Unavailable
from integrations.operating.manifest import Kind

HOMES = ("postgres", "template1")  # databases that are there on every server
LONGEST_NAME = 63
LEAVING = 5.0  # seconds in which a connection that was closed may still be listed
Progress = Callable[[str], None]


@dataclass(frozen=True)
class PostgresStore:
    """Implements `copying.Store`. `programs`: the folder of pg_dump and pg_restore, None: PATH."""

    url: str
    programs: Path | None = None
    kind: Kind = "postgresql"

    @property
    def name(self) -> str:
        return make_url(self.url).database or ""

    @property
    def _conninfo(self) -> str:
        return make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def there(self) -> bool:
        with self._home() as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            return connection.execute(query, (self.name,)).fetchone() is not None

    def save(self, to: Path, progress: Progress) -> dict[str, int]:
        """A consistent dump in `to`, read through once; rows of each table in that picture."""
        with _connect(self._conninfo) as connection:
            program = self._program("pg_dump", connection.info.server_version)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            row = connection.execute("SELECT pg_export_snapshot()").fetchone()
            rows = counted(connection)
            progress(f"{sum(rows.values()):,} rows")
            words = ["--format=custom", "--no-owner", "--no-privileges"]
            to.touch(mode=0o600)
            self._run(program, *words, f"--snapshot={row[0] if row else ''}", f"--file={to}")
            connection.execute("ROLLBACK")
        self._run(self._program("pg_restore", 0), "--file=/dev/null", str(to), connect=False)
        return rows

    def draft(self, file: Path, progress: Progress) -> PostgresStore:
        """A store made of a backup, in a database of its own that nobody uses yet."""
        name = f"gates_restoring_{secrets.token_hex(4)}"
        url = make_url(self.url).set(database=name)
        made = replace(self, url=url.render_as_string(hide_password=False))
        with self._home() as connection:
            program = self._program("pg_restore", connection.info.server_version)
            try:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except psycopg.errors.InsufficientPrivilege as error:
                raise InvalidInput(
                    "A restore makes a new database and swaps it in: give the user of "
                    f"GATES_DATABASE_URL the right CREATEDB meanwhile ({error})."
                ) from error
        progress(f"restoring into {name}")
        try:
            words = ["--exit-on-error", "--no-owner", "--no-privileges"]
            made._run(program, *words, str(file))  # noqa: SLF001 - one of ours
        except BaseException:
            made.discard()
            raise
        return made

    def rows(self) -> dict[str, int]:
        with _connect(self._conninfo) as connection:
            return counted(connection)

    def refuse_used(self) -> None:
        """Raises Unavailable where another process is connected to this store. Who has just hung
        up is still listed for a moment.
        """
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = %s AND backend_type = 'client backend'"
        )
        until = time.monotonic() + LEAVING
        with self._home() as connection:
            while row := connection.execute(query, (self.name,)).fetchone():
                if not row[0]:
                    return
                if time.monotonic() > until:
                    raise Unavailable(
                        f"Database {self.name} has {row[0]} connection(s): "
                        "stop every gates server first."
                    )
                time.sleep(0.05)

    def replace(self, draft: PostgresStore, stamp: str) -> str:
        """Put the draft in this store's place, in one transaction; the name of the old one."""
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        kept = f"{self.name[: LONGEST_NAME - 30]}_before_restore_{stamp}" if self.there else ""
        with self._home() as connection, connection.transaction():
            try:
                if kept:
                    names = sql.Identifier(self.name), sql.Identifier(kept)
                    connection.execute(rename.format(*names))
                names = sql.Identifier(draft.name), sql.Identifier(self.name)
                connection.execute(rename.format(*names))
            except psycopg.errors.ObjectInUse as error:
                raise Unavailable(f"{error}: stop every gates server first.") from error
        return kept

    def discard(self) -> None:
        with self._home() as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(self.name)))

    @contextmanager
    def _home(self) -> Iterator[psycopg.Connection]:
        """Connected to another database of the same server."""
        trouble: psycopg.OperationalError | None = None
        for name in HOMES:
            try:
                found = psycopg.connect(make_conninfo(self._conninfo, dbname=name), autocommit=True)
            except psycopg.OperationalError as error:
                trouble = error
                continue
            with found:
                yield found
                return
        raise Unavailable(f"PostgreSQL does not answer: {trouble}.") from trouble

    def _program(self, name: str, server: int) -> str:
        """Raises InvalidInput where it is missing, or older than the server (0: never mind)."""
        folder = str(self.programs) if self.programs else None
        found = shutil.which(name, path=folder)
        if found is None:
            where = f"not in {folder}" if folder else "not on PATH"
            raise InvalidInput(
                f"{name} is {where}: install PostgreSQL's client programs, or name their folder "
                "with --programs."
            )
        told = subprocess.run(  # noqa: S603 - PostgreSQL's own program, no shell
            [found, "--version"], capture_output=True, text=True, check=True
        ).stdout
        match = re.search(r"(\d+)", told)
        if match is None or int(match[1]) < server // 10_000:
            raise InvalidInput(
                f"{found} is {told.strip()!r}, and the server is {server // 10_000}: name the "
                "folder of newer client programs with --programs."
            )
        return found

    def _run(self, program: str, *words: str, connect: bool = True) -> None:
        """The password goes by the environment: arguments can be read by everybody."""
        known = {key: str(value) for key, value in conninfo_to_dict(self._conninfo).items()}
        secret = known.pop("password", "")
        if connect:
            words = (f"--dbname={make_conninfo(**known)}", *words)
        environment = os.environ | ({"PGPASSWORD": secret} if secret else {})
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program, no shell
            [program, *words], capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode != 0:
            last = " ".join(done.stderr.strip().splitlines()[-2:])
            raise Unavailable(f"{Path(program).name} failed: {last}")


def counted(connection: psycopg.Connection) -> dict[str, int]:
    """Rows of each table."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
    names = [row[0] for row in connection.execute(query).fetchall()]
    found = {}
    for name in names:
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
        row = connection.execute(count).fetchone()
        found[name] = int(row[0]) if row else 0
    return found


def _connect(url: str) -> psycopg.Connection:
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}.") from error
