"""Attempts: handed out under a lease, renewed, reported, and found out about when they lapse.

Executors pull; nobody pushes to them. An execution whose end is unknown goes first to the
executor as a question for the real system (`reconcile`), and to a person where that cannot
tell. A call that fails the same way too often goes to a person too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy.exc import IntegrityError

from gates import reports
from gates.core import execution as tries
from gates.core import restored
from gates.core.errors import (
    InvalidGrant,
    InvalidInput,
    InvalidPolicy,
    NotEntitled,
    Unavailable,
    UnknownAction,
)
from gates.core.messages import AttemptReport
from gates.core.model import (
    ApprovalRequest,
    Attempt,
    Execution,
    ExecutionState,
    GateReply,
    Grant,
    Job,
)
from gates.drifting import report_drift
from gates.grants.granting import key_audience
from gates.loop_questions import loop_question
from gates.recurring import Recurring, recurring
from gates.service import CARDS, TELL, Gates, KeyHolder
from gates.steady import Steady
from gates.store.aggregate import Aggregate
from gates.store.repository import Leasable, Unit
from gates.withdrawing import left_too_late

log = logging.getLogger(__name__)

LATE = timedelta(seconds=60)  # queued for so long, work is looked at again before it is handed out
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MAX_RECONCILED = 3  # as often may a system say "not there" before a person is asked


class Following(NamedTuple):
    """What a report puts to people, if it does; `unasked`: why it does not where it should."""

    question: ApprovalRequest | None = None
    unasked: str = ""


@dataclass
class Work:
    """`settle`: how long after an attempt's end its last call could still land. So long the clock
    must have run evenly, too, before anybody is taken for dead or a call for over.
    """

    gates: Gates
    settle: timedelta = timedelta(seconds=30)
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._steady = Steady(self.gates.clock, self.monotonic)

    def lease(
        self, caller: KeyHolder, attempt_id: str, names: Sequence[str], seconds: int
    ) -> Job | None:
        """The next job for an executor of these actions, or None. The same attempt id gets
        the same job again as long as it holds it.
        """
        caller.refuse_unless("executor")
        caller.refuse_unless_for(*names)
        with self.gates.database.read() as session:
            unit = Unit(session, self.gates.clock())
            held = unit.holder_of(attempt_id)
            if held is not None:
                return self._held(caller, held, attempt_id)
            even = self._steady.since() >= self.settle
            freezes = self.gates.orders.now(session).freezes
            settled_before = unit.now - self.settle if even else LONG_AGO
            waiting = unit.leasable(names, settled_before, freezes)
        for work in waiting:
            if self._stale(work):
                continue
            try:
                taken = self._lease(caller, work.request_id, work.version, attempt_id, seconds)
            except (IntegrityError, InvalidInput):  # the same message, sent twice, was faster
                return self.lease(caller, attempt_id, names, seconds)
            if taken is not None:
                return self._job(caller, taken)
        return None

    def _stale(self, work: Leasable) -> bool:
        """Whether it waited so long that what made it right no longer holds. How the last attempt
        ended is asked whatever else has changed.
        """
        late = self.gates.clock() - work.queued_at >= LATE
        if not late or work.state != ExecutionState.QUEUED:
            return False
        return self.gates.void_if_stale(work.request_id, work.version)

    def _held(self, caller: KeyHolder, current: Aggregate, attempt_id: str) -> Job:
        self._admit(caller, current, attempt_id)
        last = current.execution.last if current.execution else None
        if last is None or last.id != attempt_id or last.ended_at:
            raise InvalidGrant(f"Attempt {attempt_id[:12]} has ended: lease under another id.")
        return self._job(caller, current)

    def _lease(
        self, caller: KeyHolder, request_id: str, version: int, attempt_id: str, seconds: int
    ) -> Aggregate | None:
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            current = unit.load(request_id, lock=True)
            execution = current.execution
            if execution is None or current.row.version != version:
                return None  # another executor was faster
            if current.request.in_process:
                return None  # the registry has taken a name that a flow's own function had
            asks = execution.state is ExecutionState.IN_DOUBT
            if not asks and self.gates.frozen(unit, current.request):
                return None  # it waits; finding out what happened does not
            execution = tries.start(
                execution,
                attempt_id,
                caller.requester.agent,
                unit.now,
                timedelta(seconds=seconds),
                reconciling=asks,
            )
            unit.save(current, execution)
            unit.log(
                caller.requester.agent,
                "attempt.reconciling" if asks else "grant.claimed",
                request_id,
                attempt=attempt_id,
                fingerprint=current.request.action.fingerprint,
            )
            return current

    def renew(self, caller: KeyHolder, attempt_id: str, fence: int, seconds: int) -> Grant:
        """The holder is still at work: its grant, made out anew. Raises InvalidGrant where it no
        longer holds.
        """
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            current = unit.load_of_attempt(attempt_id, lock=True)
            self._owned(unit, caller, current)
            self._admit(caller, current, attempt_id)
            if current.execution is None:
                raise InvalidGrant("There is nothing to renew: claim the request first.")
            until = unit.now + timedelta(seconds=seconds)
            execution = tries.renew(current.execution, attempt_id, fence, until)
            unit.save(current, execution)
        return self._grant(caller, current)

    def report(self, caller: KeyHolder, attempt_id: str, told: AttemptReport) -> GateReply:
        """How an attempt ended. A repeated report gets the same answer; one that comes under
        an old fence is refused with InvalidGrant, and logged.
        """
        if told.state == "succeeded":  # puts no question: one transaction is enough
            return self._report_success(caller, attempt_id, told)
        if told.state == "drifted":
            return self._report_drift(caller, attempt_id, told)
        rounds = None
        while rounds is None:  # again where another call's failure closed the circle meanwhile
            with self.gates.database.read() as session:
                unit = Unit(session, self.gates.clock())
                seen = unit.load_of_attempt(attempt_id)
                self._owned(unit, caller, seen)
                attempt = self._admit(caller, seen, attempt_id)
                told = reports.weighed(attempt, told)
                finding = self._finding(unit, seen.request, attempt_id, told)
            ended = attempt.ended_at is not None
            following = Following() if ended else self._following(seen, told, finding)
            rounds = self._write_report(caller, seen.request, attempt_id, told, finding, following)
        self.gates.woken(seen.request.gate_id)
        return self.gates.reply(rounds, attempt_id, 0)

    def _report_success(self, caller: KeyHolder, attempt_id: str, told: AttemptReport) -> GateReply:
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            current = unit.load_of_attempt(attempt_id, lock=True)
            self._owned(unit, caller, current)
            told = reports.weighed(self._admit(caller, current, attempt_id), told)
            refusal = self._try_to_close(unit, caller, current, attempt_id, told, Following())
            first = current.request.round == 1
            rounds = [current] if first else unit.gate(current.row.gate_id)
        if refusal is not None:
            raise refusal
        self.gates.woken(current.request.gate_id)
        return self.gates.reply(rounds, attempt_id, 0)

    def _report_drift(self, caller: KeyHolder, attempt_id: str, told: AttemptReport) -> GateReply:
        with self.gates.database.read() as session:
            unit = Unit(session, self.gates.clock())
            seen = unit.load_of_attempt(attempt_id)
            self._owned(unit, caller, seen)
            told = reports.weighed(self._admit(caller, seen, attempt_id), told)
        return report_drift(self.gates, caller, attempt_id, told)

    def _write_report(
        self,
        caller: KeyHolder,
        request: ApprovalRequest,
        attempt_id: str,
        told: AttemptReport,
        finding: Recurring | None,
        following: Following,
    ) -> list[Aggregate] | None:
        """All rounds of the gate, or None where `finding` is no longer what would be found."""
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            current = unit.load(request.id, lock=True)
            if reports.weighed(self._admit(caller, current, attempt_id), told).state != told.state:
                return None  # its grant was redeemed meanwhile
            if told.state == "failed":
                unit.lock_run(current.row.root_run_id)
                unit.lock_call(request.action)
                found = self._finding(unit, request, attempt_id, told)
                if _guided(found) != _guided(finding):
                    return None
            refusal = self._try_to_close(unit, caller, current, attempt_id, told, following)
            rounds = unit.gate(current.row.gate_id) if request.round > 1 else [current]
            asked = following.question
            if asked is not None and rounds[-1].request.id != asked.id:
                rounds = unit.gate(current.row.gate_id)
        if refusal is not None:
            raise refusal
        return rounds

    def _try_to_close(
        self,
        unit: Unit,
        caller: KeyHolder,
        current: Aggregate,
        attempt_id: str,
        told: AttemptReport,
        following: Following,
    ) -> InvalidGrant | None:
        """Why not, which is then in the log."""
        try:
            self._close(unit, caller, current, attempt_id, told, following)
        except InvalidGrant as error:
            unit.log(
                caller.requester.agent, "report.refused", current.request.id, attempt=attempt_id
            )
            return error
        return None

    def _close(
        self,
        unit: Unit,
        caller: KeyHolder,
        current: Aggregate,
        attempt_id: str,
        told: AttemptReport,
        following: Following,
    ) -> None:
        before = current.execution
        if before is None:
            raise InvalidGrant("There is nothing to report on: claim the request first.")
        end = reports.as_end(told, following.unasked)
        weighed = restored.weighed(before, end)
        after = tries.report(before, attempt_id, told.fence, weighed, unit.now)
        if after is before:
            return
        if following.question is not None:
            last = after.attempts[-1].model_copy(update={"opened_round": True})
            after = after.model_copy(update={"attempts": (*after.attempts[:-1], last)})
        if current.request.in_process:
            current.row.collected = True  # who reports knows
        unit.save(current, after)
        unit.tell_again(current, CARDS, TELL)
        reports.note(unit, caller, current, told, after, following.unasked)
        if told.state in ("succeeded", "failed"):
            limits = self.gates.asking.policy.loops.thresholds.of_action(current.row.action)
            tried = [one for one in after.attempts if not one.reconciling]
            again = tried[-1].started_at if len(tried) > 1 else None
            call = reports.as_call(current.request, attempt_id, told, unit, limits, again)
            unit.add_call(current.row.root_run_id, call)
        if following.question is not None:
            self.gates.ask(unit, following.question)
            return
        left_too_late(self.gates, unit, current)
        if current.request.requirement is not None:
            current.row.revision += 1
            unit.wish(current.request.id, CARDS, TELL)

    def _following(
        self, seen: Aggregate, told: AttemptReport, finding: Recurring | None
    ) -> Following:
        """A failure is never lost because nobody can be asked about it: then its gate fails."""
        request, execution, now = seen.request, seen.execution, self.gates.clock()
        if finding is not None:
            asking, guided = self.gates.asking, finding.guided
            try:
                return Following(loop_question(asking, request, finding.finding, guided, now))
            except InvalidPolicy as error:
                words = f"Nobody can be asked whether it may go on: {error.message}"
                return Following(unasked=words)
        if execution is None or execution.last is None:
            return Following()
        asks = told.state == "in_doubt" and self._asks_people(request, execution)
        if told.state != "unclear" and not asks:
            return Following()
        words = told.error or "the system cannot tell"
        last = execution.last.model_copy(update={"error": words, "error_class": told.error_class})
        return Following(self.gates.asking.doubt_question(request, last, now))

    def _finding(
        self, unit: Unit, request: ApprovalRequest, attempt_id: str, told: AttemptReport
    ) -> Recurring | None:
        return recurring(unit, request, attempt_id, told, self.gates.asking.policy.loops)

    def lapse(self) -> int:
        """Close attempts whose lease ran out; how many. The timer's command. After a jump of the
        clock, or this server's start, holders get the time to renew.
        """
        if self._steady.since() < self.settle:
            return 0
        with self.gates.database.read() as session:
            lapsed = Unit(session, self.gates.clock()).lapsed()
        closed = 0
        for request_id in lapsed:
            try:
                closed += self._lapse(request_id)
            except Unavailable as error:  # whom to ask: a group that is kept elsewhere
                log.warning("request %s: its attempt lapses later: %s", request_id[:8], error)
            except Exception:  # one that cannot be closed must not hold up the others
                log.exception("request %s: its attempt could not lapse", request_id[:8])
        return closed

    def _lapse(self, request_id: str) -> bool:
        with self.gates.database.read() as session:
            seen = Unit(session, self.gates.clock()).load(request_id)
        following = None
        if seen.execution is not None and seen.execution.last is not None:
            closed = tries.lapse(seen.execution, self.gates.clock()).last
            if closed is not None and self._asks_people(seen.request, seen.execution):
                now = self.gates.clock()
                following = self.gates.asking.doubt_question(seen.request, closed, now)
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            current = unit.load(request_id, lock=True)
            if current.execution is None or current.row.version != seen.row.version:
                return False  # it reported, or renewed, after all
            after = tries.lapse(current.execution, unit.now)
            if after is current.execution:
                return False
            unit.save(current, after)
            last = after.attempts[-1]
            unit.log("timer", "attempt.lapsed", request_id, attempt=last.id, holder=last.holder)
            if following is not None:
                self.gates.ask(unit, following)
        self.gates.woken(seen.request.gate_id)
        return True

    def _asks_people(self, request: ApprovalRequest, execution: Execution) -> bool:
        """Whether nobody but a person can find out how the last attempt ended."""
        if request.in_process:
            return True
        try:
            definition = self.gates.asking.registry.find(request.action.name)
        except UnknownAction:
            return True
        reconciled = sum(attempt.reconciling for attempt in execution.attempts)
        return definition.reconcile is None or reconciled >= MAX_RECONCILED

    def _job(self, caller: KeyHolder, current: Aggregate) -> Job:
        """What the holder of the open attempt has to do."""
        asks = current.execution and current.execution.last and current.execution.last.reconciling
        return Job(
            kind="reconcile" if asks else "execute",
            action=current.request.action,
            grant=self._grant(caller, current),
            idempotency_key=tries.idempotency_key(current.request),
            precondition=current.request.precondition,
        )

    def _grant(self, caller: KeyHolder, current: Aggregate) -> Grant:
        in_process = current.request.in_process
        audience = "" if in_process else key_audience(caller.key_id)
        return self.gates.granting.grant(current, audience)

    def _owned(self, unit: Unit, caller: KeyHolder, current: Aggregate) -> None:
        if current.request.in_process:
            caller.refuse_unless("flow")
            self.gates.owned(unit, caller, current.row.root_run_id)
            self.gates.hears(current.row.root_run_id)

    @staticmethod
    def _admit(caller: KeyHolder, current: Aggregate, attempt_id: str) -> Attempt:
        """The attempt, if it is this caller's. Raises NotEntitled or InvalidGrant."""
        tried = current.execution.attempts if current.execution else ()
        attempt = next((one for one in tried if one.id == attempt_id), None)
        if attempt is None:
            raise InvalidGrant("There is nothing to report on: claim the request first.")
        if not current.request.in_process:
            caller.refuse_unless("executor")
            caller.refuse_unless_for(current.request.action.name)
            if attempt.holder != caller.requester.agent:
                raise NotEntitled("This attempt belongs to another executor's key: use that key.")
        return attempt


def _guided(found: Recurring | None) -> int | None:
    """How far up a finding puts its question; None where there is none."""
    return None if found is None else len(found.guided)
