"""Signed messages that were taken are remembered while they could be sent again."""

import sqlalchemy as sa
from alembic import op

from gates.store.tables import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "signed",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False, server_default="0"),
    )
    op.create_index("ix_signed_expires_at", "signed", ["expires_at"])
