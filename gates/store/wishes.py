"""The outbox's rows: who has which in hand, and how that ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, or_, select, update
from sqlmodel import Session

from gates.store.repository import Unit
from gates.store.rows import table
from gates.store.tables import OutboxRow

outbox = table(OutboxRow)


@dataclass
class Wish:
    """One row in hand, until `lease_until`."""

    id: int
    kind: str
    request_id: str
    wanted: int
    tries: int
    lease_until: datetime


@dataclass(frozen=True)
class Ending:
    """`after`: seconds until it is tried again; None: done, or `dead`."""

    wish: Wish
    after: float | None
    error: str = ""
    dead: bool = False


def _free(kind: str, now: datetime):  # type: ignore[no-untyped-def]  # noqa: ANN202 - SQLAlchemy's own
    leased = or_(outbox.c.lease_until.is_(None), outbox.c.lease_until <= now)
    return (outbox.c.kind == kind) & (outbox.c.state == "pending") & leased


def next_due(session: Session, kind: str, now: datetime) -> datetime | None:
    """When the next row that nobody has in hand is due."""
    query = select(func.min(outbox.c.due_at)).where(_free(kind, now))
    return session.connection().execute(query).scalar()


def claim(session: Session, kind: str, now: datetime, lease: timedelta, most: int) -> list[Wish]:
    """Take up to `most` due rows in hand, the longest due first; never what another has."""
    until = now + lease
    due = (
        select(outbox.c.id)
        .where(_free(kind, now), outbox.c.due_at <= now)
        .order_by(outbox.c.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(outbox)
        .where(outbox.c.id.in_(due))
        .values(lease_until=until, tries=outbox.c.tries + 1)
        .returning(outbox.c.id, outbox.c.request_id, outbox.c.wanted, outbox.c.tries)
    )
    rows = session.connection().execute(taken).all()
    return [Wish(row.id, kind, row.request_id, row.wanted, row.tries, until) for row in rows]


def renew(session: Session, wishes: Iterable[Wish], now: datetime, lease: timedelta) -> None:
    """Whoever holds them is still at work."""
    for wish in wishes:
        held = (outbox.c.id == wish.id) & (outbox.c.lease_until == wish.lease_until)
        change = update(outbox).where(held).values(lease_until=now + lease)
        if session.connection().execute(change).rowcount:
            wish.lease_until = now + lease


def settle(session: Session, ending: Ending, now: datetime) -> None:
    """What was wished meanwhile is due at once. Who was so slow that another has taken over
    settles nothing: the row is the other's now.
    """
    wish = ending.wish
    same = outbox.c.wanted == wish.wanted
    state, due = "pending", now
    if ending.after is not None:
        due = now + timedelta(seconds=ending.after)
    else:
        state = "dead" if ending.dead else "done"
    change = (
        update(outbox)
        .where(outbox.c.id == wish.id, outbox.c.lease_until == wish.lease_until)
        .values(
            lease_until=None,
            last_error=ending.error,
            state=case((same, state), else_="pending"),
            due_at=case((same, due), else_=now),
        )
    )
    settled = session.connection().execute(change).rowcount
    if settled and ending.dead:
        Unit(session, now).log("outbox", "outbox.dead", wish.request_id, error=ending.error)
