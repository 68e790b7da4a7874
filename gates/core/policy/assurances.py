"""How surely it must be known who approves, as a policy file says it."""

from __future__ import annotations

from gates.core.asked import Assurance
from gates.core.yaml_file import Fields, cure

WORDS = {one.value: one for one in Assurance if one is not Assurance.ANY}


def assurance(fields: Fields, key: str = "assurance") -> Assurance | None:
    """The one that stands under `key`, or None."""
    text = fields.text(key)
    if text is None:
        return None
    if text not in WORDS:
        fields.file.note(fields.values[key], f"unknown assurance {text!r}: {cure(text, WORDS)}")
    return WORDS.get(text)
