"""The same intent in other words: for agents that are given instructions in prose.

Where calls have no arguments to compare, two steps are alike by the words that they share: the
cosine of word counts, of what was asked for and of what came back, and the mean of the two. No
model and no download. Words cannot tell a circle from patient work on one question, so this is a
hint for a card or a re-plan, never what stops a call.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from math import sqrt
from typing import NamedTuple

_WORD = re.compile(r"\w+")
LONGEST_READ = 2_000  # characters
MOST_WORDS = 200


class Liking(NamedTuple):
    """How alike two steps must be, and how many of the last ones must be, the sixth ago at most."""

    least: float = 0.5
    times: int = 2
    within: int = 6


class Likeness:
    """Fed with one step after another; bounded by the words of `within` steps."""

    def __init__(self, liking: Liking | None = None) -> None:
        self.liking = liking or Liking()
        self._last: deque[tuple[Counter[str], Counter[str]]] = deque(maxlen=self.liking.within)

    def after(self, asked: str, answered: str) -> int:
        """How many of the last steps this one is like, if enough of them; else 0."""
        now = (_words(asked), _words(answered))
        alike = sum(
            (_cosine(now[0], asked_then) + _cosine(now[1], answered_then)) / 2 >= self.liking.least
            for asked_then, answered_then in self._last
        )
        self._last.append(now)
        return alike if alike >= self.liking.times else 0


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text[:LONGEST_READ].casefold())[:MOST_WORDS])


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    if not one or not other:
        return 0.0
    shared = sum(count * other[word] for word, count in one.items() if word in other)
    lengths = sum(n * n for n in one.values()) * sum(n * n for n in other.values())
    return shared / sqrt(lengths)
