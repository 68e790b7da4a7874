"""Which of the actions that ran by themselves were drawn to be looked at, and were."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("request", sa.Column("review", sa.String(), nullable=True))
    op.create_index(
        "ix_request_to_review",
        "request",
        ["opened_at"],
        postgresql_where=sa.text("review = 'wanted'"),
        sqlite_where=sa.text("review = 'wanted'"),
    )
