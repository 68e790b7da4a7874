"""Failures about the same subject are found over runs, whatever else the arguments said."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_loop_call_subject", "loop_call", ["action", "business_key", "at"])
