"""When a call was proposed: what was proposed before another had ended stands beside it."""

import sqlalchemy as sa
from alembic import op

from gates.store.tables import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("loop_call", sa.Column("began_at", UtcDateTime(), nullable=True))
