"""Commands: each reads the world, then does one transaction.

A command that needs another system (facts, preconditions) asks it before its transaction and
checks inside that the request is still where it was. What a transaction decides becomes rows,
log entries and outbox wishes together, or nothing does. After the commit those who wait for
the gate are woken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError

from gates import over_runs, repeats
from gates.circling import Circling, News, looked_at, news_of
from gates.circumstances import Overtaken
from gates.claiming import MOST_TRIES, Claiming
from gates.core import lifecycle
from gates.core.errors import Frozen, InvalidInput, RetryLater
from gates.core.execution import replayed
from gates.core.freezes import HELD
from gates.core.gate_keys import gate_id
from gates.core.loops.pauses import Span
from gates.core.loops.telling import without_pauses
from gates.core.messages import Proposal
from gates.core.model import (
    OWN_ACTIONS,
    RUN_ENDED,
    Action,
    ApprovalRequest,
    ExecutionState,
    GateReply,
    Json,
    OutcomeKind,
    Purpose,
    Standing,
    Step,
)
from gates.covering import covered, origin_of
from gates.loop_questions import repeat_question
from gates.recording import CARDS, ENDED, OWN_RUNS, RING, TELL, KeyHolder, ends_of, utc_now
from gates.rounds import Before, Origin
from gates.store import runs
from gates.store.aggregate import Aggregate
from gates.store.repository import First, Unit

__all__ = ["CARDS", "ENDED", "RING", "TELL", "Gates", "KeyHolder", "utc_now"]


@dataclass
class Gates(Claiming):
    """The authority: what flows say. What people say is in gates/deciding.py, the use of an
    approval in gates/claiming.py.
    """

    circling: Circling = field(default_factory=Circling)

    def propose(self, caller: KeyHolder, proposal: Proposal) -> GateReply:
        """Ask for an action, or read where its gate stands. Idempotent by run, key and round.

        Raises UnknownAction, InvalidArguments, NotEntitled, InvalidPolicy (nobody could answer).
        """
        caller.refuse_unless("flow")
        _refuse_own(proposal)
        self.hears(proposal.run.root_run_id)
        action = self.asking.registry.action(proposal)
        gate = gate_id(proposal.run.root_run_id, proposal.key)
        for _ in range(MOST_TRIES):  # whoever was faster has left something to read
            with self.database.read() as session:
                unit = Unit(session, self.clock())
                self.owned(unit, caller, proposal.run.root_run_id)
                root = proposal.run.root_run_id
                last, waits = self.circling.known(root)
                first = unit.first(gate, root, action.fingerprint, last)
                thresholds = self.asking.policy.loops.thresholds
                news = news_of(unit, root, last, first.calls, thresholds, waits=waits)
                self.orders.now(session)
            rounds = first.rounds
            if replayed(ends_of(rounds), proposal.call, action.fingerprint):
                return self._again(proposal, action, rounds)
            if rounds and _answers(rounds[-1], action):
                return self._return(caller, proposal, action, rounds)
            reply = self._open(caller, proposal, action, first, news)
            if reply is not None:
                return reply
        raise RetryLater(f"Gate {proposal.key!r} is asked from several places: try again.")

    def _open(
        self,
        caller: KeyHolder,
        proposal: Proposal,
        action: Action,
        first: First,
        news: News,
    ) -> GateReply | None:
        """None where somebody was faster."""
        rounds = first.rounds
        harmless = repeats.changes_nothing(self.asking.registry, proposal)
        origin = Origin.proposing(proposal, caller.requester, changes_nothing=harmless)
        before = Before(rounds[-1].request, _ended(rounds[-1])) if rounds else None
        doubt = _left_in_doubt(rounds)
        request = doubt and self.asking.doubt_again(doubt, self.clock())
        if request is None:
            origin = origin_of(self, proposal, origin)
            request = self.asking.question(origin, action, self.clock(), before)
            request = covered(self, proposal, request)
            circle = self._circle(request, first, news)
            if circle is not None:
                request = repeat_question(self.asking, request, circle, self.clock())
            request = self._held(request)
        left = self._left_unused(request) if before is None and request.requirement else ()
        if left:
            evidence = request.evidence | {"left_unused": list(left)}
            request = request.model_copy(update={"evidence": evidence})
        try:
            current = self._write_round(caller, proposal, request)
        except (IntegrityError, Overtaken):  # another was faster by less than a transaction
            current = None
        except Frozen as error:
            self._note_frozen(request, error)
            raise
        if current is None or request.answers != action.fingerprint:
            return None  # where a doubt was asked again: the proposal is another one
        if request.requirement is not None:
            self.woken(request.gate_id)
        return self._again(proposal, action, current)

    def _circle(self, request: ApprovalRequest, first: First, news: News) -> Json | None:
        """Why the proposal is put to people as a circle: of its run, or over runs."""
        rounds, loops = first.rounds, self.asking.policy.loops
        alike = self._alike(request) if rounds else first.alike
        circle, looks = repeats.evidence(request, alike, rounds), looked_at(request, rounds)
        if circle is None and looks:
            circle = self.circling.look(request, news, loops)
        if circle is not None:
            return without_pauses(circle, self._pauses(request))
        return over_runs.look(self.database, self.clock(), request, loops) if looks else None

    def _pauses(self, request: ApprovalRequest) -> list[Span]:
        with self.database.read() as session:
            return Unit(session, self.clock()).pauses(request.run.root_run_id)

    def _alike(self, request: ApprovalRequest) -> list[Aggregate]:
        """What the run has done or was refused in the same words. A later round is asked about it
        as well: guidance to let something be is no leave to do it.
        """
        with self.database.read() as session:
            return Unit(session, self.clock()).alike(request)

    def _left_unused(self, request: ApprovalRequest) -> Sequence[Json]:
        """Questions about the very same that this run slept for and has not asked again: its code
        may have changed, and a key with it. People are told; no answer is ever taken over.
        """
        with self.database.read() as session:
            found = runs.asleep(Unit(session, self.clock()), request.run.root_run_id)
        return [
            {"key": one.request.gate_key, "request": one.request.id, "outcome": str(one.outcome)}
            for one in found
            if one.request.action.fingerprint == request.action.fingerprint
        ]

    def _again(self, proposal: Proposal, action: Action, rounds: list[Aggregate]) -> GateReply:
        """Where this call stands."""
        self.hears(proposal.run.root_run_id)
        reply = self.reply(rounds, proposal.attempt_id, proposal.call, action.fingerprint)
        return self.stilled(reply)

    def _held(self, request: ApprovalRequest) -> ApprovalRequest:
        """The question as a hold on its run puts it."""
        hold = self.orders.last.hold(request.run.root_run_id)  # read with the gate's rounds
        return request if hold is None else self.asking.held(request, hold, self.clock())

    def _note_frozen(self, request: ApprovalRequest, error: Frozen) -> None:
        with self.database.write() as session:
            Unit(session, self.clock()).log(
                request.requester.agent,
                "proposal.frozen",
                request.run.root_run_id,
                freeze=error.details["freeze"],
                action=request.action.name,
                fingerprint=request.action.fingerprint,
            )

    def _released_meanwhile(self, unit: Unit, request: ApprovalRequest) -> bool:
        """Whether the hold that this question was put for is over: nobody answers it twice."""
        if request.judgement.reasons[0].rule != HELD:
            return False
        self.orders.drop()
        return self.orders.now(unit.session).hold(request.run.root_run_id) is None

    def _refuse_frozen(self, unit: Unit, request: ApprovalRequest) -> None:
        """Raises Frozen: nothing is opened while people in command have stopped it."""
        freeze = self.frozen(unit, request)
        if freeze is None:
            return
        details = {"freeze": freeze.id, "action": request.action.name}
        latest = runs.latest(unit, request.run.root_run_id)  # tells what the run has done
        if latest is not None:
            details["request_id"] = latest
        raise Frozen(f"{freeze}.", **details)

    def _write_round(
        self, caller: KeyHolder, proposal: Proposal, request: ApprovalRequest
    ) -> list[Aggregate] | None:
        """All rounds with the new one, or None where its number is taken."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            self.owned(unit, caller, proposal.run.root_run_id, claim=True)
            begins = request.requirement is None and _begins(proposal)
            if begins and self.repeated(unit, request):
                return None
            rounds = unit.gate(request.gate_id, lock=True) if request.round > 1 else []
            if len(rounds) != request.round - 1:
                return None
            self._refuse_frozen(unit, request)
            if self._released_meanwhile(unit, request):
                return None
            if rounds:
                self._supersede(unit, rounds[-1])
            rounds.append(self.ask(unit, request))
            if rounds[-1].standing() is Standing.CLAIMABLE and _begins(proposal):
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
            events = lifecycle.drift(
                previous.request,
                previous.events,
                ["the approval was for what it proposed before"],
                unit.now,
                by="the agent",
                because="the agent proposes something else",
            )
            self.record(unit, previous, events, actor=previous.request.requester.agent)

    def _return(
        self, caller: KeyHolder, proposal: Proposal, action: Action, rounds: list[Aggregate]
    ) -> GateReply:
        """A repeated proposal, or a run that came back from its suspension."""
        current = rounds[-1]
        reply = self._again(proposal, action, rounds)
        uncollected = current.row.asks_people and not current.row.collected
        left = current.row.asks_people and current.row.collected and current.outcome is None
        if current.row.asleep or left or (uncollected and current.standing() in ENDED):
            self._came_back(current.request.id)
        if reply.standing is Standing.CLAIMABLE and _begins(proposal):
            return self.claim(caller, current.request.id, proposal)
        return reply

    def _came_back(self, request_id: str) -> None:
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            asleep = current.row.asleep and current.outcome is None
            if asleep and not runs.woken_rightly(unit, current.row.root_run_id):
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

    def standing(self, caller: KeyHolder, request_id: str, attempt_id: str, call: int) -> GateReply:
        """Where the gate of a request stands now. Nothing is remembered: see `told`."""
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            row = unit.row(request_id)
            self.owned(unit, caller, row.root_run_id)
            rounds = unit.gate(row.gate_id)
            self.orders.now(session)
        answers = rounds[row.round - 1].request.answers
        return self.stilled(self.reply(rounds, attempt_id, call, answers))

    def told(self, reply: GateReply) -> None:
        """The flow is on the line while it gets this answer: it is alive, and has what has ended.
        To be called only if it is: a process that died while it waited has heard nothing.
        """
        self.hears(reply.view.request.run.root_run_id)
        if reply.standing not in ENDED or reply.view.request.requirement is None:
            return
        with self.database.read() as session:
            current = Unit(session, self.clock()).gate(reply.view.request.gate_id)[-1]
        if not current.row.collected and current.standing() in ENDED:
            self._came_back(current.request.id)

    def trail(self, caller: KeyHolder, request_id: str) -> tuple[Step, ...]:
        """What the request's run has done, this gate included. Raises NotFound, NotEntitled."""
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            row = unit.row(request_id)
            self.owned(unit, caller, row.root_run_id)
            return self._trail(unit, row.root_run_id)


def _refuse_own(proposal: Proposal) -> None:
    """Raises InvalidInput for what would look like a matter of the server's own."""
    if proposal.run.root_run_id.startswith(OWN_RUNS):
        raise InvalidInput(f"run {OWN_RUNS}…: runs of that name are the server's own.")
    if proposal.name.startswith(OWN_ACTIONS):
        raise InvalidInput(f"name = {proposal.name!r}: `{OWN_ACTIONS}` is the server's own.")


def _begins(proposal: Proposal) -> bool:
    """An executor's work begins at once; what a flow runs itself begins when it says so."""
    return proposal.begins or not proposal.in_process


def _answers(current: Aggregate, action: Action) -> bool:
    """Whether the last round is the answer to this proposal. One that was sent back is proposed
    once more, unchanged, where the agent insists: that is a round of its own. So is what was
    withdrawn because the run had ended, which has been started again.
    """
    outcome = current.outcome
    gone = outcome is not None and (
        outcome.kind is OutcomeKind.SENT_BACK or outcome.by == (RUN_ENDED,)
    )
    return current.request.answers == action.fingerprint and not gone


def _left_in_doubt(rounds: list[Aggregate]) -> ApprovalRequest | None:
    """The doubt that people were asked about when the run ended. A run that is started again asks
    it once more, whatever it proposes: nobody has looked whether the action took effect.
    """
    if not rounds or rounds[-1].request.purpose is not Purpose.IN_DOUBT:
        return None
    found = rounds[-1].outcome
    return rounds[-1].request if found is not None and found.by == (RUN_ENDED,) else None


def _ended(current: Aggregate) -> str:
    if current.outcome is None:
        return "the agent proposes something else"
    if current.outcome.kind is OutcomeKind.APPROVED:
        return f"{current.outcome}; then the agent proposed something else"
    return str(current.outcome)
