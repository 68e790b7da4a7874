"""Whether the clock can be believed just now.

Leases and waits are spans of the clock, and a clock that is set, or a server that was away for a
while, makes them end all at once: holders that are alive had no chance to renew, and a call that
was cut off a moment ago counts as long over. So what follows from a span that ended waits until
the clock has run evenly for some time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

JUMP = 1.0  # seconds by which wall clock and monotonic clock may part between two looks


@dataclass
class Steady:
    """`monotonic`: seconds of a clock that nobody sets. What was before this process began is
    not known, and counts as a jump.
    """

    clock: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._since = self._looked = self.monotonic()
        self._said = self.clock()

    def since(self) -> timedelta:
        """For how long the clock has run evenly."""
        with self._lock:
            now, said = self.monotonic(), self.clock()
            if abs((said - self._said).total_seconds() - (now - self._looked)) > JUMP:
                self._since = now
            self._looked, self._said = now, said
            return timedelta(seconds=now - self._since)
