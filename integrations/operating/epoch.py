"""A restored store is behind the world. This writes down where, before anybody may use it.

One transaction: what could run is in doubt, versions and revisions jump, so that no page, card
or process from before passes for a fresh one, sessions and links end, cards and bells are due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import aliased
from sqlmodel import col, or_, select

from gates.core.execution import queue
from gates.core.model import ExecutionState
from gates.core.restored import JUMP, closed, doubted
from gates.service import CARDS, RING, TELL
from gates.store import standing
from gates.store.aggregate import Aggregate
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import (
    ExecutionRow,
    KeyRow,
    LoginLinkRow,
    OutboxRow,
    RequestRow,
    RunRow,
    SessionRow,
)


@dataclass(frozen=True)
class Epoch:
    """Which backup, by whom, when. `by` is who typed the command, and is believed."""

    made_at: datetime
    sha256: str
    by: str
    now: datetime


@dataclass(frozen=True)
class Mark:
    """What was marked. `in_doubt`: approvals to be looked into; `reopened`: open questions, whose
    decisions since the backup are lost; `keys`: id and holder of each that opens doors now;
    `revoked`: those that were ended in the store that was replaced, and are again.
    """

    in_doubt: int
    reopened: int
    sessions: int
    links: int
    revoked: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]


def ended_keys(database: Database) -> dict[str, datetime]:
    """Keys that were revoked, with when; nothing where the store cannot be read any more."""
    try:
        with database.read() as session:
            rows = session.exec(select(KeyRow.id, KeyRow.revoked_at)).all()
    except SQLAlchemyError:
        return {}
    return {key: at for key, at in rows if at is not None}


def mark(database: Database, epoch: Epoch, revoked: Mapping[str, datetime]) -> Mark:
    """All of it, or nothing."""
    with database.write() as session:
        unit = Unit(session, epoch.now)
        in_doubt = [_unfinished(unit, unit.load(one)) for one in _latest(unit, "approved")]
        reopened = list(_latest(unit, None))
        for request_id in reopened:
            _jump(unit.row(request_id, lock=True))
            unit.wish(request_id, CARDS, TELL)
        _number_pauses_anew(unit)
        _ring_all(unit)
        ended = standing.end_all(session, "the restore", unit.now)
        done = Mark(
            in_doubt=sum(in_doubt),
            reopened=len(reopened),
            sessions=_ended(unit, SessionRow, "ended_at"),
            links=_ended(unit, LoginLinkRow, "used_at"),
            revoked=tuple(_revoke(unit, revoked)),
            keys=tuple(_keys(unit)),
        )
        unit.log(
            epoch.by,
            "store.restored",
            "store",
            backup=epoch.made_at.isoformat(),
            sha256=epoch.sha256,
            in_doubt=done.in_doubt,
            reopened=done.reopened,
            revoked=list(done.revoked),
            standing=ended,
        )
        return done


def _latest(unit: Unit, outcome: str | None) -> Iterable[str]:
    """Requests with this outcome that are the last round of their gate and not done."""
    later = aliased(RequestRow)
    done = (ExecutionRow.request_id == RequestRow.id) & (ExecutionRow.state == "succeeded")
    query = select(RequestRow.id).where(
        col(RequestRow.outcome).is_(None) if outcome is None else RequestRow.outcome == outcome,
        ~select(ExecutionRow.request_id).where(done).exists(),
        ~select(later.id)
        .where(later.gate_id == RequestRow.gate_id, later.round > RequestRow.round)
        .exists(),
    )
    return unit.session.exec(query).all()


def _unfinished(unit: Unit, current: Aggregate) -> bool:
    """An approval. What an executor runs is in doubt from now on; a failure, and what a flow runs
    by itself, as soon as it is claimed again (a question is only answered, it has no effect).
    """
    _jump(current.row)
    execution = current.execution or queue(current.request)
    failed = execution.state is ExecutionState.FAILED
    begun = current.execution is not None and not failed
    doubts = not failed and (begun or not current.request.in_process)
    if execution.last is not None and execution.last.ended_at is None:
        unit.save(current, closed(execution, unit.now))
        unit.flush()  # one open attempt at a time
        execution = current.execution or execution
    if doubts:
        in_process, current.row.restored = current.request.in_process, False
        unit.save(current, doubted(execution, unit.now, in_process=in_process))
    if current.row.asks_people:
        unit.wish(current.request.id, CARDS, TELL, RING)
    return doubts


def _jump(row: RequestRow) -> None:
    """Beyond any version, or card that somebody has seen since the backup."""
    row.restored = True
    row.version += JUMP
    row.revision += JUMP


def _number_pauses_anew(unit: Unit) -> None:
    """Prefect answers the key of a pause that has been before with going on."""
    beyond = {"suspensions": RunRow.suspensions + JUMP}
    unit.session.connection().execute(update(RunRow).values(**beyond))


def _ring_all(unit: Unit) -> None:
    """Deliveries that were under way, given up, or made and forgotten with the time since."""
    session, table = unit.session, OutboxRow
    due = {
        "due_at": unit.now,
        "tries": 0,
        "lease_until": None,
        "last_error": "",
        "state": "pending",
    }
    session.connection().execute(
        update(table).where(or_(table.state == "pending", table.state == "dead")).values(**due)
    )
    waiting = select(RequestRow.id).where(
        RequestRow.asks_people,
        ~col(RequestRow.collected),
        col(RequestRow.outcome).is_not(None),
    )
    for request_id in session.exec(waiting).all():
        unit.wish(request_id, RING)


def _ended(unit: Unit, table: type[SessionRow | LoginLinkRow], name: str) -> int:
    """End what opens a door to a person; how many there were."""
    found = unit.session.connection().execute(
        update(table).where(getattr(table, name).is_(None)).values({name: unit.now})
    )
    return int(found.rowcount)


def _revoke(unit: Unit, revoked: Mapping[str, datetime]) -> Iterable[str]:
    for key_id in sorted(revoked):
        row = unit.session.get(KeyRow, key_id)
        if row is not None and row.revoked_at is None:
            row.revoked_at = revoked[key_id]
            unit.log("restore", "key.revoked", key_id)
            yield key_id


def _keys(unit: Unit) -> Iterable[tuple[str, str]]:
    query = select(KeyRow).where(col(KeyRow.revoked_at).is_(None))
    for row in unit.session.exec(query.order_by(col(KeyRow.created_at))).all():
        yield row.id, f"{row.scope} {row.agent}"


__all__ = ["Epoch", "Mark", "ended_keys", "mark"]
