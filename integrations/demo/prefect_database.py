"""Prefect's database with nothing in it yet, for each demo anew.

To make one takes Prefect seven seconds: a finished one is kept beside the ERP's, and copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from integrations.demo.processes import run, script
from integrations.erp.company import cache_folder, checkpoint, kept

NAME = "prefect.db"  # as Prefect calls it


def empty_prefect(home: Path, environment: Mapping[str, str]) -> None:
    """Put it where Prefect looks that has `home` as its PREFECT_HOME. Raises NotStarted."""
    made = kept(cache_folder(), f"prefect-{version('prefect')}", partial(_make, environment))
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made / NAME, home / NAME)


def _make(environment: Mapping[str, str], home: Path) -> None:
    home.mkdir(mode=0o700)
    upgrade = script("prefect", "server", "database", "upgrade", "--yes")
    run(upgrade, dict(environment) | {"PREFECT_HOME": str(home)})
    checkpoint(home / NAME)
