"""The `levels` of a policy's `loops`: who is asked about a loop that came back after guidance.

    loops:
      ask: {who: [ap]}                                     # level 1
      levels:
        - ask: {who: [controllers]}                        # level 2; one more try at a time
        - {ask: {who: [admins], quorum: 2}, allow_more: 0} # level 3 and all above: no more tries

What an `ask` leaves out is as on the level below. Each level must be another one: other people, or
more of them.
"""

from __future__ import annotations

from gates.core.asked import Ask
from gates.core.model import MOST_MORE, Json
from gates.core.policy.judging import LoopLevel
from gates.core.policy.places import Place
from gates.core.yaml_file import Fields

KEYS = ("ask", "allow_more")
SCHEMA: Json = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["ask"],
        "properties": {
            "ask": {"$ref": "#/$defs/ask"},
            "allow_more": {"type": "integer", "minimum": 0, "maximum": MOST_MORE},
        },
    },
}


def read_levels(place: Place, fields: Fields, first: Ask) -> tuple[LoopLevel, ...]:
    """`first`: whom level 1 asks."""
    levels, below = list[LoopLevel](), first
    for node in fields.items("levels"):
        level = Fields(place.file, node, "a level", KEYS)
        level.require("ask")
        ask = place.asks.read(level, below)
        more = level.integer("allow_more", least=0, most=MOST_MORE)
        if ask is None:
            continue
        if set(ask.who) <= set(below.who) and ask.quorum <= below.quorum:
            place.note(
                level.values["ask"],
                f"level {len(levels) + 2} asks {', '.join(ask.who)}, whom the level below asks: "
                "name others, or a larger quorum",
            )
        levels.append(LoopLevel(ask=ask, allow_more=1 if more is None else more))
        below = ask
    return tuple(levels)
