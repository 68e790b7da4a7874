"""What is frozen and held, as every command sees it: known in this process for half a second and
never longer.

A routine action gains no round trip, and a freeze that another server has written counts here
within that time. It is read through the caller's own transaction: where the store does not
answer, the command fails with it, and nothing starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlmodel import Session

from gates.core.freezes import InForce
from gates.store import freezes

OLDEST = 0.5  # seconds


@dataclass
class Orders:
    """Shared by the threads of one server. `last`: what was read last, however long ago."""

    monotonic: Callable[[], float] = time.monotonic
    last: InForce = field(default_factory=InForce)
    _fresh_until: float = float("-inf")
    _dropped: int = 0

    def now(self, session: Session) -> InForce:
        """At most half a second old."""
        began, dropped = self.monotonic(), self._dropped
        if began < self._fresh_until:
            return self.last
        found = freezes.in_force(session)
        self.last = found
        if dropped == self._dropped:  # else what was read may be of before the change
            self._fresh_until = began + OLDEST
        return found

    def drop(self) -> None:
        """An order was written: whoever asks next reads."""
        self._dropped += 1
        self._fresh_until = float("-inf")
