"""What happens to the machine instead of to one process: the disk fills, the clock steps,
PostgreSQL restarts, the world changes under an approval.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

DISK = 64 * 2**20  # bytes of the small disk that the store lives on
MOUNT = "mount"


@dataclass
class Clock:
    """The gates server's clock, as an offset to the machine's."""

    file: Path
    offset: float = 0.0
    furthest: float = 0.0

    def catch_up(self) -> None:
        """To where it has been furthest: whatever is leased or due has its time then."""
        self.step(self.furthest - self.offset)

    def step(self, seconds: float) -> None:
        self.offset += seconds
        self.furthest = max(self.furthest, self.offset)
        draft = self.file.with_suffix(".part")
        draft.write_text(str(self.offset))
        draft.replace(self.file)


@dataclass
class Disk:
    """Where the store's files are: a small file system of its own where we may mount one, else a
    limit to the size of the files that the server may write.
    """

    folder: Path
    pid: Callable[[], int]
    mounted: bool = False

    @contextmanager
    def ready(self) -> Iterator[None]:
        self.folder.mkdir()
        if os.geteuid() == 0 and shutil.which(MOUNT):
            command = [MOUNT, "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self.folder)]
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        try:
            yield
        finally:
            if self.mounted:
                keep = self.folder.with_name("kept")
                shutil.copytree(self.folder, keep, ignore=shutil.ignore_patterns("ballast"))
                subprocess.run(["umount", str(self.folder)], check=False)
                shutil.copytree(keep, self.folder, dirs_exist_ok=True)
                shutil.rmtree(keep)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Nothing can be written in here."""
        with self._ballast() if self.mounted else self._limit():
            yield

    @contextmanager
    def _ballast(self) -> Iterator[None]:
        ballast = self.folder / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
            yield
        finally:
            ballast.unlink(missing_ok=True)

    @contextmanager
    def _limit(self) -> Iterator[None]:
        hard = resource.RLIM_INFINITY
        with suppress(ProcessLookupError):
            resource.prlimit(self.pid(), resource.RLIMIT_FSIZE, (4096, hard))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(self.pid(), resource.RLIMIT_FSIZE, (hard, hard))


def move_account(till: str, payee: str, number: int) -> None:
    """What was approved for the old account must not run."""
    with suppress(httpx.HTTPError):
        httpx.post(
            f"{till}/accounts/{payee}",
            json={"number": f"NL{number:02}"},
            timeout=5,
            trust_env=False,
        )
