"""A small world for tests of the service: a till that pays out, five people, one policy."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from gates.access import Access
from gates.actions import Reconciled, Registry, action
from gates.asking import Asking
from gates.circling import RunOf
from gates.circumstances import Exposure, History
from gates.core.errors import ActionFailed
from gates.core.messages import AttemptReport, Proposal
from gates.core.model import DecisionKind, GateReply, Job, RunRef
from gates.core.people import load_people
from gates.core.policy import load_policy
from gates.passes import Passes
from gates.service import Gates, KeyHolder
from gates.standing import Held
from gates.store.database import Database
from gates.work import Work

PEOPLE = """
version: 1
groups: {controllers: Controllers, treasury: Treasury, clerks: Clerks}
people:
  - {id: dana, name: Dana Okafor, email: dana@example.com, groups: [controllers], slack: [T1/U1]}
  - {id: mika, name: Mika Lindqvist, email: mika@example.com, groups: [controllers]}
  - {id: tess, name: Tess Laurent, email: tess@example.com, groups: [treasury]}
  - {id: sam, name: Sam Rivera, email: sam@example.com, groups: [clerks]}
"""

POLICY = """
version: 1
defaults: {tier: ambiguous, ask: {who: [controllers], quorum: 1, deadline: 1h}}
loops: {same_failure: 3, allow_more: 2, ask: {who: [controllers], quorum: 1, deadline: 1h}}
in_doubt: {ask: {who: [controllers], quorum: 1, deadline: 1h}}
rules:
  - name: small
    on: [till.pay, note]
    when: action.name == "note" || amount.minor < 100000
    verdict: allow
    tier: routine
    because: "small"
  - name: large
    on: till.pay
    when: amount.minor >= 1000000
    verdict: require_approval
    tier: high
    ask: {who: [controllers], quorum: 2, deadline: 1h}
    because: "{amount} is large"
  - name: huge
    on: till.pay
    when: amount.minor >= 100000000
    verdict: require_approval
    tier: high
    ask: {who: [controllers, treasury], from_each: true, deadline: 1h, valid: 2h}
    because: "{amount} wants both sides"
  - name: delicate
    on: till.pay
    when: amount.minor == 77700
    verdict: require_approval
    tier: expert
    ask: {who: [controllers], escalate_to: [treasury]}
    because: "{amount} is looked at twice"
  - name: patient
    on: till.pay
    when: amount.minor == 88800
    verdict: veto_window
    window: 8s
    ask: {who: [controllers]}
    because: "{amount} waits for objections"
  - name: never
    on: till.burn
    when: "true"
    verdict: forbid
    tier: expert
    because: "money is not burned"
"""


class Payout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    payee: str
    amount: Decimal


@dataclass
class Till:
    """The real system of these tests: what was paid, by key; and how it behaves."""

    paid: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=lambda: {"acme": "NL01"})
    broken: str = ""
    reachable: bool = True


def _state(till: Till, payout: Payout) -> dict[str, Any]:
    if not till.reachable:
        raise ConnectionError("the till does not answer")
    return {"account": till.accounts.get(payout.payee)}


def _find(till: Till, payout: Payout, *, idempotency_key: str) -> Reconciled:
    if not till.reachable:
        return Reconciled(state="unclear", note="the till does not answer")
    if till.paid.get(idempotency_key) == str(payout.amount):
        return Reconciled(state="done", result={"paid": till.paid[idempotency_key]})
    return Reconciled(state="absent")


@action(
    "till.pay",
    title="Pay out",
    subject=lambda p: [f"payee:{p.payee}"],
    amount=lambda p: (p.amount, "EUR"),
    facts=_state,
    precondition=_state,
    reconcile=_find,
    counterparty=lambda p: p.payee,
)
def pay(till: Till, payout: Payout, *, idempotency_key: str) -> dict[str, str]:
    if till.broken:
        raise ActionFailed(till.broken, error_class="TillError")
    till.paid.setdefault(idempotency_key, str(payout.amount))
    return {"paid": till.paid[idempotency_key]}


@action("till.burn", title="Burn money", facts=_state)
def burn(till: Till, payout: Payout, *, idempotency_key: str) -> None:
    raise AssertionError(f"{till}, {payout}, {idempotency_key}: the policy forbids this")


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    jumped: float = 0.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        """Seconds of the clock beside it, which knows nothing of `jump`."""
        return self.now.timestamp() - self.jumped

    def jump(self, **span: float) -> None:
        """Somebody sets the clock."""
        self.now += timedelta(**span)
        self.jumped += timedelta(**span).total_seconds()

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class World:
    """Everything around one store; `run` is the flow run that proposes."""

    database: Database
    clock: Clock = field(default_factory=Clock)
    till: Till = field(default_factory=Till)
    run: str = field(default_factory=lambda: uuid4().hex)
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory = load_people(PEOPLE, "people.yaml")
        self.policy = load_policy(POLICY, "policy.yaml", self.directory)
        registry = Registry.of([pay, burn], {Till: lambda: self.till})
        asking = Asking(
            registry,
            self.policy,
            self.directory,
            circumstances=(
                History(self.database),
                Exposure(self.database, lambda: self.policy),
                RunOf(self.database, lambda: self.policy),
            ),
            standing=Held(self.database),
        )
        self.gates = Gates(
            self.database, asking, "http://127.0.0.1", woken=self.woken.append, clock=self.clock
        )
        self.gates.ring.signer()  # as a server that has started
        self.passes = Passes(self.gates)
        self.work = self.server(self.gates)
        self.access = Access(self.database, self.directory, clock=self.clock)
        self.flow = self.key("flow", "invoice-agent", "sam")
        self.executor = self.key("executor", "executor-1")

    def server(self, gates: Gates) -> Work:
        """One that has run for longer than `settle`: a younger one takes nobody for dead."""
        self.clock.advance(seconds=-11)
        made = Work(gates, timedelta(seconds=10), self.clock.monotonic)
        self.clock.advance(seconds=11)
        return made

    def key(
        self,
        scope: str,
        agent: str,
        on_behalf_of: str | None = None,
        actions: Sequence[str] = ("*",),
    ) -> KeyHolder:
        return self.access.key_holder(self.access.create_key(scope, agent, on_behalf_of, actions))

    def proposal(self, amount: str = "500.00", **changes: Any) -> Proposal:
        run = RunRef(run_id=self.run, root_run_id=self.run, flow_name="pay-all")
        values: dict[str, Any] = {
            "name": "till.pay",
            "arguments": {"payee": "acme", "amount": amount},
            "run": run,
            "key": "pay",
            "attempt_id": uuid4().hex,
        }
        return Proposal(**values | changes)

    def propose(self, amount: str = "500.00", **changes: Any) -> GateReply:
        return self.gates.propose(self.flow, self.proposal(amount, **changes))

    def decide(
        self,
        request_id: str,
        person: str,
        kind: str = "approve",
        reason: str = "",
        changes: dict[str, Any] | None = None,
        assurance: str = "session",
    ) -> Any:
        return self.gates.decide(
            request_id,
            person_id=person,
            kind=DecisionKind(kind),
            reason=reason or ("" if kind == "approve" else "no"),
            channel="test",
            assurance=assurance,
            changes=changes,
        )

    def rule(self, policy: str = POLICY, people: str = PEOPLE) -> None:
        """From now on other rules or other people."""
        self.directory = load_people(people, "people.yaml")
        self.policy = load_policy(policy, "policy.yaml", self.directory)
        self.gates.asking = replace(self.gates.asking, policy=self.policy, directory=self.directory)

    def lease(self, executor: KeyHolder | None = None) -> Job | None:
        return self.work.lease(executor or self.executor, uuid4().hex, ["till.pay"], 60)

    def perform(self, job: Job) -> GateReply:
        """What an executor does with a job."""
        payout = pay.parse(job.action.arguments)
        key = job.idempotency_key
        fence = job.grant.fence
        if job.kind == "reconcile":
            found = _find(self.till, payout, idempotency_key=key)
            states = {"done": "succeeded", "absent": "absent", "unclear": "unclear"}
            report = AttemptReport(
                state=states[found.state], fence=fence, result=found.result, error=found.note
            )
        else:
            try:
                result = pay.execute(self.till, payout, idempotency_key=key)
                report = AttemptReport(state="succeeded", fence=fence, result=result)
            except ActionFailed as error:
                report = AttemptReport(
                    state="failed", fence=fence, error=str(error), error_class=error.error_class
                )
        return self.work.report(self.executor, job.grant.attempt_id, report)
