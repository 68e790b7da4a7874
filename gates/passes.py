"""What one pass of a run says of all its gates at once: that it waits for them, suspends for
them, stays awake after all, or waits no longer.

A run suspends once, for everything that it has open, under one key; the decision of any of its
requests wakes it. So a suspension is the run's, numbered by the run, and never a request's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from gates.core import lifecycle
from gates.core.errors import InvalidInput
from gates.core.gate_keys import pause_key
from gates.core.messages import Awaited
from gates.core.model import GateReply, Standing, Suspension
from gates.service import RING, TELL, Gates, KeyHolder
from gates.store import runs
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit


@dataclass
class Passes:
    gates: Gates

    def news(self, caller: KeyHolder, awaited: Sequence[Awaited]) -> list[GateReply]:
        """Where those gates stand that have changed since they were seen last. Raises NotFound
        and NotEntitled.
        """
        with self.gates.database.read() as session:
            unit = Unit(session, self.gates.clock())
            rows = {one.request_id: unit.row(one.request_id) for one in awaited}
            for root in {row.root_run_id for row in rows.values()}:
                self.gates.owned(unit, caller, root)
            now = runs.versions(unit, {row.gate_id for row in rows.values()})
        changed = [one for one in awaited if now[rows[one.request_id].gate_id] > one.after]
        return [
            self.gates.standing(caller, one.request_id, one.attempt_id, one.call) for one in changed
        ]

    def told(self, news: Sequence[GateReply]) -> None:
        """The flow is on the line while it gets these answers."""
        for reply in news:
            self.gates.told(reply)

    def gates_of(self, caller: KeyHolder, awaited: Sequence[Awaited]) -> list[str]:
        """The names under which changes of these requests are told."""
        with self.gates.database.read() as session:
            unit = Unit(session, self.gates.clock())
            rows = [unit.row(one.request_id) for one in awaited]
            for root in {row.root_run_id for row in rows}:
                self.gates.owned(unit, caller, root)
                self.gates.hears(root)
            return [row.gate_id for row in rows]

    def suspending(
        self, caller: KeyHolder, request_ids: Sequence[str], wake_at: datetime | None = None
    ) -> Suspension:
        """The run is about to suspend for all of these, until one is decided or `wake_at`. The
        key is empty where an outcome was faster: then it must not.
        """
        with self._locked(caller, request_ids) as (unit, waiting):
            if any(self._is_news(unit, one) for one in waiting):
                return Suspension()
            root = waiting[0].row.root_run_id
            number = runs.suspend(unit, root, wake_at)
            for one in waiting:
                one.row.asleep, one.row.collected = True, False
                one.row.suspensions = number
                agent = one.request.requester.agent
                unit.log(agent, "run.suspended", one.request.id, number=number)
                unit.wish(one.request.id, TELL)
                unit.touch(one)
            return Suspension(pause_key=pause_key(root, number))

    def _is_news(self, unit: Unit, one: Aggregate) -> bool:
        """What is approved and frozen is waited for like any other."""
        if one.outcome is None:
            return False
        usable = one.standing() is Standing.CLAIMABLE
        return not (usable and self.gates.frozen(unit, one.request))

    def staying(self, caller: KeyHolder, request_ids: Sequence[str]) -> None:
        """Prefect would not suspend the run: it waits in its process after all."""
        with self._locked(caller, request_ids) as (unit, waiting):
            for one in waiting:
                if one.row.asleep:
                    one.row.asleep = False
                    agent = one.request.requester.agent
                    unit.log(agent, "run.not_suspended", one.request.id)
                    unit.wish(one.request.id, TELL)
                    unit.touch(one)

    def leaving(
        self, caller: KeyHolder, request_ids: Sequence[str], *, withdraw: bool, reason: str
    ) -> None:
        """The run waits no longer for these: they stay open without waking it, or are withdrawn.
        What has its outcome already keeps it.
        """
        with self._locked(caller, request_ids) as (unit, waiting):
            for one in waiting:
                agent = one.request.requester.agent
                one.row.asleep = False
                if one.outcome is not None:
                    continue
                one.row.collected = True
                if withdraw:
                    events = lifecycle.withdraw(one.request, one.events, agent, reason, unit.now)
                    self.gates.record(unit, one, events, actor=agent)
                else:
                    unit.log(agent, "run.left_open", one.request.id, reason=reason)
                    unit.wish(one.request.id, TELL)
                    unit.touch(one)
        for one in waiting:
            self.gates.woken(one.row.gate_id)

    def alarm(self) -> int:
        """Ring at runs whose authors wait no longer; at how many. The timer's command."""
        with self.gates.database.read() as session:
            due = runs.alarms(Unit(session, self.gates.clock()))
        if due:
            with self.gates.database.write() as session:
                unit = Unit(session, self.gates.clock())
                for request_id in due:
                    unit.wish(request_id, RING)
        return len(due)

    @contextmanager
    def _locked(
        self, caller: KeyHolder, request_ids: Sequence[str]
    ) -> Iterator[tuple[Unit, list[Aggregate]]]:
        """The requests of one run, locked in one order, so that no two passes wait for each
        other; their gates' newest rounds are meant.
        """
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            found = [unit.load(one, lock=True) for one in sorted(set(request_ids))]
            roots = {one.row.root_run_id for one in found}
            if len(roots) != 1:
                raise InvalidInput(
                    f"request_ids belong to {len(roots)} runs: name open requests of one run."
                )
            root = roots.pop()
            self.gates.owned(unit, caller, root)
            self.gates.hears(root)
            yield unit, found
