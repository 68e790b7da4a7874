"""What is frozen and held, as every command sees it: known in this process for half a second and
never longer.

A routine action gains no round trip, and a freeze that another server has written counts here
within that time. It is read through the caller's own transaction: where the store does not
answer, the command fails with it, and nothing starts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlmodel import Session

from gates.core.freezes import Freeze, InForce, Scope
from gates.store import freezes
from gates.store.repository import Unit

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


def write_freeze(
    unit: Unit, by: tuple[str, str], scope: Scope, reason: str, *, for_good: bool = False
) -> Freeze:
    """Within the caller's transaction; `by`: id and name. `Orders.drop` is called after it."""
    made = Freeze(
        id=secrets.token_hex(4),
        scope=scope,
        by=by[0],
        name=by[1],
        reason=reason,
        at=unit.now,
        for_good=for_good,
    )
    freezes.add_freeze(unit.session, made)
    kind = "run.stopped" if for_good else "freeze.made"
    subject = scope.run if for_good else made.id
    unit.log(by[0], kind, subject, reason=reason, freeze=made.id, scope=scope.model_dump())
    return made
