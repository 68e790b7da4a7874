"""A loop's evidence in words, the same in the inbox, in Slack and on a terminal. Pure.

What an agent reports of a call's price comes as claims beside the proposal (`cost_minor`,
`tokens`): nobody checks it, so it is told as the agent's word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from math import ceil, isfinite
from typing import NamedTuple

from pydantic import JsonValue

from gates.core.loops.pauses import Span, paused
from gates.core.model import Json

HALF_DONE = "half_done"
MOST_REPORTED = 10**12
NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
MINUTE, HOUR = 60, 3_600


def reported(claims: Json, name: str) -> int:
    """What the agent says of a call's price, a part of a unit as a whole one; also as the text of a
    number. What is none counts for nothing.
    """
    said = claims.get(name)
    if isinstance(said, str) and NUMBER.fullmatch(said.strip()):
        said = float(said)
    if isinstance(said, float):
        said = ceil(said) if isfinite(said) else 0
    return min(max(whole(said), 0), MOST_REPORTED)


def spent(times: Sequence[datetime], cost: int, tokens: int) -> Json:
    """As evidence. `times`: of the attempts."""
    return priced(int((max(times) - min(times)).total_seconds()) if times else 0, cost, tokens)


def priced(seconds: int, cost: int, tokens: int) -> Json:
    """As evidence, without what is nothing."""
    found = {"seconds": seconds, "cost_minor": cost, "tokens": tokens}
    return {"spent": {name: number for name, number in found.items() if number}}


def without_pauses(evidence: Json, pauses: Sequence[Span]) -> Json:
    """The evidence with the time that the attempts took, less that in which people were asked."""
    spent, times = evidence.get("spent"), [one.at for one in tried(evidence) if one.at]
    if not times or not isinstance(spent, dict):
        return evidence
    first, last = times[0], times[-1]
    seconds = int((last - first - paused(pauses, first, last)).total_seconds())
    others = {name: one for name, one in spent.items() if name != "seconds"}
    return evidence | {"spent": others | ({"seconds": seconds} if seconds > 0 else {})}


class Told(NamedTuple):
    """One attempt of the evidence. `at`: None where that is no moment; `call`: what was called,
    where that is not the same in all.
    """

    number: str
    at: datetime | None
    call: str
    error: str


def tried(evidence: Json) -> list[Told]:
    """The attempts, oldest first."""
    attempts = evidence.get("attempts")
    found = []
    for one in attempts if isinstance(attempts, list) else ():
        if not isinstance(one, dict):
            continue
        arguments = one.get("arguments")
        call = arguments.get("call") if isinstance(arguments, dict) else ""
        number, error = str(one.get("number") or ""), str(one.get("error") or "")
        found.append(Told(number, _moment(one.get("at")), str(call or ""), error))
    return found


def _moment(written: JsonValue) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(written))
    except ValueError:
        return None
    return at if at.tzinfo else None


def rows(evidence: Json) -> list[tuple[str, str]]:
    """Names and texts: what goes round, what it has cost, what stands half done."""
    found = []
    if isinstance(cycle := evidence.get("cycle"), str) and cycle:
        found.append(("Goes round", cycle))
    if words := _cost(evidence.get("spent")):
        found.append(("Has cost", words))
    left = evidence.get(HALF_DONE)
    found += [("Half done", str(one)) for one in left] if isinstance(left, list) else []
    return found


def _cost(told: JsonValue) -> str:
    if not isinstance(told, dict):
        return ""
    seconds, cost, tokens = (whole(told.get(one)) for one in ("seconds", "cost_minor", "tokens"))
    parts = [_time(seconds)] if seconds else []
    agent = prices(cost, tokens)
    parts += [f"{' and '.join(agent)} by the agent's own count"] if agent else []
    return ", ".join(parts)


def times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def prices(cost: int, tokens: int) -> list[str]:
    """Money and tokens in words, without what is nothing."""
    found = [f"{cost / 100:,.2f} in money"] if cost else []
    return [*found, f"{tokens:,} tokens"] if tokens else found


def whole(value: object) -> int:
    """A number of somebody's evidence; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _time(seconds: int) -> str:
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    hours, rest = divmod(seconds, HOUR)
    return f"{hours:,} h {rest // MINUTE} min"
