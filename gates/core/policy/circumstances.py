"""What a condition may name under `history`, `exposure`, `run`, `time` and `origin`.

The server fills these maps when a question is judged. What is misspelt would be missing each time,
and ask each time: so each key is known here, with its type, and looked at when a policy is loaded.
To let rules know one thing more, add it here and to the source that fills it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

Kind = Literal["bool", "int", "string", "list", "map", "dyn"]

HISTORY: Mapping[str, Kind] = {
    "first_use": "bool",  # this agent has never done this action
    "agent_count": "int",  # how often it has
    "rejected_count": "int",  # how often people have lately said no to it
    "duplicates": "int",  # the same arguments before
    "counterparty_known": "bool",
    "counterparty_count": "int",
    "counterparty_first_seen_days": "int",
    "last_seen_days": "int",
    "median_minor": "int",
    "max_minor": "int",
}
EXPOSURE: Mapping[str, Kind] = {  # of each window that the section `exposure` declares
    "minor": "int",
    "count": "int",
    "currency": "string",
    "currencies_mixed": "bool",
    "total": "string",
}
RUN: Mapping[str, Kind] = {  # what it has done so far (`loop` is reserved in CEL)
    "failures": "int",  # calls of this action that failed
    "same_failures": "int",  # of these, with the same arguments
    "same_writes": "int",  # this very call, done already
    "circling": "bool",
    "finding": "string",  # in words, empty where it does not go round
}
TIME: Mapping[str, Kind] = {
    "hour": "int",
    "weekday": "string",
    "date": "string",
    "zone": "string",
    "business_hours": "bool",
}
ORIGIN: Mapping[str, Kind] = {  # where values came from
    "request_known": "bool",  # whether there is a person's request to compare with
    "known": "list",  # destinations that it names
    "unseen": "list",  # those that it does not
    "in_facts": "list",  # of these, what the server has found out itself
}
KEYS: Mapping[str, Mapping[str, Kind]] = {
    "history": HISTORY,
    "run": RUN,
    "time": TIME,
    "origin": ORIGIN,
}
CIRCUMSTANCES = ("history", "exposure", "run", "time", "origin")


def typed(windows: Collection[str] | None) -> dict[str, Kind]:
    """Every name in full, with its type."""
    found: dict[str, Kind] = {
        f"{root}.{key}": kind for root, keys in KEYS.items() for key, kind in keys.items()
    }
    for window in windows or ():
        found |= {f"exposure.{window}.{key}": kind for key, kind in EXPOSURE.items()}
    return found


def unknown(path: tuple[str, ...], windows: Collection[str] | None) -> tuple[str, list[str]] | None:
    """What of a chain nobody fills, and what there is instead; None where nothing is wrong.
    `windows`: None where this server knows of no section that declares them.
    """
    root, steps = path[0], path[1:]
    if root not in CIRCUMSTANCES or not steps:
        return None
    if root != "exposure":
        known = KEYS[root]
        if steps[0] in known:
            return None
        return f"{root}.{steps[0]}", [f"{root}.{key}" for key in known]
    if windows is not None and steps[0] not in windows:
        return f"exposure.{steps[0]}", [f"exposure.{window}" for window in windows]
    if len(steps) > 1 and steps[1] not in EXPOSURE:
        window = f"exposure.{steps[0]}"
        return f"{window}.{steps[1]}", [f"{window}.{key}" for key in EXPOSURE]
    return None
