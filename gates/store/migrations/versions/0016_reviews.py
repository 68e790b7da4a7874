"""Which of the actions that ran by themselves were drawn to be looked at, and were."""

import sqlalchemy as sa
from alembic import op

from gates.store.guards import create_guards

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


GUARDS = [
    (
        "request",
        "UPDATE",
        "NEW.review IS DISTINCT FROM OLD.review AND (OLD.review IS DISTINCT FROM 'wanted'"
        " OR NEW.review IS DISTINCT FROM 'done')",
        "what is looked at is drawn when it is opened, and stays drawn",
    ),
]


def upgrade() -> None:
    op.add_column("request", sa.Column("review", sa.String(), nullable=True))
    op.create_index(
        "ix_request_to_review",
        "request",
        ["opened_at"],
        postgresql_where=sa.text("review = 'wanted'"),
        sqlite_where=sa.text("review = 'wanted'"),
    )
    for statement in create_guards(op.get_bind().dialect.name, revision, GUARDS):
        op.execute(statement)
