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
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from gates.actions import ActionDefinition, Executed, Registry, Undo
from gates.core import execution as tries
from gates.core.asked import Ask, Requirement
from gates.core.batches import BatchLimits, base_of, given, refuse_unfit
from gates.core.errors import ActionFailed, GatesError, InvalidInput
from gates.core.gate_keys import gate_id, request_id
from gates.core.lifecycle import BY_TIME
from gates.core.messages import AttemptReport, Awaited, Proposal
from gates.core.model import (
    Action,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Execution,
    ExecutionState,
    Failure,
    GateReply,
    Grant,
    Judgement,
    Line,
    Outcome,
    OutcomeKind,
    Reason,
    Requester,
    RequestView,
    Standing,
    Step,
    Suspension,
    Tier,
    Verdict,
)
from gates.flow.session import Session, chosen
from gates.trail import trail

__all__ = ["Answer", "gates"]

Kind = Literal[
    "approve", "reject", "send_back", "expire", "withdraw", "forbid", "object", "nobody_objects"
]
OUTCOMES = {
    "approve": OutcomeKind.APPROVED,
    "reject": OutcomeKind.REJECTED,
    "send_back": OutcomeKind.SENT_BACK,
    "expire": OutcomeKind.EXPIRED,
    "withdraw": OutcomeKind.CANCELLED,
    "forbid": OutcomeKind.REJECTED,
    "object": OutcomeKind.REJECTED,
    "nobody_objects": OutcomeKind.APPROVED,
}
WINDOWED = ("object", "nobody_objects")  # answers to what runs unless somebody objects
LEASE = 60
DEADLINE = timedelta(hours=1)


class Answer(NamedTuple):
    """What a person says. The bare kind will do where the rest does not matter."""

    kind: Kind
    reason: str = ""
    by: str = "Test Approver"
    refused: Mapping[int, str] = {}  # lines of a batch, with the reason for each


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
    authority.named = session.definitions
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
    decisions: tuple[Decision, ...] = ()


@dataclass
class Authority:
    """What the server is to flows, by the same pure rules, with everybody's answer at once."""

    decide: Decide
    resources: Mapping[type, Callable[[], Any]]
    registry: Registry = field(default_factory=Registry)
    named: dict[str, ActionDefinition[Any, Any]] = field(default_factory=dict)
    asked: list[Proposal] = field(default_factory=list)
    _rounds: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _gates: dict[str, _Gate] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def propose(self, proposal: Proposal) -> GateReply:
        with self._lock:
            action = self.registry.action(proposal)
            rounds = self._rounds[gate_id(proposal.run.root_run_id, proposal.key)]
            told = tries.replayed(self._ends(rounds), proposal.call, action.fingerprint)
            if told is None and not self._stands(rounds, action):
                self.asked.append(proposal)
                gate = self._decided(proposal, action, len(rounds) + 1)
                self._gates[gate.request.id] = gate
                rounds.append(gate.request.id)
            reply = self._read(rounds[-1], proposal.attempt_id, proposal.call)
            begins = proposal.begins or not proposal.in_process
            if reply.standing is Standing.CLAIMABLE and begins:
                return self.claim(rounds[-1], proposal)
            return reply

    def claim(self, request_id: str, proposal: Proposal) -> GateReply:
        with self._lock:
            gate = self._gates[request_id]
            before = gate.execution or tries.queue(gate.request)
            started = tries.start(
                before, proposal.attempt_id, "test", _now(), timedelta(seconds=LEASE)
            )
            self._gates[request_id] = replace(gate, execution=started)
        if gate.request.lines:
            return self._answered(request_id, proposal)
        if proposal.in_process:
            return self._read(request_id, proposal.attempt_id, proposal.call)
        return self._execute(request_id, proposal)

    def wait(
        self, request_id: str, *, attempt_id: str, call: int, after: int, seconds: float
    ) -> GateReply:
        """Everybody answers at once, so nobody waits."""
        del after, seconds
        return self._read(request_id, attempt_id, call)

    def trail(self, request_id: str) -> list[Step]:
        with self._lock:
            run = self._gates[request_id].request.run.root_run_id
            views = [_view(one) for one in self._gates.values()]
            mine = [view for view in views if view.request.run.root_run_id == run]
            return list(trail(self.registry, mine))

    def news(self, awaited: Sequence[Awaited], seconds: float) -> list[GateReply]:
        del seconds
        return [self._read(one.request_id, one.attempt_id, one.call) for one in awaited]

    def suspending(self, request_ids: Sequence[str], wake_at: datetime | None = None) -> Suspension:
        del request_ids, wake_at
        return Suspension()

    def staying(self, request_ids: Sequence[str]) -> None:
        """Nobody suspends in a test."""

    def leaving(self, request_ids: Sequence[str], *, withdraw: bool, reason: str) -> None:
        """Everybody has answered."""

    def renew(self, attempt_id: str, fence: int, lease_seconds: int) -> Grant:
        gate = self._holding(attempt_id)
        assert gate.execution is not None  # noqa: S101 - it holds the attempt
        until = _now() + timedelta(seconds=lease_seconds)
        return tries.grant(gate.request, tries.renew(gate.execution, attempt_id, fence, until))

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
            self._gates[gate.request.id] = replace(gate, execution=ended)
        return self._read(gate.request.id, attempt_id, 0)

    # ---------------------------------------------------------------------------------------

    def _stands(self, rounds: list[str], action: Action) -> bool:
        """Whether the last round is the answer to this proposal."""
        last = self._gates[rounds[-1]] if rounds else None
        if last is None or last.outcome.kind is OutcomeKind.SENT_BACK:
            return False
        return last.request.answers == action.fingerprint

    def _ends(self, rounds: list[str]) -> list[tries.End]:
        known = [self._gates[one] for one in rounds]
        return tries.ends([(gate.request, gate.outcome, gate.execution) for gate in known])

    def _decided(self, proposal: Proposal, action: Action, round_: int) -> _Gate:
        answer = self._answer(proposal) if proposal.batch is None else Answer("approve")
        asks = answer.kind != "forbid"
        verdict = Verdict.REQUIRE_APPROVAL if asks else Verdict.FORBID
        asked = Requirement(people={"test": answer.by}, quorum=1, deadline_at=_now() + DEADLINE)
        judgement = Judgement(
            verdict=Verdict.VETO_WINDOW if answer.kind in WINDOWED else verdict,
            tier=Tier.HIGH,
            reasons=(Reason(rule="test", text=answer.reason or "the test says so"),),
            policy_digest="test",
            ask=Ask(who=("test",)) if asks else None,
        )
        request = ApprovalRequest(
            id=request_id(proposal.run.root_run_id, proposal.key, round_),
            gate_key=proposal.key,
            round=round_,
            run=proposal.run,
            requester=Requester(agent="test"),
            action=action,
            in_process=proposal.in_process,
            claims=proposal.claims,
            judgement=judgement,
            requirement=asked if asks else None,
            opened_at=_now(),
            lines=self._lines(action, judgement),
        )
        by = BY_TIME if answer.kind == "nobody_objects" else (answer.by,)
        outcome = Outcome(kind=OUTCOMES[answer.kind], by=by, reason=answer.reason, at=_now())
        return _Gate(request, outcome, decisions=_decisions(answer) if request.lines else ())

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

    def _answered(self, request_id: str, proposal: Proposal) -> GateReply:
        """A batch does nothing itself: its lines do."""
        execution = self._gates[request_id].execution
        assert execution is not None  # noqa: S101 - it was claimed
        fence = execution.attempts[-1].fence
        self.report(proposal.attempt_id, AttemptReport(state="succeeded", fence=fence, result={}))
        return self._read(request_id, proposal.attempt_id, proposal.call)

    def _lines(self, action: Action, judgement: Judgement) -> tuple[Line, ...]:
        if not self.registry.is_batch(action.name):
            return ()
        base = base_of(action.name)
        found = [self.registry.named(base, one) for one in given(action.arguments)]
        refuse_unfit(action.name, found, [None] * len(found), BatchLimits())
        return tuple(
            Line(number=number, fingerprint=one.fingerprint, judgement=judgement)
            for number, one in enumerate(found, 1)
        )

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
                self.registry.resource(definition),
                arguments,
                idempotency_key=tries.idempotency_key(gate.request),
            )
        except ActionFailed as error:
            told = AttemptReport(
                state="failed", fence=fence, error=str(error), error_class=error.error_class
            )
        else:
            told = AttemptReport(
                state="succeeded", fence=fence, result=definition.dump_result(result)
            )
            self._learn_undo(definition, Executed(arguments, result, "test"))
        self.report(proposal.attempt_id, told)
        return self._read(request_id, proposal.attempt_id, proposal.call)

    def _learn_undo(self, definition: ActionDefinition[Any, Any], done: Executed[Any, Any]) -> None:
        """A server has a whole registry; a test knows what its flow has named, and what that
        names in turn.
        """
        offer = definition.undo(done) if definition.undo else None
        if isinstance(offer, Undo):
            self.named.setdefault(offer.action.name, offer.action)

    def _read(self, request_id: str, attempt_id: str, call: int) -> GateReply:
        """`call` 0: whatever was told before."""
        with self._lock:
            gate = self._gates[request_id]
            rounds = self._rounds[gate.request.gate_id]
            end = tries.replayed(self._ends(rounds), call, gate.request.answers) if call else None
            if end is None:
                return _reply(gate, attempt_id)
            return _told(self._gates[rounds[end.round - 1]], end)

    def _holding(self, attempt_id: str) -> _Gate:
        with self._lock:
            for gate in self._gates.values():
                if gate.execution and gate.execution.last and gate.execution.last.id == attempt_id:
                    return gate
        raise InvalidInput(f"Attempt {attempt_id!r} was not handed out by this test's gates.")


def _reply(gate: _Gate, attempt_id: str) -> GateReply:
    standing = tries.standing(gate.request, gate.outcome, gate.execution, attempt_id)
    held = standing is Standing.CLAIMED and gate.execution is not None
    return GateReply(
        standing=standing,
        view=_view(gate),
        version=1,
        grant=tries.grant(gate.request, gate.execution) if held and gate.execution else None,
        result=gate.execution.result if gate.execution else None,
    )


def _told(gate: _Gate, end: tries.End) -> GateReply:
    failure = None
    if end.failure is not None:
        failure = Failure(error=end.failure.error, error_class=end.failure.error_class)
    standing = Standing.FAILED if failure else Standing.SENT_BACK
    return GateReply(standing=standing, view=_view(gate), version=1, failure=failure)


def _view(gate: _Gate) -> RequestView:
    return RequestView(
        request=gate.request,
        decisions=gate.decisions,
        outcome=gate.outcome,
        execution=gate.execution,
    )


def _decisions(answer: Answer) -> tuple[Decision, ...]:
    if answer.kind != "approve":
        return ()
    return (
        Decision(
            person="test",
            name=answer.by,
            kind=DecisionKind.APPROVE,
            reason=answer.reason,
            at=_now(),
            channel="test",
            assurance="test",
            refused={str(number): why for number, why in answer.refused.items()},
        ),
    )


def _now() -> datetime:
    return datetime.now(UTC)
