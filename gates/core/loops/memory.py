"""What a detector remembers of a run: bounded, and written down as compact JSON.

Every collection here has a fixed size; together they stay below 64 KB whatever an agent sends.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from gates.core.loops.thresholds import LONGEST_PERIOD, WINDOW

MOST_WRITES = 512
MOST_KNOWN = 84
MOST_FAILING = 24
MOST_TEXTS = LONGEST_PERIOD
MOST_IDS = 32
MOST_STOPPED = 32
MOST_LEVELS = 24
MOST_OPEN = 4
MOST_SPENDERS = 16
OTHERS = "others"
Key = TypeVar("Key", int, str)
Kept = TypeVar("Kept")


class Seen(NamedTuple):
    """One step, as it is remembered. `call`: action and arguments; `key`: that and the outcome."""

    number: int
    call: int
    key: int
    action: str
    shown: str
    answer: str
    failed: bool
    at: datetime | None
    cost: int
    tokens: int


class Failing(NamedTuple):
    """The failures of one call since it last succeeded or its cause was worked on."""

    times: int
    number: int
    changes: int
    outcome: int


class Stop(NamedTuple):
    """A finding that waits for a person's answer."""

    kind: str
    action: str
    words: str
    times: int
    refused: int


class Spent:
    """What one scope has used; changed in place, once a step. `began` and `last` by the run's own
    clock, which stands still while it waits for people.
    """

    __slots__ = ("attempts", "began", "cost", "last", "tokens")

    def __init__(
        self,
        attempts: int = 0,
        began: datetime | None = None,
        last: datetime | None = None,
        cost: int = 0,
        tokens: int = 0,
    ) -> None:
        self.attempts = attempts
        self.began = began
        self.last = last
        self.cost = cost
        self.tokens = tokens

    def row(self) -> list[Any]:
        return [self.attempts, self.began, self.last, self.cost, self.tokens]


class Memory:
    """Plain containers; the rules stand in the detector."""

    def __init__(self) -> None:
        self.number = 0
        self.paused = 0.0  # seconds in which the run waited for people
        self.changes = 0
        self.changed_at = 0
        self.since = 0  # steps up to here no longer count: a person has answered
        self.stale = 0
        self.errors = 0
        # A bit a step, the last one lowest: whether it failed or was known, whether it was known.
        self.barren = self.repeated = 0
        self.alike: tuple[str, int, int] = ("", 0, 0)  # action, signature, how often in a row
        self.laps = [0] * (LONGEST_PERIOD + 1)
        self.keys: list[int] = []  # of the last steps, the latest first
        self.recent: deque[Seen] = deque(maxlen=WINDOW)
        self.known: dict[int, int] = {}
        self.failing: dict[int, Failing] = {}
        self.texts: dict[int, tuple[int, str]] = {}
        self.writes = array("Q")
        self.ids: dict[int, int] = {}
        self.pushes: dict[int, int] = {}  # the last calls that were refused
        self.round = 0
        self.beside: dict[int, int] = {}
        self.stopped: dict[int, str] = {}
        self.open: dict[str, Stop] = {}
        self.levels: dict[str, int] = {}
        self.leave: dict[str, int] = {}
        self.spent: dict[str, Spent] = {}

    def wrote(self, call: int) -> None:
        if len(self.writes) >= MOST_WRITES:
            del self.writes[0]
        self.writes.append(call)

    def spend(self, scope: str, at: datetime | None, cost: int, tokens: int) -> None:
        """Who comes too late for a count of his own is counted with all others: never less."""
        spent = self.spent.get(scope)
        if spent is None:
            if len(self.spent) >= MOST_SPENDERS:
                scope = f"{scope.partition(':')[0]}:{OTHERS}"
            spent = self.spent.setdefault(scope, Spent())
        spent.attempts += 1
        spent.cost += cost
        spent.tokens += tokens
        if at is not None:
            at -= timedelta(seconds=self.paused)
            spent.began = spent.began or at
            spent.last = at

    def used(self, scope: str) -> Spent:
        spent = self.spent.get(scope)
        if spent is not None:
            return spent
        return self.spent.get(f"{scope.partition(':')[0]}:{OTHERS}") or Spent()

    def dump(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(vars(self))
        for name in _INT_KEYS:
            state[name] = list(state[name].items())
        state["recent"] = list(self.recent)
        state["spent"] = {scope: spent.row() for scope, spent in self.spent.items()}
        state["writes"] = self.writes.tolist()
        return state

    @classmethod
    def load(cls, state: dict[str, Any]) -> Memory:
        """Raises KeyError, TypeError or ValueError for what was never dumped."""
        made = cls()
        for name, was in vars(made).items():
            value = state[name]
            if isinstance(was, (int, float, str)) and type(value) is not type(was):
                raise TypeError(name)
            setattr(made, name, dict(value) if isinstance(was, dict) else value)
        made.recent = deque((_seen(row) for row in state["recent"]), maxlen=WINDOW)
        made.failing = {call: Failing(*row) for call, row in state["failing"]}
        made.texts = {call: (row[0], row[1]) for call, row in state["texts"]}
        made.open = {key: Stop(*row) for key, row in state["open"].items()}
        made.spent = {scope: _spent(row) for scope, row in state["spent"].items()}
        made.alike = (state["alike"][0], state["alike"][1], state["alike"][2])
        made.writes = array("Q", state["writes"])
        return made


_INT_KEYS = ("known", "failing", "texts", "ids", "pushes", "beside", "stopped")


def remember(into: MutableMapping[Key, Kept], key: Key, value: Kept, most: int) -> None:
    """The latest at the end; the oldest goes."""
    into.pop(key, None)
    into[key] = value
    if len(into) > most:
        del into[next(iter(into))]


def _seen(row: list[Any]) -> Seen:
    number, call, key, action, shown, answer, failed, at, cost, tokens = row
    return Seen(number, call, key, action, shown, answer, failed, _time(at), cost, tokens)


def _spent(row: list[Any]) -> Spent:
    return Spent(row[0], _time(row[1]), _time(row[2]), row[3], row[4])


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
