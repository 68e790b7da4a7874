"""Whole runs in the store: their suspensions, when they were last heard of, what is open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import case, func, update
from sqlmodel import col, select

from gates.store.aggregate import ROUND_SPAN, Aggregate
from gates.store.repository import Unit
from gates.store.tables import AttemptRow, ExecutionRow, OutboxRow, RequestRow, RunRow

UNDER_WAY = ("queued", "running", "in_doubt")  # states of an execution


def suspend(unit: Unit, root_run_id: str, wake_at: datetime | None) -> int:
    """The number of the run's suspension that begins now. Taken after the requests' own locks."""
    statement = (
        update(RunRow)
        .where(col(RunRow.root_run_id) == root_run_id)
        .values(suspensions=col(RunRow.suspensions) + 1, wake_at=wake_at)
        .returning(col(RunRow.suspensions))
    )
    return int(unit.session.execute(statement).scalar_one())


def woken_rightly(unit: Unit, root_run_id: str) -> bool:
    """Whether it was we who rang at the run's last suspension."""
    run = unit.session.get(RunRow, root_run_id)
    return run is not None and run.rung >= run.suspensions


def ringing(unit: Unit, root_run_id: str) -> None:
    """We are about to ring at this run: that it wakes is our doing."""
    statement = update(RunRow).where(
        col(RunRow.root_run_id) == root_run_id, col(RunRow.rung) < col(RunRow.suspensions)
    )
    unit.session.execute(statement.values(rung=col(RunRow.suspensions)))


def alarm_is_due(unit: Unit, root_run_id: str) -> bool:
    run = unit.session.get(RunRow, root_run_id)
    return run is not None and run.wake_at is not None and run.wake_at <= unit.now


def alarms(unit: Unit, limit: int = 100) -> list[str]:
    """One open request of each suspended run whose author waits no longer, if it is not being
    rung at yet.
    """
    ringing = (
        select(OutboxRow.id)
        .join(RequestRow, col(RequestRow.id) == OutboxRow.request_id)
        .where(OutboxRow.kind == "ring", OutboxRow.state == "pending")
        .where(RequestRow.root_run_id == RunRow.root_run_id)
    )
    query = (
        select(func.min(RequestRow.id))
        .join(RunRow, col(RunRow.root_run_id) == RequestRow.root_run_id)
        .where(col(RunRow.wake_at) <= unit.now, col(RequestRow.outcome).is_(None))
        .where(col(RequestRow.asleep).is_(True), ~ringing.exists())
        .group_by(col(RunRow.root_run_id))
    )
    return [str(one) for one in unit.session.exec(query.limit(limit)).all()]


def versions(unit: Unit, gate_ids: Collection[str]) -> dict[str, int]:
    """Each gate's version, by one query however many are waited for."""
    query = select(RequestRow.gate_id, RequestRow.round, RequestRow.version)
    found: dict[str, int] = {}
    for gate, round_, version in unit.session.exec(
        query.where(col(RequestRow.gate_id).in_(gate_ids))
    ).all():
        found[gate] = max(found.get(gate, 0), round_ * ROUND_SPAN + version)
    return found


def heard_of(unit: Unit, heard: Mapping[str, datetime]) -> None:
    """Flows of these runs have called since; whatever ended has come back. Another server may
    have heard of them later.
    """
    for at in set(heard.values()):
        ids = sorted(root for root, when in heard.items() if when == at)
        latest = case((col(RunRow.seen_at) > at, col(RunRow.seen_at)), else_=at)
        statement = update(RunRow).where(col(RunRow.root_run_id).in_(ids))
        unit.session.execute(statement.values(seen_at=latest, ended_at=None))


class Followed(NamedTuple):
    """A run that is not known to have ended. `open`: people are asked, or their approval has not
    been used (`unused`); `under_way`: something executes; `news_at`: when last something happened
    to one of its requests that its flow is to know.
    """

    root_run_id: str
    opened_at: datetime
    seen_at: datetime | None
    open: bool = False
    unused: bool = False
    under_way: bool = False
    news_at: datetime | None = None


def followed(unit: Unit, after: str, limit: int) -> list[Followed]:
    """In the order of their ids, those beyond `after`: a page of a round through all."""
    query = (
        select(RunRow.root_run_id, RunRow.opened_at, RunRow.seen_at)
        .where(col(RunRow.ended_at).is_(None), RunRow.root_run_id > after)
        .order_by(col(RunRow.root_run_id))
    )
    page = {row[0]: Followed(*row) for row in unit.session.exec(query.limit(limit)).all()}
    ended_at = (
        select(func.max(AttemptRow.ended_at))
        .where(AttemptRow.request_id == RequestRow.id)
        .scalar_subquery()
    )
    facts = (
        select(RequestRow, ExecutionRow.state, ended_at)
        .join(ExecutionRow, col(ExecutionRow.request_id) == RequestRow.id, isouter=True)
        .where(col(RequestRow.root_run_id).in_(page))
    )
    for row, state, done_at in unit.session.exec(facts).all():
        run = page[row.root_run_id]
        unused = row.outcome == "approved" and state is None
        news = [run.news_at, done_at and _aware(done_at), row.asks_people and row.settled_at]
        page[row.root_run_id] = run._replace(
            open=run.open or row.outcome is None or unused,
            unused=run.unused or (unused and row.asks_people),
            under_way=run.under_way or state in UNDER_WAY,
            news_at=max((one for one in news if one), default=None),
        )
    return list(page.values())


def _aware(at: datetime | str) -> datetime:
    """A computed column has lost its type on SQLite."""
    found = datetime.fromisoformat(at) if isinstance(at, str) else at
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def left_behind(unit: Unit, root_run_id: str) -> list[str]:
    """Requests of a run that still have something open, untold or under way, in one order."""
    untold = col(RequestRow.outcome).is_(None) | col(RequestRow.collected).is_(False)
    query = (
        select(RequestRow.id)
        .join(ExecutionRow, col(ExecutionRow.request_id) == RequestRow.id, isouter=True)
        .where(RequestRow.root_run_id == root_run_id)
        .where(
            (col(RequestRow.asks_people).is_(True) & untold)
            | col(ExecutionRow.state).in_(UNDER_WAY)
        )
    )
    return sorted(unit.session.exec(query).all())


def latest(unit: Unit, root_run_id: str) -> str | None:
    """The request that a run has opened last."""
    query = select(RequestRow.id).where(RequestRow.root_run_id == root_run_id)
    return unit.session.exec(query.order_by(col(RequestRow.opened_at).desc())).first()


def asleep(unit: Unit, root_run_id: str) -> list[Aggregate]:
    """What a run slept for and has not asked again, if its answer could still be used."""
    query = select(RequestRow.id).where(
        RequestRow.root_run_id == root_run_id,
        col(RequestRow.asleep).is_(True),
        col(RequestRow.outcome).is_(None) | (col(RequestRow.outcome) == "approved"),
    )
    return [unit.load(one) for one in sorted(unit.session.exec(query).all())]


def ended(unit: Unit, root_run_id: str) -> None:
    statement = update(RunRow).where(col(RunRow.root_run_id) == root_run_id)
    unit.session.execute(statement.values(ended_at=unit.now))


def ended_at(unit: Unit, root_run_id: str) -> datetime | None:
    """When the run was seen to have ended. Read after the request's own lock was taken."""
    unit.flush()
    query = select(RunRow.ended_at).where(RunRow.root_run_id == root_run_id)
    return unit.session.exec(query).one()
