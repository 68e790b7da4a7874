"""What the detector is fed with: a step before it runs, and how it ended.

Named tuples, not Values: one is made a call, on the hot path of every agent, and they cost a tenth.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from gates.core.errors import NotCanonical

LONGEST_SHOWN = 120  # characters of arguments and answers that the evidence shows
_DUMP = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


class Step(NamedTuple):
    """One call of an agent.

    `arguments`: their digest. `writes`: the action is declared to change the world when it
    succeeds. `round`: names calls that were made side by side. `attempt_id`: a step told twice
    (a replay after a resume, a repeated report) counts once. `turn`: how often the person or
    system that the agent serves has said something.
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
    turn: int = 0


class End(NamedTuple):
    """How a step ended.

    `outcome`: the digest of all that came back. `text`: what came back, or the error, for
    comparing without ids and times. `changed`: whether the world is known to have changed; None
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


def digest_of(value: Any) -> str:
    """SHA-256 over sorted JSON, in hex: of arguments, and of outcomes that may hold floats.

    Raises NotCanonical for what cannot be written as JSON.
    """
    try:
        return hashlib.sha256(orjson.dumps(value, option=_DUMP)).hexdigest()
    except (TypeError, orjson.JSONEncodeError) as error:
        raise NotCanonical(f"These arguments cannot be written as JSON: {error}.") from error


def shown(value: Any) -> str:
    """Arguments as people read them, cut."""
    try:
        text = orjson.dumps(value, option=_DUMP).decode()
    except (TypeError, orjson.JSONEncodeError):
        text = repr(value)
    return short(text)


def short(text: str) -> str:
    """The beginning, on one line."""
    line = " ".join(text[: 2 * LONGEST_SHOWN].split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN - 1]}…"
