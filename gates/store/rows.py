"""The rows of one transaction: read, remembered, and written back where they have changed.

What SQLAlchemy's session does, for the few tables of the hot path: one object a row, changes
found by comparing, everything written in one go before the next read or the commit. The
objects have a row's attributes and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, make_dataclass
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Table, bindparam, insert, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from gates.store.statements import Statement, Values, told

RowT = TypeVar("RowT", bound=SQLModel)
Kinds = Sequence[type[SQLModel]]


@cache
def table(kind: type[SQLModel]) -> Table:
    return cast("Table", kind.__table__)  # type: ignore[attr-defined]


@cache
def names(kind: type[SQLModel]) -> tuple[str, ...]:
    return tuple(table(kind).columns.keys())


@cache
def bare(kind: type[RowT]) -> type[RowT]:
    """The attributes of a row without SQLAlchemy's bookkeeping: made in a tenth of the time."""
    made = make_dataclass(f"Bare{kind.__name__}", names(kind), slots=True, eq=False)
    return cast("type[RowT]", made)


@cache
def _defaults(kind: type[SQLModel]) -> dict[str, Any]:
    fields = kind.model_fields.items()
    return {name: field.default for name, field in fields if not field.is_required()}


def new(kind: type[RowT], /, **values: Any) -> RowT:
    """A row that is not stored yet, its columns' defaults filled in."""
    made: RowT = bare(kind)(**_defaults(kind) | values)
    return made


class Rows:
    """Within one transaction of `connection`; `flush` before it ends."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._kept: dict[tuple[Any, ...], _Kept] = {}
        self._added: dict[Statement, list[Values]] = {}

    def read(self, kinds: Kinds, by: Statement, **values: Any) -> list[Any]:
        """A tuple of rows for each that is found; None in place of what an outer join lacks."""
        return self.read_all((kinds, by), **values)[0]

    def read_all(self, *wanted: tuple[Kinds, Statement], **values: Any) -> list[list[Any]]:
        """Several readings with the same values, on PostgreSQL in one round trip."""
        self.flush()
        sent = _sent(self.connection, [_Step(by, [values]) for _, by in wanted])
        found = []
        for (kinds, by), cursor in zip(wanted, sent, strict=True):
            read = by.reader(self.connection.dialect)
            found.append([tuple(self._cut(kinds, read(one))) for one in cursor.fetchall()])
            cursor.close()
        return found

    def value(self, by: Statement, *first: Statement, **values: Any) -> Any:
        """The one value that a statement answers; `first` is sent before it, in the same round
        trip.
        """
        self.flush()
        sent = _sent(self.connection, [_Step(one, [values]) for one in (*first, by)])
        found = sent[-1].fetchone()
        for cursor in sent:
            cursor.close()
        return found[0]

    def plain(self, by: Statement, **values: Any) -> list[Any]:
        """Tuples of what is no row of a table."""
        self.flush()
        (cursor,) = _sent(self.connection, [_Step(by, [values])])
        read = by.reader(self.connection.dialect)
        found = [tuple(read(one)) for one in cursor.fetchall()]
        cursor.close()
        return found

    def _cut(self, kinds: Kinds, values: tuple[Any, ...]) -> Iterator[Any]:
        at = 0
        for kind in kinds:
            end = at + len(names(kind))
            yield self._keep(kind, values[at:end])
            at = end

    def _keep(self, kind: type[SQLModel], values: tuple[Any, ...]) -> Any:
        key = (kind, *_key_of(kind)(values))
        if None in key:
            return None
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(kind, bare(kind)(*values), values)
        elif kept.stored != values:  # another transaction has changed it meanwhile
            kept.stored = values
            for name, value in zip(names(kind), values, strict=True):
                setattr(kept.row, name, value)
        return kept.row

    def known(self, kind: type[RowT], *key: Any) -> RowT | None:
        """A row that this transaction has seen or made."""
        kept = self._kept.get((kind, *key))
        return None if kept is None else cast("RowT", kept.row)

    def add(self, kind: type[SQLModel], row: Any, taken: Exception | None = None) -> None:
        """A new row. `taken` is raised where its key is another's, else IntegrityError."""
        key = (kind, *[getattr(row, name) for name in _key(kind)])
        self._kept[key] = _Kept(kind, row, None, taken)

    def note(self, statement: Statement, values: Values) -> None:
        """Something to be written that nobody reads again here."""
        self._added.setdefault(statement, []).append(values)

    def flush(self, *, commit: bool = False) -> None:
        """Raises what the database refuses. `commit` on PostgreSQL: in the same round trip."""
        steps = [step for kept in self._kept.values() if (step := kept.step())]
        steps += [_Step(statement, rows) for statement, rows in self._added.items()]
        self._added = {}
        if steps:
            try:
                sent = _sent(self.connection, steps, commit=commit)
            except IntegrityError as error:
                raise next(
                    (s.taken for s in steps if s.taken and s.clashes(error)), error
                ) from error
            for cursor in sent:
                cursor.close()


@dataclass(slots=True)
class _Step:
    statement: Statement
    rows: list[Values]
    taken: Exception | None = None
    kind: type[SQLModel] | None = None

    def clashes(self, error: IntegrityError) -> bool:
        """Whether it was the key that is another's."""
        assert self.kind is not None  # noqa: S101 - what can be taken is a row
        key = f"{table(self.kind).name}.{_key(self.kind)[0]}"  # as SQLite names it
        found = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        return found == f"pk_{table(self.kind).name}" or str(error.orig).endswith(f": {key}")


@dataclass(slots=True)
class _Kept:
    """`stored` is None for what is not stored yet."""

    kind: type[SQLModel]
    row: Any
    stored: tuple[Any, ...] | None
    taken: Exception | None = None

    def step(self) -> _Step | None:
        before, now = self.stored, _values(self.kind)(self.row)
        if now == before:
            return None
        columns, self.stored = names(self.kind), now
        if before is None:
            statement = insertion(self.kind, columns)
            return _Step(statement, [dict(zip(columns, now, strict=True))], self.taken, self.kind)
        changes = {
            name: new
            for name, old, new in zip(columns, before, now, strict=True)
            if new is not old and new != old
        }
        values = changes | {f"key_{name}": getattr(self.row, name) for name in _key(self.kind)}
        return _Step(_update(self.kind, tuple(changes)), [values])


def _sent(connection: Connection, steps: Sequence[_Step], *, commit: bool = False) -> list[Any]:
    """Cursors with the answers. One step alone is no pipeline, unless BEGIN goes with it."""
    driver: Any = connection.connection.driver_connection
    dialect, sent = connection.dialect, [driver.cursor() for _ in steps]
    alone = dialect.name == "sqlite" or (len(steps) == 1 and driver.autocommit)
    with told(connection), nullcontext() if alone else driver.pipeline():
        for cursor, step in zip(sent, steps, strict=True):
            step.statement.send(cursor, dialect, step.rows)
        if commit and not alone:
            driver.commit()
    return sent


@cache
def _key(kind: type[SQLModel]) -> tuple[str, ...]:
    return tuple(column.name for column in table(kind).primary_key)


@cache
def _key_of(kind: type[SQLModel]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    at = [names(kind).index(name) for name in _key(kind)]
    return lambda values: tuple([values[index] for index in at])


@cache
def _values(kind: type[SQLModel]) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*names(kind))


@cache
def insertion(kind: type[SQLModel], columns: tuple[str, ...]) -> Statement:
    return Statement(insert(table(kind)).inline(), columns)


@cache
def _update(kind: type[SQLModel], changed: tuple[str, ...]) -> Statement:
    columns = table(kind).columns
    where = [columns[name] == bindparam(f"key_{name}") for name in _key(kind)]
    return Statement(update(table(kind)).where(*where), changed)
