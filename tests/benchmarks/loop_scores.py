"""Scores of a loop rule on labelled runs: what it finds, how late, and what it mistakes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gates.core.loops import End, Step

EXHAUSTED = ("max_iterations", "max_budget", "stuck_in_loop_error")
EPISODE_ENDS = 10
Pairs = list[tuple[Step, End]]


@dataclass(frozen=True)
class Labelled:
    """One run with what is known of it afterwards; a rule sees the pairs alone."""

    run: str
    family: str
    pairs: Pairs
    truth: dict[str, Any]
    succeeded: bool

    @property
    def stuck(self) -> bool:
        return bool(self.truth["stuck_objective"])

    @property
    def duplicates(self) -> set[int]:
        return set(self.truth["duplicate_write_steps"])

    @property
    def state(self) -> str:
        return str(self.truth.get("final_state") or "")

    @property
    def exhausted(self) -> bool:
        return self.state in EXHAUSTED


@dataclass
class Score:
    found: int = 0
    missed: int = 0
    wrong: int = 0
    delays: list[int] = field(default_factory=list)
    clean_calls: int = 0
    clean_episodes: int = 0
    exhausted: int = 0
    exhausted_found: int = 0
    exhausted_calls: int = 0
    calls_after: int = 0
    finished: int = 0
    finished_found: int = 0
    finished_not_stuck: int = 0
    alike: Counter[str] = field(default_factory=Counter)
    alike_flagged: Counter[str] = field(default_factory=Counter)
    polls_of_finished: Counter[str] = field(default_factory=Counter)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.wrong)

    @property
    def clean_rate(self) -> float:
        return 1_000 * self.clean_episodes / max(1, self.clean_calls)

    def part(self, kind: str) -> float:
        return self.alike_flagged[kind] / max(1, self.alike[kind])

    def delay(self, part: float) -> float:
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0

    @property
    def median_delay(self) -> float:
        return statistics.median(self.delays) if self.delays else 0

    def add(self, run: Labelled, alarms: Sequence[int]) -> None:
        if run.stuck and alarms:
            self.found += 1
            self.delays.append(alarms[0] - int(run.truth["stuck_onset"]))
        elif run.stuck:
            self.missed += 1
        elif alarms and not run.duplicates:
            self.wrong += 1
        if run.succeeded and not run.stuck and not run.duplicates:
            self.clean_calls += len(run.pairs)
            self.clean_episodes += episodes(alarms)
        self._ends(run, alarms)
        if not run.stuck:
            self._look_alikes(run, set(alarms))

    def _ends(self, run: Labelled, alarms: Sequence[int]) -> None:
        if run.exhausted:
            self.exhausted += 1
            self.exhausted_found += bool(alarms)
            self.exhausted_calls += len(run.pairs)
            self.calls_after += len(run.pairs) - 1 - alarms[0] if alarms else 0
        if run.state == "finished":
            self.finished += 1
            self.finished_found += bool(alarms)
            self.finished_not_stuck += bool(alarms) and not run.stuck

    def _look_alikes(self, run: Labelled, alarms: set[int]) -> None:
        for span in run.truth["benign_repeats"]:
            kind = span["kind"]
            flagged = not alarms.isdisjoint(range(span["start"], span["end"] + 1))
            self.alike[kind] += 1
            self.alike_flagged[kind] += flagged
            if kind == "poll_or_scroll" and not run.exhausted:
                self.polls_of_finished["all"] += 1
                self.polls_of_finished["flagged"] += flagged


def episodes(alarms: Sequence[int]) -> int:
    """Alarms with at most ten steps between them are one."""
    found, last = 0, -EPISODE_ENDS - 1
    for step in alarms:
        found += step - last > EPISODE_ENDS
        last = step
    return found


def scored(rule: Callable[[Pairs], Iterable[int]], runs: Iterable[Labelled]) -> Score:
    score = Score()
    for run in runs:
        score.add(run, list(rule(run.pairs)))
    return score


def f1(said: Sequence[bool], true: Sequence[bool]) -> float:
    hits = sum(one and other for one, other in zip(said, true, strict=True))
    return 2 * hits / max(1, sum(said) + sum(true))
