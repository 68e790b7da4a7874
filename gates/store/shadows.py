"""Where a second policy, which only looks on, would have answered otherwise."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, func
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel import Field, Session, col, select

from gates.store.rows import names, table
from gates.store.tables import Row, UtcDateTime

LATEST = 50


class ShadowPolicyRow(Row, table=True):
    """`judged`: how many requests it has been asked about; `failed`: how many it could not answer,
    or was too late for.
    """

    __tablename__ = "shadow_policy"
    digest: str = Field(primary_key=True)
    source: str
    since: datetime = Field(sa_type=UtcDateTime)
    judged: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    failed: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class ShadowDifferenceRow(Row, table=True):
    """`active` and `shadow` are verdicts with their tiers; the rules are JSON lists of names."""

    __tablename__ = "shadow_difference"
    __table_args__: Any = (Index("ix_shadow_difference_digest_at", "digest", "at"),)
    request_id: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    active_digest: str
    action: str
    active: str
    shadow: str
    active_rules: str = Field(sa_type=Text)
    shadow_rules: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)


def count(
    session: Session, digest: str, source: str, now: datetime, judged: int, failed: int
) -> None:
    """Add to what a policy has looked on at; several servers may at once."""
    policies = table(ShadowPolicyRow)
    made = upsert(policies).values(
        digest=digest, source=source, since=now, judged=judged, failed=failed
    )
    changes = {
        "judged": policies.c.judged + judged,
        "failed": policies.c.failed + failed,
        "source": source,
    }
    query = made.on_conflict_do_update(index_elements=["digest"], set_=changes)
    session.connection().execute(query)


def add(session: Session, row: ShadowDifferenceRow) -> None:
    values = {name: getattr(row, name) for name in names(ShadowDifferenceRow)}
    made = upsert(table(ShadowDifferenceRow)).values(values)
    session.connection().execute(made.on_conflict_do_nothing())


def summary(session: Session, digest: str) -> dict[str, Any]:
    """Numbers, verdicts against verdicts, and the latest differences."""
    row, found = ShadowDifferenceRow, session.get(ShadowPolicyRow, digest)
    mine = row.digest == digest
    pairs = (
        select(row.active, row.shadow, func.count())
        .where(mine)
        .group_by(row.active, row.shadow)
        .order_by(func.count().desc())
    )
    verdicts = [
        {"active": active, "shadow": shadow, "number": number}
        for active, shadow, number in session.exec(pairs).all()
    ]
    latest = session.exec(select(row).where(mine).order_by(col(row.at).desc()).limit(LATEST)).all()
    return {
        "digest": digest,
        "source": found.source if found else "",
        "since": found.since.isoformat() if found else None,
        "judged": found.judged if found else 0,
        "failed": found.failed if found else 0,
        "different": sum(one["number"] for one in verdicts),
        "verdicts": verdicts,
        "latest": [_shown(one) for one in latest],
    }


def _shown(row: ShadowDifferenceRow) -> dict[str, Any]:
    rules = {
        "active_rules": json.loads(row.active_rules),
        "shadow_rules": json.loads(row.shadow_rules),
    }
    return row.model_dump(mode="json") | rules
