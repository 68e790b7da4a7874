"""How surely it must be known who approves, as a policy file says it."""

from __future__ import annotations

from gates.core.model import Assurance, Tier
from gates.core.yaml_file import Fields, YamlFile, cure

WORDS = {one.value: one for one in Assurance if one is not Assurance.ANY}


def read_assurance(file: YamlFile, top: Fields) -> dict[Tier, Assurance]:
    """The least for each tier: `assurance: {high: inbox_session, expert: step_up}`."""
    node = top.values.get("assurance")
    if node is None:
        return {}
    fields = Fields(file, node, "assurance", [tier.value for tier in Tier])
    found = {Tier(name): assurance(fields, name) for name in fields.values}
    return {tier: one for tier, one in found.items() if one is not None}


def assurance(fields: Fields, key: str = "assurance") -> Assurance | None:
    """The one that stands under `key`, or None."""
    text = fields.text(key)
    if text is None:
        return None
    if text not in WORDS:
        fields.file.note(fields.values[key], f"unknown assurance {text!r}: {cure(text, WORDS)}")
    return WORDS.get(text)
