"""The first schema, with the invariants that no application code can skip."""

import sqlalchemy as sa
from alembic import op

from gates.store.tables import SERIAL, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("on_behalf_of", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("scope IN ('flow','executor','admin')", name=op.f("ck_api_key_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    op.create_table(
        "card",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_card")),
        sa.UniqueConstraint(
            "request_id", "channel", "revision", name=op.f("uq_card_request_id_channel_revision")
        ),
    )
    op.create_table(
        "click",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_click")),
    )
    op.create_table(
        "log",
        sa.Column("seq", SERIAL, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_log")),
    )
    with op.batch_alter_table("log", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_log_subject"), ["subject"], unique=False)

    op.create_table(
        "login_link",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login_link")),
    )
    op.create_table(
        "loop_call",
        sa.Column("seq", SERIAL, nullable=False),
        sa.Column("attempt_id", sa.String(), nullable=False),
        sa.Column("root_run_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("arguments_digest", sa.String(), nullable=False),
        sa.Column("outcome_digest", sa.String(), nullable=False),
        sa.Column("error_class", sa.String(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_loop_call")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_loop_call_attempt_id")),
    )
    with op.batch_alter_table("loop_call", schema=None) as batch_op:
        batch_op.create_index(
            "ix_loop_call_scope", ["root_run_id", "action", "arguments_digest"], unique=False
        )

    op.create_table(
        "notice",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "request_id", "place", name=op.f("pk_notice")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('pending','done','dead')", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("kind", "request_id", name=op.f("uq_outbox_kind_request_id")),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(
            "ix_outbox_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("state = 'pending'"),
            sqlite_where=sa.text("state = 'pending'"),
        )

    op.create_table(
        "run",
        sa.Column("root_run_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("root_run_id", name=op.f("pk_run")),
    )
    op.create_table(
        "session",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("csrf", sa.String(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_session")),
    )
    op.create_table(
        "request",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("gate_id", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("root_run_id", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("asks_people", sa.Boolean(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("deadline_at", UtcDateTime(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("outcome_body", sa.Text(), nullable=True),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("suspensions", sa.Integer(), nullable=False),
        sa.Column("asleep", sa.Boolean(), nullable=False),
        sa.Column("woken", sa.Integer(), nullable=False),
        sa.Column("collected", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('approved','rejected','expired','cancelled','voided')",
            name=op.f("ck_request_outcome"),
        ),
        sa.CheckConstraint(
            "(outcome IS NULL) = (settled_at IS NULL)", name=op.f("ck_request_settled")
        ),
        sa.ForeignKeyConstraint(
            ["root_run_id"],
            ["run.root_run_id"],
            name=op.f("fk_request_root_run_id"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request")),
        sa.UniqueConstraint("gate_id", "round", name=op.f("uq_request_gate_id_round")),
    )
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.create_index("ix_request_opened_at", ["opened_at"], unique=False)
        batch_op.create_index("ix_request_root_run_id", ["root_run_id"], unique=False)
        batch_op.create_index(
            "ix_request_waiting",
            ["deadline_at"],
            unique=False,
            postgresql_where=sa.text("outcome IS NULL"),
            sqlite_where=sa.text("outcome IS NULL"),
        )

    op.create_table(
        "event",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'decided') = (person IS NOT NULL)", name=op.f("ck_event_person")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["request.id"],
            name=op.f("fk_event_request_id"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("request_id", "seq", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(
            "uq_event_one_decision_a_person",
            ["request_id", "person"],
            unique=True,
            postgresql_where=sa.text("kind = 'decided'"),
            sqlite_where=sa.text("kind = 'decided'"),
        )

    op.create_table(
        "execution",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("queued_at", UtcDateTime(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("differences", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued','running','succeeded','failed','in_doubt')",
            name=op.f("ck_execution_state"),
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["request.id"],
            name=op.f("fk_execution_request_id"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_execution")),
    )
    with op.batch_alter_table("execution", schema=None) as batch_op:
        batch_op.create_index("ix_execution_state", ["state"], unique=False)

    op.create_table(
        "attempt",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_class", sa.String(), nullable=False),
        sa.Column("reconciling", sa.Boolean(), nullable=False),
        sa.Column("opened_round", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["execution.request_id"],
            name=op.f("fk_attempt_request_id"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("request_id", "number", name=op.f("uq_attempt_request_id_number")),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index(
            "ix_attempt_lease",
            ["lease_until"],
            unique=False,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )
        batch_op.create_index(
            "uq_attempt_one_open",
            ["request_id"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )

    for statement in _guards(op.get_bind().dialect.name):
        op.execute(statement)


# table, event, condition, message: refused by the database itself
GUARDS = [
    ("log", "UPDATE", "", "the log is append-only"),
    ("log", "DELETE", "", "the log is append-only"),
    ("event", "UPDATE", "", "events are append-only"),
    ("event", "DELETE", "", "events are append-only"),
    ("request", "DELETE", "", "requests are kept"),
    (
        "request",
        "UPDATE",
        "OLD.outcome IS NOT NULL AND NEW.outcome IS DISTINCT FROM OLD.outcome"
        " AND NOT (OLD.outcome = 'approved' AND NEW.outcome = 'voided')",
        "a request has one outcome",
    ),
    (
        "request",
        "UPDATE",
        "NEW.body <> OLD.body OR NEW.fingerprint <> OLD.fingerprint"
        " OR NEW.gate_id <> OLD.gate_id OR NEW.round <> OLD.round",
        "what was asked does not change",
    ),
    (
        "execution",
        "UPDATE",
        "OLD.state = 'succeeded' AND (NEW.state <> 'succeeded'"
        " OR NEW.result IS DISTINCT FROM OLD.result)",
        "an execution succeeds once",
    ),
    ("execution", "DELETE", "", "executions are kept"),
    (
        "attempt",
        "UPDATE",
        "OLD.ended_at IS NOT NULL AND NEW.state <> OLD.state",
        "an ended attempt does not change",
    ),
    ("attempt", "DELETE", "", "attempts are kept"),
    (
        "attempt",
        "UPDATE",
        "NEW.id <> OLD.id OR NEW.request_id <> OLD.request_id OR NEW.number <> OLD.number"
        " OR NEW.fence <> OLD.fence OR NEW.holder <> OLD.holder",
        "an attempt belongs to one request and one holder",
    ),
    (
        "attempt",
        "UPDATE",
        "OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at",
        "an ended attempt does not change",
    ),
    (
        "request",
        "UPDATE",
        "OLD.outcome IS NOT NULL AND NEW.outcome = OLD.outcome AND ("
        "NEW.outcome_body IS DISTINCT FROM OLD.outcome_body"
        " OR NEW.settled_at IS DISTINCT FROM OLD.settled_at)",
        "a request has one outcome",
    ),
    (
        "request",
        "UPDATE",
        "NEW.id <> OLD.id OR NEW.root_run_id <> OLD.root_run_id OR NEW.purpose <> OLD.purpose"
        " OR NEW.action <> OLD.action OR NEW.version < OLD.version",
        "what was asked does not change, and its version only grows",
    ),
]


def _guards(dialect: str) -> list[str]:
    statements = []
    for number, (table, event, condition, message) in enumerate(GUARDS):
        name = f"guard_{number:02d}_{table}_{event.lower()}"
        if dialect == "sqlite":
            # IS NOT compares with NULLs as IS DISTINCT FROM does, in every SQLite version
            when = f"WHEN {condition}" if condition else ""
            when = when.replace("IS DISTINCT FROM", "IS NOT")
            statements.append(
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} {when}"
                f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
            continue
        when = f"WHEN ({condition})" if condition else ""
        statements += [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; END $$",
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {when}"
            f" EXECUTE FUNCTION {name}()",
        ]
    if dialect == "postgresql":  # TRUNCATE passes row triggers by
        statements += [
            f"CREATE TRIGGER guard_truncate_{table} BEFORE TRUNCATE ON {table}"
            f" EXECUTE FUNCTION guard_0{number}_{table}_{event.lower()}()"
            for number, table, event in ((0, "log", "UPDATE"), (2, "event", "UPDATE"))
        ]
    return statements
