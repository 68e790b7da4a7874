"""A store that an earlier release left, with requests in every state, goes on under this one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from gates.core.errors import InvalidInput
from gates.core.model import ExecutionState, Standing
from gates.outbox import Outbox
from gates.store.database import Database, revisions
from gates.store.rebuilding import altered
from gates.store.tables import LogRow, OutboxRow, RequestRow
from tests.support.stores import Frozen, clock, fingerprint
from tests.support.world import World

AMOUNTS = {
    "lapsed": "501.00",
    "executing": "503.00",
    "queued": "505.00",
    "one-of-two": "20000.00",
    "asleep": "5000.00",
    "approved": "5001.00",
    "approved-asleep": "5002.00",
    "unclear": "506.00",
}
GUARDS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
}
SHAPE = {
    "sqlite": """
        SELECT type, name, tbl_name, sql FROM sqlite_master
        WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name
    """,
    "postgresql": """
        SELECT table_name, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', ''
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT proname, prosrc, '', '', '' FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3
    """,
}
BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def frozen() -> Frozen:
    return Frozen.read()


@pytest.fixture(params=["sqlite", "postgresql"])
def left(request: pytest.FixtureRequest, tmp_path: Path, frozen: Frozen) -> Iterator[Database]:
    """The store as the earlier release left it."""
    store = Database(url(request.param, tmp_path, request))
    frozen.put_into(store)
    yield store
    assert store.engine.pool.checkedout() == 0, "a connection leaked"
    store.close()


def url(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder / 'left.sqlite'}"
    return str(request.getfixturevalue("postgres_database"))


def asked(database: Database, *queries: str) -> list[Any]:
    with database.read() as session:
        return [list(session.connection().execute(sa.text(one))) for one in queries]


def test_the_first_schema_stays_as_it_was(tmp_path: Path, frozen: Frozen) -> None:
    """Its migration makes what it made when it was released: changes are new migrations."""
    store = Database(f"sqlite:///{tmp_path / 'first.sqlite'}")
    store.migrate(frozen.revision)
    assert fingerprint(store) == frozen.schema
    store.close()


def test_open_requests_go_on_after_an_upgrade(left: Database, frozen: Frozen) -> None:
    """Each kind of unfinished request comes to its end, and everything is paid once."""
    left.migrate()
    world = World(left, clock=clock())
    for request_id in frozen.requests.values():
        assert world.gates.view(request_id).request.id == request_id
    assert len(world.gates.recent(100)) + len(world.gates.waiting(100)) == 10

    world.decide(frozen.requests["one-of-two"], "mika")
    world.decide(frozen.requests["asleep"], "dana")
    for doubt in [one for one in world.gates.waiting() if one.request.purpose == "in_doubt"]:
        world.decide(doubt.request.id, "dana")
    for label in ("one-of-two", "asleep", "approved", "approved-asleep", "unclear"):
        assert carry_on(world, label) is Standing.EXECUTING, label
    world.clock.advance(minutes=2)
    assert world.work.lapse() == 1  # what was executing when the old server stopped
    world.clock.advance(minutes=2)
    while job := world.lease():
        world.perform(job)
    for label in AMOUNTS:
        assert carry_on(world, label) is Standing.SUCCEEDED, label
    assert sorted(world.till.paid.values()) == sorted(AMOUNTS.values())


def carry_on(world: World, label: str) -> Standing:
    """What the run of this request hears when it proposes again."""
    world.run = f"run-{label}"
    return world.propose(AMOUNTS[label]).standing


def test_what_was_done_stays_done(left: Database, frozen: Frozen) -> None:
    """Results are given again, not made again; endings are told as they were."""
    left.migrate()
    world = World(left, clock=clock())
    world.run = "run-done"
    again = world.propose("500.00")
    assert (again.standing, again.result) == (Standing.SUCCEEDED, {"paid": "500.00"})
    for label, standing in (
        ("rejected", Standing.REJECTED),
        ("withdrawn", Standing.CANCELLED),
        ("expired", Standing.EXPIRED),
    ):
        world.run = f"run-{label}"
        amount = {"rejected": "5003.00", "withdrawn": "5004.00", "expired": "5006.00"}[label]
        assert world.propose(amount).standing is standing
    failed = world.gates.view(frozen.requests["failed"])
    assert failed.execution is not None
    assert failed.execution.state is ExecutionState.FAILED


def test_the_log_is_kept_to_the_letter(left: Database, frozen: Frozen) -> None:
    """An upgrade adds to it at most."""
    left.migrate()
    with left.read() as session:
        kept = session.exec(select(LogRow).order_by(LogRow.seq)).all()
    old = frozen.tables["log"]
    assert [(row.seq, row.actor, row.kind, row.subject, row.body) for row in kept[: len(old)]] == [
        (row["seq"], row["actor"], row["kind"], row["subject"], row["body"]) for row in old
    ]


def test_promised_deliveries_are_kept(left: Database) -> None:
    """Wishes of the old release are seen to by the new one."""
    left.migrate()
    told: list[str] = []

    def tell(request_id: str) -> bool:
        told.append(request_id)
        return True

    kinds = ("cards", "tell", "ring")
    outbox = Outbox(left, dict.fromkeys(kinds, tell), clock())
    for kind in kinds:
        while outbox.work(kind) == 0:
            pass
    with left.read() as session:
        assert {row.state for row in session.exec(select(OutboxRow)).all()} == {"done"}
    assert len(told) >= 20


def test_numbers_go_on_where_they_were(left: Database) -> None:
    """What is written after the upgrade has higher numbers than anything before it."""
    left.migrate()
    with left.read() as session:
        before = session.exec(sa.select(sa.func.max(LogRow.seq))).scalar_one()
    World(left, clock=clock()).propose("20000.00")
    with left.read() as session:
        new = session.exec(select(LogRow).where(LogRow.seq > before)).all()
        assert len(new) >= 2
        assert len(session.exec(select(RequestRow)).all()) == 18


def test_a_migrated_store_is_a_new_store(left: Database, tmp_path: Path) -> None:
    """To the last column, constraint, index and trigger: nothing was lost on the way."""
    kind = left.engine.dialect.name
    left.migrate()
    if kind == "postgresql":
        found = asked(left, SHAPE[kind])
        with left.write() as session:
            session.connection().execute(sa.text("DROP SCHEMA public CASCADE"))
            session.connection().execute(sa.text("CREATE SCHEMA public"))
        left.migrate()
        assert asked(left, SHAPE[kind]) == found
        return
    fresh = Database(f"sqlite:///{tmp_path / 'fresh.sqlite'}")
    fresh.migrate()
    assert asked(left, SHAPE[kind]) == asked(fresh, SHAPE[kind])
    fresh.close()


@BOTH
def test_no_migration_loses_a_guard(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every trigger that one revision has is there in the next: SQLite drops them with the table
    that a migration writes anew.
    """
    store = Database(url(kind, tmp_path, request))
    guards: set[str] = set()
    for revision in revisions():
        store.migrate(revision)
        now = {row[0] for row in asked(store, GUARDS[kind])[0]}
        assert guards - now == set(), f"migration {revision} loses a guard: use store.rebuilding"
        guards = now
    assert len(guards) >= 15
    store.close()


def test_a_store_of_a_newer_release_is_refused(database: Database) -> None:
    """An older server neither starts on it nor touches it, and says what to do."""
    with database.write() as session:
        session.connection().execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidInput, match=r"9999.*Install that release, or restore a backup"):
        database.migrate()
    assert database.revision() == "9999"


@BOTH
def test_servers_that_start_at_once_upgrade_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, frozen: Frozen
) -> None:
    """Four servers on one store of an earlier release: all come up, and nothing is lost."""
    address = url(kind, tmp_path, request)
    store = Database(address)
    frozen.put_into(store)
    code = "import sys; from gates.store.database import Database; input(); "
    code += "Database(sys.argv[1]).migrate()"
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", code, address],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("\n")
        server.stdin.flush()
    told = [server.communicate()[1] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0, 0], told
    assert store.revision() == revisions()[-1]
    assert World(store, clock=clock()).gates.view(frozen.requests["asleep"]).suspended
    store.close()


def test_a_rebuilt_table_keeps_its_rows_and_guards(left: Database) -> None:
    """What `altered` changes comes back with all rows, references, indexes and triggers."""
    left.migrate()
    kind = left.engine.dialect.name
    before = asked(left, GUARDS[kind], "SELECT count(*) FROM request")
    with (
        left.engine.connect() as connection,
        left.rebuildable(connection),
        connection.begin(),
        Operations.context(MigrationContext.configure(connection)),
        altered("request") as to,
    ):
        to.drop_constraint("ck_request_settled", type_="check")
    assert asked(left, GUARDS[kind], "SELECT count(*) FROM request") == before
    with pytest.raises(DBAPIError, match="requests are kept"), left.write() as session:
        session.connection().execute(sa.text("DELETE FROM request"))
