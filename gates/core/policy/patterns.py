"""Action names with `*`, which stands for any text, dots included: `erp.*`, `*.submit`, `*`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

PATTERN = re.compile(r"[A-Za-z0-9_.*-]+")


def matches(patterns: Iterable[str], action: str) -> bool:
    return any(_regex(pattern).fullmatch(action) for pattern in patterns)


@lru_cache(maxsize=10_000)
def _regex(pattern: str) -> re.Pattern[str]:
    # "*" runs are collapsed: adjacent ".*" would make a match quadratic.
    parts = re.split(r"\*+", pattern)
    return re.compile(".*".join(re.escape(part) for part in parts), re.DOTALL)


def may_meet(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether some action could be named by both."""
    return any(_meet(a, b) for a in one for b in other)


@lru_cache(maxsize=10_000)
def _meet(one: str, other: str) -> bool:
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _meet(one[1:], other) or _meet(one, other[1:])
    if other[0] == "*":
        return _meet(other, one)
    return one[0] == other[0] and _meet(one[1:], other[1:])


def covers(wide: str, narrow: str) -> bool:
    """Whether each action that `narrow` names is named by `wide`, too. The star of `narrow` is held
    against `wide` as a sign that only a star takes.
    """
    return _regex(wide).fullmatch(narrow) is not None
