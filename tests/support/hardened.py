"""The hardened house for tests: users of its own name, gone again afterwards."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integrations.erp.company import installed
from integrations.hardened import house as houses
from integrations.hardened.house import Hardened
from integrations.hardened.users import NotHardened, refuse_unprepared
from tests.support.erp import WHY_SKIPPED

ROOT = Path(__file__).parents[2]
HASTY = {"PREFECT_WORKER_QUERY_SECONDS": "0.2", "GATES_LINGER": "1", "GATES_LEASE": "5"}


def why_not() -> str:
    """Why the hardened set-up cannot be made here; empty where it can."""
    try:
        refuse_unprepared()
    except NotHardened as error:
        return str(error)
    return "" if installed() else WHY_SKIPPED


def up(home: Path, prefix: str) -> Hardened:
    """Its processes are known by their ids; Python's own handles are let go."""
    changes = {"flow": HASTY, "executor": HASTY}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return houses.up(home, ROOT, lambda _words: None, prefix=prefix, changes=changes)


@contextmanager
def hardened() -> Iterator[Hardened]:
    """Everything running; no user, process or file of it afterwards."""
    home = Path(tempfile.mkdtemp(prefix="gates-hardened-"))
    prefix = f"gt{secrets.token_hex(3)}-"
    try:
        yield up(home, prefix)
    finally:
        if (home / "house.json").exists():
            houses.undo(home)
        shutil.rmtree(home, ignore_errors=True)
