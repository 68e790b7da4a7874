"""Time's own commands: deadlines and lapsed leases. Any number of servers may run them; the
row's lock decides who does the work, and the others find it done.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from gates.service import Gates
from gates.work import Work

log = logging.getLogger(__name__)


@dataclass
class Timers:
    gates: Gates
    work: Work
    every: float = 0.5  # seconds
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(self.every):
            for command in (self.gates.expire, self.work.lapse):
                try:
                    command()
                except Exception:
                    log.exception("timers: the store did not answer; trying again")
