"""Standing approvals in the store. What is spent is spent by one guarded update, inside the
transaction that opens the request: two at once cannot overdraw.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Text, insert, or_, update
from sqlmodel import Field, Session, col, select

from gates.core.asked import PersonId
from gates.core.model import ApprovalRequest
from gates.core.standing import Limits, StandingApproval, number_of
from gates.store.tables import SERIAL, Row, UtcDateTime, later

MOST_LISTED = 500


class StandingRow(Row, table=True):
    """`most_uses` and `most_minor`: 0 and NULL for no such limit."""

    __tablename__ = "standing_approval"
    __table_args__: Any = (
        CheckConstraint("most_uses = 0 OR used <= most_uses", name="uses"),
        CheckConstraint("most_minor IS NULL OR used_minor <= most_minor", name="total"),
        CheckConstraint("most_uses > 0 OR most_minor IS NOT NULL", name="bounded"),
        CheckConstraint("(revoked_at IS NULL) = (revoked_by = '')", name="revoked"),
    )
    number: int | None = Field(default=None, primary_key=True, sa_type=SERIAL)
    given_by: str
    name: str
    reason: str = Field(sa_type=Text)
    given_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime = Field(sa_type=UtcDateTime, index=True)
    limits: str = Field(sa_type=Text)
    most_uses: int
    most_minor: int | None = Field(default=None, sa_type=BigInteger)
    used: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    used_minor: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_by: str = Field(default="", sa_column_kwargs={"server_default": ""})


class StandingUseRow(Row, table=True):
    """A request that a standing approval let run."""

    __tablename__ = "standing_use"
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_args=later("standing_approval.number")
    )
    request_id: str = Field(primary_key=True, sa_column_args=later("request.id"))
    amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    at: datetime = Field(sa_type=UtcDateTime)


def add(
    session: Session, limits: Limits, person: PersonId, name: str, reason: str, now: datetime
) -> StandingApproval:
    row = StandingRow(
        given_by=person,
        name=name,
        reason=reason,
        given_at=now,
        ends_at=limits.ends_at,
        limits=limits.model_dump_json(),
        most_uses=limits.uses,
        most_minor=limits.total.minor if limits.total else None,
    )
    session.add(row)
    session.flush()
    return _read(row)


def found(session: Session, numbers: Iterable[int]) -> list[StandingApproval]:
    query = select(StandingRow).where(col(StandingRow.number).in_(sorted(set(numbers))))
    return [_read(row) for row in session.exec(query).all()]


def all_(session: Session) -> list[StandingApproval]:
    """The newest first."""
    query = select(StandingRow).order_by(col(StandingRow.number).desc())
    return [_read(row) for row in session.exec(query.limit(MOST_LISTED)).all()]


def holding(session: Session, now: datetime) -> list[StandingApproval]:
    """Those that something could still be based on, the oldest first."""
    query = (
        select(StandingRow)
        .where(StandingRow.ends_at > now, col(StandingRow.revoked_at).is_(None))
        .where(
            or_(col(StandingRow.most_uses) == 0, col(StandingRow.used) < col(StandingRow.most_uses))
        )
        .order_by(col(StandingRow.number))
    )
    return [_read(row) for row in session.exec(query.limit(MOST_LISTED)).all()]


def spend(session: Session, number: int, request: ApprovalRequest, now: datetime) -> bool:
    """One use, for this request; False where there is none left, or it has ended."""
    minor = request.amount.minor if request.amount else 0
    row = StandingRow
    query = (
        update(row)
        .where(col(row.number) == number, col(row.revoked_at).is_(None), col(row.ends_at) > now)
        .where(or_(col(row.most_uses) == 0, col(row.used) < col(row.most_uses)))
        .where(
            or_(
                col(row.most_minor).is_(None),
                col(row.used_minor) + minor <= col(row.most_minor),
            )
        )
        .values(used=col(row.used) + 1, used_minor=col(row.used_minor) + minor)
    )
    connection = session.connection()
    if connection.execute(query).rowcount != 1:
        return False
    use = {"number": number, "request_id": request.id, "amount_minor": minor, "at": now}
    connection.execute(insert(StandingUseRow).values(use))
    return True


def revoke(session: Session, number: int, by: str, now: datetime) -> bool:
    """False where there is nothing to revoke."""
    query = update(StandingRow).where(
        col(StandingRow.number) == number, col(StandingRow.revoked_at).is_(None)
    )
    made = session.connection().execute(query.values(revoked_at=now, revoked_by=by))
    return made.rowcount == 1


def numbers(request: ApprovalRequest) -> list[int]:
    """Of the standing approvals that a request rests on, in the order in which all lock them."""
    return sorted({number_of(one) for one in request.lifted.values()})


def _read(row: StandingRow) -> StandingApproval:
    assert row.number is not None  # noqa: S101 - stored
    return StandingApproval(
        number=row.number,
        limits=Limits.model_validate_json(row.limits),
        given_by=row.given_by,
        name=row.name,
        reason=row.reason,
        given_at=row.given_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        used=row.used,
        used_minor=row.used_minor,
    )


def end_all(session: Session, by: str, now: datetime) -> int:
    """Revoke all that hold; how many. What was spent of them is not known any more."""
    query = update(StandingRow).where(col(StandingRow.revoked_at).is_(None))
    made = session.connection().execute(query.values(revoked_at=now, revoked_by=by))
    return int(made.rowcount)
