"""All that was ever asked, read page by page: of any length, in the memory of one page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select, tuple_
from sqlmodel import Session

from gates.core.errors import InvalidInput
from gates.core.model import ApprovalRequest, Outcome
from gates.store.database import Database, revisions
from gates.store.queries import request

PAGE = 500


def refuse_another_schema(database: Database) -> None:
    """Raises InvalidInput for a store that another release has left."""
    found, known = database.revision(), revisions()[-1]
    if found != known:
        raise InvalidInput(
            f"GATES_DATABASE_URL has schema {found or 'none'}, and this release reads {known}: "
            "start the server once, or use the release that the server has."
        )


def number(session: Session, since: datetime) -> int:
    """How many there are to read."""
    query = select(func.count()).select_from(request).where(request.c.opened_at >= since)
    return int(session.connection().execute(query).scalar_one())


def recorded(
    session: Session, since: datetime, page_size: int = PAGE
) -> Iterator[tuple[ApprovalRequest, Outcome | None]]:
    """Oldest first; what is opened while this goes on may be among them."""
    columns = [request.c.opened_at, request.c.id, request.c.body, request.c.outcome_body]
    place = tuple_(request.c.opened_at, request.c.id)
    query = select(*columns).where(request.c.opened_at >= since)
    query = query.order_by(request.c.opened_at, request.c.id).limit(page_size)
    at: tuple[datetime, str] | None = None
    while True:
        page = session.connection().execute(query if at is None else query.where(place > at)).all()
        for _, _, body, outcome in page:
            yield (
                ApprovalRequest.model_validate_json(body),
                Outcome.model_validate_json(outcome) if outcome else None,
            )
        if len(page) < page_size:
            return
        at = (page[-1].opened_at, page[-1].id)
