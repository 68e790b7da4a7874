"""Failures are counted over runs: calls and questions are found by what was called. A run's calls
are kept with what its detector wants to know of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_loop_call_scope", "loop_call")
    op.create_index("ix_loop_call_same", "loop_call", ["action", "arguments_digest", "at"])
    op.create_index("ix_loop_call_run", "loop_call", ["root_run_id", "seq"])
    op.add_column("loop_call", sa.Column("answer", sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "loop_call",
        sa.Column("writes", sa.Boolean(), nullable=False, server_default=sa.text("true")),
    )
    for name in ("cost", "tokens"):
        op.add_column(
            "loop_call", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )
