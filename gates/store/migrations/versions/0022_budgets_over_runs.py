"""What an agent or a subject has used in all runs is summed from an index alone; and what people
have answered about that is found without reading other questions.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_loop_call_agent", "loop_call", ["agent", "at", "cost", "tokens"])
    op.create_index(
        "ix_loop_call_business_key", "loop_call", ["business_key", "at", "cost", "tokens"]
    )
    op.add_column(
        "request", sa.Column("business_key", sa.Text(), nullable=False, server_default="")
    )
    op.add_column("request", sa.Column("budget", sa.Text(), nullable=True))
    where = sa.text("budget IS NOT NULL")
    op.create_index(
        "ix_request_budget",
        "request",
        ["budget", "settled_at"],
        postgresql_where=where,
        sqlite_where=where,
    )
