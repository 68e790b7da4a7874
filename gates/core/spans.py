"""A length of time in the words that policies use. Pure."""

from __future__ import annotations

from datetime import timedelta


def span(length: timedelta) -> str:
    """`2h`, `1d12h`, `90s`: to the second, and only the units that count."""
    seconds = max(int(length.total_seconds()), 0)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
