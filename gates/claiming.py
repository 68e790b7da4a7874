"""The use of an approval: everything that made it right is looked at once more.

An approval holds for what was asked, as the world was when it was asked, for some time, under
the policy that judged it, from people who may give it, in a run that is alive. What no longer
holds voids it, and the next round asks anew and says what is different.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gates import repeats
from gates.core import lifecycle, restored
from gates.core.drift import UNREADABLE, differences
from gates.core.errors import InvalidInput, RequestClosed, RetryLater, Unavailable
from gates.core.execution import Report, queue, report, start
from gates.core.gate_keys import gate_id
from gates.core.loops.levels import WRITE
from gates.core.messages import Proposal
from gates.core.model import ApprovalRequest, ExecutionState, GateReply, Purpose, Standing, Verdict
from gates.core.quorum import satisfied
from gates.deciding import Deciding
from gates.loop_questions import repeat_question
from gates.ports import RunStates
from gates.recording import RING, KeyHolder
from gates.rounds import Before, Origin
from gates.standing import gone
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit
from gates.withdrawing import out_of_the_queue

MOST_TRIES = 10  # of what others keep overtaking


@dataclass(frozen=True)
class Stale:
    """Why an approval no longer holds: who found it, what it is, what differs; what to ask now."""

    by: str
    because: str
    differences: tuple[str, ...]
    fresh: ApprovalRequest


@dataclass
class Claiming(Deciding):
    """`runs`: who knows whether a run still lives; nobody where there is no Prefect."""

    runs: RunStates | None = None

    def claim(self, caller: KeyHolder, request_id: str, proposal: Proposal) -> GateReply:
        """Use an approval, if it still holds; else the reply is the round that asks anew.

        Raises NotFound, NotEntitled, RequestClosed where the run has ended, Unavailable where
        nobody can say that, or how the world is, or InvalidInput where `proposal` is not what
        was approved.
        """
        overtaken = False
        for _ in range(MOST_TRIES):
            reply = self._claim(caller, request_id, proposal, overtaken=overtaken)
            if reply is not None:
                return reply
            overtaken = True
        words = f"{proposal.name} is proposed from several places at once: try again."
        raise RetryLater(words, request_id=request_id)

    def _claim(
        self, caller: KeyHolder, request_id: str, proposal: Proposal, *, overtaken: bool
    ) -> GateReply | None:
        """None where its run does the same elsewhere and nobody was asked about that: `overtaken`
        then, to put it to people.
        """
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            seen = unit.load(request_id)
            self.owned(unit, caller, seen.row.root_run_id)
            frozen = self.frozen(unit, seen.request)
        self._refuse_another(seen.request, proposal)
        stale = None
        if frozen is None and seen.standing() is Standing.CLAIMABLE:
            self._refuse_ended(seen.request)
            stale = self.stale(seen)
            if overtaken:
                stale = self._once_more(seen, stale)
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            self.owned(unit, caller, seen.row.root_run_id)
            rounds = unit.gate(seen.row.gate_id, lock=True)
            current = rounds[seen.row.round - 1]
            current.row.asleep = False
            unchanged = current.row.version == seen.row.version and current is rounds[-1]
            still = unchanged and current.standing() is Standing.CLAIMABLE
            if still and frozen is None and self.frozen(unit, seen.request) is None:
                asked = seen.request if stale is None else stale.fresh
                begins = stale is None or asked.requirement is None
                if begins and self.repeated(unit, asked):
                    return None
                if stale is not None:
                    self.ask_anew(unit, rounds, stale)
                used = _used(rounds[:-1], proposal.attempt_id)
                if rounds[-1].standing() is Standing.CLAIMABLE and not used:
                    self._begin(unit, rounds[-1], proposal)
            unit.touch(current)
        self.woken(seen.row.gate_id)
        self.hears(seen.row.root_run_id)
        reply = self.reply(rounds, proposal.attempt_id, proposal.call, seen.request.answers)
        return self.stilled(reply)

    def stale(self, seen: Aggregate) -> Stale | None:
        """What no longer holds of an approval, or None. Reads the real system; raises Unavailable
        where it cannot be read: nothing runs unseen, and an approval does not end for that.
        """
        request, found, now = seen.request, seen.outcome, self.clock()
        if found is None:
            return None
        if lifecycle.too_early(found, now):
            raise Unavailable(
                f"{request.action.name}: by this server's clock the window in which people may "
                f"object ends only at {found.at:%H:%M:%S} UTC. It runs then."
            )
        given = self.approval_of(seen)
        lost = self.lost(given, now) or self._ended(request, now)
        if lost is not None:
            return self._stale(request, *lost)
        if request.lines:
            return None  # each line is looked at when it runs
        state = self.asking.precondition(request)
        if UNREADABLE in state:
            raise Unavailable(
                f"{request.action.name}: what was approved cannot be looked at now "
                f"({state[UNREADABLE]}). The approval stands; it is used once that can be read."
            )
        drifted = differences(request.precondition, state)
        if drifted:
            because = "changed since people were asked"
            return self._stale(request, "precondition", because, (*drifted,))
        if request.judgement.policy_digest != self.asking.policy.digest:
            return self._rejudged(request, given, now)
        return None

    def repeated(self, unit: Unit, request: ApprovalRequest) -> bool:
        """Whether the run has done the same through other gates, or is doing it, more often than
        this question told. Nobody else in the run begins it before this transaction ends.
        """
        told = repeats.known(request)
        if told is None:
            return False
        return unit.begun_alike(request) > told

    def _once_more(self, seen: Aggregate, stale: Stale | None) -> Stale | None:
        """What has been done since people, or the policy, said yes makes it another question."""
        request = seen.request
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            alike = unit.alike(request)
            rounds = unit.gate(request.gate_id)
        told, done, now = repeats.known(request), repeats.begun(alike), self.clock()
        if told is None or len(done) <= told:
            return stale
        because = "the run has done the same since, or is doing it"
        fresh = stale.fresh if stale else None
        if fresh is None:
            before = Before(request, f"voided, {because}")
            fresh = self.asking.question(Origin.of(request), request.action, now, before)
        circle = repeats.evidence(fresh, alike, rounds)
        if circle is not None:
            fresh = repeat_question(self.asking, fresh, circle, now)
        if stale is not None:
            return replace(stale, fresh=fresh)
        return Stale("the run", because, repeats.in_words(done), fresh)

    def _ended(
        self, request: ApprovalRequest, now: datetime
    ) -> tuple[str, str, tuple[str, ...]] | None:
        """Whether a standing approval that let it through has ended since."""
        ended = gone(self.database, self.asking, request, now)
        because = "what was approved beforehand no longer holds"
        return ("standing approval", because, ended) if ended else None

    def approval_of(self, seen: Aggregate) -> Aggregate:
        """Where people gave it: here, or for the batch of which this is a line."""
        if seen.request.covered is None:
            return seen
        with self.database.read() as session:
            return Unit(session, self.clock()).load(seen.request.covered.request_id)

    def lost(self, given: Aggregate, now: datetime) -> tuple[str, str, tuple[str, ...]] | None:
        """Whether an approval is too old, or has lost its people: who says so, what, and why."""
        request, found = given.request, given.outcome
        lapse = lifecycle.lapsed(request, found, now) if found else ""
        if lapse:
            return "time", "the approval has lapsed", (lapse,)
        still = self.asking.still(request, given.events)
        left = lifecycle.disentitled(request, given.events, still)
        return ("directory", "the approval has lost its people", (*left,)) if left else None

    def _rejudged(self, request: ApprovalRequest, given: Aggregate, now: datetime) -> Stale | None:
        """Another policy than the one that people answered to: does their answer do for it?"""
        before = Before(request, "the policy has changed")
        fresh = self.asking.question(Origin.of(request), request.action, now, before)
        if fresh.judgement.verdict is not Verdict.FORBID:
            if request.purpose is not Purpose.ACTION or fresh.requirement is None:
                return None  # a loop's or a doubt's own people were asked, and have answered
            if does_for(given, fresh, now):
                return None
        words = tuple(reason.text for reason in fresh.judgement.reasons)
        return Stale("policy", "the policy has changed since", words, fresh)

    def _stale(
        self, request: ApprovalRequest, by: str, because: str, words: tuple[str, ...]
    ) -> Stale:
        now = self.clock()
        if request.purpose is Purpose.IN_DOUBT:  # however harmless the action is by itself
            return Stale(by, because, words, self.asking.doubt_again(request, now))
        before = Before(request, f"voided, {because}: {'; '.join(words)}")
        fresh = self.asking.question(Origin.of(request), request.action, now, before)
        if _still_a_loop(request, by) and fresh.judgement.verdict is not Verdict.FORBID:
            fresh = repeat_question(self.asking, fresh, request.evidence, now)
        return Stale(by, because, words, fresh)

    def void_if_stale(self, request_id: str, version: int) -> bool:
        """For work that nobody took for a while: whether its approval no longer holds, so that
        people are asked anew and there is nothing to take; nor is there while nobody can say.
        """
        with self.database.read() as session:
            seen = Unit(session, self.clock()).load(request_id)
        if seen.row.version != version:
            return True  # somebody took it meanwhile
        try:
            stale = self.stale(seen)
        except Unavailable:
            return True
        if stale is None:
            return False
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            rounds = unit.gate(seen.row.gate_id, lock=True)
            if rounds[-1].row.version == version:
                self.ask_anew(unit, rounds, stale)
        self.woken(seen.row.gate_id)
        return True

    def ask_anew(self, unit: Unit, rounds: list[Aggregate], stale: Stale) -> None:
        """Void the last round and open the next. Nobody else has changed it meanwhile."""
        current = rounds[-1]
        events = lifecycle.drift(
            current.request,
            current.events,
            stale.differences,
            unit.now,
            by=stale.by,
            because=stale.because,
        )
        out_of_the_queue(unit, current, stale.by, stale.because)
        self.record(unit, current, events, actor=stale.by)
        rounds.append(self.ask(unit, stale.fresh))
        rounds[-1].row.restored = current.row.restored

    def _refuse_ended(self, request: ApprovalRequest) -> None:
        """What people agreed to is not for a run that was stopped since. What the policy alone
        allows is claimed at once, by a process that lives.
        """
        if self.runs is None or (request.requirement is None and request.covered is None):
            return
        ended = self.runs.ended(request.run)
        if ended is not None:
            raise RequestClosed(f"The approval is not used, since {ended}.")

    def _refuse_another(self, request: ApprovalRequest, proposal: Proposal) -> None:
        same_gate = gate_id(proposal.run.root_run_id, proposal.key) == request.gate_id
        action = self.asking.registry.action(proposal)
        same = action.fingerprint == request.answers
        if not same_gate or not same or proposal.in_process is not request.in_process:
            raise InvalidInput(
                f"Request {request.id[:8]} is about something else than this proposal: "
                "claim with the proposal that was approved."
            )

    def _begin(self, unit: Unit, aggregate: Aggregate, proposal: Proposal) -> None:
        request, attempt_id = aggregate.request, proposal.attempt_id
        execution = aggregate.execution or queue(request)
        done = bool(request.lines) or (request.in_process and proposal.question)
        if aggregate.row.restored and not done:  # it may have been done since the backup
            execution = restored.doubted(execution, unit.now, in_process=request.in_process)
            aggregate.row.restored, kind = False, "grant.in_doubt"
        elif request.in_process or done:
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


def _still_a_loop(request: ApprovalRequest, by: str) -> bool:
    """Whether a question about a loop is asked again as one. A world that has changed may let pass
    what has failed; it never makes a write that was done already another one.
    """
    if request.purpose is not Purpose.LOOP:
        return False
    return by != "precondition" or request.evidence.get("detector") == WRITE


def does_for(given: Aggregate, fresh: ApprovalRequest, now: datetime) -> bool:
    """Whether what people said, or did not say, would do for another question as well."""
    asked = fresh.requirement
    if asked is None:
        return fresh.judgement.verdict is not Verdict.FORBID
    if satisfied(asked, lifecycle.sure(asked, given.events)):
        return True
    windowed = fresh.judgement.verdict is Verdict.VETO_WINDOW
    lasted = now >= given.request.opened_at + lifecycle.window(fresh)
    return windowed and lasted and lifecycle.silent(given.outcome)


def _used(earlier: list[Aggregate], attempt_id: str) -> bool:
    """Whether a caller comes with the id of an attempt that an earlier round has seen end: a
    repeated message, which is told that the gate can be claimed and then makes a new one.
    """
    return any(
        attempt.id == attempt_id
        for one in earlier
        if one.execution
        for attempt in one.execution.attempts
    )
