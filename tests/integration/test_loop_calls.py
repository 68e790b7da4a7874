"""What a run's detector is fed with, while several servers write it on PostgreSQL."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from gates.core.loops import Call
from gates.store.database import Database
from gates.store.repository import Unit
from tests.integration.test_repeats import looks, old_call
from tests.support.world import World

BLOCKED = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def shared(empty_postgres: str) -> Iterator[World]:
    store = Database(empty_postgres)
    yield World(store)
    store.close()


def add(world: World, number: int) -> None:
    with world.database.write() as session:
        Unit(session, world.clock()).add_call(world.run, old_call(world, number))


def read(world: World, after: int) -> list[tuple[int, Call]]:
    with world.database.read() as session:
        return Unit(session, world.clock()).calls_of_run(world.run, after)


def await_end_or_lock(world: World, thread: threading.Thread) -> None:
    blocked = False
    while thread.is_alive() and not blocked:
        thread.join(0.01)
        with world.database.read() as session:
            blocked = bool(session.connection().execute(BLOCKED).scalar_one())


def test_a_call_that_commits_late_is_read_all_the_same(shared: World) -> None:
    """Whoever reads on from the last number that it knows misses none: in one run numbers are
    committed in their order.
    """
    looks(shared, "0")
    seen = read(shared, 0)
    quick = threading.Thread(target=add, args=(shared, 2))
    with shared.database.write() as session:
        slow = Unit(session, shared.clock())
        slow.add_call(shared.run, old_call(shared, 1))
        slow.flush()
        quick.start()
        await_end_or_lock(shared, quick)
        seen += read(shared, seen[-1][0])
    quick.join()
    seen += read(shared, seen[-1][0])
    assert [call.attempt_id for _, call in seen[1:]] == ["a1", "a2"]


def test_runs_do_not_wait_for_each_other(shared: World) -> None:
    """Only calls of one run have an order."""
    looks(shared, "0")
    with shared.database.write() as session:
        slow = Unit(session, shared.clock())
        slow.add_call(shared.run, old_call(shared, 1))
        slow.flush()
        shared.run = f"another{shared.run[7:]}"
        assert len(looks(shared, "0", "1")) == 2
