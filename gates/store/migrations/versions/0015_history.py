"""Sums and history are found fast; standing approvals; what a second policy would have said."""

import sqlalchemy as sa
from alembic import op

from gates.store.guards import create_guards
from gates.store.tables import SERIAL, UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

GUARDS = [
    ("standing_approval", "DELETE", "", "standing approvals are kept"),
    (
        "standing_approval",
        "UPDATE",
        "OLD.limits IS DISTINCT FROM NEW.limits OR OLD.given_by IS DISTINCT FROM NEW.given_by"
        " OR OLD.ends_at IS DISTINCT FROM NEW.ends_at OR NEW.used < OLD.used"
        " OR OLD.most_uses IS DISTINCT FROM NEW.most_uses"
        " OR OLD.most_minor IS DISTINCT FROM NEW.most_minor OR NEW.used_minor < OLD.used_minor",
        "what was given beforehand does not change",
    ),
    (
        "standing_approval",
        "UPDATE",
        "OLD.revoked_at IS NOT NULL AND OLD.revoked_at IS DISTINCT FROM NEW.revoked_at",
        "what was revoked stays revoked",
    ),
    ("standing_use", "UPDATE", "", "what was spent is spent"),
    ("standing_use", "DELETE", "", "what was spent is spent"),
]


def upgrade() -> None:
    op.create_index("ix_request_counterparty_settled_at", "request", ["counterparty", "settled_at"])
    op.create_index("ix_request_agent_settled_at", "request", ["agent", "settled_at"])
    op.create_index("ix_request_fingerprint", "request", ["fingerprint"])
    for outcome in ("approved", "rejected"):
        where = sa.text(f"outcome = '{outcome}'")
        op.create_index(
            f"ix_request_{outcome}",
            "request",
            ["agent", "action", "opened_at"],
            postgresql_where=where,
            sqlite_where=where,
        )
    _standing()
    _shadow()
    dialect = op.get_bind().dialect.name
    for statement in create_guards(dialect, revision, GUARDS):
        op.execute(statement)


def _standing() -> None:
    op.create_table(
        "standing_approval",
        sa.Column("number", SERIAL, primary_key=True),
        sa.Column("given_by", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("given_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("most_uses", sa.Integer(), nullable=False),
        sa.Column("most_minor", sa.BigInteger(), nullable=True),
        sa.Column("used", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("used_minor", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=False, server_default=""),
        sa.CheckConstraint("most_uses = 0 OR used <= most_uses", name="uses"),
        sa.CheckConstraint("most_minor IS NULL OR used_minor <= most_minor", name="total"),
        sa.CheckConstraint("most_uses > 0 OR most_minor IS NOT NULL", name="bounded"),
        sa.CheckConstraint("(revoked_at IS NULL) = (revoked_by = '')", name="revoked"),
    )
    op.create_index("ix_standing_approval_ends_at", "standing_approval", ["ends_at"])
    op.create_table(
        "standing_use",
        sa.Column(
            "number",
            sa.BigInteger(),
            sa.ForeignKey("standing_approval.number", deferrable=True, initially="DEFERRED"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column(
            "request_id",
            sa.String(),
            sa.ForeignKey("request.id", deferrable=True, initially="DEFERRED"),
            primary_key=True,
        ),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
    )


def _shadow() -> None:
    op.create_table(
        "shadow_policy",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("judged", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer(), nullable=False, server_default="0"),
    )
    op.create_table(
        "shadow_difference",
        sa.Column("request_id", sa.String(), primary_key=True),
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("active_digest", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("active", sa.String(), nullable=False),
        sa.Column("shadow", sa.String(), nullable=False),
        sa.Column("active_rules", sa.Text(), nullable=False),
        sa.Column("shadow_rules", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_shadow_difference_digest_at", "shadow_difference", ["digest", "at"])
