"""What the database itself refuses, whoever writes to it: alike on SQLite and PostgreSQL."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import select

from gates.core.errors import InvalidInput
from gates.core.messages import AttemptReport
from gates.core.model import Standing
from gates.store.database import Database
from gates.store.tables import LogRow, RequestRow, Row, RunRow
from tests.support.world import World

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def run(database: Database, statement: str, **values: Any) -> int:
    """Raw SQL, as somebody with the database's password would write it."""
    with database.write() as session:
        return session.connection().execute(sa.text(statement), values).rowcount


def refused(database: Database, words: str, statement: str, **values: Any) -> None:
    with pytest.raises(DBAPIError, match=words):
        run(database, statement, **values)


def copy(table: str, **changed: str) -> str:
    """An INSERT of the table's only row again, some columns changed."""
    names = [column.name for column in Row.metadata.tables[table].columns]
    values = [changed.get(name, f'"{name}"') for name in names]
    quoted = ", ".join(f'"{name}"' for name in names)
    return f'INSERT INTO "{table}" ({quoted}) SELECT {", ".join(values)} FROM "{table}" LIMIT 1'  # noqa: S608


def test_migrations_make_exactly_the_models(database: Database) -> None:
    """What the migrations leave is what the code expects, to the last index and constraint."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Row.metadata) == []
        stored = sa.inspect(connection)
        for table in Row.metadata.sorted_tables:
            expected = {c.name for c in table.constraints if isinstance(c, sa.CheckConstraint)}
            assert {c["name"] for c in stored.get_check_constraints(table.name)} == expected
            assert {c["name"] for c in stored.get_indexes(table.name)} >= {
                index.name for index in table.indexes
            }


def test_migrating_again_changes_nothing(database: Database) -> None:
    """A server that starts on a finished schema finds nothing to do and keeps the rows."""
    world = World(database)
    request_id = world.propose("20000.00").view.request.id
    database.migrate()
    assert world.gates.view(request_id).request.id == request_id


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_servers_that_start_at_once_migrate_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Four servers on one empty database: all come up, none fails, the schema is there."""
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_database")
    code = "import sys; from gates.store.database import Database; input(); "
    code += "Database(sys.argv[1]).migrate()"
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", code, url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for server in servers:  # all are loaded and wait for the word
        assert server.stdin is not None
        server.stdin.write("\n")
        server.stdin.flush()
    told = [server.communicate()[1] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0, 0], told
    store = Database(url)
    assert World(store).propose("500.00").standing is Standing.EXECUTING
    store.close()


def test_one_decision_a_person_and_round(database: Database) -> None:
    """A second decision of the same person in the same round does not fit into the table."""
    world = World(database)
    world.decide(world.propose("20000.00").view.request.id, "dana")
    again = copy("event", seq="99")
    refused(database, "(?i)unique|uq_event_one_decision", again)
    refused(database, "(?i)unique|pk_event", copy("event", person="'mika'"))
    refused(database, "ck_event_person", copy("event", seq="99", person="NULL"))


def test_one_outcome_and_only_a_drift_takes_an_approval_back(database: Database) -> None:
    """Nothing turns a rejection into an approval; an approval may become void, and stays so."""
    world = World(database)
    rejected = world.propose("20000.00", key="one").view.request.id
    world.decide(rejected, "dana", "reject", "no")
    change = "UPDATE request SET outcome = :outcome WHERE id = :id"
    for outcome in ("approved", "voided", "expired", None):
        refused(database, "one outcome", change, outcome=outcome, id=rejected)
    words = "UPDATE request SET outcome_body = '{}' WHERE id = :id"
    refused(database, "one outcome", words, id=rejected)
    approved = world.propose("5000.00", key="two").view.request.id
    world.decide(approved, "dana")
    refused(database, "one outcome", change, outcome="rejected", id=approved)
    refused(database, "ck_request_outcome|one outcome", change, outcome="maybe", id=approved)
    assert run(database, change, outcome="voided", id=approved) == 1
    refused(database, "one outcome", change, outcome="approved", id=approved)


def test_an_outcome_has_its_time(database: Database) -> None:
    """No outcome without a time, no time without an outcome."""
    request_id = World(database).propose("20000.00").view.request.id
    change = "UPDATE request SET outcome = 'approved' WHERE id = :id"
    refused(database, "ck_request_settled", change, id=request_id)


def test_what_was_asked_does_not_change(database: Database) -> None:
    """Neither the action nor who asked where can be rewritten, and requests are kept."""
    request_id = World(database).propose("20000.00").view.request.id
    for change in (
        "body = '{}'",
        "fingerprint = 'f'",
        "gate_id = 'g'",
        "round = 7",
        "purpose = 'loop'",
        "action = 'till.burn'",
        "id = 'other'",
        "version = 0",
    ):
        refused(database, "does not change", f"UPDATE request SET {change}")  # noqa: S608
    refused(database, "requests are kept", "DELETE FROM request WHERE id = :id", id=request_id)
    taken = copy("request", id="'other'")
    refused(database, "(?i)unique|uq_request_gate_id_round", taken)


def test_a_grant_is_used_once(database: Database) -> None:
    """One execution a request; what has succeeded stays succeeded, with its result."""
    world = World(database)
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    world.perform(job)
    refused(database, "(?i)unique|pk_execution", copy("execution"))
    for change in ("state = 'queued'", "state = 'failed'", "result = 'null'"):
        refused(database, "succeeds once", f"UPDATE execution SET {change}")  # noqa: S608
    refused(database, "(?i)executions are kept|foreign", "DELETE FROM execution")


def test_withdrawn_work_is_never_begun(database: Database) -> None:
    """And only what waits in the queue can be withdrawn."""
    world = World(database)
    world.propose("500.00")
    change = "UPDATE execution SET state = :state"
    assert run(database, change, state="withdrawn") == 1
    refused(database, "never begun", change, state="queued")
    world.propose("500.00", key="other")
    assert world.lease() is not None
    refused(database, "waits in the queue", f"{change} WHERE state = 'running'", state="withdrawn")


def test_one_open_attempt(database: Database) -> None:
    """A second open attempt does not fit; an ended one keeps its end, its fence and its owner."""
    world = World(database)
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    second = copy("attempt", id="'other'", number="2")
    refused(database, "(?i)unique|uq_attempt_one_open", second)
    refused(database, "one request and one holder", "UPDATE attempt SET fence = 9")
    refused(database, "one request and one holder", "UPDATE attempt SET holder = 'me'")
    world.perform(job)
    refused(database, "ended attempt", "UPDATE attempt SET state = 'failed'")
    refused(database, "ended attempt", "UPDATE attempt SET ended_at = NULL")
    refused(database, "attempts are kept", "DELETE FROM attempt")


@pytest.mark.parametrize("table", ["log", "event"])
def test_log_and_events_are_append_only(database: Database, table: str) -> None:
    """No UPDATE, no DELETE, and on PostgreSQL no TRUNCATE."""
    world = World(database)
    world.decide(world.propose("20000.00").view.request.id, "dana")
    refused(database, "append-only", f"UPDATE {table} SET body = '{{}}'")  # noqa: S608
    refused(database, "append-only", f"DELETE FROM {table}")  # noqa: S608
    if not database.is_sqlite:
        refused(database, "append-only", f"TRUNCATE {table} CASCADE")


def test_an_event_belongs_to_a_request(database: Database) -> None:
    """Foreign keys are held on both databases."""
    world = World(database)
    world.decide(world.propose("20000.00").view.request.id, "dana")
    refused(database, "(?i)foreign", copy("event", request_id="'nobody'"))


def test_times_are_aware_and_come_back_as_they_were(database: Database) -> None:
    """A time of another zone comes back as the same instant in UTC; a naive one is refused."""
    local = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.write() as session:
        session.add(RunRow(root_run_id="r", key_id="k", opened_at=local))
    with database.read() as session:
        stored = session.get(RunRow, "r")
        assert stored is not None
        assert (stored.opened_at, stored.opened_at.tzinfo) == (local, UTC)
    naive = RunRow(root_run_id="naive", key_id="k", opened_at=local.replace(tzinfo=None))
    with database.write() as session:
        session.add(naive)
        with pytest.raises(sa.exc.StatementError, match="no time zone"):
            session.flush()
        session.rollback()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    """What was written before the error is gone, and the next writer gets its turn."""

    def fail() -> None:
        with database.write() as session:
            session.add(RunRow(root_run_id="r", key_id="k", opened_at=NOW))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.write() as session:
        assert session.get(RunRow, "r") is None
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(RequestRow(id="x", **_bare()))
    with database.read() as session:
        assert session.exec(select(RequestRow)).all() == []


def test_a_command_that_fails_leaves_no_log(database: Database) -> None:
    """Rows, log and wishes are written together or not at all."""
    world = World(database)
    with database.read() as session:
        before = len(session.exec(select(LogRow)).all())
    world.propose("500.00", attempt_id="taken-by-this", name="note", in_process=True)
    with pytest.raises(InvalidInput, match="belongs to another request"):
        world.propose("1.00", name="note", in_process=True, key="b", attempt_id="taken-by-this")
    with database.read() as session:
        log = select(LogRow).order_by("seq").offset(before)
        kinds = [row.kind for row in session.exec(log).all()]
        assert kinds == ["request.opened", "grant.claimed"]
        assert len(session.exec(select(RequestRow)).all()) == 1


def test_an_error_text_that_no_database_can_hold_is_still_reported(database: Database) -> None:
    """A NUL in an error message must not keep a report away."""
    world = World(database)
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    report = AttemptReport(state="failed", fence=job.grant.fence, error="a\x00b")
    world.work.report(world.executor, job.grant.attempt_id, report)
    failure = world.propose("500.00").failure
    assert failure is not None
    assert failure.error == "a\N{REPLACEMENT CHARACTER}b"


def test_sqlite_is_durable_and_other_databases_are_refused(tmp_path: Path) -> None:
    """WAL and synchronous FULL on every connection; a URL of another kind is an error."""
    store = Database(f"sqlite:///{tmp_path / 'gates.sqlite'}")
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()
    with pytest.raises(InvalidInput, match=r"mysql://u:\*\*\*@host/db") as refusal:
        Database("mysql://u:secret@host/db")
    assert "secret" not in refusal.value.message


def _bare() -> dict[str, Any]:
    return {
        "gate_id": "g",
        "round": 1,
        "root_run_id": "nobody",
        "purpose": "action",
        "action": "a",
        "fingerprint": "f",
        "asks_people": False,
        "opened_at": NOW,
        "body": "{}",
    }
