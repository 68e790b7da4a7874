"""What is delivered to several places waits, fails and is given up at each by itself."""

import sqlalchemy as sa
from alembic import op

from gates.store.rebuilding import rebuild
from gates.store.tables import UtcDateTime

revision = "0008"
down_revision = "0003"
branch_labels = None
depends_on = None

OLD = "CONSTRAINT uq_outbox_kind_request_id UNIQUE (kind, request_id)"
NEW = "CONSTRAINT uq_outbox_kind_request_id_place UNIQUE (kind, request_id, place)"


def upgrade() -> None:
    connection = op.get_bind()
    op.add_column("outbox", sa.Column("place", sa.String(), nullable=False, server_default=""))
    if connection.dialect.name == "sqlite":
        rebuild(connection, "outbox", OLD, NEW)
    else:
        op.drop_constraint(op.f("uq_outbox_kind_request_id"), "outbox", type_="unique")
        op.create_unique_constraint(
            op.f("uq_outbox_kind_request_id_place"), "outbox", ["kind", "request_id", "place"]
        )
    op.add_column("notice", sa.Column("told", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("notice", sa.Column("posted_at", UtcDateTime(), nullable=True))
    op.add_column(
        "notice", sa.Column("digest", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )
    op.create_index("ix_notice_place", "notice", ["channel", "place"])
