"""The people of a storm: they look at what waits, decide by dice, click twice, click at the same
time as somebody else, and try again as people do when a page does not answer.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import httpx

from gates.client import GatesClient
from gates.core.errors import Conflict, GatesError, NotAuthenticated, Unavailable
from gates.core.model import DecisionKind, Purpose, RequestView
from tests.storm.journal import Journal

LOOKS = 0.1  # seconds between two looks at the inbox
PATIENCE = 20.0
IGNORED = "latecomer"


@dataclass
class Person:
    """One approver in a thread of their own, on a connection of their own."""

    name: str
    url: str
    admin_key: Callable[[], str]
    seed: int
    journal: Journal
    trouble: list[str]
    _stop: threading.Event = field(default_factory=threading.Event)
    _done: set[str] = field(default_factory=set)
    _looks: Counter[str] = field(default_factory=Counter)
    _client: GatesClient | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=60)

    def _live(self) -> None:
        while not self._stop.wait(LOOKS):
            try:
                for view in self._me().requests():
                    if self._stop.is_set():
                        return
                    self._look(view)
            except Unavailable:
                continue  # the page does not load: look again
            except NotAuthenticated:
                self._client = None
            except GatesError as error:
                self.trouble.append(f"{self.name}: {error.code}: {error}")

    def _me(self) -> GatesClient:
        if self._client is None:
            with GatesClient(self.url, key=self.admin_key(), patience=PATIENCE) as admin:
                token = admin.login_link(self.name).rsplit("/", 1)[1]
            with GatesClient(self.url, patience=0) as stranger:
                session = str(stranger.log_in(token)["token"])
            self._client = GatesClient(self.url, session=session, patience=PATIENCE)
        return self._client

    def _look(self, view: RequestView) -> None:
        request = view.request
        if request.id in self._done or request.requirement is None:
            return
        if self.name not in request.requirement.people:
            return
        if request.action.arguments.get("payee") == IGNORED and request.purpose is Purpose.ACTION:
            return  # nobody answers these
        self._done.add(request.id)
        self._looks[request.id] += 1
        place = (request.run.run_id, request.gate_key, request.round, self._looks[request.id])
        dice = Random(f"{self.seed}/{self.name}/{place}")  # noqa: S311 - to be repeatable
        doubt = request.purpose is Purpose.IN_DOUBT
        kind = DecisionKind.APPROVE
        if dice.random() < (0.03 if doubt else 0.2):
            kind = DecisionKind.REJECT
        if not doubt and dice.random() < 0.15:
            threading.Timer(dice.uniform(0.5, 3), self._done.discard, [request.id]).start()
            return  # at lunch: looks again, a while later
        clicks = 2 if dice.random() < 0.2 else 1
        threads = [
            threading.Thread(target=self._click, args=(request.id, kind, n), daemon=True)
            for n in range(clicks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _click(self, request_id: str, kind: DecisionKind, number: int) -> None:
        reason = f"{self.name} says {kind.value} ({number})"
        told = {"request": request_id, "person": self.name, "kind": kind.value, "reason": reason}
        self.journal.note("sent", **told)
        try:
            self._me().decide(request_id, kind, reason)
        except Unavailable:
            self._done.discard(request_id)  # no answer: look at the page again
        except Conflict as error:
            self.journal.note("refused", **told, code=error.code)
        except (GatesError, httpx.HTTPError) as error:
            self._done.discard(request_id)
            self.trouble.append(f"{self.name}: {type(error).__name__}: {error}")
        else:
            self.journal.note("acknowledged", **told)


def until(look: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
