"""SQL that is compiled once a dialect and then only bound.

Each command runs a dozen small statements. SQLAlchemy writes them and knows the types; but its
unit of work, and even a cached `execute`, cost ten times what the database takes for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import CompilerElement
from sqlalchemy.types import TypeEngine

Values = Mapping[str, Any]


class Statement:
    """`columns` are the names to bind where the clause does not say them (INSERT)."""

    def __init__(self, clause: CompilerElement, columns: Sequence[str] | None = None) -> None:
        self.clause = clause
        self.columns = columns
        self._texts: dict[str, _Text] = {}

    def _text(self, dialect: Dialect) -> _Text:
        found = self._texts.get(dialect.name)
        if found is None:
            found = self._texts[dialect.name] = _Text(self.clause, dialect, self.columns)
        return found

    def send(self, cursor: Any, dialect: Dialect, rows: Sequence[Values]) -> None:
        """Raises the driver's own errors: see `told`."""
        text = self._text(dialect)
        if len(rows) == 1:
            cursor.execute(text.sql, text.bound(rows[0]))
        else:
            cursor.executemany(text.sql, [text.bound(row) for row in rows])

    def reader(self, dialect: Dialect) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """What it selects, as Python's values."""
        return self._text(dialect).read


@contextmanager
def told(connection: Connection) -> Iterator[None]:
    """The driver's errors as SQLAlchemy's; a lost connection is not used again."""
    dialect = connection.dialect
    errors: type[Exception] = dialect.loaded_dbapi.Error
    try:
        yield
    except errors as error:
        lost = dialect.is_disconnect(error, connection.connection, None)  # type: ignore[arg-type]
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, errors, connection_invalidated=lost, dialect=dialect
        ) from error


class _Text:
    """A statement as one driver takes it."""

    def __init__(
        self, clause: CompilerElement, dialect: Dialect, columns: Sequence[str] | None
    ) -> None:
        compiled: Any = clause.compile(
            dialect=dialect, column_keys=list(columns) if columns is not None else None
        )
        self.sql: str = compiled.string
        self._fixed: dict[str, Any] = dict(compiled.params)
        binds = {name: bind.type for bind, name in compiled.bind_names.items()}
        self._positional: bool = compiled.positional
        order = compiled.positiontup if compiled.positional else binds
        self._binds = [(name, _binder(binds[name], dialect)) for name in order]
        selected = clause.selected_columns if isinstance(clause, Select) else ()
        self._readers = [_reader(column.type, dialect) for column in selected]

    def bound(self, values: Values) -> Any:
        fixed = self._fixed
        pairs = [
            (name, values[name] if name in values else fixed[name], bind)
            for name, bind in self._binds
        ]
        if self._positional:
            return tuple([value if bind is None else bind(value) for _, value, bind in pairs])
        return {name: value if bind is None else bind(value) for name, value, bind in pairs}

    def read(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            [
                value if read is None else read(value)
                for value, read in zip(row, self._readers, strict=True)
            ]
        )


def _binder(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reader(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
