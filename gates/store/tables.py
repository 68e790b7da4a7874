"""The rows. What a row means is said by gates/core/model.py; what it must never become is said
by the constraints here and by the triggers in the first migration.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in and out, also on SQLite, which knows no zones. Refuses naive times."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: times in the store are aware UTC")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


ANY_ACTION = '["*"]'
SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys itself


def later(column: str) -> list[ForeignKey]:
    """A reference that is checked at the commit, so that one flush may write rows in any order."""
    return [ForeignKey(column, deferrable=True, initially="DEFERRED")]


class Row(SQLModel):
    """Root of the tables, with metadata of its own: other packages use SQLModel too."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING)


class RunRow(Row, table=True):
    """A root run belongs to the key that first proposed in it. `rung`: the suspension at
    which we rang last; `wake_at`: when its author waits no longer; `seen_at`: when its flow was
    last heard of; `ended_at`: when it was seen to have ended, until it is heard of again.
    """

    __tablename__ = "run"
    __table_args__: Any = (
        Index(
            "ix_run_wake_at",
            "wake_at",
            postgresql_where=text("wake_at IS NOT NULL"),
            sqlite_where=text("wake_at IS NOT NULL"),
        ),
        Index(
            "ix_run_followed",
            "root_run_id",
            postgresql_where=text("ended_at IS NULL"),
            sqlite_where=text("ended_at IS NULL"),
        ),
    )
    root_run_id: str = Field(primary_key=True)
    key_id: str
    opened_at: datetime = Field(sa_type=UtcDateTime)
    suspensions: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    rung: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    wake_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RequestRow(Row, table=True):
    __tablename__ = "request"
    __table_args__: Any = (
        UniqueConstraint("gate_id", "round"),
        CheckConstraint(
            "outcome IN ('approved','rejected','sent_back','expired','cancelled','voided')",
            name="outcome",
        ),
        CheckConstraint("(outcome IS NULL) = (settled_at IS NULL)", name="settled"),
        Index(
            "ix_request_waiting",
            "deadline_at",
            postgresql_where=text("outcome IS NULL"),
            sqlite_where=text("outcome IS NULL"),
        ),
        Index(
            "ix_request_to_review",
            "opened_at",
            postgresql_where=text("review = 'wanted'"),
            sqlite_where=text("review = 'wanted'"),
        ),
        Index(
            "ix_request_due",
            "due_at",
            postgresql_where=text("outcome IS NULL"),
            sqlite_where=text("outcome IS NULL"),
        ),
        Index("ix_request_run_fingerprint", "root_run_id", "fingerprint"),
        Index("ix_request_opened_at", "opened_at"),
        Index("ix_request_counterparty", "counterparty", "opened_at"),
        Index("ix_request_agent", "agent", "opened_at"),
        Index("ix_request_counterparty_settled_at", "counterparty", "settled_at"),
        Index("ix_request_agent_settled_at", "agent", "settled_at"),
        Index("ix_request_fingerprint", "fingerprint"),
        Index(
            "ix_request_approved",
            "agent",
            "action",
            "opened_at",
            postgresql_where=text("outcome = 'approved'"),
            sqlite_where=text("outcome = 'approved'"),
        ),
        Index(
            "ix_request_rejected",
            "agent",
            "action",
            "opened_at",
            postgresql_where=text("outcome = 'rejected'"),
            sqlite_where=text("outcome = 'rejected'"),
        ),
        Index(
            "ix_request_budget",
            "budget",
            "settled_at",
            postgresql_where=text("budget IS NOT NULL"),
            sqlite_where=text("budget IS NOT NULL"),
        ),
    )
    id: str = Field(primary_key=True)
    gate_id: str
    round: int
    root_run_id: str = Field(sa_column_args=later("run.root_run_id"))
    purpose: str
    action: str
    fingerprint: str
    asks_people: bool
    opened_at: datetime = Field(sa_type=UtcDateTime)
    deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    body: str = Field(sa_type=Text)
    outcome: str | None = None
    outcome_body: str | None = Field(default=None, sa_type=Text)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revision: int = 1  # of what people are shown
    version: int = 1  # of anything at all
    suspensions: int = 0  # the number of the run's suspension that it last took part in
    asleep: bool = False
    woken: int = 0
    collected: bool = False
    restored: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    agent: str = Field(default="", sa_column_kwargs={"server_default": ""})
    counterparty: str = Field(default="", sa_column_kwargs={"server_default": ""})
    amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    currency: str = Field(default="", sa_column_kwargs={"server_default": ""})
    review: str | None = None  # drawn to be looked at: wanted, then done
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # when time acts next
    business_key: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    budget: str | None = Field(default=None, sa_type=Text)  # over runs, used up: its question


class EventRow(Row, table=True):
    __tablename__ = "event"
    __table_args__: Any = (
        Index(
            "uq_event_one_decision_a_person",
            "request_id",
            "person",
            unique=True,
            postgresql_where=text("kind = 'decided'"),
            sqlite_where=text("kind = 'decided'"),
        ),
        CheckConstraint("(kind = 'decided') = (person IS NOT NULL)", name="person"),
    )
    request_id: str = Field(primary_key=True, sa_column_args=later("request.id"))
    seq: int = Field(primary_key=True)
    kind: str
    person: str | None = None
    at: datetime = Field(sa_type=UtcDateTime)
    body: str = Field(sa_type=Text)


class ExecutionRow(Row, table=True):
    """The primary key is the request: a grant has one use."""

    __tablename__ = "execution"
    __table_args__: Any = (
        CheckConstraint(
            "state IN ('queued','running','succeeded','failed','in_doubt','withdrawn')",
            name="state",
        ),
        Index("ix_execution_state", "state"),
    )
    request_id: str = Field(primary_key=True, sa_column_args=later("request.id"))
    state: str
    queued_at: datetime = Field(sa_type=UtcDateTime)
    result: str | None = Field(default=None, sa_type=Text)
    differences: str = Field(default="[]", sa_type=Text)


class AttemptRow(Row, table=True):
    __tablename__ = "attempt"
    __table_args__: Any = (
        UniqueConstraint("request_id", "number"),
        Index(
            "uq_attempt_one_open",
            "request_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
            sqlite_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_attempt_lease",
            "lease_until",
            postgresql_where=text("ended_at IS NULL"),
            sqlite_where=text("ended_at IS NULL"),
        ),
    )
    id: str = Field(primary_key=True)
    request_id: str = Field(sa_column_args=later("execution.request_id"))
    number: int
    holder: str
    fence: int
    lease_until: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    state: str = "running"
    error: str = Field(default="", sa_type=Text)
    error_class: str = ""
    reconciling: bool = False
    opened_round: bool = False
    redeemed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LoopCallRow(Row, table=True):
    """What the loop detector is fed with: one row an ended attempt."""

    __tablename__ = "loop_call"
    __table_args__: Any = (
        Index("ix_loop_call_same", "action", "arguments_digest", "at"),
        Index("ix_loop_call_subject", "action", "business_key", "at"),
        Index("ix_loop_call_run", "root_run_id", "seq"),
        Index("ix_loop_call_agent", "agent", "at", "cost", "tokens"),
        Index("ix_loop_call_business_key", "business_key", "at", "cost", "tokens"),
    )
    seq: int | None = Field(default=None, primary_key=True, sa_type=SERIAL)
    attempt_id: str = Field(unique=True)
    root_run_id: str
    request_id: str
    action: str
    arguments_digest: str
    outcome_digest: str
    error_class: str = ""
    error: str = Field(default="", sa_type=Text)
    failed: bool
    at: datetime = Field(sa_type=UtcDateTime)
    arguments: str = Field(sa_type=Text)
    answer: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    writes: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    cost: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    tokens: int = Field(
        default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")}
    )
    business_key: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    agent: str = Field(default="", sa_column_kwargs={"server_default": ""})
    began_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LogRow(Row, table=True):
    __tablename__ = "log"
    seq: int | None = Field(default=None, primary_key=True, sa_type=SERIAL)
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str
    kind: str
    subject: str = Field(index=True)
    body: str = Field(sa_type=Text)


class OutboxRow(Row, table=True):
    """One row a (kind, request, place) that is to be brought up to date; `wanted` grows with each
    wish, so that a wish made while the row is being worked on is not lost. `place`: one of those
    that a channel has, empty for what goes to no place in particular.
    """

    __tablename__ = "outbox"
    __table_args__: Any = (
        UniqueConstraint("kind", "request_id", "place"),
        Index(
            "ix_outbox_due",
            "due_at",
            postgresql_where=text("state = 'pending'"),
            sqlite_where=text("state = 'pending'"),
        ),
        CheckConstraint("state IN ('pending','done','dead')", name="state"),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=SERIAL)
    kind: str
    request_id: str
    wanted: int = 1
    state: str = "pending"
    due_at: datetime = Field(sa_type=UtcDateTime)
    tries: int = 0
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str = Field(default="", sa_type=Text)
    place: str = Field(default="", sa_column_kwargs={"server_default": ""})


class NoticeRow(Row, table=True):
    """A message that shows a request: `place` and `message` are the channel's own ids; an empty
    `message`: it was meant to be posted, and whether it was is to be found out. `told`: lines of
    the story below it. `digest`: it shows other requests, too.
    """

    __tablename__ = "notice"
    __table_args__: Any = (Index("ix_notice_place", "channel", "place"),)
    channel: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    place: str = Field(primary_key=True)
    message: str
    revision: int
    told: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    posted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    digest: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class CardRow(Row, table=True):
    """A revision of a card as it was drawn; buttons carry the token and nothing else."""

    __tablename__ = "card"
    __table_args__: Any = (UniqueConstraint("request_id", "channel", "revision"),)
    token: str = Field(primary_key=True)
    request_id: str
    channel: str
    revision: int
    body: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)


class ClickRow(Row, table=True):
    """A raw click, stored before it is acknowledged."""

    __tablename__ = "click"
    id: str = Field(primary_key=True)
    source: str
    payload: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    result: str = Field(default="", sa_type=Text)


class SignedRow(Row, table=True):
    """A signed message that was taken; the same one again changes nothing."""

    __tablename__ = "signed"
    digest: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    repeats: int = 0


class KeyRow(Row, table=True):
    """`digest` is SHA-256 of a 256-bit random secret: nothing to guess, nothing to salt.
    `actions`: patterns of those that an executor's key may take, a JSON list.
    """

    __tablename__ = "api_key"
    __table_args__: Any = (CheckConstraint("scope IN ('flow','executor','admin')", name="scope"),)
    id: str = Field(primary_key=True)
    digest: str = Field(unique=True)
    scope: str
    agent: str
    on_behalf_of: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    actions: str = Field(
        default=ANY_ACTION,
        sa_type=Text,
        sa_column_kwargs={"server_default": text(f"'{ANY_ACTION}'")},
    )
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SigningKeyRow(Row, table=True):
    """The public half of a key with which some server signs grants, from `signs_from` on until
    another of its keys takes over (`superseded_at`), or never again (`retired_at`).
    """

    __tablename__ = "signing_key"
    kid: str = Field(primary_key=True)
    jwk: str = Field(sa_type=Text)
    server: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    signs_from: datetime = Field(sa_type=UtcDateTime)
    superseded_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LoginLinkRow(Row, table=True):
    __tablename__ = "login_link"
    digest: str = Field(primary_key=True)
    person: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SessionRow(Row, table=True):
    __tablename__ = "session"
    digest: str = Field(primary_key=True)
    person: str
    csrf: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    stepped_up_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
