"""The statements of the hot path, written once in SQLAlchemy's language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, case, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from gates.core.model import BEGUN
from gates.store.rows import insertion, names, table
from gates.store.statements import Statement
from gates.store.tables import (
    AttemptRow,
    EventRow,
    ExecutionRow,
    LogRow,
    LoopCallRow,
    OutboxRow,
    RequestRow,
    RunRow,
)

CALLS_AT_ONCE = 500
MOST_ALIKE = 100
MOST_ANSWERS = 100  # about one budget; the latest counts, and guidance of a week
request = table(RequestRow)
execution, attempt = table(ExecutionRow), table(AttemptRow)
event, call, run, outbox = table(EventRow), table(LoopCallRow), table(RunRow), table(OutboxRow)


@dataclass(frozen=True)
class Whole:
    """Requests, and what happened to them. What is locked is read alone: rows that were joined
    to one that somebody else holds would be of the time before.
    """

    requests: Statement
    locked: Statement
    executions: Statement
    events: Statement

    @classmethod
    def of(cls, query: Select[Any]) -> Whole:
        ids = query.with_only_columns(request.c.id)
        pairs = execution.outerjoin(attempt, attempt.c.request_id == execution.c.request_id)
        executions = select(execution, attempt).select_from(pairs)
        return cls(
            Statement(query),
            Statement(query.with_for_update()),
            Statement(executions.where(execution.c.request_id.in_(ids)).order_by(attempt.c.number)),
            Statement(select(event).where(event.c.request_id.in_(ids)).order_by(event.c.seq)),
        )


BY_ID = Whole.of(select(request).where(request.c.id == bindparam("id")))
BY_ATTEMPT = Whole.of(
    select(request).where(
        request.c.id
        == select(attempt.c.request_id)
        .where(attempt.c.id == bindparam("attempt_id"))
        .scalar_subquery()
    )
)
BY_GATE = Whole.of(
    select(request).where(request.c.gate_id == bindparam("gate_id")).order_by(request.c.round)
)
OF_RUN = Whole.of(
    select(request)
    .where(request.c.root_run_id == bindparam("root_run_id"))
    .order_by(request.c.opened_at.desc())
    .limit(bindparam("limit"))
)
_asked = select(request).where(request.c.asks_people).limit(bindparam("limit"))
WAITING = Whole.of(_asked.where(request.c.outcome.is_(None)).order_by(request.c.deadline_at))
SETTLED = Whole.of(
    _asked.where(request.c.outcome.is_not(None)).order_by(request.c.settled_at.desc())
)
_looked_at = select(request).where(request.c.outcome == "approved").limit(bindparam("limit"))
TO_REVIEW = Whole.of(
    _looked_at.where(request.c.review == "wanted").order_by(request.c.opened_at.desc())
)
REVIEWED = Whole.of(
    _looked_at.where(request.c.review == "done").order_by(request.c.opened_at.desc())
)
LOOP_ROUNDS = Whole.of(
    select(request).where(
        (request.c.fingerprint == bindparam("fingerprint"))
        | (request.c.root_run_id == bindparam("root_run_id")),
        request.c.purpose == "loop",
        request.c.outcome.is_not(None),
    )
)
LOOP_QUESTIONS = Whole.of(
    select(request)
    .where(
        request.c.purpose == "loop",
        (request.c.opened_at > bindparam("after"))
        | ((request.c.opened_at == bindparam("after")) & (request.c.id > bindparam("last"))),
    )
    .order_by(request.c.opened_at, request.c.id)
    .limit(bindparam("limit"))
)
BUDGET_ANSWERS = Whole.of(
    select(request)
    .where(request.c.budget == bindparam("budget"), request.c.settled_at.is_not(None))
    .order_by(request.c.settled_at.desc())
    .limit(MOST_ANSWERS)
)
_failures = (  # whoever calls: a fresh run does not start from zero
    select(call)
    .where(call.c.action == bindparam("action"), call.c.failed, call.c.at >= bindparam("since"))
    .order_by(call.c.seq.desc())
    .limit(100)
)
_about = call.c.business_key == bindparam("business_key")
FAILURES = Statement(
    _failures.where(
        call.c.arguments_digest == bindparam("arguments_digest"), call.c.business_key == ""
    )
)
FAILURES_ABOUT = Statement(_failures.where(_about))
_failing = request.alias("failing")
_stumbled = (
    select(_failing.c.gate_id)
    .join(call, call.c.request_id == _failing.c.id)
    .where(
        call.c.action == bindparam("action"), _about, call.c.failed, call.c.at >= bindparam("since")
    )
)
LOOP_ROUNDS_ABOUT = Whole.of(
    select(request).where(
        request.c.gate_id.in_(_stumbled),
        request.c.purpose == "loop",
        request.c.outcome.is_not(None),
    )
)
LOCK_RUN = Statement(
    select(run.c.root_run_id)
    .where(run.c.root_run_id == bindparam("root_run_id"))
    .with_for_update(key_share=True)
)
_calls_of_run = (
    select(call)
    .where(call.c.root_run_id == bindparam("root_run_id"), call.c.seq > bindparam("after"))
    .order_by(call.c.seq)
    .limit(CALLS_AT_ONCE)
)
CALLS_OF_RUN = Statement(_calls_of_run)
CALLS_BEFORE_A_GATE = Statement(  # none where it is known: a run that is replayed asks for each
    _calls_of_run.where(~exists().where(request.c.gate_id == bindparam("gate_id")))
)
_failed, _same = call.c.failed, call.c.arguments_digest == bindparam("arguments_digest")
COUNTED = select(
    *(
        func.coalesce(func.sum(case((one, 1), else_=0)), 0)
        for one in (_failed, _failed & _same, ~_failed & call.c.writes & _same)
    )
).where(call.c.root_run_id == bindparam("root_run_id"), call.c.action == bindparam("action"))
LOOPS_OF_RUN = Whole.of(
    select(request)
    .where(
        request.c.root_run_id == bindparam("root_run_id"),
        request.c.purpose == "loop",
        request.c.outcome.is_not(None),
    )
    .order_by(request.c.settled_at)
)
_begun = exists().where(
    execution.c.request_id == request.c.id, or_(*(execution.c.state == one for one in BEGUN))
)
_alike = (
    select(request)
    .where(
        request.c.root_run_id == bindparam("root_run_id"),
        request.c.fingerprint == bindparam("fingerprint"),
        request.c.gate_id != bindparam("gate_id"),
        request.c.outcome.is_not(None),
    )
    .order_by(~_begun, request.c.opened_at.desc())  # what has been done is never left out
    .limit(MOST_ALIKE)
)
ALIKE = Whole.of(_alike)
_of_gates = _alike.with_only_columns(request.c.gate_id, _begun.label("begun")).subquery()
BEGUN_ALIKE = Statement(select(func.count(_of_gates.c.gate_id.distinct())).where(_of_gates.c.begun))
LOCK_CALL = Statement(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("call"), 0)))
)
PAUSES = Statement(
    select(request.c.opened_at, request.c.settled_at).where(
        request.c.root_run_id == bindparam("root_run_id"),
        request.c.asks_people,
        request.c.settled_at.is_not(None),
    )
)
RUN = Statement(select(run).where(run.c.root_run_id == bindparam("root_run_id")))

LOG = insertion(LogRow, tuple(name for name in names(LogRow) if name != "seq"))
ADD_CALL = insertion(LoopCallRow, tuple(name for name in names(LoopCallRow) if name != "seq"))

_wish = (
    upsert(outbox)
    .inline()
    .values(
        kind=bindparam("kind"),
        request_id=bindparam("request_id"),
        place=bindparam("place"),
        due_at=bindparam("due_at"),
        wanted=1,
        state="pending",
        tries=0,
        last_error="",
    )
)
WISH = Statement(  # SQLite takes PostgreSQL's words here
    _wish.on_conflict_do_update(
        index_elements=["kind", "request_id", "place"],
        set_={
            "wanted": outbox.c.wanted + 1,
            "state": "pending",
            "tries": 0,
            "due_at": _wish.excluded.due_at,
            "last_error": "",
        },
    )
)
