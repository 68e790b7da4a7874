"""Prefect's database with nothing in it yet, for each demo anew.

To make one takes Prefect seven seconds: a finished one is kept beside the ERP's, and copied.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from integrations.demo.processes import NotStarted
from integrations.erp.company import cache_folder, checkpoint, locked

NAME = "prefect.db"  # as Prefect calls it


def empty_prefect(home: Path, environment: Mapping[str, str]) -> None:
    """Put it where Prefect looks that has `home` as its PREFECT_HOME. Raises NotStarted."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    finished = cache / f"prefect-{version('prefect')}.db"
    with locked(cache / f"{finished.name}.lock"):
        if not finished.exists():
            with TemporaryDirectory(prefix="prefect-", dir=cache) as draft:
                _make(Path(draft), environment)
                (Path(draft) / NAME).rename(finished)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(finished, home / NAME)


def _make(home: Path, environment: Mapping[str, str]) -> None:
    command = [str(Path(sys.executable).with_name("prefect"))]
    command += ["server", "database", "upgrade", "--yes"]
    done = subprocess.run(  # noqa: S603 - our own command, no shell
        command,
        env=dict(environment) | {"PREFECT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = (done.stderr or done.stdout)[-800:].strip()
        raise NotStarted(f"Prefect's database could not be created: {tail}")
    checkpoint(home / NAME)
