"""Frozen stores of earlier schemas, and the way to put one into a database.

`make.py` says how each was made. The rows are those that the code of its time wrote.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gates.store.database import Database
from tests.support.world import Clock

HERE = Path(__file__).parent
LEFT_AT = datetime(2026, 11, 20, 11, 0, 42, tzinfo=UTC)  # what the frozen store's clock said


@dataclass(frozen=True)
class Frozen:
    """`requests`: ids by the name of what became of them."""

    revision: str
    schema: str
    requests: dict[str, str]
    tables: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, name: str = "store_0001.json") -> Frozen:
        return cls(**json.loads((HERE / name).read_text()))

    def put_into(self, database: Database) -> None:
        """The schema of its time, and its rows."""
        database.migrate(self.revision)
        known = sa.MetaData()
        with database.write() as session:
            connection = session.connection()
            known.reflect(connection)
            for name, rows in self.tables.items():
                table = known.tables[name]
                values = [
                    {key: typed(table.c[key], one) for key, one in row.items()} for row in rows
                ]
                if values:
                    connection.execute(table.insert(), values)
            if not database.is_sqlite:
                for table, column in (("log", "seq"), ("loop_call", "seq"), ("outbox", "id")):
                    number = f"pg_get_serial_sequence('{table}', '{column}')"
                    last = f"(SELECT max({column}) FROM {table})"  # noqa: S608
                    connection.execute(sa.text(f"SELECT setval({number}, {last})"))


def typed(column: sa.Column[Any], value: Any) -> Any:
    """SQLite's bare values as what the column holds."""
    if isinstance(column.type, sa.Boolean):
        return bool(value)
    if isinstance(column.type, sa.DateTime) and value is not None:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if column.type.timezone else at
    return value


def fingerprint(database: Database) -> str:
    """Of a SQLite store's schema, as `make.py` takes it."""
    with database.read() as session:
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
        made = session.connection().exec_driver_sql(query).scalars().all()
    return hashlib.sha256("\n".join(made).encode()).hexdigest()


def clock() -> Clock:
    return Clock(LEFT_AT)


__all__ = ["LEFT_AT", "Frozen", "clock", "fingerprint"]
