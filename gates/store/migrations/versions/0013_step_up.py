"""Authenticators of people, and when a session was stepped up with one."""

import sqlalchemy as sa
from alembic import op

from gates.store.guards import create_guards
from gates.store.tables import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

GUARDS = [
    (
        "authenticator",
        "UPDATE",
        "NEW.secret = OLD.secret AND NEW.last_step < OLD.last_step",
        "a code is taken once",
    ),
]


def upgrade() -> None:
    op.create_table(
        "authenticator",
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("wrong", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("waits_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_authenticator")),
    )
    op.add_column("session", sa.Column("stepped_up_at", UtcDateTime(), nullable=True))
    for statement in create_guards(op.get_bind().dialect.name, revision, GUARDS):
        op.execute(statement)
