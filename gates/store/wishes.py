"""The outbox's rows: who has which in hand, and how that ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, exists, func, or_, select, update
from sqlmodel import Session

from gates.store.repository import Unit
from gates.store.rows import table
from gates.store.tables import NoticeRow, OutboxRow

outbox, notice = table(OutboxRow), table(NoticeRow)


@dataclass
class Wish:
    """One row in hand, until `lease_until`."""

    id: int
    kind: str
    request_id: str
    wanted: int
    tries: int
    lease_until: datetime
    place: str = ""


@dataclass(frozen=True)
class Ending:
    """`after`: seconds until it is tried again; None: done, or `dead`. `rest`: so long nothing
    goes to its place; with `first` it is what goes there first afterwards.
    """

    wish: Wish
    after: float | None
    error: str = ""
    dead: bool = False
    rest: float = 0.0
    first: bool = False


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
        .order_by(outbox.c.due_at, outbox.c.id)
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


def next_due_at_places(
    session: Session, kind: str, now: datetime, resting: Collection[str]
) -> datetime | None:
    """As `next_due`, of what goes to places where nothing is in hand and that do not rest."""
    query = select(func.min(outbox.c.due_at)).where(_open_places(kind, now, resting))
    return session.connection().execute(query).scalar()


def claim_at_places(
    session: Session,
    kind: str,
    now: datetime,
    lease: timedelta,
    most: int,
    resting: Collection[str],
) -> list[Wish]:
    """As `claim`, at most one for each place, so that what goes there goes in order: first what
    changes something that has been shown, then what waits longest.
    """
    until = now + lease
    turn = func.row_number().over(
        partition_by=outbox.c.place,
        order_by=((outbox.c.wanted == 1), outbox.c.due_at, outbox.c.id),
    )
    lines = (
        select(outbox.c.id, turn.label("turn"))
        .where(_open_places(kind, now, resting), outbox.c.due_at <= now)
        .subquery()
    )
    heads = select(lines.c.id).where(lines.c.turn == 1)
    due = (
        select(outbox.c.id)
        .where(_free(kind, now), outbox.c.id.in_(heads))
        .order_by(outbox.c.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(outbox)
        .where(outbox.c.id.in_(due))
        .values(lease_until=until, tries=outbox.c.tries + 1)
        .returning(
            outbox.c.id, outbox.c.request_id, outbox.c.wanted, outbox.c.tries, outbox.c.place
        )
    )
    rows = session.connection().execute(taken).all()
    return [
        Wish(row.id, kind, row.request_id, row.wanted, row.tries, until, row.place) for row in rows
    ]


def _open_places(kind: str, now: datetime, resting: Collection[str]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - SQLAlchemy's own
    busy = select(outbox.c.place).where(outbox.c.kind == kind, outbox.c.lease_until > now)
    return _free(kind, now) & outbox.c.place.not_in(resting) & outbox.c.place.not_in(busy)


def waiting_at(session: Session, kind: str, place: str, limit: int) -> list[str]:
    """Requests that are yet to be shown at a place, in their order."""
    shown = (notice.c.channel == kind) & (notice.c.place == place)
    query = (
        select(outbox.c.request_id)
        .where(outbox.c.kind == kind, outbox.c.place == place, outbox.c.state == "pending")
        .where(~exists().where(shown, notice.c.request_id == outbox.c.request_id))
        .order_by(outbox.c.due_at, outbox.c.id)
        .limit(limit)
    )
    return list(session.connection().execute(query).scalars())


@dataclass(frozen=True)
class Trouble:
    """A delivery that was given up (`dead`) or that is late."""

    id: int
    kind: str
    request_id: str
    place: str
    state: str
    due_at: datetime
    tries: int
    last_error: str


def troubles(session: Session, late: datetime, limit: int) -> list[Trouble]:
    """What was given up, and what was due before `late` and has failed; the oldest first. A
    doorbell that nobody answers is the run's trouble and not here.
    """
    overdue = (
        (outbox.c.state == "pending")
        & (outbox.c.kind != "ring")
        & (outbox.c.tries > 0)
        & ((outbox.c.due_at <= late) | (outbox.c.last_error != ""))
    )
    query = (
        select(*[outbox.c[name] for name in Trouble.__dataclass_fields__])
        .where((outbox.c.state == "dead") | overdue)
        .order_by(outbox.c.state, outbox.c.due_at, outbox.c.id)
        .limit(limit)
    )
    return [Trouble(*row) for row in session.connection().execute(query).all()]


def retry(session: Session, ids: Collection[int] | None, now: datetime) -> list[Trouble]:
    """Make these due at once, or all that were given up; what there was to do."""
    chosen = outbox.c.state == "dead" if ids is None else outbox.c.id.in_(ids)
    query = select(*[outbox.c[name] for name in Trouble.__dataclass_fields__])
    found = [
        Trouble(*row)
        for row in session.connection().execute(
            query.where(chosen, outbox.c.state != "done").with_for_update()
        )
    ]
    change = update(outbox).where(outbox.c.id.in_([one.id for one in found]))
    session.connection().execute(change.values(state="pending", tries=0, due_at=now))
    return found


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
    state: str = "pending"
    due: Any = now
    if ending.after is not None:
        due = now + timedelta(seconds=ending.after)
        if ending.first:
            due = outbox.c.due_at
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
