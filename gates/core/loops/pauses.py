"""Spans in which a run waited for people: no time of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

Span = tuple[datetime, datetime]


def paused(spans: Iterable[Span], start: datetime, end: datetime) -> timedelta:
    """How much of the time from `start` to `end` they cover, however they overlap."""
    found, covered = timedelta(), start
    for asked, answered in sorted(spans):
        began, over = max(asked, covered), min(answered, end)
        if over > began:
            found += over - began
            covered = over
    return found
