"""What could not be delivered: seen by admins, and tried again when they say so."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from gates.core.errors import NotFound
from gates.service import Gates
from gates.store import wishes
from gates.store.database import WISHED
from gates.store.repository import Unit
from gates.store.wishes import Trouble

LATE = timedelta(minutes=10)  # nothing of the house's own takes as long
MOST = 500


def troubles(gates: Gates) -> list[Trouble]:
    """Given up, failing or late; those that were given up first."""
    with gates.database.read() as session:
        return wishes.troubles(session, gates.clock() - LATE, MOST)


def retry(gates: Gates, ids: Collection[int] | None, by: str) -> list[Trouble]:
    """Try these again now, or all that were given up. Raises NotFound for what is delivered."""
    with gates.database.write() as session:
        unit = Unit(session, gates.clock())
        found = wishes.retry(session, ids, unit.now)
        missing = sorted(set(ids or ()) - {one.id for one in found})
        if missing:
            raise NotFound(f"Delivery {missing[0]} waits for nothing: see `gates outbox`.")
        for one in found:
            unit.log(by, "outbox.retried", one.request_id, delivery=one.kind, place=one.place)
        session.info.setdefault(WISHED, set()).update(one.kind for one in found)
    return found
