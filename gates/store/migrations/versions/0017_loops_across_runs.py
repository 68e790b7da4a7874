"""Failures are counted over runs: calls and questions are found by what was called."""

from alembic import op

revision = "0017"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_request_fingerprint", "request", ["fingerprint"])
    op.drop_index("ix_loop_call_scope", "loop_call")
    op.create_index("ix_loop_call_same", "loop_call", ["action", "arguments_digest", "at"])
