"""Figures and how they are told: a median, a p95 and a ratio against a row of the same run."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

PRINTED_EVERY = 2.0  # seconds


@dataclass(frozen=True)
class Row:
    """`samples` in milliseconds; `floor` marks what the ratios of its table are taken against.
    `p50` and `p95`: at most so many milliseconds are wanted.
    """

    name: str
    samples: Sequence[float]
    floor: bool = False
    p50: float | None = None
    p95: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def quantile(self, part: float) -> float:
        """The smallest sample that `part` of all samples do not exceed."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, max(0, round(part * len(ordered) + 0.5) - 1))]

    @property
    def target(self) -> str:
        """What is wanted, and whether it is so."""
        wanted = [("p50", self.p50, self.median), ("p95", self.p95, self.quantile(0.95))]
        told = [f"{name} ≤ {_number(most)}" for name, most, _ in wanted if most is not None]
        missed = any(most is not None and found > most for _, most, found in wanted)
        return f"{', '.join(told)}: {'missed' if missed else 'met'}" if told else ""


@dataclass(frozen=True)
class Fact:
    """A figure that is no duration of many: so many a second, so many megabytes."""

    name: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        words = f"{self.name}: {_number(self.value)} {self.unit}"
        if self.least is not None:
            met = self.value >= self.least
            return f"{words} (≥ {_number(self.least)}: {'met' if met else 'missed'})"
        if self.most is not None:
            met = self.value <= self.most
            return f"{words} (≤ {_number(self.most)}: {'met' if met else 'missed'})"
        return words


@dataclass
class Report:
    """One benchmark's answer. `load` is the machine's load average before it and after it."""

    title: str
    rows: list[Row] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    upper: float = 0.95
    load: list[float] = field(default_factory=lambda: [os.getloadavg()[0]])

    def markdown(self) -> str:
        last = f"p{self.upper * 100:.0f}"
        floor = next((row for row in self.rows if row.floor), None)
        head = ["", "n", "median ms", f"{last} ms", "ratio", "target"]
        lines = [f"## {self.title}", ""]
        lines += [_line(head), _line(["---"] * len(head))] if self.rows else []
        for row in self.rows:
            floor = row if row.floor else floor  # what follows is held against it
            ratio = "1" if row is floor else _number(row.median / floor.median) if floor else ""
            lines.append(
                _line(
                    [
                        row.name,
                        str(len(row.samples)),
                        _number(row.median),
                        _number(row.quantile(self.upper)),
                        ratio,
                        row.target,
                    ]
                )
            )
        load = " to ".join(f"{one:.1f}" for one in self.load)
        told = [*(f"{fact}." for fact in self.facts), *self.notes]
        lines += ["", *(f"- {note}" for note in told), f"- Load average: {load}."]
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    for most, digits in ((1, 3), (10, 2), (100, 1)):
        if value < most:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def say(words: str) -> None:
    """Progress, for the person who waits."""
    sys.stderr.write(f"· {words}\n")
    sys.stderr.flush()


def counted(samples: Iterator[float], number: int, words: str) -> list[float]:
    """`number` samples, saying now and then how far it is."""
    told = _teller(words, number)
    found: list[float] = []
    for sample in samples:
        found.append(sample)
        told(len(found))
        if len(found) == number:
            break
    return found


def _teller(words: str, number: int) -> Callable[[int], None]:
    last = [time.monotonic()]

    def tell(done: int) -> None:
        now = time.monotonic()
        if now - last[0] > PRINTED_EVERY:
            last[0] = now
            say(f"{words}: {done} of {number}")

    return tell
