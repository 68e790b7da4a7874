"""What everybody reads: requests as views, whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gates.core.errors import NotFound
from gates.core.model import RequestView, RunRef, pause_key
from gates.store.database import Database
from gates.store.repository import Unit


@dataclass(frozen=True)
class Doorbell:
    """`pause_key` is empty where the run has never suspended for this request."""

    run: RunRef
    pause_key: str


class Reading:
    """The reading half of the authority. Its fields are those of `gates.service.Gates`."""

    database: Database
    base_url: str
    clock: Callable[[], datetime]

    def view(self, request_id: str) -> RequestView:
        """By id or by a prefix of at least six characters. Raises NotFound."""
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            return unit.load(_named(unit, request_id)).view(self.base_url)

    def find(self, request_id: str) -> str:
        """The whole id for a prefix of at least six characters. Raises NotFound."""
        with self.database.read() as session:
            return _named(Unit(session, self.clock()), request_id)

    def waiting(self, limit: int = 500) -> list[RequestView]:
        """Open questions, the most urgent first."""
        return self._list(waiting=True, limit=limit)

    def recent(self, limit: int = 50) -> list[RequestView]:
        """Questions with an answer, the newest first."""
        return self._list(waiting=False, limit=limit)

    def rounds(self, request_id: str) -> list[RequestView]:
        """All rounds of a request's gate, oldest first."""
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id)
            return [one.view(self.base_url) for one in unit.gate(current.row.gate_id)]

    def _list(self, *, waiting: bool, limit: int) -> list[RequestView]:
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            return [one.view(self.base_url) for one in unit.asked(waiting=waiting, limit=limit)]

    def doorbell(self, request_id: str) -> Doorbell | None:
        """The run to wake for a settled request, or None once it knows how that ended (the
        outcome, and what came of an approval), or waits for a later round.
        """
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id)
            later = unit.gate(current.row.gate_id)[-1].request.round > current.request.round
        if current.row.collected or current.outcome is None or later:
            return None
        number = current.row.suspensions
        return Doorbell(current.request.run, pause_key(request_id, number) if number else "")


def _named(unit: Unit, request_id: str) -> str:
    found = unit.matching(request_id) if len(request_id) >= 6 else []  # noqa: PLR2004
    if len(found) != 1:
        why = "no request" if not found else "more than one request"
        raise NotFound(
            f"{request_id[:64]!r} names {why}: give six or more characters of its id "
            "(`gates list` shows them)."
        )
    return found[0]
