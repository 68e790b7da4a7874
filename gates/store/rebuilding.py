"""For migrations: change a table without losing what guards it.

SQLite cannot change a constraint in place. Alembic writes the table anew, moves the rows and
drops the old table, and with it go its triggers, which are half of what the store promises; CHECK
constraints it does not read back at all. `Database.migrate` keeps references from counting
meanwhile, and checks them before it commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy import Connection

from gates.core.errors import InvalidInput


@contextmanager
def altered(table: str) -> Iterator[BatchOperations]:
    """Alembic's batch of changes to one table; its triggers are there again afterwards.

    A trigger whose own condition is to change is dropped before and made anew after this block.
    """
    connection = op.get_bind()
    kept: list[str] = []
    if connection.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
        kept = list(connection.exec_driver_sql(query, (table,)).scalars())
    with op.batch_alter_table(table, recreate="auto") as batch:
        yield batch
    if kept and not _there(table):
        for trigger in kept:
            connection.exec_driver_sql(trigger)


def _there(table: str) -> bool:
    """Whether the table still has its triggers: some changes need no new table."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
    return op.get_bind().exec_driver_sql(query, (table,)).first() is not None


def rebuild(connection: Connection, table: str, old: str, new: str) -> None:
    """SQLite's table again, with `old` replaced by `new` in its definition and all else as it is
    (https://www.sqlite.org/lang_altertable.html, section 7).

    Raises InvalidInput where the definition does not hold `old` exactly once.
    """
    query = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ? AND sql NOT NULL"
    parts = connection.exec_driver_sql(query, (table,)).all()
    (definition,) = (sql for kind, name, sql in parts if kind == "table" and name == table)
    if definition.count(old) != 1:
        raise InvalidInput(
            f"Table {table!r} of this database is not as its revision says: {old!r} is not in it. "
            "Restore a backup, or ask the maintainers."
        )
    draft = f"{table}__new"
    made = definition.replace(old, new).replace(f"CREATE TABLE {table} ", f"CREATE TABLE {draft} ")
    made = made.replace(f'CREATE TABLE "{table}" ', f"CREATE TABLE {draft} ")
    connection.exec_driver_sql(made)
    connection.exec_driver_sql(f"INSERT INTO {draft} SELECT * FROM {table}")  # noqa: S608 - our own names
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE {draft} RENAME TO {table}")
    for kind, _name, sql in parts:
        if kind != "table":
            connection.exec_driver_sql(sql)
