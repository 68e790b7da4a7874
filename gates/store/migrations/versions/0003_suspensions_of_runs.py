"""Suspensions are a run's, for all of its open requests at once."""

import sqlalchemy as sa
from alembic import op

from gates.store.tables import UtcDateTime

revision = "0003"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("suspensions", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("rung", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("wake_at", UtcDateTime(), nullable=True))
    op.add_column("run", sa.Column("seen_at", UtcDateTime(), nullable=True))
    op.add_column("run", sa.Column("ended_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_run_followed",
        "run",
        ["root_run_id"],
        postgresql_where=sa.text("ended_at IS NULL"),
        sqlite_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_run_wake_at",
        "run",
        ["wake_at"],
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
