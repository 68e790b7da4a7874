"""Reads the `command:` section of a policy: see gates/core/policy/command.py."""

from __future__ import annotations

from gates.core.asked import Ask
from gates.core.model import Json
from gates.core.policy.command import EYES, KEYS, NEEDS, Command, admins_of
from gates.core.policy.places import Place
from gates.core.yaml_file import cure

SCHEMA: Json = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "who": {"$ref": "#/$defs/groups"},
        "ask": {"$ref": "#/$defs/ask"},
        "needs": {"type": "array", "items": {"enum": [*NEEDS]}},
    },
}


def read_command(place: Place) -> Command:
    asks, file = place.asks, place.file
    default: Ask = place.found["defaults"].ask
    who = admins_of(asks)
    fields = place.fields(*KEYS)
    if "who" in fields:
        who = tuple(group for group, where in fields.texts("who") if asks.is_group(group, where))
    needs = tuple(dict.fromkeys(text for text, _ in fields.texts("needs")))
    for text, where in fields.texts("needs"):
        if text not in NEEDS:
            file.note(where, f"unknown need {text!r}: {cure(text, NEEDS)}")
    ask = asks.read(fields, default.model_copy(update={"who": who or default.who}))
    if needs and ask is None:
        file.note(fields.values["needs"], "needs are named and nobody to ask: add an `ask`")
    if ask is not None and ask.quorum < EYES and {"policy", "directory"} & set(needs):
        file.note(
            fields.values["ask"],
            f"quorum {ask.quorum}: whoever has changed the files could agree to it alone: "
            f"write {EYES} or more",
        )
    return Command(who=who, ask=ask, needs=needs)
