"""Keys that sign grants, and the one time that a grant is redeemed."""

import sqlalchemy as sa
from alembic import op

from gates.store.guards import create_guards
from gates.store.tables import UtcDateTime

revision = "0005"
down_revision = "0002"
branch_labels = None
depends_on = None

GUARDS = [
    (
        "attempt",
        "UPDATE",
        "OLD.redeemed_at IS NOT NULL AND NEW.redeemed_at IS DISTINCT FROM OLD.redeemed_at",
        "a grant is redeemed once",
    ),
    ("signing_key", "DELETE", "", "signing keys are kept"),
    (
        "signing_key",
        "UPDATE",
        "NEW.kid <> OLD.kid OR NEW.jwk <> OLD.jwk OR (OLD.retired_at IS NOT NULL"
        " AND NEW.retired_at IS DISTINCT FROM OLD.retired_at)",
        "a signing key does not change, and a retired one stays retired",
    ),
]


def upgrade() -> None:
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.String(), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("signs_from", UtcDateTime(), nullable=False),
        sa.Column("superseded_at", UtcDateTime(), nullable=True),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    op.add_column("attempt", sa.Column("redeemed_at", UtcDateTime(), nullable=True))
    for statement in create_guards(op.get_bind().dialect.name, revision, GUARDS):
        op.execute(statement)
