"""A run's calls are kept with what they were about and whose they were: budgets count them so."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "loop_call", sa.Column("business_key", sa.Text(), nullable=False, server_default="")
    )
    op.add_column("loop_call", sa.Column("agent", sa.String(), nullable=False, server_default=""))
