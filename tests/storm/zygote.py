"""Cheap lives: a parent that has imported everything forks the processes that are to be killed.

    python -m tests.storm.zygote FD

What runs in a child is the real code; only its imports were done before. A start costs some
milliseconds instead of two seconds, a SIGKILL is a SIGKILL, and as the parent has not buried a
child before it says so, no process id is ever taken for another's. Where the driver dies, its
children are killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENDINGS = (signal.SIGTERM, signal.SIGINT)


class Nursery:
    """The driver's side. A child is known by its process id until `buried` has named it."""

    def __init__(self, log: Path) -> None:
        ours, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.storm.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        theirs.close()
        self._file = ours.makefile("rw", encoding="utf-8", newline="\n")
        ours.close()

    def start(self, what: str, log: Path, **told: Any) -> int:
        """Fork a child that runs `children.WHAT(**told)`; its process id."""
        return int(self._ask(do="start", what=what, log=str(log), told=told))

    def kill(self, pid: int) -> bool:
        """kill -9; False where it had ended before. Returns once it is gone."""
        return bool(self._ask(do="kill", pid=pid))

    def send(self, pid: int, number: signal.Signals) -> bool:
        return bool(self._ask(do="send", pid=pid, number=int(number)))

    def buried(self) -> dict[int, int]:
        """Children that have ended since the last question, with their exit codes."""
        return {int(pid): code for pid, code in self._ask(do="bury").items()}

    def close(self) -> None:
        with self._lock:
            self._file.close()
        self._process.wait(timeout=30)

    def _ask(self, **command: Any) -> Any:
        with self._lock:
            self._file.write(json.dumps(command) + "\n")
            self._file.flush()
            return json.loads(self._file.readline())


class Zygote:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.living: set[int] = set()
        self.dead: dict[int, int] = {}

    def serve(self) -> None:
        try:
            with self.control.makefile("rw", encoding="utf-8", newline="\n") as file:
                for line in file:
                    command = json.loads(line)
                    answer = getattr(self, f"_{command.pop('do')}")(**command)
                    file.write(json.dumps(answer) + "\n")
                    file.flush()
        except OSError:  # the driver died in the middle of a word
            return
        finally:
            for pid in list(self.living):
                self._kill(pid)

    def _start(self, what: str, log: str, told: dict[str, Any]) -> int:
        pid = os.fork()
        if pid == 0:
            self._live(what, log, told)
        self.living.add(pid)
        return pid

    def _live(self, what: str, log: str, told: dict[str, Any]) -> None:
        """In the child; never returns."""
        from tests.storm import children  # noqa: PLC0415 - loaded long ago

        code = 1
        try:
            os.setsid()
            for number in ENDINGS:
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.close(self.control.fileno())
            code = children.live(what, told)
        finally:
            os._exit(code)

    def _kill(self, pid: int) -> bool:
        self._look()
        if pid not in self.living:
            return False
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.living.discard(pid)
        return True

    def _send(self, pid: int, number: int) -> bool:
        self._look()
        if pid not in self.living:
            return False
        os.kill(pid, number)
        return True

    def _bury(self) -> dict[int, int]:
        self._look()
        dead, self.dead = self.dead, {}
        return dead

    def _look(self) -> None:
        for pid in list(self.living):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self.living.discard(pid)
                self.dead[pid] = os.waitstatus_to_exitcode(status)


def main(number: int) -> None:
    from tests.storm import children  # noqa: PLC0415 - what takes long, once

    assert threading.active_count() == 1, "a thread would not live on in a fork"
    children.prepare()
    for one in ENDINGS:  # the driver's end is seen at its socket, with time to end the children
        signal.signal(one, signal.SIG_IGN)
    Zygote(socket.socket(fileno=number)).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
