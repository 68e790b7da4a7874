"""People may send a request back."""

from alembic import op

from gates.store.rebuilding import rebuild

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OLD = "outcome IN ('approved','rejected','expired','cancelled','voided')"
NEW = "outcome IN ('approved','rejected','sent_back','expired','cancelled','voided')"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        rebuild(connection, "request", OLD, NEW)
        return
    op.drop_constraint(op.f("ck_request_outcome"), "request", type_="check")
    op.create_check_constraint(op.f("ck_request_outcome"), "request", NEW)
