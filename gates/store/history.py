"""What the store remembers beside one request: of an agent, of a counterparty, and in sums.

Every count stops at MOST, so that no question gets slower with the years. What is asked about
itself never counts: its gate's own rounds are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, case, func, or_, select, text
from sqlmodel import Session

from gates.core.model import Json
from gates.core.policy import Question
from gates.core.policy.patterns import matches
from gates.core.policy.windows import Sum, Window
from gates.store.queries import execution, request

MOST = 500
REJECTED_DAYS = 365
DAY = 86_400.0
# Looked up for each row: joined, PostgreSQL would read all executions to find those of a few.
_state = func.coalesce(
    select(execution.c.state).where(execution.c.request_id == request.c.id).scalar_subquery(), ""
)


class Past(NamedTuple):
    """An action that was done with the counterparty."""

    action: str
    currency: str
    minor: int | None
    at: datetime


def history(session: Session, question: Question, now: datetime) -> Json:
    """What a rule reads of `history`."""
    mine = [request.c.agent == question.requester.agent]
    mine.append(request.c.action == question.action.name)
    agent_count = _done_of(session, _others(question).where(*mine))
    since = now - timedelta(days=REJECTED_DAYS)
    rejected = _others(question).where(*mine, request.c.opened_at > since)
    rejected = rejected.where(request.c.outcome == "rejected", request.c.asks_people)
    found: Json = {
        "first_use": agent_count == 0,
        "agent_count": agent_count,
        "rejected_count": _count(session, rejected),
        "duplicates": _count(session, _same(question)),
    }
    return found | _of_counterparty(session, question, now)


def past(session: Session, question: Question) -> list[Past]:
    """What was done with the counterparty, the newest first."""
    if not question.counterparty:
        return []
    query = _done(question).with_only_columns(
        request.c.action, request.c.currency, request.c.amount_minor, request.c.opened_at
    )
    query = query.where(request.c.counterparty == question.counterparty)
    query = query.order_by(request.c.opened_at.desc()).limit(MOST)
    return [Past(*found) for found in session.connection().execute(query).all()]


def like(question: Question, found: Sequence[Past]) -> list[Past]:
    """Those of the same action and currency, which compare."""
    currency = question.amount.currency if question.amount else ""
    name = question.action.name
    return [one for one in found if one.action == name and one.currency == currency]


def sums(session: Session, question: Question, window: Window, now: datetime) -> list[Sum]:
    """What the window holds beside the action that is asked about: what is open, and what was
    approved within it, unless it is known to have come to nothing.
    """
    since = now - timedelta(seconds=window.seconds)
    keys = [request.c[key] == value for key, value in keyed(question, window)]
    minor = case((request.c.amount_minor > 0, request.c.amount_minor), else_=0)
    what = [request.c.gate_id, request.c.action, request.c.currency]
    gates = (
        select(*what, func.max(minor).label("minor"))
        .where(*keys, or_(request.c.settled_at.is_(None), request.c.settled_at > since))
        .where(request.c.gate_id != question.gate, _counts())
        .group_by(*what)
        .subquery()
    )
    query = select(gates.c.action, gates.c.currency, func.sum(gates.c.minor), func.count())
    found = session.connection().execute(query.group_by(gates.c.action, gates.c.currency)).all()
    return [
        Sum(currency, int(minor), count)
        for action, currency, minor, count in found
        if matches(window.on, action)
    ]


def keyed(question: Question, window: Window) -> list[tuple[str, str]]:
    """What the actions of a window have in common with this one."""
    values = {
        "agent": question.requester.agent,
        "counterparty": question.counterparty,
        "action": question.action.name,
    }
    return [(key, values[key]) for key in window.by]


def lock(session: Session, question: Question, windows: Sequence[Window]) -> None:
    """Nobody else adds to these sums before this transaction ends. On SQLite nobody does anyway.

    Advisory locks of PostgreSQL: nothing is written for them, and they go with the transaction.
    """
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        return
    names = {
        "\n".join(f"{key}={value}" for key, value in keyed(question, window)) for window in windows
    }
    numbers = sorted(_number(f"exposure\n{name}") for name in names)  # all take them in one order
    for number in numbers:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _number(name: str) -> int:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _counts() -> Any:
    """Whether a request moves, or has moved, or may yet move what it says."""
    later = request.alias()
    newer = select(later.c.id).where(
        later.c.gate_id == request.c.gate_id, later.c.round > request.c.round
    )
    return or_(
        request.c.outcome.is_(None),
        and_(
            request.c.outcome == "approved",
            or_(
                _state.not_in(("failed", "withdrawn")),
                and_(_state == "failed", ~newer.exists()),  # it may be tried again
            ),
        ),
    )


def _others(question: Question) -> Select[Any]:
    return select(request.c.id).where(request.c.gate_id != question.gate)


def _done(question: Question) -> Select[Any]:
    return _others(question).where(request.c.outcome == "approved", _state == "succeeded")


def _same(question: Question) -> Select[Any]:
    """The very same action, asked for elsewhere, that was done or may yet be."""
    mine = request.c.fingerprint == question.action.fingerprint
    return _others(question).where(mine, _counts())


def _count(session: Session, query: Select[Any]) -> int:
    bounded = select(func.count()).select_from(query.limit(MOST).subquery())
    return int(session.connection().execute(bounded).scalar_one())


def _done_of(session: Session, query: Select[Any]) -> int:
    """Of the newest that were approved, how many are done. Cut off before that is looked up: with
    all of them in sight PostgreSQL would plan, and compile, for all of them.
    """
    newest = query.where(request.c.outcome == "approved").order_by(request.c.opened_at.desc())
    ids = newest.limit(MOST).subquery()
    state = select(execution.c.state).where(execution.c.request_id == ids.c.id).scalar_subquery()
    done = select(func.count()).select_from(ids).where(state == "succeeded")
    return int(session.connection().execute(done).scalar_one())


def _of_counterparty(session: Session, question: Question, now: datetime) -> Json:
    found = past(session, question)
    known: Json = {
        "counterparty_known": bool(found),
        "counterparty_count": len(found),
        "counterparty_first_seen_days": _days(found[-1].at, now) if found else 0,
    }
    if len(found) == MOST:
        known["counterparty_first_seen_days"] = _first_seen(session, question, now)
    same = like(question, found)
    if same:
        known["last_seen_days"] = _days(same[0].at, now)
    amounts = [one.minor for one in same if one.minor is not None]
    if amounts:
        known |= {"median_minor": int(median(amounts)), "max_minor": max(amounts)}
    return known


def _first_seen(session: Session, question: Question, now: datetime) -> int:
    query = _done(question).with_only_columns(func.min(request.c.opened_at))
    query = query.where(request.c.counterparty == question.counterparty)
    at = session.connection().execute(query).scalar_one()
    return _days(at, now)


def _days(at: datetime, now: datetime) -> int:
    return max(0, int((now - at).total_seconds() // DAY))
