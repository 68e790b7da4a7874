"""Triggers that refuse what must never happen, on SQLite and PostgreSQL alike, for migrations.

0001 writes its own, for it is frozen; later migrations use these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Guard = tuple[str, str, str, str]  # table, event, condition (empty: always), message


def create_guards(dialect: str, revision: str, guards: Sequence[Guard]) -> Iterator[str]:
    """SQL statements; `revision` keeps the names apart."""
    for number, (table, event, condition, message) in enumerate(guards):
        name = f"guard_{revision}_{number:02d}_{table}_{event.lower()}"
        if dialect == "sqlite":
            # IS NOT compares with NULLs as IS DISTINCT FROM does, in every SQLite version
            when = f"WHEN {condition}" if condition else ""
            when = when.replace("IS DISTINCT FROM", "IS NOT")
            yield (
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} {when}"
                f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
            continue
        when = f"WHEN ({condition})" if condition else ""
        yield (
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; END $$"
        )
        yield (
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {when}"
            f" EXECUTE FUNCTION {name}()"
        )
