"""Several gates followed by one thread: proposed at once, claimed as they are approved, waited
for by one call. Synchronous; the async form runs its steps in threads.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gates.core.errors import Undecided
from gates.core.messages import AttemptReport
from gates.core.model import GateReply, Standing
from gates.flow.asks import Ask
from gates.flow.gate import QUIET, SLICE, suspend
from gates.flow.session import Pass, Resting

AT_ONCE = 8  # proposals under way at once


@dataclass(frozen=True)
class Turn:
    """What is next: `ask` has ended, or, with a reply that holds a grant, is to be run here."""

    ask: Ask[Any]
    grants: GateReply | None = None


@dataclass
class Group:
    """`limit`: how long after a question was put its author waits; `withdraws`: what becomes of
    it then. `abandoned` is set by an async caller that was cancelled: nothing may start any more.
    """

    asks: Sequence[Ask[Any]]
    limit: timedelta | None = None
    withdraws: bool = False
    abandoned: bool = False
    _open: dict[int, GateReply] = field(default_factory=dict)
    _ended: list[Ask[Any]] = field(default_factory=list)
    _begun: bool = False
    _calm: bool = False  # an executor has been quiet for a while, and the log says so

    def step(self) -> Turn | None:
        """Until it is this process's turn; None at the end. Whoever gets a grant calls `report`
        when the body has ended.
        """
        if not self.asks:
            return None
        passing = self._passing
        passing.enter()
        turn = None
        try:
            turn = self._step()
        finally:
            if turn is None or turn.grants is None:
                passing.leave()
        if turn is not None and turn.grants is not None and self.abandoned:
            self._give_back(turn)
            return None
        return turn

    def report(self, turn: Turn, told: AttemptReport) -> None:
        """How a body ended."""
        assert turn.grants is not None  # noqa: S101 - it was run
        assert turn.grants.grant is not None  # noqa: S101
        try:
            attempt = turn.grants.grant.attempt_id
            self._go(turn.ask, lambda: turn.ask.gate.reported(told, attempt))
        finally:
            self._passing.leave()

    # ---------------------------------------------------------------------------------------

    @property
    def _passing(self) -> Pass:
        return self.asks[0].gate.place.passing

    def _pending(self) -> list[Ask[Any]]:
        return [ask for ask in self.asks if id(ask) in self._open]

    def _step(self) -> Turn | None:
        if not self._begun:
            self._begun = True
            self._propose()
        while not self.abandoned:
            turn = self._to_run()  # what is decided is done before it is told
            if turn is not None:
                return turn
            if self._ended:
                self._ended.sort(key=lambda ask: ask.recorded())
                return Turn(self._ended.pop(0))
            if not self._open:
                return None
            self._wait()
        return None

    def _propose(self) -> None:
        """All at once, so that all cards are out at once."""
        self.asks[0].gate.place.run()  # asks Prefect once for all

        def proposed(ask: Ask[Any], context: contextvars.Context) -> GateReply | Exception:
            try:
                return context.run(ask.gate.propose)
            except Exception as error:  # noqa: BLE001 - told by its own ask
                return error

        contexts = [contextvars.copy_context() for _ in self.asks]
        with ThreadPoolExecutor(min(AT_ONCE, len(self.asks))) as pool:
            replies = list(pool.map(proposed, self.asks, contexts))
        for ask, reply in zip(self.asks, replies, strict=True):
            self._go(ask, lambda reply=reply: _or_raise(reply))

    def _go(self, ask: Ask[Any], reply: Any) -> None:
        """From a reply as far as it goes without waiting."""
        self._open.pop(id(ask), None)
        try:
            with ask.gate.noted():
                found = reply()
                ask.stands(found)
                found = ask.gate.advance(found)
                ask.stands(found)
        except Exception as error:  # noqa: BLE001 - told by its own ask
            self._end(ask, error)
            return
        if found.standing is Standing.SUCCEEDED:
            self._end(ask, None)
        else:
            self._open[id(ask)] = found

    def _end(self, ask: Ask[Any], error: Exception | None) -> None:
        self._open.pop(id(ask), None)
        ask.ends(error)
        self._ended.append(ask)

    def _to_run(self) -> Turn | None:
        """The next body for this process: claimed when its turn comes and not before, so that no
        grant is held by what has not begun.
        """
        for ask in self._pending():
            if self._open[id(ask)].standing is Standing.CLAIMABLE:
                request = self._open[id(ask)].view.request.id
                self._go(ask, lambda ask=ask, request=request: ask.gate.claim(request))
            reply = self._open.get(id(ask))
            if reply is not None and reply.standing is Standing.CLAIMED:
                del self._open[id(ask)]
                return Turn(ask, reply)
        return None

    def _give_back(self, turn: Turn) -> None:
        turn.ask.gate.abandoned.set()
        try:
            if turn.grants is not None:
                turn.ask.gate.advance(turn.grants)
        finally:
            self._passing.leave()

    def _wait(self) -> None:
        pending = self._pending()
        resting = [self._resting(ask) for ask in pending]
        due = [one.until for one in resting if one.until is not None]
        left = min(((one - _now()).total_seconds() for one in due), default=SLICE)
        if left <= 0:
            self._give_up()
            return
        passing, seconds = self._passing, min(self._patience(resting), left)
        if seconds <= 0:
            with passing.resting(*resting):
                seconds = min(suspend(self.asks[0].gate.place), left)
        with passing.resting(*resting):
            news = self._news(pending, seconds)
        if not news and not self._calm and not all(one.of_people for one in resting):
            self._calm = True
            for ask in pending:
                if self._open[id(ask)].standing is Standing.EXECUTING:
                    ask.gate.tell_silence(self._open[id(ask)])
        self._take(pending, news)

    def _take(self, pending: Sequence[Ask[Any]], news: Sequence[GateReply]) -> None:
        by_gate = {reply.view.request.gate_id: reply for reply in news}
        for ask in pending:
            reply = by_gate.get(self._open[id(ask)].view.request.gate_id)
            if reply is not None:
                self._calm = False
                self._go(ask, lambda reply=reply: reply)

    def _news(self, pending: Sequence[Ask[Any]], seconds: float) -> list[GateReply]:
        awaited = [ask.gate.awaited(self._open[id(ask)]) for ask in pending]
        return self.asks[0].gate.place.session.transport.news(awaited, max(seconds, 0.0))

    def _resting(self, ask: Ask[Any]) -> Resting:
        reply = self._open[id(ask)]
        if reply.standing is Standing.EXECUTING:
            return ask.gate.worked_on(reply)
        resting = ask.gate.asked(reply)
        if self.limit is None:
            return resting
        return resting._replace(until=reply.view.request.opened_at + self.limit)

    def _patience(self, resting: Sequence[Resting]) -> float:
        """Seconds until the next look; none where the run is to suspend."""
        if not all(one.of_people for one in resting):
            return SLICE if self._calm else QUIET
        if self.asks[0].gate.place.stays:
            return SLICE
        return min(max(one.lingers for one in resting) - time.monotonic(), SLICE)

    def _give_up(self) -> None:
        """The author waits no longer for those whose time is over; an answer that was faster
        counts.
        """
        pending = self._pending()
        late = [ask for ask in pending if (until := self._resting(ask).until) and until <= _now()]
        ids = [self._open[id(ask)].view.request.id for ask in late]
        words = f"the flow waits no longer than {self.limit}"
        transport = self.asks[0].gate.place.session.transport
        transport.leaving(ids, withdraw=self.withdraws, reason=words)
        self._take(pending, self._news(pending, 0))
        for ask in late:
            reply = self._open.get(id(ask))
            if reply is not None and reply.standing is Standing.WAITING:
                ask.gate.ticket.state = "ended"
                told = f"{ask.gate.name}: nobody has decided, and {words}; the question stays open."
                self._end(ask, Undecided(told, url=reply.view.url))


def _or_raise(reply: GateReply | Exception) -> GateReply:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _now() -> datetime:
    return datetime.now(UTC)
