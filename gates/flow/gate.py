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
from typing import Literal
from uuid import uuid4

from gates.core.errors import ActionFailed, GatesError, GateStopped, InvalidGrant
from gates.core.messages import AttemptReport, Proposal
from gates.core.model import GateReply, Grant, Json, Standing, pause_key
from gates.flow import words
from gates.flow.keys import Ticket
from gates.flow.places import Place
from gates.flow.session import Transport

SLICE = 10.0  # seconds of one wait: as long may a thread outlive a run that was suspended
QUIET = 5.0  # seconds after which a run says that it waits for an executor
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
    title: str = ""
    subject: tuple[str, ...] = ()
    linger: float = 0.0
    abandoned: threading.Event = field(default_factory=threading.Event)
    _attempt: str = field(default_factory=lambda: uuid4().hex)
    _asked: str = ""  # the request that people were last seen to be asked
    _since: float = 0.0
    _holds: bool = False
    _seen_running: bool = False
    _proposal: Proposal | None = None

    # -- steps ------------------------------------------------------------------------------

    def begin(self) -> GateReply:
        """Until the action is done, or this process is to do it. Raises what stops the flow."""
        self.place.passing.enter()
        with self._accounted():
            return self._follow(self._transport.propose(self.proposal))

    def report(self, told: AttemptReport, attempt: str) -> GateReply:
        """How the body ended; on to the next step. Raises ActionFailed where that was it."""
        with self._accounted():
            return self._follow(self._reported(told, attempt))

    def leave(self) -> None:
        """The body was cut off: nothing is reported, and the lease will lapse."""
        self.place.passing.rest()

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
                title=self.title,
                subject=self.subject,
                lease_seconds=self.place.session.lease,
            )
        return self._proposal

    @contextmanager
    def holding(self, grant: Grant) -> Iterator[None]:
        """Keeps the lease while the body runs. If this process dies it lapses, and people are
        asked how the body ended.
        """
        done, lease = threading.Event(), self.place.session.lease

        def renew() -> None:
            while not done.wait(lease / 3):
                try:
                    self._transport.renew(grant.attempt_id, grant.fence, lease)
                except GatesError as error:
                    self.place.log().warning("The lease was not renewed: %s", error)

        threading.Thread(target=renew, name="gates-renew", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    # ---------------------------------------------------------------------------------------

    @property
    def _transport(self) -> Transport:
        return self.place.session.transport

    @contextmanager
    def _accounted(self) -> Iterator[None]:
        """The ticket knows how the call ended: what the next call with its key is depends on it.
        Whoever comes out with a grant stays busy until the report.
        """
        try:
            yield
        except BaseException as error:
            self.place.passing.rest()
            if isinstance(error, GatesError):
                self.ticket.state = _ended_by(error)
            raise
        if not self._holds:
            self.place.passing.rest()

    def _follow(self, reply: GateReply) -> GateReply:
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
                case Standing.CLAIMABLE if not self.abandoned.is_set():
                    reply = self._transport.claim(reply.view.request.id, self.proposal)
                case Standing.EXECUTING:
                    self._seen_running = True
                    reply = self._wait_for_work(reply)
                case Standing.WAITING if not self.abandoned.is_set():
                    reply = self._wait_for_people(reply)
                case Standing.WAITING | Standing.CLAIMABLE:
                    return reply  # nobody listens any more
                case _:
                    raise words.stopped(reply)

    def _wait_for_people(self, reply: GateReply) -> GateReply:
        request = reply.view.request
        now = time.monotonic()
        if self._asked != request.id:
            self._asked, self._since = request.id, now
            self._tell_waiting(reply)
        left = SLICE
        if not self.place.stays:
            left = min(self._since + self.linger - now, SLICE)
            if left <= 0:
                return self._suspended(reply)
        return self._rest(reply, left)

    def _rest(self, reply: GateReply, seconds: float) -> GateReply:
        self.place.passing.rest()
        try:
            return self._wait(reply, seconds)
        finally:
            self.place.passing.enter()

    def _wait(self, reply: GateReply, seconds: float) -> GateReply:
        return self._transport.wait(
            reply.view.request.id,
            attempt_id=self._attempt,
            call=self.ticket.call,
            after=reply.version,
            seconds=seconds,
        )

    def _wait_for_work(self, reply: GateReply) -> GateReply:
        later = self._rest(reply, QUIET)
        if later.standing is Standing.EXECUTING and later.version == reply.version:
            who = "this action's other process" if self.in_process else "an executor"
            self.place.log().info("%s: waits for %s", words.what(later.view), who)
            later = self._rest(later, SLICE)
        return later

    def _suspended(self, reply: GateReply) -> GateReply:
        """Raises Pause once the run is suspended; the newest reply where it must go on."""
        passing = self.place.passing
        passing.rest()
        try:
            with passing.suspending() as free:
                if free:
                    self._suspend(reply)
        finally:
            passing.enter()
        return self._rest(reply, 0 if free else 1)

    def _suspend(self, reply: GateReply) -> None:
        for _ in range(MOST_KEYS):
            latest = self._transport.suspending(reply.view.request.id)
            if not latest.view.suspended:
                return  # an answer was faster
            key = pause_key(latest.view.request.id, latest.suspension)
            self.place.suspend(key, words.waits_for(latest.view))
        self._transport.staying(reply.view.request.id)
        self._since = time.monotonic()
        self.place.log().warning("Prefect does not suspend this run now: it waits in its process.")

    def _reported(self, told: AttemptReport, attempt: str) -> GateReply:
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

    def _tell_waiting(self, reply: GateReply) -> None:
        stays = self.place.stays
        how = f" (waits in its process: {stays})" if stays else ""
        self.place.log().info("%s%s", words.waits_for(reply.view), how)

    def _tell_done(self, reply: GateReply) -> None:
        outcome = reply.view.outcome
        self.place.log().info("%s: done (%s)", words.what(reply.view), outcome)
        self._show(succeeded=True, message=str(outcome))

    def _show(self, *, succeeded: bool, message: str) -> None:
        """An executor's work appears in Prefect too; what an earlier pass saw does not again."""
        if self._seen_running and not self.in_process:
            self.place.show(self.name, succeeded=succeeded, message=message)


def _ended_by(error: GatesError) -> Literal["failed", "ended", "void"]:
    if isinstance(error, ActionFailed):
        return "failed"
    return "ended" if isinstance(error, GateStopped) else "void"
