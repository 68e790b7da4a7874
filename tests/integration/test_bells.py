"""Servers on one PostgreSQL hear of each other's commits."""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager

import pytest

from gates.client import GatesClient
from gates.core.model import Standing
from gates.store.bells import Bells
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from tests.support.browser import serving
from tests.support.world import World

FAR = 25.0  # seconds; the poll below waits 30, so what comes before this was woken
NEVER = 3_600.0  # seconds until somebody who was not woken would look again


class Ear:
    """What one server has heard; "missed" where it may have missed something."""

    def __init__(self, database: Database) -> None:
        self.told: queue.Queue[str] = queue.Queue()
        self.bells = Bells(database, self.told.put, lambda: self.told.put("missed"))

    def next(self) -> str:
        return self.told.get(timeout=60)


@pytest.fixture
def store(postgres_database: str) -> Iterator[Database]:
    made = Database(postgres_database)
    yield made
    made.close()


@contextmanager
def ears(database: Database, number: int) -> Iterator[list[Ear]]:
    """All of them listening."""
    found = [Ear(database) for _ in range(number)]
    for ear in found:
        ear.bells.start()
        assert ear.next() == "missed"
    try:
        yield found
    finally:
        for ear in found:
            ear.bells.stop()


def test_what_one_server_rings_the_others_hear(store: Database) -> None:
    """Each of the others, and not the one that rang: it has woken its own by itself."""
    with ears(store, 3) as (first, second, third):
        first.bells.tell("gate-a")
        assert (second.next(), third.next()) == ("gate-a", "gate-a")
        second.bells.tell("gate-b")
        assert (first.next(), third.next()) == ("gate-b", "gate-b")
        assert second.told.empty()


def test_many_at_once_all_arrive(store: Database) -> None:
    """More names than one message holds, whole."""
    names = {f"{number:032x}" for number in range(1_000)}
    with ears(store, 2) as (first, second):
        for name in names:
            first.bells.tell(name)
        assert {second.next() for _ in names} == names


def test_after_a_reconnection_everybody_looks_again(store: Database) -> None:
    """What was rung while nobody listened is lost, and is said to be."""
    with ears(store, 2) as (first, second):
        with store.write() as session:
            session.connection().exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN %%' AND datname = current_database()"
            )
        assert (first.next(), second.next()) == ("missed", "missed")
        first.bells.tell("gate-a")
        assert second.next() == "gate-a"


class Seen(Waiters):
    """Tells when somebody has begun to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.somebody = threading.Event()

    @asynccontextmanager
    async def on(self, name: str) -> AsyncIterator[asyncio.Event]:
        async with super().on(name) as bell:
            self.somebody.set()
            yield bell


def test_a_run_that_waits_on_one_server_is_woken_by_a_decision_on_another(
    postgres_database: str,
) -> None:
    """Two whole servers; nobody looks again by themselves, so that only the bell can wake."""
    with ExitStack() as stack:
        stores = [Database(postgres_database) for _ in range(2)]
        stores[0].migrate()
        here, there = (World(store) for store in stores)
        waiters = [Seen(), Seen()]
        for world, mine in zip((here, there), waiters, strict=True):
            stack.callback(world.database.close)
            listening = threading.Event()
            bells = Bells(world.database, mine.heard, listening.set)
            mine.beyond, world.gates.woken = bells.tell, mine.ring
            bells.start()
            stack.callback(bells.stop)
            assert listening.wait(60)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        app = create_app(here.gates, here.work, here.access, waiters[0], reread=NEVER)
        url = stack.enter_context(serving(app, bound))
        key = here.access.create_key("flow", "invoice-agent", "sam")
        client = stack.enter_context(GatesClient(url, key=key, patience=0))
        reply = client.propose(here.proposal("5000.00"))
        request_id, begun = reply.view.request.id, time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(
                client.wait, request_id, attempt_id="a", call=1, after=reply.version, seconds=30
            )
            assert waiters[0].somebody.wait(60)
            there.decide(request_id, "dana")
            assert answer.result().standing is Standing.CLAIMABLE
        assert time.monotonic() - begun < FAR, "nobody rang: the wait ran into its end"
