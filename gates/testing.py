"""Decide in tests: flows run against an authority in memory, without a server and unpatched.

    with gates(decide={"erp.payment.submit": "reject"}) as asked:
        with pytest.raises(Rejected):
            pay_supplier.fn(payment)
    assert asked[0].arguments["amount"] == "505.75"

What people decide, the test says; arguments are held against the action's definition, and what
was approved runs: functions of the flow in its process, actions of the registry against the
resources that the test gives. The policy is not asked (test it with `gates policy check`), and
a body that fails again and again is not stopped as a loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from gates.actions import Registry
from gates.core import execution as tries
from gates.core.errors import ActionFailed, GatesError, InvalidInput
from gates.core.messages import AttemptReport, Proposal
from gates.core.model import (
    Action,
    ApprovalRequest,
    Ask,
    Attempt,
    Execution,
    ExecutionState,
    Failure,
    GateReply,
    Judgement,
    Outcome,
    OutcomeKind,
    Reason,
    Requester,
    RequestView,
    Requirement,
    Standing,
    Tier,
    Verdict,
    request_id,
)
from gates.flow.session import Session, chosen

__all__ = ["Answer", "gates"]

Kind = Literal["approve", "reject", "expire", "withdraw", "forbid"]
OUTCOMES = {
    "approve": OutcomeKind.APPROVED,
    "reject": OutcomeKind.REJECTED,
    "expire": OutcomeKind.EXPIRED,
    "withdraw": OutcomeKind.CANCELLED,
    "forbid": OutcomeKind.REJECTED,
}
LEASE = 60
DEADLINE = timedelta(hours=1)


class Answer(NamedTuple):
    """What a person says. The bare kind will do where the rest does not matter."""

    kind: Kind
    reason: str = ""
    by: str = "Test Approver"


Decide = Kind | Answer | Mapping[str, Kind | Answer] | Callable[[Proposal], Kind | Answer]


class InDoubt(GatesError):
    """A body raised something else than ActionFailed: in earnest people would be asked."""

    code = "in_doubt"


@contextmanager
def gates(
    decide: Decide = "approve", *, resources: Mapping[type, Callable[[], Any]] | None = None
) -> Iterator[list[Proposal]]:
    """Gates in this block are decided by `decide`: one answer for all, one for each action's
    name, or a function of the proposal. Yields what was proposed, in order.
    """
    authority = Authority(decide, resources or {})
    session = Session(authority, linger=0, lease=LEASE, suspends=False)
    authority.registry = Registry(session.definitions, authority.resources)
    token = chosen.set(session)
    try:
        yield authority.asked
    finally:
        chosen.reset(token)


@dataclass(frozen=True)
class _Gate:
    request: ApprovalRequest
    outcome: Outcome
    execution: Execution | None = None


@dataclass
class Authority:
    """What the server is to flows, by the same pure rules, with everybody's answer at once."""

    decide: Decide
    resources: Mapping[type, Callable[[], Any]]
    registry: Registry = field(default_factory=Registry)
    asked: list[Proposal] = field(default_factory=list)
    _gates: dict[str, _Gate] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def propose(self, proposal: Proposal) -> GateReply:
        with self._lock:
            action = self.registry.action(proposal)
            gate = self._gates.get(_id(proposal, 1))
            if gate is None or gate.request.action.fingerprint != action.fingerprint:
                self.asked.append(proposal)
                gate = self._gates[_id(proposal, 1)] = self._decided(proposal, action)
            reply = _reply(gate, proposal.attempt_id, proposal.call)
            if reply.standing is Standing.CLAIMABLE:
                return self.claim(gate.request.id, proposal)
            return reply

    def claim(self, request_id: str, proposal: Proposal) -> GateReply:
        with self._lock:
            gate = self._gates[request_id]
            before = gate.execution or tries.queue(gate.request)
            started = tries.start(
                before, proposal.attempt_id, "test", _now(), timedelta(seconds=LEASE)
            )
            self._gates[request_id] = replace(gate, execution=started)
        if proposal.in_process:
            return self._read(request_id, proposal.attempt_id, proposal.call)
        return self._execute(request_id, proposal)

    def wait(
        self, request_id: str, *, attempt_id: str, call: int, after: int, seconds: float
    ) -> GateReply:
        """Everybody answers at once, so nobody waits."""
        del after, seconds
        return self._read(request_id, attempt_id, call)

    def suspending(self, request_id: str) -> GateReply:
        return self._read(request_id, "", 1)

    def staying(self, request_id: str) -> GateReply:
        return self._read(request_id, "", 1)

    def renew(self, attempt_id: str, fence: int, lease_seconds: int) -> Attempt:
        gate = self._holding(attempt_id)
        assert gate.execution is not None  # noqa: S101 - it holds the attempt
        until = _now() + timedelta(seconds=lease_seconds)
        return tries.renew(gate.execution, attempt_id, fence, until).attempts[-1]

    def report(self, attempt_id: str, report: AttemptReport) -> GateReply:
        if report.state == "in_doubt":
            raise InDoubt(
                f"The body raised {report.error}: in earnest people would be asked whether it took "
                "effect. Raise ActionFailed where nothing was left behind."
            )
        with self._lock:
            gate = self._holding(attempt_id)
            assert gate.execution is not None  # noqa: S101 - it holds the attempt
            told = tries.Report(
                ExecutionState(report.state),
                result=report.result,
                error=report.error,
                error_class=report.error_class,
            )
            ended = tries.report(gate.execution, attempt_id, report.fence, told, _now())
            gate = self._gates[gate.request.id] = replace(gate, execution=ended)
        return _reply(gate, attempt_id, 1_000_000)

    # ---------------------------------------------------------------------------------------

    def _decided(self, proposal: Proposal, action: Action) -> _Gate:
        answer = self._answer(proposal)
        asks = answer.kind != "forbid"
        asked = Requirement(people={"test": answer.by}, quorum=1, deadline_at=_now() + DEADLINE)
        request = ApprovalRequest(
            id=_id(proposal, 1),
            gate_key=proposal.key,
            round=1,
            run=proposal.run,
            requester=Requester(agent="test"),
            action=action,
            in_process=proposal.in_process,
            claims=proposal.claims,
            judgement=Judgement(
                verdict=Verdict.REQUIRE_APPROVAL if asks else Verdict.FORBID,
                tier=Tier.HIGH,
                reasons=(Reason(rule="test", text=answer.reason or "the test says so"),),
                policy_digest="test",
                ask=Ask(who=("test",)) if asks else None,
            ),
            requirement=asked if asks else None,
            opened_at=_now(),
        )
        outcome = Outcome(
            kind=OUTCOMES[answer.kind], by=(answer.by,), reason=answer.reason, at=_now()
        )
        return _Gate(request, outcome)

    def _answer(self, proposal: Proposal) -> Answer:
        said: Kind | Answer
        if callable(self.decide):
            said = self.decide(proposal)
        elif isinstance(self.decide, (str, Answer)):
            said = self.decide
        elif proposal.name in self.decide:
            said = self.decide[proposal.name]
        else:
            raise InvalidInput(
                f"{proposal.name!r} is proposed, and the test does not say what is decided: "
                "add it to `decide`."
            )
        answer = said if isinstance(said, Answer) else Answer(said)
        if answer.kind not in OUTCOMES:
            raise InvalidInput(
                f"decide = {answer.kind!r} for {proposal.name!r}: say {', '.join(OUTCOMES)}."
            )
        return answer

    def _execute(self, request_id: str, proposal: Proposal) -> GateReply:
        gate = self._gates[request_id]
        definition = self.registry.find(proposal.name)
        if definition.resource not in self.resources:
            raise InvalidInput(
                f"{proposal.name!r} was approved and would run: give the test's "
                f"{definition.resource.__name__} by `gates(resources={{"
                f"{definition.resource.__name__}: ...}})`."
            )
        arguments = definition.parse(gate.request.action.arguments)
        assert gate.execution is not None  # noqa: S101 - it was claimed
        fence = gate.execution.attempts[-1].fence
        try:
            result = definition.execute(
                self.registry.resource(definition), arguments, idempotency_key=request_id
            )
        except ActionFailed as error:
            told = AttemptReport(
                state="failed", fence=fence, error=str(error), error_class=error.error_class
            )
        else:
            told = AttemptReport(
                state="succeeded", fence=fence, result=definition.dump_result(result)
            )
        self.report(proposal.attempt_id, told)
        return self._read(request_id, proposal.attempt_id, proposal.call)

    def _read(self, request_id: str, attempt_id: str, call: int) -> GateReply:
        with self._lock:
            return _reply(self._gates[request_id], attempt_id, call)

    def _holding(self, attempt_id: str) -> _Gate:
        with self._lock:
            for gate in self._gates.values():
                if gate.execution and gate.execution.last and gate.execution.last.id == attempt_id:
                    return gate
        raise InvalidInput(f"Attempt {attempt_id!r} was not handed out by this test's gates.")


def _reply(gate: _Gate, attempt_id: str, call: int) -> GateReply:
    standing = tries.standing(gate.request, gate.outcome, gate.execution, attempt_id)
    failures = tries.raised_failures([gate.execution] if gate.execution else [])
    failure = None
    if call <= len(failures):
        standing = Standing.FAILED
        told = failures[call - 1]
        failure = Failure(error=told.error, error_class=told.error_class)
    held = standing is Standing.CLAIMED and gate.execution is not None
    return GateReply(
        standing=standing,
        view=RequestView(request=gate.request, outcome=gate.outcome, execution=gate.execution),
        version=1,
        grant=tries.grant(gate.request, gate.execution) if held and gate.execution else None,
        result=gate.execution.result if gate.execution else None,
        failure=failure,
    )


def _id(proposal: Proposal, round_: int) -> str:
    return request_id(proposal.run.root_run_id, proposal.key, round_)


def _now() -> datetime:
    return datetime.now(UTC)
