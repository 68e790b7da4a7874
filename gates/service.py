"""Commands: each reads the world, then does one transaction.

A command that needs another system (facts, preconditions) asks it before its transaction and
checks inside that the request is still where it was. What a transaction decides becomes rows,
log entries and outbox wishes together, or nothing does. After the commit those who wait for
the gate are woken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError

from gates.asking import Asking, differences
from gates.core import lifecycle
from gates.core.errors import (
    GatesError,
    InvalidInput,
    NotEntitled,
    RequestClosed,
    RetryLater,
    StaleCard,
)
from gates.core.events import Event
from gates.core.execution import Report, grant, queue, raised_failures, report, start
from gates.core.messages import Proposal
from gates.core.model import (
    Action,
    ApprovalRequest,
    Decision,
    DecisionKind,
    ExecutionState,
    Failure,
    GateReply,
    Json,
    OutcomeKind,
    Purpose,
    Requester,
    RequestView,
    Standing,
    gate_id,
)
from gates.reading import Reading
from gates.store.database import Database
from gates.store.repository import Aggregate, Unit
from gates.store.tables import KeyRow, RunRow

ENDED = (
    Standing.SUCCEEDED,
    Standing.REJECTED,
    Standing.EXPIRED,
    Standing.CANCELLED,
    Standing.FORBIDDEN,
)
CARDS = "cards"  # outbox: bring every card of a request up to date
TELL = "tell"  # outbox: say on the run what it waits for
RING = "ring"  # outbox: wake the run until it has collected the outcome
MOST_TRIES = 10  # of a proposal that others keep overtaking

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class KeyHolder:
    """Who calls, as their key says; a flow cannot name itself otherwise."""

    key_id: str
    scope: str
    requester: Requester

    def refuse_unless(self, scope: str) -> None:
        if self.scope != scope:
            raise NotEntitled(
                f"This key is for {self.scope} processes; this call wants one for {scope}."
            )


@dataclass
class Gates(Reading):
    """The authority. `woken` is called with a gate's id after each commit that changed it."""

    database: Database
    asking: Asking
    base_url: str
    woken: Callable[[str], None] = lambda _gate: None
    clock: Callable[[], datetime] = utc_now

    # -- what flows say ---------------------------------------------------------------------

    def propose(self, caller: KeyHolder, proposal: Proposal) -> GateReply:
        """Ask for an action, or read where its gate stands. Idempotent by run, key and round.

        Raises UnknownAction, InvalidArguments, NotEntitled, InvalidPolicy (nobody could answer).
        """
        caller.refuse_unless("flow")
        action = self.asking.registry.action(proposal)
        gate = gate_id(proposal.run.root_run_id, proposal.key)
        for _ in range(MOST_TRIES):  # whoever was faster has left something to read
            with self.database.read() as session:
                unit = Unit(session, self.clock())
                self.owned(unit, caller, proposal.run.root_run_id)
                rounds = unit.gate(gate)
            if _replayed(rounds, proposal.call, action):
                return self.reply(rounds, proposal.attempt_id, proposal.call)
            if rounds and rounds[-1].request.action.fingerprint == action.fingerprint:
                return self._return(caller, proposal, rounds)
            reply = self._open(caller, proposal, action, rounds)
            if reply is not None:
                return reply
        raise RetryLater(f"Gate {proposal.key!r} is asked from several places: try again.")

    def _open(
        self, caller: KeyHolder, proposal: Proposal, action: Action, rounds: list[Aggregate]
    ) -> GateReply | None:
        """None where somebody was faster."""
        number = len(rounds) + 1
        request = self.asking.question(proposal, action, caller.requester, number, self.clock())
        try:
            current = self._write_round(caller, proposal, request)
        except IntegrityError:  # another server was faster by less than a transaction
            current = None
        if current is None:
            return None
        if request.requirement is not None:
            self.woken(request.gate_id)
        return self.reply(current, proposal.attempt_id, proposal.call)

    def _write_round(
        self, caller: KeyHolder, proposal: Proposal, request: ApprovalRequest
    ) -> list[Aggregate] | None:
        """All rounds with the new one, or None where its number is taken."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            self.owned(unit, caller, proposal.run.root_run_id, claim=True)
            rounds = unit.gate(request.gate_id, lock=True) if request.round > 1 else []
            if len(rounds) != request.round - 1:
                return None
            if rounds:
                self._supersede(unit, rounds[-1])
            rounds.append(self.ask(unit, request))
            if rounds[-1].standing() is Standing.CLAIMABLE:
                self._begin(unit, rounds[-1], proposal)
            return rounds

    def _supersede(self, unit: Unit, previous: Aggregate) -> None:
        """Another proposal for the same gate never uses the old approval, never runs beside what
        the old one left unfinished, and never comes on top of what it has done.
        """
        execution, key = previous.execution, previous.request.gate_key
        if execution is not None and execution.state is ExecutionState.SUCCEEDED:
            raise InvalidInput(
                f"Gate {key!r} has done what it proposed before: keep the agent's answer in a "
                "task, so that a resumed run proposes the same, or give the other proposal a "
                "key of its own."
            )
        if previous.request.purpose is Purpose.IN_DOUBT and previous.outcome is None:
            raise InvalidInput(
                f"Gate {key!r} asks people whether what it proposed before took effect; "
                "wait for their answer, or give the other proposal a key of its own."
            )
        if execution is not None and execution.state in (
            ExecutionState.RUNNING,
            ExecutionState.QUEUED,
            ExecutionState.IN_DOUBT,
        ):
            raise InvalidInput(
                f"Gate {key!r} still executes what it proposed before; "
                "wait for its end, or give the other proposal a key of its own."
            )
        previous.row.asleep, previous.row.collected = False, True  # the run is awake: it proposes
        if previous.outcome is None:
            events = lifecycle.withdraw(
                previous.request, previous.events, "the agent", "proposes something else", unit.now
            )
            self.record(unit, previous, events, actor=previous.request.requester.agent)
        elif previous.outcome.kind is OutcomeKind.APPROVED and execution is None:
            words = ["the agent proposes something else"]
            events = lifecycle.drift(previous.request, previous.events, words, unit.now)
            self.record(unit, previous, events, actor=previous.request.requester.agent)

    def ask(self, unit: Unit, request: ApprovalRequest) -> Aggregate:
        aggregate = unit.open(request)
        unit.log(
            request.requester.agent,
            "request.opened",
            request.id,
            action=request.action.name,
            fingerprint=request.action.fingerprint,
            verdict=request.judgement.verdict.value,
            policy=request.judgement.policy_digest,
            round=request.round,
            purpose=request.purpose.value,
            on_behalf_of=request.requester.on_behalf_of,
        )
        if request.requirement is not None:
            unit.wish(request.id, CARDS, TELL)
        return aggregate

    def _return(self, caller: KeyHolder, proposal: Proposal, rounds: list[Aggregate]) -> GateReply:
        """A repeated proposal, or a run that came back from its suspension."""
        current = rounds[-1]
        reply = self.reply(rounds, proposal.attempt_id, proposal.call)
        uncollected = current.row.asks_people and not current.row.collected
        if current.row.asleep or (uncollected and current.standing() in ENDED):
            self._came_back(current.request.id)
        if reply.standing is Standing.CLAIMABLE:
            return self.claim(caller, current.request.id, proposal)
        return reply

    def _came_back(self, request_id: str) -> None:
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            if current.row.asleep and current.outcome is None:
                current.row.woken += 1
                unit.log(
                    "somebody with access to Prefect",
                    "run.resumed_without_decision",
                    request_id,
                    times=current.row.woken,
                )
                unit.wish(request_id, CARDS, TELL)
            current.row.asleep = False
            current.row.collected = current.standing() in ENDED
            unit.touch(current)

    def claim(self, caller: KeyHolder, request_id: str, proposal: Proposal) -> GateReply:
        """Use an approval: the world is read again, and must be as people were shown it.

        Raises NotFound, NotEntitled, or InvalidInput where `proposal` is not what was approved.
        """
        drifted, fresh = self._looked(caller, request_id, proposal)
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = unit.row(request_id, lock=True)
            self.owned(unit, caller, row.root_run_id)
            rounds = unit.gate(row.gate_id, lock=True)
            current = rounds[row.round - 1]
            self._refuse_another(current.request, proposal)
            current.row.asleep = False
            newest = current is rounds[-1]
            if newest and drifted is not None and current.standing() is Standing.CLAIMABLE:
                if fresh is not None:
                    events = lifecycle.drift(
                        current.request, current.events, list(drifted), unit.now
                    )
                    self.record(unit, current, events, actor="precondition")
                    current = self.ask(unit, fresh)
                    rounds.append(current)
                if current.standing() is Standing.CLAIMABLE:
                    self._begin(unit, current, proposal)
            unit.touch(rounds[row.round - 1])
        self.woken(row.gate_id)
        return self.reply(rounds, proposal.attempt_id, proposal.call)

    def _looked(
        self, caller: KeyHolder, request_id: str, proposal: Proposal
    ) -> tuple[Sequence[str] | None, ApprovalRequest | None]:
        """What has changed since people were asked (None: it was not claimable), and the question
        that this leads to. What a flow runs itself has no state that the server could read.
        """
        if proposal.in_process:
            return (), None
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            seen = unit.load(request_id)
            self.owned(unit, caller, seen.row.root_run_id)
        self._refuse_another(seen.request, proposal)
        if seen.standing() is not Standing.CLAIMABLE:
            return None, None
        drifted = differences(seen.request.precondition, self.asking.precondition(seen.request))
        return drifted, self._drifted(caller, seen.request, proposal) if drifted else None

    def _refuse_another(self, request: ApprovalRequest, proposal: Proposal) -> None:
        same_gate = gate_id(proposal.run.root_run_id, proposal.key) == request.gate_id
        action = self.asking.registry.action(proposal)
        same = action.fingerprint == request.action.fingerprint
        if not same_gate or not same or proposal.in_process is not request.in_process:
            raise InvalidInput(
                f"Request {request.id[:8]} is about something else than this proposal: "
                "claim with the proposal that was approved."
            )

    def _drifted(
        self, caller: KeyHolder, before: ApprovalRequest, proposal: Proposal
    ) -> ApprovalRequest:
        if before.purpose is Purpose.IN_DOUBT:
            return self.asking.doubt_again(before, self.clock())
        return self.asking.question(
            proposal, before.action, caller.requester, before.round + 1, self.clock()
        )

    def _begin(self, unit: Unit, aggregate: Aggregate, proposal: Proposal) -> None:
        request, attempt_id = aggregate.request, proposal.attempt_id
        execution = aggregate.execution or queue(request)
        done = request.in_process and proposal.question
        if request.in_process:
            lease = timedelta(seconds=proposal.lease_seconds)
            execution = start(execution, attempt_id, request.run.run_id, unit.now, lease)
            kind = "grant.claimed"
            if done:  # the answer was all that was wanted
                told = Report(ExecutionState.SUCCEEDED, result={})
                fence = execution.attempts[-1].fence
                execution = report(execution, attempt_id, fence, told, unit.now)
                kind = "grant.answered"
        else:
            execution = execution.model_copy(update={"state": ExecutionState.QUEUED})
            kind = "grant.queued"
        unit.save(aggregate, execution)
        unit.log(request.requester.agent, kind, request.id, attempt=attempt_id)
        aggregate.row.collected = done
        if request.requirement is not None and not done:  # until it has the result it may be lost
            unit.wish(request.id, RING)

    def standing(self, caller: KeyHolder, request_id: str, attempt_id: str, call: int) -> GateReply:
        """Where the gate of a request stands now; that the flow has its end is remembered."""
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            row = unit.row(request_id)
            self.owned(unit, caller, row.root_run_id)
            rounds = unit.gate(row.gate_id)
        current = rounds[-1]
        if current.row.asks_people and not current.row.collected and current.standing() in ENDED:
            self._came_back(current.request.id)
        return self.reply(rounds, attempt_id, call)

    def suspending(self, caller: KeyHolder, request_id: str) -> GateReply:
        """The run is about to suspend. `view.suspended` is False where an outcome was faster:
        then it must not. The reply's version numbers this suspension.
        """
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            self.owned(unit, caller, current.row.root_run_id)
            if current.standing() is Standing.WAITING and current.outcome is None:
                current.row.asleep = True
                current.row.suspensions += 1
                unit.log(
                    current.request.requester.agent,
                    "run.suspended",
                    request_id,
                    number=current.row.suspensions,
                )
                unit.wish(request_id, TELL)
                unit.touch(current)
            return self.reply(unit.gate(current.row.gate_id), "", 1)

    def staying(self, caller: KeyHolder, request_id: str) -> GateReply:
        """Prefect would not suspend the run: it waits in its process after all."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            self.owned(unit, caller, current.row.root_run_id)
            if current.row.asleep:
                current.row.asleep = False
                unit.log(current.request.requester.agent, "run.not_suspended", request_id)
                unit.wish(request_id, TELL)
                unit.touch(current)
            return self.reply(unit.gate(current.row.gate_id), "", 1)

    def owned(
        self, unit: Unit, caller: KeyHolder, root_run_id: str, *, claim: bool = False
    ) -> None:
        """Raises NotEntitled for another requester's key; a new key of the same one may go on."""
        run = unit.session.get(RunRow, root_run_id)
        if run is None and claim:
            row = RunRow(root_run_id=root_run_id, key_id=caller.key_id, opened_at=unit.now)
            unit.session.add(row)
        elif run is not None and run.key_id != caller.key_id:
            first = unit.session.get(KeyRow, run.key_id)
            asked = (caller.scope, caller.requester.agent, caller.requester.on_behalf_of)
            if first is None or (first.scope, first.agent, first.on_behalf_of) != asked:
                raise NotEntitled("This run belongs to another requester's key: use that key.")

    def reply(self, rounds: list[Aggregate], attempt_id: str, call: int) -> GateReply:
        current = rounds[-1]
        failures = raised_failures([one.execution for one in rounds if one.execution])
        standing = current.standing(attempt_id)
        failure = None
        if call <= len(failures):
            attempt = failures[call - 1]
            standing = Standing.FAILED
            failure = Failure(error=attempt.error, error_class=attempt.error_class)
        held = standing is Standing.CLAIMED and current.execution is not None
        return GateReply(
            standing=standing,
            view=current.view(self.base_url),
            version=current.version,
            suspension=current.row.suspensions,
            grant=grant(current.request, current.execution) if held else None,  # type: ignore[arg-type]
            result=current.execution.result if current.execution else None,
            failure=failure,
        )

    # -- what people say --------------------------------------------------------------------

    def decide(
        self,
        request_id: str,
        *,
        person_id: str,
        kind: DecisionKind,
        reason: str = "",
        channel: str,
        assurance: str,
        card_revision: int | None = None,
        verified_by: Json | None = None,
    ) -> RequestView:
        """One person's answer, in one transaction.

        Raises NotFound, UnknownPerson, NotEntitled, SelfApproval, AlreadyDecided, RequestClosed,
        StaleCard, InvalidInput (a rejection without a reason).
        """
        person = self.asking.directory.person(person_id)
        if kind is DecisionKind.REJECT and not reason.strip():
            raise InvalidInput("reason is empty: say why, so that the requester can do better.")
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            decision = Decision(
                person=person.id,
                name=person.name,
                kind=kind,
                reason=reason.strip(),
                at=unit.now,
                channel=channel,
                assurance=assurance,
                card_revision=card_revision,
                verified_by=verified_by or {},
            )
            refusal: GatesError | None = None
            try:
                events = lifecycle.decide(current.request, current.events, decision)
                if card_revision not in (None, current.row.revision):
                    raise StaleCard("This request has changed since you opened it: look again.")
                self.record(unit, current, events, actor=person.id)
            except GatesError as error:
                refusal = error
                unit.log(
                    person.id, "decision.refused", request_id, code=error.code, channel=channel
                )
            view = current.view(self.base_url)
        if refusal is not None:
            raise refusal
        self.woken(current.row.gate_id)
        if view.outcome is not None and view.outcome.kind is OutcomeKind.EXPIRED:
            raise RequestClosed(f"The deadline was faster: {view.outcome}.")
        return view

    def withdraw(self, request_id: str, by: str, reason: str) -> RequestView:
        """Take the question back. Raises NotFound or RequestClosed."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            events = lifecycle.withdraw(current.request, current.events, by, reason, unit.now)
            self.record(unit, current, events, actor=by)
            view = current.view(self.base_url)
        self.woken(current.row.gate_id)
        return view

    def expire(self) -> int:
        """Settle what has passed its deadline; how many. The timer's command."""
        with self.database.read() as session:
            overdue = Unit(session, self.clock()).overdue()
        settled = 0
        for request_id in overdue:
            try:
                settled += self._expire(request_id)
            except Exception:  # one that cannot be settled must not hold up the others
                log.exception("request %s could not expire; trying again", request_id[:8])
        return settled

    def _expire(self, request_id: str) -> bool:
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            events = lifecycle.expire(current.request, current.events, unit.now)
            if events:
                self.record(unit, current, events, actor="deadline")
        self.woken(current.row.gate_id)
        return bool(events)

    def record(self, unit: Unit, aggregate: Aggregate, events: list[Event], *, actor: str) -> None:
        changed = unit.append(aggregate, events)
        for event in events:
            unit.log(
                actor,
                f"event.{event.kind}",
                aggregate.request.id,
                fingerprint=aggregate.request.action.fingerprint,
                **event.model_dump(mode="json", exclude={"kind", "at"}),
            )
        found = aggregate.outcome
        if changed and found is not None:
            unit.log(
                actor,
                "request.settled",
                aggregate.request.id,
                outcome=found.kind.value,
                by=list(found.by),
                fingerprint=aggregate.request.action.fingerprint,
            )
        if aggregate.request.requirement is not None:
            unit.wish(aggregate.request.id, CARDS, TELL, *([RING] if changed else []))


def _replayed(rounds: list[Aggregate], call: int, action: Action) -> bool:
    """Whether this call of the flow has failed before, with this very action: a run that starts
    from its top again is told so again, whatever it has proposed since.
    """
    failed = [one for one in rounds if one.execution for _ in raised_failures([one.execution])]
    return (
        0 < call <= len(failed)
        and failed[call - 1].request.action.fingerprint == action.fingerprint
    )
