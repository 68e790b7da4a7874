"""How others find loops, as their sources were described; and the plainest rule.

Each takes a run's steps and answers the steps at which it fires, counted from 0.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from gates.core.loops import Detector, End, Step

Pairs = list[tuple[Step, End]]


def ours(pairs: Pairs) -> Iterator[int]:
    detector = Detector()
    for index, (step, end) in enumerate(pairs):
        if detector.after(step, end) is not None:
            yield index


def openhands(pairs: Pairs) -> Iterator[int]:
    """The same call and answer four times in a row, the same call failing four times in a row, or
    two in turn over six steps.
    """
    calls: list[tuple[str, str]] = []
    both: list[tuple[str, str, str]] = []
    failed: list[bool] = []
    for index, (step, end) in enumerate(pairs):
        calls.append((step.action, step.arguments))
        both.append((step.action, step.arguments, end.outcome))
        failed.append(end.failed)
        last = both[-6:]
        in_turn = len(last) == 6 and len(set(last[::2])) == len(set(last[1::2])) == 1
        same = len(both) >= 4 and len(set(both[-4:])) == 1
        failing = len(calls) >= 4 and len(set(calls[-4:])) == 1 and all(failed[-4:])
        if same or failing or (in_turn and last[0] != last[1]):
            yield index


def gemini(pairs: Pairs) -> Iterator[int]:
    """Calls alone: a period of one to five, five times."""
    calls: list[tuple[str, str]] = []
    for index, (step, _) in enumerate(pairs):
        calls.append((step.action, step.arguments))
        for period in range(1, 6):
            last = calls[-5 * period :]
            if len(last) == 5 * period and last == last[:period] * 5:
                yield index
                break


def openrouter_blocks(pairs: Pairs) -> Iterator[int]:
    """The same arguments as this tool's last call, for the third time: blocked."""
    return _streaks(pairs, 3)


def openrouter_stops(pairs: Pairs) -> Iterator[int]:
    """The same for the sixth time: stopped."""
    return _streaks(pairs, 6)


def _streaks(pairs: Pairs, most: int) -> Iterator[int]:
    last: dict[str, tuple[str, int]] = {}
    for index, (step, _) in enumerate(pairs):
        arguments, times = last.get(step.action, ("", 0))
        times = times + 1 if arguments == step.arguments else 1
        last[step.action] = (step.arguments, times)
        if times >= most:
            yield index


def three_in_ten(pairs: Pairs) -> Iterator[int]:
    """The same call and answer three times within ten steps."""
    recent: deque[tuple[str, str, str]] = deque(maxlen=10)
    for index, (step, end) in enumerate(pairs):
        recent.append((step.action, step.arguments, end.outcome))
        if Counter(recent)[recent[-1]] >= 3:
            yield index


RULES = {
    "**this detector**": ours,
    "OpenHands": openhands,
    "Gemini CLI": gemini,
    "OpenRouter, block": openrouter_blocks,
    "OpenRouter, stop": openrouter_stops,
    "same call and answer 3 in 10": three_in_ten,
}
