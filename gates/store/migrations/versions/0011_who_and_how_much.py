"""Whom an action is about, who asks for it and how much it moves, where sums can be made of it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("request", sa.Column("agent", sa.String(), nullable=False, server_default=""))
    op.add_column(
        "request", sa.Column("counterparty", sa.String(), nullable=False, server_default="")
    )
    op.add_column("request", sa.Column("amount_minor", sa.BigInteger(), nullable=True))
    op.add_column("request", sa.Column("currency", sa.String(), nullable=False, server_default=""))
    op.create_index("ix_request_counterparty", "request", ["counterparty", "opened_at"])
    op.create_index("ix_request_agent", "request", ["agent", "opened_at"])
