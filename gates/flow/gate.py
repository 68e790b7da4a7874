"""One call of a gate, from the proposal to its result; synchronous, the async form runs these
steps in threads.

A call that holds a grant (`Standing.CLAIMED`) goes back to its caller, who runs the body and
reports; everything else is waited out here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from gates.core.errors import (
    ActionFailed,
    Forbidden,
    GatesError,
    GateStopped,
    InvalidGrant,
    Rejected,
    SentBack,
)
from gates.core.messages import AttemptReport, Awaited, LineOf, Proposal
from gates.core.model import GateReply, Grant, Json, Standing, Step
from gates.flow import words
from gates.flow.keys import State, Ticket
from gates.flow.places import Place
from gates.flow.session import Resting, Transport
from gates.grants.held import Held
from gates.grants.held import holding as held_now

SLICE = 10.0  # seconds of one wait: as long may a thread outlive a run that was suspended
QUIET = 5.0  # seconds after which a run says that it waits for an executor
TRIES_AGAIN = 1.0  # seconds after which a run that could not be suspended is tried again
REFUSED = 5.0  # seconds, the same where Prefect would not
MOST_KEYS = 3  # pause keys tried for one suspension


@dataclass
class Gate:
    """`abandoned` is set by an async caller that was cancelled: nothing may start any more."""

    place: Place
    ticket: Ticket
    name: str
    arguments: Json
    claims: Json
    in_process: bool = False
    question: bool = False
    changes_nothing: bool = False
    title: str = ""
    subject: tuple[str, ...] = ()
    linger: float = 0.0
    begins: bool = True
    batch: LineOf | None = None
    abandoned: threading.Event = field(default_factory=threading.Event)
    _attempt: str = field(default_factory=lambda: uuid4().hex)
    _asked: str = ""  # the request that people were last seen to be asked
    _lingers: float = 0.0
    _holds: bool = False
    _seen_running: bool = False
    _proposal: Proposal | None = None

    # -- steps ------------------------------------------------------------------------------

    def begin(self) -> GateReply:
        """Until the action is done, or this process is to do it. Raises what stops the flow."""
        self.place.passing.enter()
        with self._accounted():
            return self._follow(self.propose())

    def begin_unasked(self) -> GateReply | None:
        """As `begin`; None where people are asked, for whom something else need not wait."""
        self.place.passing.enter()
        with self._accounted():
            reply = self.propose()
            return None if reply.standing is Standing.WAITING else self._follow(reply)

    def propose(self) -> GateReply:
        return self._transport.propose(self.proposal)

    def report(self, told: AttemptReport, attempt: str) -> GateReply:
        """How the body ended; on to the next step. Raises ActionFailed where that was it."""
        with self._accounted():
            return self._follow(self.reported(told, attempt))

    def leave(self) -> None:
        """The body was cut off: nothing is reported, and the lease will lapse."""
        self.place.passing.leave()

    @property
    def proposal(self) -> Proposal:
        if self._proposal is None:
            self._proposal = Proposal(
                name=self.name,
                arguments=self.arguments,
                claims=self.claims,
                run=self.place.run(),
                key=self.ticket.key,
                call=self.ticket.call,
                attempt_id=self._attempt,
                in_process=self.in_process,
                question=self.question,
                changes_nothing=self.changes_nothing,
                begins=self.begins,
                title=self.title,
                subject=self.subject,
                lease_seconds=self.place.session.lease,
                batch=self.batch,
            )
        return self._proposal

    @contextmanager
    def holding(self, grant: Grant) -> Iterator[None]:
        """Keeps the lease while the body runs. If this process dies it lapses, and people are
        asked how the body ended.
        """
        done, lease, held = threading.Event(), self.place.session.lease, Held(grant)

        def renew() -> None:
            while not done.wait(lease / 3):
                try:
                    held.grant = self._transport.renew(grant.attempt_id, grant.fence, lease)
                except GatesError as error:
                    self.place.log().warning("The lease was not renewed: %s", error)

        threading.Thread(target=renew, name="gates-renew", daemon=True).start()
        try:
            with held_now(held):
                yield
        finally:
            done.set()

    # ---------------------------------------------------------------------------------------

    @property
    def _transport(self) -> Transport:
        return self.place.session.transport

    @contextmanager
    def _accounted(self) -> Iterator[None]:
        """Whoever comes out with a grant stays busy until the report."""
        try:
            with self.noted():
                yield
        except BaseException:
            self.place.passing.leave()
            raise
        if not self._holds:
            self.place.passing.leave()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """The ticket knows how the call ended: what the next call with its key is depends on it."""
        try:
            yield
        except GatesError as error:
            self.ticket.state = _ended_by(error)
            raise

    def _follow(self, reply: GateReply) -> GateReply:
        while True:
            reply = self.advance(reply)
            waits = reply.standing is Standing.WAITING
            if reply.standing is Standing.EXECUTING:
                reply = self._wait_for_work(reply)
            elif waits and not self.abandoned.is_set():
                reply = self._wait_for_people(reply)
            else:
                return reply

    def advance(self, reply: GateReply) -> GateReply:
        """As far as it goes without waiting: done, held by this process, or somebody else's turn.
        Raises what stops the flow.
        """
        self._holds = False
        while True:
            match reply.standing:
                case Standing.SUCCEEDED:
                    self.ticket.state = "ended"
                    self._tell_done(reply)
                    return reply
                case Standing.CLAIMED if not self.abandoned.is_set():
                    self._holds = True
                    return reply
                case Standing.CLAIMED:
                    reply = self._give_back(reply)
                case Standing.FAILED:
                    failure = self._failure(reply)
                    self._show(succeeded=False, message=str(failure))
                    raise failure
                case Standing.CLAIMABLE if self.begins and not self.abandoned.is_set():
                    reply = self.claim(reply.view.request.id)
                case Standing.EXECUTING:
                    self._seen_running = True
                    return reply
                case Standing.WAITING | Standing.CLAIMABLE:
                    return reply
                case _:
                    stopped = self._stopped(reply)
                    if not isinstance(stopped, SentBack):  # that has been said
                        told = words.stands(stopped)
                        self.place.log().warning("%s: %s", words.what(reply.view), told)
                    raise stopped

    def _steps(self, reply: GateReply) -> list[Step]:
        """What the run has done. The end itself counts more than what is told beside it."""
        try:
            return self._transport.trail(reply.view.request.id)
        except GatesError as error:
            self.place.log().warning("What this run has done could not be read: %s", error)
            return []

    def asked(self, reply: GateReply) -> Resting:
        """What the run rests for while people are asked; said once in its log."""
        request = reply.view.request
        if self._asked != request.id:
            self._asked, self._lingers = request.id, time.monotonic() + self.linger
            self._tell_waiting(reply)
            self._tell_left(reply)
        return Resting(request.id, words.waits_for(reply.view), self._lingers)

    def _stopped(self, reply: GateReply) -> GateStopped:
        stop = words.stopped(reply, self._steps(reply))
        if isinstance(stop, SentBack):  # its author catches it, as a rule, and says nothing
            self.place.log().info("%s: %s", words.what(reply.view), stop)
        return stop

    def _wait_for_people(self, reply: GateReply) -> GateReply:
        resting, left = self.asked(reply), SLICE
        if not self.place.stays:
            left = min(resting.lingers - time.monotonic(), SLICE)
            if left <= 0:
                with self.place.passing.resting(resting):
                    left = suspend(self.place)
        return self._rest(reply, left, resting)

    def _rest(self, reply: GateReply, seconds: float, resting: Resting) -> GateReply:
        with self.place.passing.resting(resting):
            return self._wait(reply, seconds)

    def _wait(self, reply: GateReply, seconds: float) -> GateReply:
        return self._transport.wait(
            reply.view.request.id,
            attempt_id=self._attempt,
            call=self.ticket.call,
            after=reply.version,
            seconds=seconds,
        )

    def awaited(self, reply: GateReply) -> Awaited:
        return Awaited(
            request_id=reply.view.request.id,
            attempt_id=self._attempt,
            call=self.ticket.call,
            after=reply.version,
        )

    def _wait_for_work(self, reply: GateReply) -> GateReply:
        resting = self.worked_on(reply)
        later = self._rest(reply, QUIET, resting)
        if later.standing is Standing.EXECUTING and later.version == reply.version:
            self.tell_silence(later)
            later = self._rest(later, SLICE, resting)
        return later

    def worked_on(self, reply: GateReply) -> Resting:
        return Resting(reply.view.request.id, words.what(reply.view), of_people=False)

    def tell_silence(self, reply: GateReply) -> None:
        who = "this action's other process" if self.in_process else "an executor"
        self.place.log().info("%s: waits for %s", words.what(reply.view), who)

    def claim(self, request_id: str) -> GateReply:
        """Under an attempt id of its own: that of the proposal may have been used in an earlier
        round, whose end this call has missed.
        """
        self._attempt, self._proposal = uuid4().hex, None
        return self._transport.claim(request_id, self.proposal)

    def reported(self, told: AttemptReport, attempt: str) -> GateReply:
        try:
            reply = self._transport.report(attempt, told)
        except InvalidGrant as error:
            # The lease lapsed although the body ran on; people are asked what became of it.
            self.place.log().warning("The report came too late: %s", error)
            return self._transport.propose(self.proposal)
        if told.state == "failed" and reply.standing is not Standing.WAITING:
            raise ActionFailed(told.error, error_class=told.error_class)
        return reply

    def _give_back(self, reply: GateReply) -> GateReply:
        assert reply.grant is not None  # noqa: S101 - CLAIMED comes with its grant
        told = AttemptReport(
            state="failed",
            fence=reply.grant.fence,
            error="The flow gave up waiting before the action began.",
            error_class="GaveUp",
        )
        return self._transport.report(reply.grant.attempt_id, told)

    def _failure(self, reply: GateReply) -> ActionFailed:
        failure = reply.failure
        if failure is None:
            return ActionFailed(f"{self.name} failed.")
        return ActionFailed(failure.error, error_class=failure.error_class)

    def _tell_left(self, reply: GateReply) -> None:
        left = reply.view.request.evidence.get("left_unused")
        for one in left if isinstance(left, list) else ():
            self.place.log().warning("%s", words.left_unused(one))

    def _tell_waiting(self, reply: GateReply) -> None:
        stays = self.place.stays
        how = f" (waits in its process: {stays})" if stays else ""
        self.place.log().info("%s%s", words.waits_for(reply.view), how)
        before = words.since(reply.view)
        if before:
            self.place.log().info("%s: %s", words.what(reply.view), before)

    def _tell_done(self, reply: GateReply) -> None:
        outcome = reply.view.outcome
        self.place.log().info("%s: done (%s)", words.what(reply.view), outcome)
        self._show(succeeded=True, message=str(outcome))

    def _show(self, *, succeeded: bool, message: str) -> None:
        """An executor's work appears in Prefect too; what an earlier pass saw does not again."""
        if self._seen_running and not self.in_process:
            self.place.show(self.name, succeeded=succeeded, message=message)


def suspend(place: Place) -> float:
    """Suspend the run for all that its calls rest for. Raises Pause once it is; returns after how
    many seconds it is to be tried again: 0 where there is news.
    """
    transport = place.session.transport
    with place.passing.suspending() as resting:
        if not resting:
            return TRIES_AGAIN
        ids = [one.request_id for one in resting]
        limits = [one.until for one in resting if one.until is not None]
        message = words.all_waits([one.words for one in resting])
        for _ in range(MOST_KEYS):
            leave = transport.suspending(ids, min(limits, default=None))
            if not leave.pause_key:
                return 0  # an answer was faster
            place.suspend(leave.pause_key, message)
        transport.staying(ids)
    place.log().warning("Prefect does not suspend this run now: it waits in its process.")
    return REFUSED


def _ended_by(error: GatesError) -> State:
    if isinstance(error, ActionFailed):
        return "failed"
    if isinstance(error, (Rejected, Forbidden)):
        return "refused"
    if isinstance(error, SentBack):
        return "sent_back"
    return "ended" if isinstance(error, GateStopped) else "void"
