"""The policy's section `exposure`: the windows over which actions add up.

    exposure:
      supplier_week: {on: [erp.payment.*], by: [counterparty], window: 7d}
      agent_day: {by: [agent], window: 24h}

A rule reads `exposure.supplier_week.minor` and `.count`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gates.core.model import Json
from gates.core.policy.patterns import PATTERN
from gates.core.policy.places import Place
from gates.core.policy.windows import KEYS, Window
from gates.core.yaml_file import Fields, cure

SCHEMA: Json = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,49}$"},
    "additionalProperties": {
        "type": "object",
        "required": ["by", "window"],
        "additionalProperties": False,
        "properties": {
            "on": {
                "anyOf": [
                    {"$ref": "#/$defs/pattern"},
                    {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/pattern"}},
                ]
            },
            "by": {
                "anyOf": [
                    {"enum": [*KEYS]},
                    {"type": "array", "minItems": 1, "items": {"enum": [*KEYS]}},
                ]
            },
            "window": {"$ref": "#/$defs/duration"},
        },
    },
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


def read_windows(place: Place) -> Mapping[str, Window]:
    found = {}
    for name, node in place.each():
        fields = Fields(place.file, node, "a window", ("on", "by", "window"))
        fields.require("by", "window")
        if not _NAME.fullmatch(name):
            place.note(node, f"a window cannot be named {name!r}: write a-z, 0-9 and _")
        for text, where in fields.texts("by"):
            if text not in KEYS:
                place.note(where, f"unknown by {text!r}: {cure(text, KEYS)}")
        for text, where in fields.texts("on"):
            if not PATTERN.fullmatch(text):
                place.note(where, f"on {text!r} names no action: write erp.payment.*")
        by = tuple(key for key in KEYS if key in [text for text, _ in fields.texts("by")])
        on = tuple(text for text, _ in fields.texts("on")) or ("*",)
        seconds = place.asks.duration(fields, "window") or 1
        found[name] = Window(name=name, by=by, seconds=seconds, on=on)
    return found
