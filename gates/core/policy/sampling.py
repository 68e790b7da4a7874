"""How much of what ran is looked at afterwards: a rule's `sample`, and the section `sampling`.

    sampling: {routine: 0.02, ambiguous: 20%, high: 1}

Shares are kept as whole thousandths: a float in a record is not the same everywhere. A tier that
the section leaves out, or a policy without it, has a tenth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from gates.core.model import Json, Tier
from gates.core.policy.places import Place
from gates.core.yaml_file import Fields

ALL = 1_000
USUAL = 100
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)(%?)")
SCHEMA: Json = {
    "type": "object",
    "additionalProperties": False,
    "properties": {tier.value: {"$ref": "#/$defs/share"} for tier in Tier},
}


def read_sampling(place: Place) -> Mapping[Tier, int]:
    fields = place.fields(*(tier.value for tier in Tier))
    return {tier: share for tier in Tier if (share := read_share(fields, tier.value)) is not None}


def read_share(fields: Fields, key: str) -> int | None:
    """Of a thousand."""
    text = fields.text(key)
    if text is None:
        return None
    found = _SHARE.fullmatch(text)
    share = Fraction(found[1]) * (10 if found[2] else ALL) if found else Fraction(-1)
    if not 0 <= share <= ALL or share.denominator != 1:
        words = f"{key} {text!r} is no share in whole thousandths: write 0.1, 10% or 1 for all"
        fields.file.note(fields.values[key], words)
        return None
    return int(share)
