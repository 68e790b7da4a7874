"""The policy's section `judges`: who is heard beside the rules, on which actions.

    judges:
      statistics: {on: [erp.payment.*], factor: 5}
      llm: {on: [erp.payment.*], timeout: 3s}

Names are those of the judges that the server has; one that it does not have has said `unknown`
each time it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from gates.core.model import Json
from gates.core.policy.asks import Asks
from gates.core.policy.patterns import PATTERN, matches
from gates.core.policy.places import Place
from gates.core.value import Value
from gates.core.yaml_file import Fields, YamlFile

LONGEST_TIMEOUT = 30  # seconds that an agent waits for its answer
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")


SCHEMA: Json = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-z][a-z0-9_-]{0,49}$"},
    "additionalProperties": {
        "type": "object",
        "required": ["on"],
        "additionalProperties": False,
        "properties": {
            "on": {
                "anyOf": [
                    {"$ref": "#/$defs/pattern"},
                    {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/pattern"}},
                ]
            },
            "timeout": {"$ref": "#/$defs/duration"},
            "factor": {"type": "integer", "minimum": 2},
        },
    },
}


class JudgeRule(Value):
    """`factor`: how far beyond the usual an amount may be, for a judge that knows what is usual."""

    name: str
    on: tuple[str, ...]
    timeout: int = 5
    factor: int = 5


def heard_on(judges: Mapping[str, JudgeRule], action: str) -> list[JudgeRule]:
    return [judge for judge in judges.values() if matches(judge.on, action)]


def read_judges(place: Place) -> Mapping[str, JudgeRule]:
    read = {name: _judge(place.file, place.asks, name, node) for name, node in place.each()}
    return {name: judge for name, judge in read.items() if judge is not None}


def _judge(file: YamlFile, asks: Asks, name: str, node: yaml.Node) -> JudgeRule | None:
    fields = Fields(file, node, "a judge", ("on", "timeout", "factor"))
    fields.require("on")
    if not _NAME.fullmatch(name):
        file.note(node, f"a judge cannot be named {name!r}: write a-z, 0-9, - and _")
    patterns = fields.texts("on")
    for text, where in patterns:
        if not PATTERN.fullmatch(text):
            file.note(where, f"on {text!r} names no action: write erp.payment.*")
    timeout = asks.duration(fields, "timeout")
    if timeout is not None and timeout > LONGEST_TIMEOUT:
        where = fields.values["timeout"]
        file.note(where, f"timeout is more than {LONGEST_TIMEOUT}s: the agent waits meanwhile")
    factor = fields.integer("factor", least=2)
    if not patterns:
        return None
    return JudgeRule(
        name=name,
        on=tuple(text for text, _ in patterns),
        timeout=timeout or JudgeRule.model_fields["timeout"].default,
        factor=factor or JudgeRule.model_fields["factor"].default,
    )
