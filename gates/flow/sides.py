"""Which of several gates side by side the author's line is busy with: what it calls meanwhile
counts for itself, so that its keys do not depend on the order in which people decide.
"""

from __future__ import annotations

from contextvars import ContextVar

from gates.core.canonical import digest

_side: ContextVar[str] = ContextVar("gates_side", default="")


def current() -> str:
    """Empty in the flow's own line."""
    return _side.get()


def go(side: str) -> None:
    _side.set(side)


def named(outer: str, key: str) -> str:
    """What is called while the gate `key` is looked at."""
    return digest([outer, key])[:8]
