"""A second policy that looks on: judged beside the active one, never acted on.

It runs behind the requests, in a thread of its own with a short queue: what it cannot keep up
with, or fails at, is counted and nothing else.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from gates.circumstances import Exposure, History
from gates.core.backtest import rejudged
from gates.core.model import ApprovalRequest, Json, Purpose
from gates.core.policy import Policy, Question
from gates.store import shadows
from gates.store.database import Database

log = logging.getLogger(__name__)
LONGEST_QUEUE = 1_000


@dataclass
class Shadow:
    """`source` names its file. `see` never blocks and never raises."""

    database: Database
    policy: Policy
    source: str
    clock: Callable[[], datetime]
    dropped: int = 0
    _queue: queue.Queue[ApprovalRequest | None] = field(
        default_factory=lambda: queue.Queue(LONGEST_QUEUE)
    )
    _thread: threading.Thread | None = None

    def see(self, request: ApprovalRequest) -> None:
        """A request was opened."""
        if request.purpose is not Purpose.ACTION or request.proposed:
            return
        try:
            self._queue.put_nowait(request)
        except queue.Full:
            self.dropped += 1

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What is still queued is left."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=10)

    def drain(self) -> None:
        """Judge all that waits, in this thread."""
        while not self._queue.empty():
            request = self._queue.get_nowait()
            if request is not None:
                self._safely(request)

    def _run(self) -> None:
        while (request := self._queue.get()) is not None:
            self._safely(request)

    def _safely(self, request: ApprovalRequest) -> None:
        try:
            self._note(self._differs(request), failed=0)
        except Exception:  # whatever it is, nobody waits for this
            log.warning("the shadow policy failed at %s", request.id[:8], exc_info=True)
            self._failed(request)

    def _failed(self, request: ApprovalRequest) -> None:
        try:
            self._note(None, failed=1)
        except Exception:
            log.exception("the shadow policy's failure at %s is not counted", request.id[:8])

    def _differs(self, request: ApprovalRequest) -> shadows.ShadowDifferenceRow | None:
        found = request.model_copy(update={"circumstances": self._circumstances(request)})
        fresh, active = rejudged(self.policy, found), request.judgement
        if (fresh.verdict, fresh.tier) == (active.verdict, active.tier):
            return None
        return shadows.ShadowDifferenceRow(
            request_id=request.id,
            digest=self.policy.digest,
            active_digest=active.policy_digest,
            action=request.action.name,
            active=f"{active.verdict.value} ({active.tier.value})",
            shadow=f"{fresh.verdict.value} ({fresh.tier.value})",
            active_rules=json.dumps([one.rule for one in active.reasons]),
            shadow_rules=json.dumps([one.rule for one in fresh.reasons]),
            at=request.opened_at,
        )

    def _circumstances(self, request: ApprovalRequest) -> dict[str, Json]:
        """What this policy wants to know: as it was judged by, where it was; sums by its own
        windows.
        """
        found = dict(request.circumstances)
        wanted = self.policy.mentions(request.action.name)
        asked = Question.of(request)
        for source in (History(self.database), Exposure(self.database, lambda: self.policy)):
            (name,) = source.names
            if name in wanted and (name == "exposure" or name not in found):
                found |= source.look(asked, request.run, request.opened_at)
        return found

    def _note(self, row: shadows.ShadowDifferenceRow | None, *, failed: int) -> None:
        dropped, self.dropped = self.dropped, 0
        with self.database.write() as session:
            numbers = (1 + dropped, failed + dropped)
            shadows.count(session, self.policy.digest, self.source, self.clock(), *numbers)
            if row is not None:
                shadows.add(session, row)
