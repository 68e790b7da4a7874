"""What one agent, or what is about one subject, has used in all runs together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import BindParameter, and_, bindparam, exists, func, or_, select, union

from gates.core.loops import Call
from gates.core.loops.failing import MOST_SHOWN
from gates.core.loops.over_runs import Counted, Scope, Used
from gates.core.model import ExecutionState
from gates.store.queries import call, execution, request
from gates.store.repository import Unit, call_of
from gates.store.statements import Statement
from gates.store.tables import LoopCallRow

_since: BindParameter[datetime] = bindparam("since")
_waits = or_(*(execution.c.state == one for one in (ExecutionState.QUEUED, ExecutionState.RUNNING)))
_run = (
    select(request.c.root_run_id)
    .where(request.c.id == execution.c.request_id)
    .scalar_subquery()
    .label("root_run_id")
)
_in_doubt = execution.c.state == ExecutionState.IN_DOUBT


@dataclass(frozen=True)
class _Statements:
    """By what counts together. What is under way is looked for among what has not ended, which is
    little, and not among all that an agent ever asked.
    """

    used: Statement
    begun: Statement
    runs: Statement
    last: Statement

    @classmethod
    def of(cls, counted: Counted) -> Self:
        name: BindParameter[str] = bindparam("name")
        recent = and_(call.c[counted] == name, call.c.at > _since)
        own = and_(request.c.id == execution.c.request_id, request.c[counted] == name)
        # a doubt may stay one for ever: as an attempt of its time it leaves the window
        open_ = or_(_waits, and_(_in_doubt, execution.c.queued_at > _since))
        under_way = select(func.count()).select_from(execution).where(open_, exists().where(own))
        begun = execution.c.queued_at >= _since  # what was under way already is none of them
        ended = (
            select(func.count())
            .select_from(call.join(execution, execution.c.request_id == call.c.request_id))
            .where(call.c[counted] == name, call.c.at >= _since, begun)
        )
        still = (
            select(func.count())
            .select_from(execution)
            .where(or_(_waits, _in_doubt), begun, exists().where(own))
        )
        runs = union(
            select(call.c.root_run_id).where(recent),
            select(_run).select_from(execution).where(open_, exists().where(own)),
        ).subquery()
        return cls(
            used=Statement(
                select(
                    func.count(),
                    func.coalesce(func.sum(call.c.cost), 0),
                    func.coalesce(func.sum(call.c.tokens), 0),
                    under_way.scalar_subquery(),
                ).where(recent)
            ),
            begun=Statement(select(ended.scalar_subquery() + still.scalar_subquery())),
            runs=Statement(select(func.count()).select_from(runs)),
            last=Statement(
                select(call)
                .where(recent)
                .order_by(call.c.at.desc(), call.c.seq.desc())
                .limit(MOST_SHOWN)
            ),
        )


_BY: dict[Counted, _Statements] = {
    "agent": _Statements.of("agent"),
    "business_key": _Statements.of("business_key"),
}


def used(unit: Unit, scope: Scope, since: datetime) -> Used:
    """What has ended since then, and what is under way now."""
    (found,) = unit.rows.plain(_BY[scope.counted].used, name=scope.name, since=since)
    return Used(*(int(one) for one in found))  # PostgreSQL's sums are decimals


def begun(unit: Unit, scope: Scope, since: datetime) -> int:
    """How many attempts have begun since then, whether they have ended or not."""
    return int(unit.rows.value(_BY[scope.counted].begun, name=scope.name, since=since))


def runs(unit: Unit, scope: Scope, since: datetime) -> int:
    """In how many runs the attempts were made that `used` counts."""
    return int(unit.rows.value(_BY[scope.counted].runs, name=scope.name, since=since))


def last(unit: Unit, scope: Scope, since: datetime) -> list[Call]:
    """The latest that have ended, oldest first."""
    statement = _BY[scope.counted].last
    rows = unit.rows.read([LoopCallRow], statement, name=scope.name, since=since)
    return [call_of(row) for (row,) in reversed(rows)]
