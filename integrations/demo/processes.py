"""Processes of the demo: started in the background, remembered, and ended by who they are.

A process is known by its id and the time it was started at, so that an id that was given to
somebody else meanwhile is never ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import BaseModel, TypeAdapter

from gates.core.errors import GatesError
from integrations.ports import free_port, refusal

START_SECONDS = 90.0
STOP_SECONDS = 8.0


class NotStarted(GatesError):
    code = "not_started"


class Started(BaseModel):
    """`begun`: as the operating system says, in seconds since the epoch."""

    name: str
    pid: int
    begun: float


LIST = TypeAdapter(list[Started])
WRITING = threading.Lock()  # what two threads start at once is both remembered


@dataclass(frozen=True)
class Processes:
    """`folder` holds the list of what was started, and a log for each."""

    folder: Path

    @property
    def file(self) -> Path:
        """The list; it also marks a folder as a demo's own."""
        return self.folder / "processes.json"

    def claim(self) -> None:
        """Mark the folder as a demo's own, with nothing started in it yet."""
        self._write([])

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path | None = None,
        umask: int = -1,
    ) -> Started:
        """Start in a session of its own, with its output in a log. Raises NotStarted."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            try:
                process = subprocess.Popen(  # noqa: S603 - our own commands, no shell
                    list(command),
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd=cwd,
                    umask=umask,
                )
            except FileNotFoundError as error:
                raise NotStarted(
                    f"{command[0]} is not there: install the project again (`make install`)."
                ) from error
        return self.remember(name, process.pid)

    def remember(self, name: str, pid: int) -> Started:
        begun = psutil.Process(pid).create_time()
        started = Started(name=name, pid=pid, begun=begun)
        with WRITING:
            self._write([*self.known(), started])
        return started

    def known(self) -> list[Started]:
        return LIST.validate_json(self.file.read_bytes()) if self.file.exists() else []

    def running(self) -> list[Started]:
        return [one for one in self.known() if _process(one) is not None]

    def listens_on(self, port: int) -> bool:
        """Whether something that was started holds this port."""
        processes = (_process(one) for one in self.known())
        return any(
            connection.laddr.port == port
            for process in processes
            if process is not None
            for connection in process.net_connections(kind="tcp")
            if connection.laddr
        )

    def wait(self, started: Started, ready: Callable[[], bool]) -> None:
        """Until `ready` says so. Raises NotStarted with the end of its log."""
        end = time.monotonic() + START_SECONDS
        while not ready():
            if _process(started) is None:
                raise NotStarted(f"{started.name} ended while it started: {self._tail(started)}")
            if time.monotonic() > end:
                raise NotStarted(
                    f"{started.name} did not answer within {START_SECONDS:.0f} s: "
                    f"{self._tail(started)}"
                )
            time.sleep(0.1)

    def stop(self) -> list[str]:
        """End everything that was started, children included; the names of what ran."""
        known = list(reversed(self.known()))
        running = [one.name for one in known if _process(one) is not None]
        everybody = [member for one in known for member in _session(one)]
        for process in everybody:
            _end(process.terminate)
        _, left = psutil.wait_procs(everybody, timeout=STOP_SECONDS)
        for process in left:
            _end(process.kill)
        psutil.wait_procs(left, timeout=STOP_SECONDS)
        if known:
            self._write([])
        return running

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _tail(self, started: Started) -> str:
        log = self.log(started.name)
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return f"{lines[-1] if lines else 'it said nothing'} (see {log})"

    def _write(self, processes: list[Started]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".part")
        draft.write_bytes(LIST.dump_json(processes))
        draft.replace(self.file)


def script(name: str, *arguments: str) -> list[str]:
    """A command of this environment."""
    return [str(Path(sys.executable).with_name(name)), *arguments]


def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raises NotStarted with the last line of what it said, where it failed."""
    done = subprocess.run(  # noqa: S603 - our own commands, no shell
        list(command), env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise NotStarted(f"`{' '.join(command[1:])}` failed: {' '.join(last)}")


def port_for(name: str, wanted: int) -> int:
    """`wanted`, or a free one for 0. Raises NotStarted where it is taken."""
    if wanted and refusal(wanted):
        raise NotStarted(
            f"{name} = {wanted}: another process listens there; "
            "choose another port, or 0 for a free one."
        )
    return wanted or free_port()


def _process(started: Started) -> psutil.Process | None:
    try:
        process = psutil.Process(started.pid)
        same = abs(process.create_time() - started.begun) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has taken leave of yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _session(started: Started) -> list[psutil.Process]:
    """Who belongs to the session that `started` leads, orphans of a dead leader included.

    A number is given to somebody else only once its session is empty.
    """
    if _process(started) is None and psutil.pid_exists(started.pid) and not _ended(started.pid):
        return []
    found = []
    for process in psutil.process_iter():
        try:
            member = os.getsid(process.pid) == started.pid
            if member and process.create_time() >= started.begun - 1:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue
    return found


def _end(how: Callable[[], None]) -> None:
    try:
        how()
    except psutil.NoSuchProcess:
        return
