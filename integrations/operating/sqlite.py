"""Copies of a SQLite store: taken while the server writes, put back in one step."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gates.core.errors import InvalidInput, Unavailable
from integrations.operating.manifest import Kind

PAGES = 4_000  # copied at a time: about 16 MB between two words of progress
LOCK_SECONDS = 2.0
Progress = Callable[[str], None]


@dataclass(frozen=True)
class SqliteStore:
    """Implements `copying.Store`."""

    file: Path
    kind: Kind = "sqlite"

    @property
    def there(self) -> bool:
        return self.file.exists()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    def save(self, to: Path, progress: Progress) -> dict[str, int]:
        """A consistent copy in `to`, checked; rows of each table. Raises Unavailable."""
        with closing(_open(self.file)) as source, closing(_new(to)) as copy:
            source.execute("BEGIN")  # one picture, however long the copying takes
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()

            def told(_status: int, left: int, total: int) -> None:
                progress(f"{total - left} of {total} pages")

            source.backup(copy, pages=PAGES, progress=told)
            source.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, not three
            return checked(copy, to)

    def draft(self, file: Path, progress: Progress) -> SqliteStore:
        """A store made of a backup, beside this one, that nobody uses yet."""
        made = SqliteStore(self.file.with_name(f"{self.file.name}.restoring"))
        made.discard()  # of a restore that was cut off
        progress(f"copying {file.stat().st_size:,} bytes")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        made.file.touch(mode=0o600)
        shutil.copyfile(file, made.file)
        return made

    def rows(self) -> dict[str, int]:
        with closing(_open(self.file)) as connection:
            return checked(connection, self.file)

    def refuse_used(self) -> None:
        """Raises Unavailable where another process has this store open."""
        if self.there:
            with self._alone():
                pass

    def replace(self, draft: SqliteStore, stamp: str) -> str:
        """Put the draft in this store's place, in one step; where the old one is kept."""
        with closing(_open(draft.file)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        with draft.file.open("rb") as written:
            os.fsync(written.fileno())
        if not self.there:
            draft.file.rename(self.file)
            return ""
        kept = self.file.with_name(f"{self.file.name}.before-restore-{stamp}")
        with self._alone():
            os.link(self.file, kept)
            draft.file.replace(self.file)
        return str(kept)

    def discard(self) -> None:
        for end in ("", "-wal", "-shm", "-journal"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Whoever has a store in WAL mode open holds a lock, so leaving WAL fails."""
        with closing(_open(self.file)) as connection:
            try:
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise Unavailable(
                    f"{self.file} is in use ({error}): stop the gates server first."
                ) from error
            try:
                yield
            finally:
                connection.execute("ROLLBACK")


def checked(connection: sqlite3.Connection, file: Path) -> dict[str, int]:
    """Rows of each table. Raises InvalidInput for a broken file."""
    try:
        told = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
        loose = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise InvalidInput(f"{file} is not a SQLite store: {error}.") from error
    if told != ["ok"]:
        raise InvalidInput(f"{file} is damaged: {'; '.join(told)}.")
    if loose is not None:
        raise InvalidInput(f"{file} is damaged: {loose[0]} refers to rows that are not there.")
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        " ORDER BY name"
    )
    names = [row[0] for row in connection.execute(query)]
    count = 'SELECT count(*) FROM "{}"'
    return {name: connection.execute(count.format(name)).fetchone()[0] for name in names}


def _open(file: Path) -> sqlite3.Connection:
    """Raises InvalidInput where there is no such file: SQLite would make an empty one."""
    try:
        return sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=LOCK_SECONDS,
            isolation_level=None,
        )
    except sqlite3.OperationalError as error:
        raise InvalidInput(f"{file} cannot be opened: {error}.") from error


def _new(file: Path) -> sqlite3.Connection:
    file.touch(mode=0o600)
    return sqlite3.connect(file, isolation_level=None)
