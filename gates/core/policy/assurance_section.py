"""The policy's section `assurance`: how surely it must be known who approves, by tier."""

from __future__ import annotations

from collections.abc import Mapping

from gates.core.asked import Assurance
from gates.core.model import Json, Tier
from gates.core.policy.assurances import WORDS, assurance
from gates.core.policy.places import Place

SCHEMA: Json = {
    "type": "object",
    "additionalProperties": False,
    "properties": {tier.value: {"enum": [*WORDS]} for tier in Tier},
}


def read_assurance(place: Place) -> Mapping[Tier, Assurance]:
    """The least for each tier: `assurance: {high: inbox_session, expert: step_up}`."""
    fields = place.fields(*(tier.value for tier in Tier))
    found = {Tier(name): assurance(fields, name) for name in fields.values}
    return {tier: one for tier, one in found.items() if one is not None}
