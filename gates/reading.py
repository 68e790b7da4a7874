"""What everybody reads: requests as views, whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gates.asking import Asking
from gates.core.errors import NotFound
from gates.core.freezes import Start
from gates.core.gate_keys import pause_key
from gates.core.model import ExecutionState, OutcomeKind, RequestView, RunRef, Standing, Step
from gates.orders import Orders
from gates.store import runs
from gates.store.database import Database
from gates.store.repository import Unit
from gates.trail import trail


@dataclass(frozen=True)
class Doorbell:
    """Whom to wake. `pauses`: how the keys of pauses begin that this run asked for itself."""

    run: RunRef
    pauses: tuple[str, ...]


class Reading:
    """The reading half of the authority. Its fields are those of `gates.service.Gates`."""

    database: Database
    asking: Asking
    base_url: str
    clock: Callable[[], datetime]
    orders: Orders

    def view(self, request_id: str) -> RequestView:
        """By id or by a prefix of at least six characters, with what its run has done beside it.
        Raises NotFound.
        """
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            current = unit.load(_named(unit, request_id))
            view = current.view(self.base_url)
            steps = self._trail(unit, current.row.root_run_id)
            freeze = self.orders.now(session).freeze(Start.of(current.request))
        beside = tuple(one for one in steps if one.gate_key != view.request.gate_key)
        frozen = str(freeze) if freeze and _could_start(view) else ""
        return view.model_copy(update={"stands": beside, "frozen": frozen})

    def _trail(self, unit: Unit, root_run_id: str) -> tuple[Step, ...]:
        found = [one.view(self.base_url) for one in unit.of_run(root_run_id)]
        return trail(self.asking.registry, found)

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
        outcome, and what came of an approval), or waits for a later round. Also the run whose
        author waits no longer for an open one.
        """
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id)
            rounds = unit.gate(current.row.gate_id)
            alarm = current.row.asleep and runs.alarm_is_due(unit, current.row.root_run_id)
            known = runs.woken_rightly(unit, current.row.root_run_id)
            frozen = self.orders.now(session).freeze(Start.of(current.request))
        if frozen is not None and current.standing() is Standing.CLAIMABLE:
            return None  # nothing to wake it for: the thaw rings
        later = rounds[-1].request.round > current.request.round
        if later or (not alarm and (current.row.collected or current.outcome is None)):
            return None
        if not known:
            with self.database.write() as session:
                runs.ringing(Unit(session, self.clock()), current.row.root_run_id)
        run = current.request.run
        # Before the schema knew of a run's own suspensions, they were the request's; a round that
        # began while the run slept finds it asleep for the one before.
        pauses = (pause_key(run.root_run_id), *(pause_key(one.request.id) for one in rounds))
        return Doorbell(run, pauses)


def _could_start(view: RequestView) -> bool:
    """Whether there is something left for a freeze to stop."""
    if view.outcome is not None and view.outcome.kind is not OutcomeKind.APPROVED:
        return False
    state = view.execution.state if view.execution else None
    return state in (None, ExecutionState.QUEUED, ExecutionState.FAILED)


def _named(unit: Unit, request_id: str) -> str:
    found = unit.matching(request_id) if len(request_id) >= 6 else []  # noqa: PLR2004
    if len(found) != 1:
        why = "no request" if not found else "more than one request"
        raise NotFound(
            f"{request_id[:64]!r} names {why}: give six or more characters of its id "
            "(`gates list` shows them)."
        )
    return found[0]
