"""An empty store, copied: to migrate one takes longer than most tests do."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from gates.store.database import Database


def migrated(url: str) -> None:
    store = Database(url)
    store.migrate()
    store.close()


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gates-empty-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "empty.sqlite"
    migrated(f"sqlite:///{file}")
    return file


def empty_sqlite(file: Path) -> str:
    """The address of a new, empty store in `file`."""
    shutil.copy(_template(), file)
    return f"sqlite:///{file}"
