"""The detector over recorded runs, open loop: told what happened, it only says what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gates.core.loops.circles import Circle
from gates.core.loops.detector import Detector
from gates.core.loops.recorded import read_run
from gates.core.loops.steps import End, Step, named
from gates.core.loops.thresholds import Thresholds
from gates.core.value import Value

EPISODE_ENDS = 10  # steps without a finding after which the next one is another episode


class Episode(Value):
    """One circle from its first finding to its last. Steps count from 1."""

    first: Circle
    last_step: int
    found: int


class Replayed(Value):
    """What one run would have been asked for. `refused`: the writes that would not have run.
    `unmatched`: calls without an answer and answers without a call, which were left out.
    `writing`: the patterns of writes that name a call of this run.
    """

    run: str
    steps: int
    episodes: tuple[Episode, ...] = ()
    refused: tuple[Circle, ...] = ()
    unmatched: int = 0
    writing: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        return bool(self.episodes or self.refused)


def replay(
    lines: Iterable[str | bytes],
    thresholds: Thresholds | None = None,
    *,
    writes: Sequence[str] = (),
) -> Iterator[Replayed]:
    """One answer a line. `writes`: patterns of the actions that write, where a run does not say.

    Raises InvalidInput naming line and field of one that cannot be read.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            recorded = read_run(line, number)
            run = recorded.run or f"line {number}"
            pairs = recorded.pairs(writes)
            actions = {step.action for step, _ in pairs}
            writing = tuple(one for one in writes if any(named(name, (one,)) for name in actions))
            more = {"unmatched": recorded.unmatched, "writing": writing}
            yield replay_run(run, pairs, thresholds).model_copy(update=more)


def replay_run(
    run: str, pairs: Iterable[tuple[Step, End]], thresholds: Thresholds | None = None
) -> Replayed:
    detector, steps = Detector(thresholds), 0
    found: list[tuple[int, Circle]] = []
    refused: list[Circle] = []
    for steps, (step, end) in enumerate(pairs, start=1):
        again = detector.repeats_write(step)
        if again is not None:
            refused.append(again.model_copy(update={"number": steps}))
        circle = detector.after(step, end)
        if circle is not None:
            found.append((steps, circle.model_copy(update={"number": steps})))
    return Replayed(run=run, steps=steps, episodes=_episodes(found), refused=tuple(refused))


def _episodes(found: list[tuple[int, Circle]]) -> tuple[Episode, ...]:
    episodes: list[Episode] = []
    for step, circle in found:
        if episodes and step - episodes[-1].last_step <= EPISODE_ENDS:
            last = episodes[-1]
            episodes[-1] = last.model_copy(update={"last_step": step, "found": last.found + 1})
        else:
            episodes.append(Episode(first=circle, last_step=step, found=1))
    return tuple(episodes)
