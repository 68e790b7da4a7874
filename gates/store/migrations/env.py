"""Alembic runs inside the caller's transaction, so that a half-made schema is never left."""

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from gates.core.errors import InvalidInput
from gates.store import freezes, second_factor, shadows, standing, versions
from gates.store.tables import Row

del freezes, second_factor, shadows, standing, versions  # they are imported for their tables

config = context.config.attributes
connection = config["connection"]
if connection.dialect.name == "postgresql":
    # Several servers may start at once: the others wait here, then find nothing to do.
    connection.execute(text("SELECT pg_advisory_xact_lock(712463)"))
# Looked at behind the lock: another server, of a newer release, may just have been at work.
found, known = MigrationContext.configure(connection).get_current_revision(), config["known"]
if found is not None and found not in known:
    raise InvalidInput(
        f"The store's schema is {found}, and this release knows none beyond {known[-1]}: a newer "
        "release has been at work here. Install that release, or restore a backup from before it."
    )
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
