"""When time has next something to say of a request: a rung of its ladder, or its deadline."""

import sqlalchemy as sa
from alembic import op

from gates.store.tables import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("request", sa.Column("due_at", UtcDateTime(), nullable=True))
    op.execute("UPDATE request SET due_at = deadline_at")
    op.create_index(
        "ix_request_due",
        "request",
        ["due_at"],
        postgresql_where=sa.text("outcome IS NULL"),
        sqlite_where=sa.text("outcome IS NULL"),
    )
