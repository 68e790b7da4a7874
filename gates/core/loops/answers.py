"""What people write beside yes and no about a loop, as any form sends it: text. Pure."""

from __future__ import annotations

from gates.core.errors import InvalidInput
from gates.core.model import MOST_MORE, LoopAnswer, LoopLabel


def answered(more: str, label: str, *, freeze: bool) -> LoopAnswer | None:
    """None where nothing was written. Raises InvalidInput for what no field would let through."""
    more = more.strip()
    if not more and not label and not freeze:
        return None
    if more and not (more.isascii() and more.isdigit() and 0 < int(more[:9]) <= MOST_MORE):
        raise InvalidInput(f"more = {more[:40]!r}: write a whole number from 1 to {MOST_MORE}.")
    if label and label not in list(LoopLabel):
        known = ", ".join(LoopLabel)
        raise InvalidInput(f"label = {label[:40]!r}: choose one of {known}.")
    return LoopAnswer(
        more=int(more) if more else None,
        label=LoopLabel(label) if label else None,
        freeze=freeze,
    )
