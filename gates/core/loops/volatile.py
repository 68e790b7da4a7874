"""What changes by itself in a message or an answer: ids, times, durations. Declared and learned.

Of a failure plain numbers are left out too: with equal arguments nothing else should differ. Of an
answer they are kept, since a queue that shrinks from 5 to 4 is news.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from gates.core.loops.numbers import number_of

LONGEST_MESSAGE = 4_000
LONGEST_KEPT = 1_000  # characters: longer answers are compared by what they say, not word by word
MOST_LEARNED = 32  # labels a run
TIMES_TO_LEARN = 2

# From the most to the least specific. A plain number is taken for an id, since with equal
# arguments nothing else should differ; codes of errors and decimals (money) keep their meaning.
_TIMES_AND_IDS = (
    re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"),
    re.compile(
        r"\b\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?(?:z|[+-]\d\d:?\d\d)?"
    ),
    re.compile(r"\b\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?\b"),
    re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|milliseconds?|s|secs?|seconds?|mins?|minutes?|hours?)\b"),
    re.compile(r"\b0x[0-9a-f]+\b"),
    re.compile(r"\b(?=[0-9a-f]{0,63}\d)[0-9a-f]{12,64}\b"),
    re.compile(r"\b[0-7][0-9a-hjkmnp-tv-z]{25}\b"),  # a ULID
    re.compile(  # not a plain number, which a count of something else could be
        r"\b(?:request|trace|correlation)[ _-]?id[\"':= ]{1,4}"
        r"(?=[\w-]{0,127}\d)(?=[\w-]{0,127}[a-z])[\w-]{6,128}"
    ),
)
# A status of three digits says what happened: kept, in letters that no number matches.
_STATUS = re.compile(
    r"(code|error|https?|status|returned|responded|answered)((?:/\d(?:\.\d)?)?[\s=:\"']{1,4})"
    r"([1-5]\d\d)(?![\w]|[.,]\d)"
)
_NUMBERS = (
    re.compile(
        r"(?<!code )(?<!code: )(?<!error )(?<!errno )(?<!http )(?<!status )(?<!status: )"
        r"(?<![\w.,])\d+(?![\w]|[.,]\d)"
    ),
    re.compile(r"#\w{1,64}"),
)
# A date alone is business (due on ...); with a time of day it is when somebody looked.
_IN_ANSWERS = (
    _TIMES_AND_IDS[0],
    re.compile(r"\b\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:z|[+-]\d\d:?\d\d)?"),
    re.compile(r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?\b"),
    re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|milliseconds?)\b"),
    re.compile(  # what it took; `30 minutes` are business, and `12.34s of 60.00s` is progress
        r"(?:\b(?:in|took|after|elapsed|real|user|sys)[:= ]{1,3}|[(\[])"
        r"(?:\d{1,4}m)?\d{1,9}\.\d{1,9} ?s(?:ec(?:ond)?s?)?\b"
    ),
    _TIMES_AND_IDS[4],
    re.compile(r"\b(?=[0-9a-f]{0,63}\d)(?=[0-9a-f]{0,63}[a-f])[0-9a-f]{12,64}\b"),
    # Seconds since 1970, with a fraction, or thousandths and so on.
    re.compile(r"\b1\d{9}(?:\d{3}){0,3}(?:\.\d{1,9})?\b"),
    _TIMES_AND_IDS[7],
)
_TOKEN = re.compile(r"[\w.:/+-]+")
_OPAQUE = re.compile(r"(?=\w*\d)(?=\w*[a-z])[\w-]{6,128}")


def failure_signature(error_class: str, error: str) -> str:
    """SHA-256 over the class and the message without ids, times and durations, in hex."""
    text = _STATUS.sub(r"\1\2_\3", wording(error))
    for pattern in _NUMBERS:
        text = pattern.sub("~", text)
    return hashlib.sha256(f"{error_class}\n{text}".encode(errors="backslashreplace")).hexdigest()


def wording(error: str) -> str:
    """What an error says, its numbers included, without ids, times and durations: a count of failed
    tests that falls says something else each time.
    """
    text = _plain(error[:LONGEST_MESSAGE])
    for pattern in _TIMES_AND_IDS:
        text = pattern.sub("~", text)
    return text


def steady(text: str) -> str:
    """An answer without ids, times of day and what it took; durations of whole seconds stay."""
    text = _plain(text)
    for pattern in _IN_ANSWERS:
        text = pattern.sub("~", text)
    return text


def without(text: str, fields: Sequence[str]) -> str:
    """JSON without what stands in these fields, at whatever depth, where that is no object."""
    if not fields:
        return text
    return _field(tuple(fields)).sub(r"\1~", text)


@lru_cache(maxsize=64)
def _field(names: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(re.escape(name) for name in names)
    return re.compile(rf'("(?:{either})": ?)(?:"(?:[^"\\]|\\.)*"|[^\s,{{}}\[\]"]+)')


class Labels:
    """What a run has learned: after which words this action's answers carry a fresh opaque id.

    A label is learned from pairs of answers to the same call that differ in nothing else, when the
    pair differs there the second time. Only opaque tokens (letters and digits mixed) are taken for
    ids: a plain number that moves is an answer that changes.
    """

    def __init__(self, seen: dict[int, int] | None = None) -> None:
        self.seen = dict(seen or {})

    def alike(self, action: str, old: str, new: str) -> bool:
        """Whether two answers to the same call say the same."""
        first, second = steady(old), steady(new)
        if first == second:
            return True
        labels = _opaque_differences(first, second)
        if not labels:
            return False
        names = [number_of(f"{action}\n{label}") for label in labels]
        for name in names:
            if name in self.seen or len(self.seen) < MOST_LEARNED:
                self.seen[name] = min(self.seen.get(name, 0) + 1, TIMES_TO_LEARN)
        return all(self.seen.get(name, 0) >= TIMES_TO_LEARN for name in names)


def _opaque_differences(first: str, second: str) -> list[str]:
    """The words before each token that differs, if all that differs are opaque tokens."""
    if _TOKEN.sub("", first) != _TOKEN.sub("", second):
        return []
    old, new = _TOKEN.findall(first), _TOKEN.findall(second)
    if len(old) != len(new):
        return []
    found = []
    for index, (one, other) in enumerate(zip(old, new, strict=True)):
        if one == other:
            continue
        if not (_OPAQUE.fullmatch(one) and _OPAQUE.fullmatch(other)):
            return []
        found.append(old[index - 1] if index else "")
    return found


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
