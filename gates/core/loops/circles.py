"""What the detector finds, with the evidence that a person needs to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from gates.core.value import Value

MOST_DIFFERENCES = 12


class Kind(StrEnum):
    """Which rule found it."""

    SAME_OUTCOME = "same_outcome"
    FAILING_RETRY = "failing_retry"
    CYCLE = "cycle"
    SAME_FAILURE = "same_failure"
    ERRORS = "errors"
    NOTHING_NEW = "nothing_new"
    WASTED = "wasted"
    SAME_WRITE = "same_write"
    BUDGET = "budget"


class Side(Value):
    """One of the attempts that stand side by side; `number` counts the run's steps from 1."""

    number: int
    action: str
    arguments: str
    answer: str
    failed: bool
    at: datetime | None = None
    cost: int = 0
    tokens: int = 0


class Circle(Value):
    """One finding.

    `key` stays the same while the same calls go round, and names the circle in a person's answer.
    `cycle`: the calls of one lap in order, where something goes round. `attempts`: the last ones,
    side by side. `level`: 1, and one more each time it comes back after a steer or is pushed
    against a refusal. `cost`, `tokens` and `seconds`: of the attempts shown.
    """

    kind: Kind
    key: str
    action: str
    count: int
    number: int
    words: str
    level: int = 1
    refused: int = 0
    cycle: tuple[str, ...] = ()
    attempts: tuple[Side, ...] = ()
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.words

    @property
    def period(self) -> int:
        return len(self.cycle)

    @property
    def cost(self) -> int:
        return sum(one.cost for one in self.attempts)

    @property
    def tokens(self) -> int:
        return sum(one.tokens for one in self.attempts)

    @property
    def seconds(self) -> float:
        times = [one.at for one in self.attempts if one.at is not None]
        return (times[-1] - times[0]).total_seconds() if times else 0.0

    @property
    def drawn(self) -> str:
        """The cycle as a line that comes back to where it began."""
        return " → ".join((*self.cycle, self.cycle[0])) if self.cycle else ""


def what_differs(attempts: Sequence[Side], period: int) -> tuple[str, ...]:
    """What changed from one lap to the next, in words; nothing where they are alike."""
    found: list[str] = []
    for start in range(period):
        for before, after in pairwise(attempts[start::period]):
            for name in ("action", "arguments", "answer"):
                old, new = getattr(before, name), getattr(after, name)
                if old != new:
                    found.append(f"step {after.number}: {name} {old or 'nothing'} -> {new}")
    return tuple(found[:MOST_DIFFERENCES])


def told(kind: Kind, action: str, count: int, period: int, answer: str) -> str:
    """The finding in one sentence."""
    said = f": {answer}" if answer else ""
    if kind is Kind.NOTHING_NEW and period > 1:
        said = f": {period} calls go round"
    return _WORDS[kind].format(action=action, count=count, period=period, said=said)


_WORDS = {
    Kind.SAME_OUTCOME: "{action} was called {count} times with the same outcome{said}",
    Kind.FAILING_RETRY: "{action} failed {count} times with the same arguments{said}",
    Kind.CYCLE: "{period} calls went round {count} times with the same outcomes",
    Kind.SAME_FAILURE: "{action} failed {count} times in the same way, whatever it was given{said}",
    Kind.ERRORS: "{count} calls in a row failed; the last, {action}{said}",
    Kind.NOTHING_NEW: "{count} steps in a row brought nothing that was not known before{said}",
    Kind.SAME_WRITE: "{action} has succeeded with the same arguments: it is not run again",
}
