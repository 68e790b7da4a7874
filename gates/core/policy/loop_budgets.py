"""The `over_runs` of a policy's `loops`: what an agent, or a subject, may use in all runs together.

    loops:
      over_runs:
        agent: {attempts: 500, cost: 2000, tokens: 5000000, per: 24h} # each, in any 24 hours
        business_key: {attempts: 30, per: 7d}                         # each subject

Without `per` all counts that is kept.
"""

from __future__ import annotations

import yaml

from gates.core.loops.over_runs import LONGEST, MOST_ATTEMPTS, SHORTEST, OverRuns, WindowBudget
from gates.core.model import Json
from gates.core.policy.places import Place
from gates.core.yaml_file import Fields, shown

SCOPES = ("agent", "business_key")
PARTS = ("attempts", "cost", "tokens")
_COUNT: Json = {"type": "integer", "minimum": 1}
_BUDGET: Json = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": [part]} for part in PARTS],
    "properties": {
        "attempts": _COUNT | {"maximum": MOST_ATTEMPTS},
        "cost": _COUNT,
        "tokens": _COUNT,
        "per": {"$ref": "#/$defs/duration"},
    },
}
SCHEMA: Json = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": dict.fromkeys(SCOPES, _BUDGET),
}


def read_over_runs(place: Place, fields: Fields) -> OverRuns | None:
    node = fields.values.get("over_runs")
    if node is None:
        return None
    named = Fields(place.file, node, "over_runs", SCOPES)
    if isinstance(node, yaml.MappingNode) and not node.value:
        place.note(node, "over_runs is empty: write agent or business_key")
    budgets = {key: _read(place, key, value) for key, value in named.values.items()}
    return OverRuns(**budgets)


def _read(place: Place, key: str, node: yaml.Node) -> WindowBudget:
    fields = Fields(place.file, node, f"over_runs.{key}", (*PARTS, "per"))
    if isinstance(node, yaml.MappingNode) and not any(part in fields for part in PARTS):
        place.note(node, f"over_runs.{key} counts nothing: add attempts, cost or tokens")
    return WindowBudget(
        attempts=fields.integer("attempts", least=1, most=MOST_ATTEMPTS),
        cost=fields.integer("cost", least=1),
        tokens=fields.integer("tokens", least=1),
        per=_window(place, fields),
    )


def _window(place: Place, fields: Fields) -> int | None:
    seconds = place.asks.duration(fields, "per")
    if seconds is None or SHORTEST <= seconds <= LONGEST:
        return seconds
    node = fields.values["per"]
    place.note(node, f"per {shown(node)} is not between 1m and 90d: choose another")
    return None
