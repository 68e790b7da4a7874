"""What the detector is fed with: a step before it runs, and how it ended.

Named tuples, not Values: one is made a call, on the hot path of every agent, and they cost a tenth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import orjson

from gates.core.errors import NotCanonical

LONGEST_SHOWN = 120  # characters of arguments and answers that the evidence shows
# Arguments that are a program: the same text can do something else each time, so that a success
# with the same arguments is not the same write.
PROGRAMS = frozenset(
    {"cmd", "command", "commands", "code", "script", "keystrokes", "browser_actions"}
)
_DUMP = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


class Step(NamedTuple):
    """One call of an agent.

    `arguments`: their digest. `writes`: the action is declared to change the world when it
    succeeds. `round`: names calls that were made side by side. `attempt_id`: a step told twice
    (a replay after a resume, a repeated report) counts once. `paused`: seconds since the last step
    in which the run waited for people.
    """

    action: str
    arguments: str
    shown: str = ""
    writes: bool = False
    at: datetime | None = None
    business_key: str = ""
    agent: str = ""
    round: str = ""
    attempt_id: str = ""
    paused: float = 0.0

    @classmethod
    def of(cls, action: str, arguments: Any, **more: Any) -> Step:
        """From the arguments themselves. Raises NotCanonical for what is no JSON."""
        digest, beginning = digest_and_beginning(arguments)
        return cls(action, digest, beginning, **more)


class End(NamedTuple):
    """How a step ended.

    `outcome`: the digest of all that came back. `text`: what came back, or the error, for
    comparing without ids and times; a beginning alone, where it is not `whole`, says too little to
    compare, and the digest counts. `changed`: whether the world is known to have changed; None
    where only the action's declaration tells. `vetoed`: a gate or this detector refused the call.
    """

    outcome: str
    text: str = ""
    failed: bool = False
    error_class: str = ""
    changed: bool | None = None
    vetoed: bool = False
    cost: int = 0
    tokens: int = 0
    whole: bool = True


def digest_of(value: Any) -> str:
    """SHA-256 over sorted JSON, in hex: of arguments, and of outcomes that may hold floats.

    Raises NotCanonical for what cannot be written as JSON.
    """
    return hashlib.sha256(written(value)).hexdigest()


def digest_and_beginning(value: Any) -> tuple[str, str]:
    """The digest, and as much of the same JSON as people are shown."""
    whole = written(value)
    beginning = whole[: LONGEST_SHOWN + 1].decode("utf-8", "replace")
    return hashlib.sha256(whole).hexdigest(), short(beginning)


def written(value: Any) -> bytes:
    """As sorted JSON, on one line. Raises NotCanonical."""
    try:
        return orjson.dumps(value, option=_DUMP)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise NotCanonical(f"This cannot be written as JSON: {error}.") from error


def named(action: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in patterns)


def once(arguments: Any) -> bool:
    """Whether a success with these arguments is the same write when it comes again."""
    return not isinstance(arguments, dict) or PROGRAMS.isdisjoint(arguments)


def short(text: str) -> str:
    """The beginning, on one line; less of it where a character takes four bytes."""
    if text.isascii():
        if len(text) <= LONGEST_SHOWN and text.isprintable():
            return text
        most = LONGEST_SHOWN
    else:
        most = LONGEST_SHOWN // 4
    line = text[: 2 * LONGEST_SHOWN]
    if not line.isprintable():
        line = " ".join(line.encode("utf-8", "replace").decode().split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
