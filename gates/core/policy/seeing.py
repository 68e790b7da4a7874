"""The values that a condition saw: for reports, not for judging."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import JsonValue

from gates.core.model import Money
from gates.core.policy.conditions import OPEN_NAMES, Question, bindings
from gates.core.yaml_file import short

MISSING = "(missing)"


def seen(chains: Iterable[str], question: Question, base: Money | None) -> dict[str, JsonValue]:
    """The names of a condition that stand for something, each with its value."""
    values = bindings(question, base)
    found: dict[str, JsonValue] = {}
    for chain in chains:
        root = next((name for name in (*values, *OPEN_NAMES) if _below(chain, name)), None)
        if root is None:
            if chain in ("amount.minor", "amount.currency", "amount.base"):
                found[chain] = MISSING
            continue
        found[chain] = _value(values.get(root), chain.removeprefix(root).split(".")[1:])
    return found


def _below(chain: str, root: str) -> bool:
    return chain == root or chain.startswith(f"{root}.")


def _value(root: Any, steps: list[str]) -> JsonValue:
    for step in steps:
        if not isinstance(root, dict) or step not in root:
            return MISSING
        root = root[step]
    value: JsonValue = root
    return value


def shown(value: JsonValue) -> str:
    if value == MISSING:
        return MISSING
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return short(repr(value))
