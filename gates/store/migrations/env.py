"""Alembic runs inside the caller's transaction, so that a half-made schema is never left."""

from alembic import context
from sqlalchemy import text

from gates.store.tables import Row

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    # Several servers may start at once: the others wait here, then find nothing to do.
    connection.execute(text("SELECT pg_advisory_xact_lock(712463)"))
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
