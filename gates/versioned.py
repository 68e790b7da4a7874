"""Versions of the rules, for people who ask by what a request was judged."""

from __future__ import annotations

from gates.core.errors import NotFound
from gates.service import Gates
from gates.store import versions
from gates.store.versions import Version

LEAST = 6  # characters of a digest


def newest(gates: Gates, limit: int) -> list[Version]:
    with gates.database.read() as session:
        return versions.newest(session, limit)


def find(gates: Gates, prefix: str) -> Version:
    """Raises NotFound."""
    with gates.database.read() as session:
        found = versions.find(session, prefix) if len(prefix) >= LEAST else []
    if len(found) != 1:
        why = "no policy" if not found else "more than one policy"
        raise NotFound(
            f"{prefix[:64]!r} names {why} that was seen here: give {LEAST} or more characters of "
            "its digest (`gates policy versions` shows them)."
        )
    return found[0]
