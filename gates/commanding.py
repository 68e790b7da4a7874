"""What people in command do: freeze, thaw, hold, stop. Each one transaction, with its log entry.

Nothing here asks another system. What a freeze covers is looked at where it would start; here are
only the order itself, and what people and runs are told of it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import select, update
from sqlmodel import col

from gates.core import freezes as rules
from gates.core.asked import PersonId
from gates.core.errors import InvalidInput, NotEntitled, NotFound, UnknownPerson
from gates.core.freezes import Freeze, Hold, InForce, Scope, Start
from gates.orders import write_freeze
from gates.service import CARDS, RING, TELL, Gates, KeyHolder
from gates.store import freezes, runs
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit
from gates.store.tables import ExecutionRow, RequestRow, RunRow
from gates.withdrawing import left_by_its_run

STOP = "stop"  # outbox: end a run in the engine; in place of a request stands the root run
MOST_WOKEN = 1_000  # approvals that a thaw sets free at once; the others are found by looking


@dataclass(frozen=True)
class Commander:
    """Who gives an order: a person, or an admin's process."""

    id: PersonId
    name: str
    is_person: bool = True


class _Waiting(NamedTuple):
    """Something that has not started."""

    id: str
    gate_id: str
    outcome: str | None
    agent: str
    action: str
    counterparty: str
    root_run_id: str

    @property
    def start(self) -> Start:
        return Start(
            agent=self.agent,
            action=self.action,
            counterparty=self.counterparty,
            run=self.root_run_id,
        )


@dataclass
class Commanding:
    gates: Gates

    def person(self, person_id: PersonId) -> Commander:
        """Raises NotEntitled for somebody who is not in command."""
        person = self.gates.asking.directory.person(person_id)
        who = self.gates.asking.policy.command.who
        try:
            members = self.gates.asking.directory.members(who) if who else ()
        except UnknownPerson:  # the group is gone, and with it the right of those in it
            members = ()
        if person.id not in {one.id for one in members}:
            groups = ", ".join(who) or "nobody: name groups under `command: {who: [...]}`"
            raise NotEntitled(f"{person.name} is not in command; the policy names {groups}.")
        return Commander(person.id, person.name)

    @staticmethod
    def key(caller: KeyHolder) -> Commander:
        """An admin's process may stop things. Raises NotEntitled for any other."""
        caller.refuse_unless("admin")
        return Commander(f"key:{caller.requester.agent}", caller.requester.agent, is_person=False)

    def in_force(self) -> InForce:
        with self.gates.database.read() as session:
            return freezes.in_force(session)

    # -- freezing ---------------------------------------------------------------------------

    def freeze(self, who: Commander, scope: Scope, reason: str) -> Freeze:
        """Nothing that matches starts from now on. Told again in the same words it is the freeze
        that stands: a lost answer must not leave one that nobody knows of. Raises InvalidInput: no
        scope, no reason.
        """
        scope, reason = rules.checked(scope), rules.why(reason)
        with self.gates.database.write() as session:
            for old in freezes.in_force(session).freezes:
                if (old.by, old.scope, old.reason) == (who.id, scope, reason) and not old.for_good:
                    return old
            unit = Unit(session, self.gates.clock())
            made = self._freeze(unit, who, scope, reason)
            for one in self._waiting(unit):
                if scope.covers(one.start):
                    unit.wish(one.id, CARDS, TELL)
        self.gates.orders.drop()
        return made

    def _freeze(
        self, unit: Unit, who: Commander, scope: Scope, reason: str, *, for_good: bool = False
    ) -> Freeze:
        return write_freeze(unit, (who.id, who.name), scope, reason, for_good=for_good)

    def thaw(self, person_id: PersonId, freeze_id: str, reason: str) -> Freeze:
        """Lift a freeze; what it kept waiting goes on, if it still may. Raises NotFound, and
        NotEntitled for who has frozen it or is not in command.
        """
        who = self.person(person_id)
        told = rules.why(reason)
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            found = self.thawable(unit, who, freeze_id)
            woken = self.lift(unit, found, who.id, told)
        self.thawed(woken)
        return found

    def thawable(self, unit: Unit, who: Commander, freeze_id: str) -> Freeze:
        """The freeze, locked. Raises as `thaw`."""
        found = freezes.standing(unit.session, freeze_id)
        if found is None:
            raise NotFound(f"No freeze {freeze_id[:40]!r} stands: see `gates freezes`.")
        rules.refuse_thaw(found, who.id, who.name)
        return found

    def lift(self, unit: Unit, found: Freeze, by: str, reason: str) -> list[str]:
        """The gates whose approvals can be used again: to be told after the commit."""
        for freeze_id in freezes.thaw(unit.session, found, by, reason, unit.now):
            unit.log(by, "freeze.thawed", freeze_id, reason=reason, frozen_by=found.by)
        others = freezes.in_force(unit.session)
        free: list[str] = []
        for one in self._waiting(unit):
            if not found.scope.covers(one.start) or others.freeze(one.start) is not None:
                continue
            unit.wish(one.id, CARDS, TELL)
            if one.outcome is not None:
                raised = update(RequestRow).where(col(RequestRow.id) == one.id)
                unit.session.execute(raised.values(version=col(RequestRow.version) + 1))
                unit.wish(one.id, RING)
                free.append(one.gate_id)
        return free

    def thawed(self, gate_ids: list[str]) -> None:
        self.gates.orders.drop()
        for gate in gate_ids:
            self.gates.woken(gate)

    @staticmethod
    def _waiting(unit: Unit) -> list[_Waiting]:
        """Questions, and approvals that nobody has used, of runs that have not ended. Nothing is
        locked: a freeze waits for nobody.
        """
        unused = col(ExecutionRow.state).is_(None) | (ExecutionRow.state == "failed")
        query = (
            select(*(getattr(RequestRow, name) for name in _Waiting._fields))
            .join(RunRow, col(RunRow.root_run_id) == RequestRow.root_run_id)
            .join(ExecutionRow, col(ExecutionRow.request_id) == RequestRow.id, isouter=True)
            .where(col(RunRow.ended_at).is_(None))
            .where(
                col(RequestRow.outcome).is_(None)
                | ((col(RequestRow.outcome) == "approved") & unused)
            )
            .order_by(col(RequestRow.opened_at).desc())
            .limit(MOST_WOKEN)
        )
        return sorted(_Waiting(*row) for row in unit.session.execute(query).all())

    # -- runs -------------------------------------------------------------------------------

    def hold(self, who: Commander, run: str, reason: str) -> Hold:
        """Put the run's next step to people. Raises NotFound, InvalidInput."""
        told = rules.why(reason)
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            root = _root(unit, run)
            if freezes.in_force(session).hold(root) is not None:
                raise InvalidInput(f"Run {root!r} is held already: it is released by the answer.")
            made = Hold(
                id=secrets.token_hex(4),
                run=root,
                by=who.id,
                name=who.name,
                reason=told,
                at=unit.now,
            )
            freezes.add_hold(session, made)
            unit.log(who.id, "run.held", root, reason=told, hold=made.id)
        self.gates.orders.drop()
        return made

    def stop(self, who: Commander, run: str, reason: str) -> list[str]:
        """End a run: it starts nothing any more, what it asks is taken back, and so is its work
        that nobody has begun; the engine is told. The requests that were taken back.
        """
        told = rules.why(reason)
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            root = _root(unit, run)
            self._freeze(unit, who, Scope(run=root), told, for_good=True)
            ended = self._end(unit, root, f"stopped by {who.name}: {told}")
            unit.wish(root, STOP)
        self.gates.orders.drop()
        for one in ended:
            self.gates.woken(one.row.gate_id)
        return [one.request.id for one in ended]

    def _end(self, unit: Unit, root_run_id: str, words: str) -> list[Aggregate]:
        ended = []
        for request_id in runs.left_behind(unit, root_run_id):
            one = unit.load(request_id, lock=True)
            if left_by_its_run(self.gates, unit, one, words):
                ended.append(one)
        return ended

    def why_stopped(self, root_run_id: str) -> str:
        """In words, for the engine; empty where it was not stopped."""
        found = self.in_force().freezes
        stops = [one for one in found if one.for_good and one.scope.run == root_run_id]
        return str(stops[0]) if stops else ""


def _root(unit: Unit, run: str) -> str:
    """A root run by its id, or by the id of one of its requests (six characters or more)."""
    if unit.session.get(RunRow, run) is not None:
        return run
    found = unit.matching(run) if len(run) >= 6 else []  # noqa: PLR2004 - as everywhere
    if len(found) != 1:
        raise NotFound(
            f"{run[:64]!r} names no run: give the id of a root run that has proposed something, "
            "or of one of its requests."
        )
    return unit.row(found[0]).root_run_id
