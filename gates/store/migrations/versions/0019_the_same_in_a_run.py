"""What a run has proposed before, word for word, is found without reading the whole run."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_request_run_fingerprint", "request", ["root_run_id", "fingerprint"])
    op.drop_index("ix_request_root_run_id", table_name="request")
