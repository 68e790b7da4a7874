"""The proxies of a storm: they count calls, and at marked ones a process is killed, a connection
cut, an answer lost, held back or replaced by a 503.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.storm.dice import Mark
from tests.support.proxy import Call, Hold, Proxy

NAMES = (  # of calls to the gates server, by the end of their path
    ("/v1/actions", "propose"),
    ("/claim", "claim"),
    ("/renew", "renew"),
    ("/report", "report"),
    ("/v1/jobs/lease", "lease"),
    ("/decisions", "decide"),
)


def named(call: Call) -> str:
    """The kind of a call, as the dice know it."""
    path = call.path.partition("?")[0]
    if path.endswith("/wait"):
        return "wait"
    found = next((name for end, name in NAMES if path.endswith(end)), "")
    if not found and call.method == "POST" and path.count("/") == 1:
        return path.strip("/")  # of the till: pay, hand, own
    return found or "look"


@dataclass
class Life:
    """One life of one victim: how often it was called or has called, and what is to happen. A
    life that is not `awake` (a server that is still starting) counts nothing.
    """

    victim: str
    marks: list[Mark]
    strike: Callable[[Mark], None]
    awake: bool = True
    counted: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> int:
        with self._lock:
            self.counted[name] += self.awake
            return self.counted[name] if self.awake else 0

    def again(self, marks: Callable[[], list[Mark]]) -> None:
        """More to come for one that has outlived all that was to happen to it."""
        with self._lock:
            if not self.marks:
                self.marks, self.counted = marks(), Counter()

    def take(self, name: str, nth: int, moments: Iterable[str]) -> Mark | None:
        with self._lock:
            for mark in self.marks:
                # One that another victim's mark has hidden comes at the next such call.
                if mark.call == name and mark.nth <= nth and mark.moment in moments:
                    self.marks.remove(mark)
                    return mark
        return None


class Deed(Hold):
    """What happens to one call on one wire. `strike` kills or stops the victim, or counts what it
    takes no more than a proxy for.
    """

    def __init__(self, mark: Mark, strike: Callable[[Mark], None]) -> None:
        super().__init__(lambda _call: False, "before")
        self.mark, self.strike = mark, strike

    def pause(self) -> bool:
        mark = self.mark
        if mark.act in ("kill", "stop"):
            if mark.moment == "during":
                threading.Timer(mark.seconds % 0.02, self.strike, [mark]).start()
                return True
            self.strike(mark)
            return mark.lands
        self.strike(mark)
        if mark.act == "delay":
            time.sleep(mark.seconds)
            return True
        self.status = 503 if mark.act == "busy" else 0
        return False


class Wire(Proxy):
    """Stands between one caller and one server; `lives` are whoever can be hit at its calls.
    `seen` is told each call, and each answer.
    """

    def __init__(
        self,
        upstream: str,
        lives: Callable[[], list[Life]],
        seen: Callable[[Call, str], None] = lambda _call, _moment: None,
        name: Callable[[Call], str] = named,
    ) -> None:
        self._lives, self._seen, self._name = lives, seen, name
        self._here = threading.local()
        super().__init__(upstream)

    def held(self, call: Call, moment: str) -> Hold | None:
        name = self._name(call)
        self._seen(call, moment)
        if moment == "before":
            self._here.counted = [(life, life.count(name)) for life in self._lives()]
        moments: tuple[str, ...] = ("before", "during") if moment == "before" else ("after",)
        for life, nth in self._here.counted:
            mark = life.take(name, nth, moments)
            if mark is not None:
                return Deed(mark, life.strike)
        if moment == "after" and name == "lease" and call.answer not in (b"", b"null"):
            return self._leased()
        return None

    def _leased(self) -> Hold | None:
        """A lease that got a job counts by itself: those without come as often as they like."""
        for life, _ in self._here.counted:
            mark = life.take("leased", life.count("leased"), ("before", "during", "after"))
            if mark is not None:
                return Deed(mark, life.strike)
        return None
