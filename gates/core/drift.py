"""What has changed in the real system between the question and the deed, in words. The server
compares at the claim, the executor right before it acts.
"""

from __future__ import annotations

from collections.abc import Sequence

from gates.core.model import Json

UNREADABLE = "unreadable"  # stands in for a state that could not be read; equals nothing later


def differences(before: Json, after: Json) -> Sequence[str]:
    """What changed between two precondition states, in words, field by field."""
    if UNREADABLE in after:
        return [f"the state could not be read again: {after[UNREADABLE]}"]
    if UNREADABLE in before:
        return ["the state that people were shown had not been readable; it is now"]
    return list(walk("", before, after))


def walk(path: str, before: object, after: object) -> list[str]:
    """Each difference below `path`."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted(before.keys() | after.keys()):
            found += walk(f"{path}.{key}".lstrip("."), before.get(key), after.get(key))
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = []
        for index, (left, right) in enumerate(zip(before, after, strict=True)):
            found += walk(f"{path}[{index}]", left, right)
        return found
    return [] if before == after else [f"{path}: {cut(before)} -> {cut(after)}"]


def cut(value: object, limit: int = 80) -> str:
    """A value for a sentence: short."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
