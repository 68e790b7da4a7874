"""Where a second policy, which only looks on, would have answered otherwise."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field

from gates.store.tables import Row, UtcDateTime


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
    """`active` and `shadow` are verdicts; the rules are JSON lists of names."""

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
