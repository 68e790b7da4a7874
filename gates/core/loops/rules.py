"""The detector's rules: which of them the last step fulfils, the strongest evidence first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gates.core.loops import memory as kept_in
from gates.core.loops.circles import Kind
from gates.core.loops.memory import Failing, Memory, Seen, remember
from gates.core.loops.numbers import mix, number_of
from gates.core.loops.spending import overspent
from gates.core.loops.steps import End, Step
from gates.core.loops.thresholds import LONGEST_PERIOD, WASTE_WINDOW, Limits, Thresholds
from gates.core.loops.volatile import LONGEST_MESSAGE, steady

REPEATS_WITHIN = 16
VETOED = number_of("vetoed")  # the words of a refusal may differ each time


class Hit(NamedTuple):
    """A rule that is fulfilled. `lap`: the calls that go round, once. `scope`: what it is about
    where that is not those calls.
    """

    kind: Kind
    times: int
    lap: Sequence[Seen]
    scope: str = ""
    words: str = ""


def judged(
    memory: Memory, thresholds: Thresholds, limits: Limits, step: Step, end: End, seen: Seen
) -> Hit | None:
    """The first rule that the step fulfils. Notes failures: each step is judged once."""
    failing = _failing(memory, thresholds, limits, step, end, seen) if seen.failed else None
    if memory.laps[1] >= limits.same_outcome - 1:
        return Hit(Kind.SAME_OUTCOME, memory.laps[1] + 1, [seen])
    if failing:
        return failing
    if memory.stale and (hit := _cycle(memory, limits, seen)):
        return hit
    return _of_the_run(memory, thresholds, step, seen)


def _of_the_run(memory: Memory, thresholds: Thresholds, step: Step, seen: Seen) -> Hit | None:
    """What says that the run as a whole gets nowhere, or has had its share."""
    if memory.errors >= thresholds.errors:
        return Hit(Kind.ERRORS, memory.errors, [seen], "run")
    if memory.stale >= thresholds.nothing_new:
        lap = _lap(memory) or [seen]
        return Hit(Kind.NOTHING_NEW, memory.stale, lap, "run")
    if memory.barren & 1 and (hit := _wasted(memory, thresholds, seen)):
        return hit
    over = overspent(memory, step, thresholds)
    return Hit(Kind.BUDGET, over.used, [seen], over.scope, over.words) if over else None


def _failing(
    memory: Memory, thresholds: Thresholds, limits: Limits, step: Step, end: End, seen: Seen
) -> Hit | None:
    outcome = VETOED if end.vetoed else _said(end)
    old, times = memory.failing.get(seen.call), 1
    if old and seen.number - old.number <= thresholds.patience:
        # what changed the world and then the error was work on the cause, not a retry
        worked_on = memory.changes > old.changes and outcome != old.outcome
        times = 1 if worked_on else old.times + 1
    note = Failing(times, seen.number, memory.changes, outcome)
    remember(memory.failing, seen.call, note, kept_in.MOST_FAILING)
    action, way, alike = memory.alike
    same = mix(seen.key, seen.call)  # the outcome alone
    alike = alike + 1 if (action, way) == (seen.action, same) else 1
    memory.alike = (seen.action, same, alike)
    if times >= limits.same_failing_call:
        return Hit(Kind.FAILING_RETRY, times, [seen])
    most = limits.same_refused_write if step.writes else limits.same_failure
    return Hit(Kind.SAME_FAILURE, alike, [seen], seen.action) if alike >= most else None


def _for_nothing(memory: Memory, key: int, oldest: int) -> int:
    """How often it came again with nothing new in between: who waits and polls, or goes back to a
    list and opens its next entry, hears something else each time. Of a long answer no more than
    its beginning is remembered; where that is known, it is no news.
    """
    count, news, heard = 0, False, set[int | str]()
    for one in memory.recent:
        if one.key == key:
            count += one.number > oldest and not news
            news = False
        elif not one.failed:
            outcome = mix(one.key, one.call)  # without times
            said: set[int | str] = {one.answer, outcome}
            news |= said.isdisjoint(heard)
            heard |= said
    return count


def _said(end: End) -> int:
    """What a failure says, but for what changes by itself: its numbers and whole seconds count,
    as in an answer. What is long is compared as it is.
    """
    comparable = end.whole and 0 < len(end.text) <= LONGEST_MESSAGE
    return number_of(steady(end.text) if comparable else end.outcome)


def _wasted(memory: Memory, thresholds: Thresholds, seen: Seen) -> Hit | None:
    barren = memory.barren.bit_count()
    points = barren + memory.repeated.bit_count()
    if points < thresholds.wasted or memory.number - memory.since < WASTE_WINDOW:
        return None
    words = f"{barren} of the last {WASTE_WINDOW} steps failed or repeated what was known"
    return Hit(Kind.WASTED, barren, [seen], "run", words)


def _lap(memory: Memory) -> Sequence[Seen]:
    """What the last steps go round in, if they have done so twice; three laps of a long cycle would
    take longer than it takes to see that they bring nothing new.
    """
    for period in range(2, LONGEST_PERIOD + 1):
        if memory.laps[period] >= period:
            return list(memory.recent)[-period:]
    return ()


def _cycle(memory: Memory, limits: Limits, seen: Seen) -> Hit | None:
    for period in range(2, LONGEST_PERIOD + 1):
        if memory.laps[period] >= (limits.laps - 1) * period:
            lap = list(memory.recent)[-period:]
            return Hit(Kind.CYCLE, memory.laps[period] // period + 1, lap)
    oldest = max(memory.since, memory.changed_at, seen.number - REPEATS_WITHIN)
    count = _for_nothing(memory, seen.key, oldest)
    return Hit(Kind.SAME_OUTCOME, count, [seen]) if count >= limits.repeats else None
