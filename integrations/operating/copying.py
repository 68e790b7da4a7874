"""Backup and restore of the gates store, whichever database it is in."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

from sqlalchemy.engine import make_url

from gates.core.errors import InvalidInput
from gates.store.database import Database, revisions
from integrations.operating import manifest as manifests
from integrations.operating.epoch import Epoch, Mark, ended_keys, mark
from integrations.operating.manifest import Kind, Manifest
from integrations.operating.postgres import PostgresStore
from integrations.operating.sqlite import SqliteStore

Progress = Callable[[str], None]


class Store(Protocol):
    """A store as a thing to copy. `draft` is another one beside it, that nobody uses yet."""

    @property
    def kind(self) -> Kind: ...
    @property
    def url(self) -> str: ...
    @property
    def there(self) -> bool: ...
    def save(self, to: Path, progress: Progress) -> dict[str, int]: ...
    def draft(self, file: Path, progress: Progress) -> Self: ...
    def rows(self) -> dict[str, int]: ...
    def refuse_used(self) -> None: ...
    def replace(self, draft: Any, stamp: str) -> str: ...
    def discard(self) -> None: ...


@dataclass(frozen=True)
class Restored:
    """`kept`: where the store that was replaced is, empty where there was none."""

    manifest: Manifest
    kept: str
    mark: Mark


def store_at(url: str, programs: Path | None = None) -> Store:
    """`url`: GATES_DATABASE_URL. Raises InvalidInput for another kind of database."""
    Database(url).close()  # refuses what is neither
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise InvalidInput(f"GATES_DATABASE_URL = {url!r} names no file: nothing to copy.")
        return SqliteStore(Path(parsed.database))
    return PostgresStore(url, programs)


def backup(store: Store, file: Path, progress: Progress) -> Manifest:
    """A checked copy in `file`, for its owner alone, with a manifest beside it. Overwrites
    nothing; a backup that was cut off leaves FILE.part. Raises InvalidInput, Unavailable.
    """
    if not store.there:
        raise InvalidInput("There is no store yet: set GATES_DATABASE_URL to the server's.")
    for path in (file, manifests.beside(file)):
        if path.exists():
            raise InvalidInput(f"{path} is there already: name another file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.part")
    draft.unlink(missing_ok=True)
    made_at = datetime.now(UTC)
    revision = _revision(store)
    rows = store.save(draft, progress)
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    manifest = Manifest(
        kind=store.kind,
        made_at=made_at,
        revision=revision,
        rows=rows,
        size=draft.stat().st_size,
        sha256=manifests.digest(draft),
    )
    manifests.write(file, manifest)
    os.link(draft, file)  # fails where somebody was faster: nothing is overwritten
    draft.unlink()
    return manifest


def restore(
    store: Store, file: Path, by: str, progress: Progress, *, now: datetime | None = None
) -> Restored:
    """Put a backup in the store's place, marked as what it is: behind the world. The store that
    was there is kept. Raises InvalidInput, Unavailable (somebody uses the store).
    """
    manifest = manifests.read(file)
    if manifest.kind != store.kind:
        raise InvalidInput(
            f"{file} is a backup of {manifest.kind}, and GATES_DATABASE_URL is {store.kind}: "
            "set it to such a database."
        )
    if manifest.revision not in revisions():
        raise InvalidInput(
            f"{file} has schema {manifest.revision}, which this release does not know: install "
            "the release that made it, or a newer one."
        )
    store.refuse_used()
    now = now or datetime.now(UTC)
    revoked = _ended_keys(store)
    draft = store.draft(file, progress)
    try:
        _refuse_other_rows(draft, manifest)
        epoch = Epoch(manifest.made_at, manifest.sha256, by, now)
        progress("marking what may have happened since")
        found = _marked(draft, epoch, revoked)
        kept = store.replace(draft, f"{now:%Y%m%d%H%M%S}")
    except BaseException:
        draft.discard()
        raise
    return Restored(manifest, kept, found)


def _refuse_other_rows(draft: Store, manifest: Manifest) -> None:
    found = draft.rows()
    for table in sorted(found.keys() | manifest.rows.keys()):
        if found.get(table) != manifest.rows.get(table):
            raise InvalidInput(
                f"The backup's table {table} has {found.get(table)} rows, and its manifest says "
                f"{manifest.rows.get(table)}: take another backup."
            )


def _marked(draft: Store, epoch: Epoch, revoked: dict[str, datetime]) -> Mark:
    database = Database(draft.url)
    try:
        database.migrate()
        return mark(database, epoch, revoked)
    finally:
        database.close()


def _revision(store: Store) -> str:
    database = Database(store.url)
    try:
        found = database.revision()
    finally:
        database.close()
    if found is None:
        raise InvalidInput("The store is empty: no server has ever started on it.")
    return found


def _ended_keys(store: Store) -> dict[str, datetime]:
    """Of the store that is being replaced, as far as it can still be read."""
    if not store.there:
        return {}
    database = Database(store.url)
    try:
        return ended_keys(database)
    finally:
        database.close()
