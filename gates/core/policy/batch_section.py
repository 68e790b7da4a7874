"""The policy's section `batch`: how large one request over many like actions may be.

batch: {most_lines: 200, most_total: {EUR: 10000000}}   # minor units, by currency
"""

from __future__ import annotations

import yaml

from gates.core.batches import BatchLimits
from gates.core.currencies import CODES
from gates.core.model import Json
from gates.core.policy.places import Place
from gates.core.yaml_file import Fields

SCHEMA: Json = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "most_lines": {"type": "integer", "minimum": 1},
        "most_total": {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Z]{3}$"},
            "additionalProperties": {"type": "integer", "minimum": 1},
        },
    },
}


def read_batch(place: Place) -> BatchLimits:
    fields = place.fields("most_lines", "most_total")
    lines = fields.integer("most_lines", least=1) or BatchLimits().most_lines
    return BatchLimits(most_lines=lines, most_total=_totals(place, fields))


def _totals(place: Place, fields: Fields) -> dict[str, int]:
    node = fields.values.get("most_total")
    if node is None:
        return {}
    entries = node.value if isinstance(node, yaml.MappingNode) else []
    names = [key.value for key, _ in entries if isinstance(key, yaml.ScalarNode)]
    sums = Fields(place.file, node, "most_total", names)
    for name in names:
        if name not in CODES:
            place.note(node, f"unknown currency {name!r}: write an ISO 4217 code, such as EUR")
    return {name: sums.integer(name, least=1) or 1 for name in names}
