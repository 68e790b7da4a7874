"""The whole way on real parts: a gates server over HTTP, its executors, and the real ERP.

Executors are stepped by the test, so that it says what happens between an approval, a claim and
an execution. `raw` is the ERP's own protocol, past every action.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from gates.actions import ActionDefinition, Registry
from gates.client import GatesClient
from gates.core.messages import Proposal
from gates.core.model import DecisionKind, GateReply, RunRef, Standing
from gates.executor import Executor
from gates.settings import ServerSettings
from integrations import wiring
from integrations.erp.actions import ACTIONS, Erp
from integrations.erp.books import BookEntry, books
from integrations.erp.rpc import TrytonRpc
from integrations.erp.tryton import TrytonErp
from tests.support.browser import free_socket, serving
from tests.support.erp import ErpServer, erp_server
from tests.support.policies import ROOT

POLICIES = ROOT / "policies"
PATIENCE = 30.0  # seconds


@dataclass
class Run:
    """One flow run, as the server knows it: it proposes, waits, and claims."""

    house: ErpGates
    id: str = field(default_factory=lambda: f"run-{uuid4().hex}")

    def proposal(
        self, action: ActionDefinition[Any, Any], arguments: BaseModel, **changes: Any
    ) -> Proposal:
        values: dict[str, Any] = {
            "name": action.name,
            "arguments": arguments.model_dump(mode="json"),
            "claims": {"confidence": "0.97"},
            "run": RunRef(run_id=self.id, root_run_id=self.id),
            "key": f"{action.name}-1",
            "attempt_id": uuid4().hex,
        }
        return Proposal(**values | changes)

    def propose(
        self, action: ActionDefinition[Any, Any], arguments: BaseModel, **changes: Any
    ) -> GateReply:
        """Also what a run does that comes back: it reads, and claims what was approved."""
        return self.house.flow.propose(self.proposal(action, arguments, **changes))

    def ended(
        self, action: ActionDefinition[Any, Any], arguments: BaseModel, **changes: Any
    ) -> GateReply:
        """Once an executor has had its turn: executed, failed, or put to people."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            reply = self.propose(action, arguments, **changes)
            if reply.standing is not Standing.EXECUTING:
                return reply
            mine = self.house.banker if ".supplier." in action.name else self.house.executor
            mine.step(wait_seconds=1)
        raise AssertionError(f"{action.name} is still being executed after {PATIENCE} s")

    def done(self, action: ActionDefinition[Any, Any], arguments: BaseModel) -> GateReply:
        """Allowed by the policy or approved before, and executed."""
        reply = self.ended(action, arguments)
        assert reply.standing is Standing.SUCCEEDED, (reply.standing, reply.view.request.judgement)
        return reply


@dataclass
class ErpGates:
    erp: ErpServer
    server: wiring.Server
    url: str
    flow: GatesClient
    executor: Executor
    second: Executor
    banker: Executor
    clients: list[GatesClient]

    def run(self) -> Run:
        return Run(self)

    def decide(self, reply: GateReply, *people: str, reject: str = "") -> None:
        """By the server's own command, as each of `people`."""
        for person in people:
            self.server.gates.decide(
                reply.view.request.id,
                person_id=person,
                kind=DecisionKind.REJECT if reject else DecisionKind.APPROVE,
                reason=reject,
                channel="test",
                assurance="session",
            )

    def raw(self, user: str) -> TrytonRpc:
        return self.erp.running.company.connect(self.erp.url, user)

    def entry(self, number: str) -> BookEntry:
        (found,) = [one for one in books(self.erp.erp("reader")) if one.number == number]
        return found


@contextmanager
def erp_gates(folder: Path) -> Iterator[ErpGates]:
    """Everything running in `folder`; nothing afterwards."""
    with erp_server(folder / "erp") as erp:
        settings = ServerSettings(
            database_url=f"sqlite:///{folder / 'gates.sqlite'}",
            policy=POLICIES / "erp.yaml",
            people=POLICIES / "people.yaml",
            signing_keys=folder / "signing-keys",
            settle=0,
        )
        reader = erp.erp("reader")
        server = wiring.server(settings, _registry(reader))
        clients: list[GatesClient] = []
        with serving(server.app, free_socket()) as url:

            def client(scope: str, agent: str, person: str | None = None) -> GatesClient:
                key = server.access.create_key(scope, agent, person)
                clients.append(GatesClient(url, key=key, patience=5))
                return clients[-1]

            def executor(user: str, agent: str, actions: str) -> Executor:
                registry = _registry(erp.erp(user)).only(actions)
                return Executor(client("executor", agent), registry, lease=30)

            booking = "erp.bill.*, erp.payment.*"
            try:
                yield ErpGates(
                    erp,
                    server,
                    url,
                    client("flow", "invoice-agent", "sam"),
                    executor("executor", "executor-1", booking),
                    executor("executor", "executor-2", booking),
                    executor("banker", "banker-1", "erp.supplier.*"),
                    clients,
                )
            finally:
                for one in clients:
                    one.close()
        server.database.close()


def _registry(erp: TrytonErp) -> Registry:
    return Registry.of(ACTIONS, {Erp: lambda: erp})


__all__ = ["ErpGates", "Run", "erp_gates"]
