"""Rows of what people in command have ordered: freezes and holds.

Nothing is deleted: what is over has its end and who ended it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, select, text, update
from sqlmodel import Field, Session, col
from sqlmodel import select as pick

from gates.core.freezes import Freeze, Hold, InForce, Scope
from gates.store.rows import table
from gates.store.tables import Row, UtcDateTime


def _in_force(name: str) -> Index:
    standing = text("ended_at IS NULL")
    return Index(name, "at", postgresql_where=standing, sqlite_where=standing)


class FreezeRow(Row, table=True):
    """`by`: a person's id, or `key:NAME`; `ended_by`: who has thawed it; `for_good`: never."""

    __tablename__ = "freeze"
    __table_args__: Any = (_in_force("ix_freeze_in_force"),)
    id: str = Field(primary_key=True)
    agent: str
    action: str
    counterparty: str
    run: str
    everything: bool
    by: str
    name: str
    reason: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    for_good: bool
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_by: str = ""
    ended_reason: str = Field(default="", sa_type=Text)


class HoldRow(Row, table=True):
    """`ended_by`: the answer, as the names of those who gave it."""

    __tablename__ = "hold"
    __table_args__: Any = (_in_force("ix_hold_in_force"),)
    id: str = Field(primary_key=True)
    run: str
    by: str
    name: str
    reason: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_by: str = ""


freeze, hold = table(FreezeRow), table(HoldRow)
FREEZES = select(freeze).where(freeze.c.ended_at.is_(None)).order_by(freeze.c.at, freeze.c.id)
HOLDS = select(hold).where(hold.c.ended_at.is_(None)).order_by(hold.c.at, hold.c.id)


def in_force(session: Session) -> InForce:
    """All that stands, as the caller's transaction sees it; without its objects."""
    connection = session.connection()
    return InForce(
        freezes=tuple(_freeze(row) for row in connection.execute(FREEZES)),
        holds=tuple(_hold(row) for row in connection.execute(HOLDS)),
    )


def add_freeze(session: Session, made: Freeze) -> None:
    values = made.model_dump(exclude={"scope"}) | made.scope.model_dump()
    session.add(FreezeRow(**values))


def add_hold(session: Session, made: Hold) -> None:
    session.add(HoldRow(**made.model_dump()))


def standing(session: Session, freeze_id: str) -> Freeze | None:
    """A freeze that nobody has thawed, locked; None for any other."""
    query = pick(FreezeRow).where(FreezeRow.id == freeze_id, col(FreezeRow.ended_at).is_(None))
    row = session.exec(query.with_for_update()).first()
    return _freeze(row) if row is not None else None


def thaw(session: Session, found: Freeze, by: str, reason: str, now: datetime) -> list[str]:
    """Ends all that say the very same; their ids. Told to two servers at one moment a freeze stands
    twice: to make them wait for each other would let a stop wait.
    """
    words = found.scope.model_dump() | {"by": found.by, "reason": found.reason}
    same = [freeze.c[name] == value for name, value in words.items()]
    standing = (freeze.c.ended_at.is_(None), freeze.c.for_good.is_(False))
    ended = {"ended_at": now, "ended_by": by, "ended_reason": reason}
    change = update(freeze).where(*same, *standing).values(**ended)
    return sorted(session.connection().execute(change.returning(freeze.c.id)).scalars())


def release(session: Session, run: str, by: str, now: datetime) -> int:
    """The holds on a run are over; how many there were."""
    change = update(hold).where(hold.c.run == run, hold.c.ended_at.is_(None))
    return session.connection().execute(change.values(ended_at=now, ended_by=by)).rowcount


def _freeze(row: Any) -> Freeze:
    scope = Scope(**{name: getattr(row, name) for name in Scope.model_fields})
    names = [name for name in Freeze.model_fields if name != "scope"]
    return Freeze(scope=scope, **{name: getattr(row, name) for name in names})


def _hold(row: Any) -> Hold:
    return Hold(**{name: getattr(row, name) for name in Hold.model_fields})
