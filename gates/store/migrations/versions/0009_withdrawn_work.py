"""Work that waits for an executor can be withdrawn; an executor's key is for some actions."""

import sqlalchemy as sa
from alembic import op

from gates.store.guards import create_guards
from gates.store.rebuilding import rebuild

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OLD = "state IN ('queued','running','succeeded','failed','in_doubt')"
NEW = "state IN ('queued','running','succeeded','failed','in_doubt','withdrawn')"
GUARDS = [
    (
        "execution",
        "UPDATE",
        "OLD.state = 'withdrawn' AND NEW.state <> 'withdrawn'",
        "withdrawn work is never begun",
    ),
    (
        "execution",
        "UPDATE",
        "NEW.state = 'withdrawn' AND OLD.state NOT IN ('queued', 'withdrawn')",
        "only what waits in the queue is withdrawn",
    ),
]


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        rebuild(connection, "execution", OLD, NEW)
    else:
        op.drop_constraint(op.f("ck_execution_state"), "execution", type_="check")
        op.create_check_constraint(op.f("ck_execution_state"), "execution", NEW)
    op.add_column(
        "api_key", sa.Column("actions", sa.Text(), nullable=False, server_default='["*"]')
    )
    op.execute(  # what was queued for an approval that was taken back has waited for ever
        "UPDATE execution SET state = 'withdrawn' WHERE state = 'queued' AND request_id IN"
        " (SELECT id FROM request WHERE outcome <> 'approved')"
    )
    for statement in create_guards(connection.dialect.name, revision, GUARDS):
        op.execute(statement)
