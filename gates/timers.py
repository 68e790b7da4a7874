"""Time's own commands: deadlines and lapsed leases. Any number of servers may run them; the
row's lock decides who does the work, and the others find it done.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from gates.passes import Passes
from gates.service import Gates
from gates.ticking import Ticking
from gates.work import Work

log = logging.getLogger(__name__)


@dataclass
class Timers(Ticking):
    gates: Gates
    work: Work
    passes: Passes
    every: float = 0.5  # seconds

    def tick(self) -> None:
        for command in (self.gates.expire, self.work.lapse, self.passes.alarm):
            try:
                command()
            except Exception:
                log.exception("timers: the store did not answer; trying again")
