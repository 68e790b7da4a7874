"""A freeze beats any grant, whatever has happened before and happens meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import col, func, select

from gates.commanding import Commander, Commanding
from gates.core.errors import GatesError
from gates.core.freezes import Scope
from gates.core.model import Job, Standing
from gates.grants.redeeming import Redeeming
from gates.orders import Orders
from gates.store import freezes
from gates.store.database import Database
from gates.store.tables import AttemptRow
from tests.support.empty import empty_sqlite
from tests.support.world import World

WHO = Commander("tess", "Tess Laurent")
SCOPES = (
    Scope(everything=True),
    Scope(agent="invoice-agent"),
    Scope(action="till.*"),
    Scope(agent="*", action="till.pay"),
)
KEYS = ("a", "b", "c")
AMOUNTS = {"a": "500.00", "b": "5000.00", "c": "20000.00"}
STEPS = st.one_of(
    st.tuples(st.sampled_from(["propose", "claim", "decide"]), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(["lease", "redeem", "perform", "thaw"]), st.just("")),
    st.tuples(st.just("freeze"), st.sampled_from(range(len(SCOPES)))),
)


class Story:
    """A small world to which things happen, and what has begun in it."""

    def __init__(self, database: Database) -> None:
        self.world = World(database)
        self.world.gates.orders = Orders(iter(range(10**9)).__next__)  # remembers nothing
        self.command = Commanding(self.world.gates)
        self.asked: dict[str, str] = {}
        self.jobs: list[Job] = []

    def begun(self) -> tuple[int, int]:
        """Attempts that may act, and grants that were used up."""
        with self.world.database.read() as session:
            acting = select(func.count()).where(col(AttemptRow.reconciling).is_(False))
            used = select(func.count()).where(col(AttemptRow.redeemed_at).is_not(None))
            return session.exec(acting).one(), session.exec(used).one()

    @property
    def frozen(self) -> bool:
        return bool(self.command.in_force().freezes)

    def step(self, what: str, which: str | int) -> None:
        steps: dict[str, Callable[[], object]] = {
            "propose": lambda: self._propose(str(which)),
            "claim": lambda: self._claim(str(which)),
            "decide": lambda: self._decide(str(which)),
            "lease": self._lease,
            "redeem": self._redeem,
            "perform": lambda: self.jobs and self.world.perform(self.jobs.pop()),
            "thaw": self._thaw,
            "freeze": lambda: self.command.freeze(WHO, SCOPES[int(which)], "odd"),
        }
        with suppress(GatesError):
            steps[what]()

    def _propose(self, key: str) -> None:
        reply = self.world.propose(AMOUNTS[key], key=key)
        self.asked[key] = reply.view.request.id

    def _claim(self, key: str) -> None:
        if key in self.asked:
            proposal = self.world.proposal(AMOUNTS[key], key=key)
            reply = self.world.gates.claim(self.world.flow, self.asked[key], proposal)
            assert reply.standing is not Standing.CLAIMABLE

    def _decide(self, key: str) -> None:
        for person in ("dana", "mika"):
            with suppress(GatesError):
                self.world.decide(self.asked.get(key, ""), person)

    def _lease(self) -> None:
        job = self.world.lease()
        if job is not None:
            self.jobs.append(job)

    def _redeem(self) -> None:
        if self.jobs:
            Redeeming(self.world.gates).redeem(self.world.executor, self.jobs[-1].grant.token)

    def _thaw(self) -> None:
        for freeze in self.command.in_force().freezes[:1]:
            with self.world.database.write() as session:
                freezes.thaw(session, freeze, "sam", "fine", self.world.clock())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=3, max_size=14))
def test_while_something_is_frozen_nothing_begins(steps: list[tuple[str, str | int]]) -> None:
    """In any order of proposals, answers, claims, leases, redemptions, freezes and thaws."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(empty_sqlite(Path(folder) / "gates.sqlite"))
        story = Story(database)
        for what, which in steps:
            before, frozen = story.begun(), story.frozen
            story.step(what, which)
            if frozen and what != "thaw":
                assert story.begun() == before, (what, which)
        database.close()
