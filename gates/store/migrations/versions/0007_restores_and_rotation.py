"""Requests know that they came through a restore; keys can have an end."""

import sqlalchemy as sa
from alembic import op

from gates.store.tables import UtcDateTime

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "request", sa.Column("restored", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("api_key", sa.Column("expires_at", UtcDateTime(), nullable=True))
