"""The executor believes nobody: each word of a job has to be signed, and the world is looked at
again right before it acts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlmodel import select

from gates.actions import Registry
from gates.client import GatesClient
from gates.core.model import Job, Standing
from gates.executor import Executor
from gates.grants.held import Held
from gates.grants.trusted_keys import TrustedKeys
from gates.store.database import Database
from gates.store.tables import LogRow
from gates.web.app import create_app
from gates.web.waiters import Waiters
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.world import Till, World, burn, pay


@contextmanager
def served(folder: Path) -> Iterator[tuple[World, str]]:
    """A world of its own, with its store in `folder`, and its server's address."""
    folder.mkdir()
    database = Database(empty_sqlite(folder / "gates.sqlite"))
    world = World(database)
    app = create_app(world.gates, world.work, world.access, Waiters())
    with serving(app, free_socket()) as url:
        yield world, url
    database.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[World, str]]:
    with served(tmp_path / "true") as made:
        yield made


@contextmanager
def executor(world: World, url: str, till: Any = None, **options: Any) -> Iterator[Executor]:
    """`till`: what finds the executor's till, called after the lease and before the deed."""
    key = world.access.create_key("executor", "executor-1")
    registry = Registry.of([pay, burn], {Till: till or (lambda: world.till)})
    with GatesClient(url, key=key, patience=5) as client:
        yield Executor(client, registry, clock=world.clock, **options)


def jwks(world: World, file: Path) -> Path:
    keys = [dict(key.jwk) for key in world.gates.ring.published()]
    file.write_bytes(orjson.dumps({"keys": keys}))
    return file


def kinds(world: World) -> list[str]:
    with world.database.read() as session:
        return list(session.exec(select(LogRow.kind)).all())


def logged(world: World, kind: str) -> str:
    with world.database.read() as session:
        return session.exec(select(LogRow.body).where(LogRow.kind == kind)).one()


def test_a_job_is_verified_with_keys_that_were_fetched(house: tuple[World, str]) -> None:
    """And a job signed by a key that is newer than the last look is done too."""
    world, url = house
    with executor(world, url) as worker:
        for number in range(2):
            world.propose(f"50{number}.00", key=f"pay-{number}")
            assert worker.step(wait_seconds=5)
            world.gates.ring.rotate("ops")
        reply = world.propose("501.00", key="pay-1")
    assert reply.standing is Standing.SUCCEEDED
    assert len(world.till.paid) == 2


def test_an_impostor_with_a_key_of_its_own_gets_nothing_done(
    house: tuple[World, str], tmp_path: Path
) -> None:
    """Its jobs are in order but for the key, which the pinned file does not have; the refusal
    is reported and logged.
    """
    with served(tmp_path / "impostor") as (impostor, url):
        keys = TrustedKeys.pinned(jwks(house[0], tmp_path / "jwks.json"))
        with executor(impostor, url, keys=keys) as worker:
            impostor.propose("500.00")
            assert worker.step(wait_seconds=5)
        assert impostor.till.paid == {}
        assert "none of the known keys" in logged(impostor, "alarm.grant_not_verified")


def test_the_true_server_serves_an_executor_with_pinned_keys(
    house: tuple[World, str], tmp_path: Path
) -> None:
    """Pinned keys need no publishing server."""
    world, url = house
    keys = TrustedKeys.pinned(jwks(world, tmp_path / "jwks.json"))
    with executor(world, url, keys=keys) as worker:
        world.propose("500.00")
        assert worker.step(wait_seconds=5)
    assert len(world.till.paid) == 1


CHANGES: dict[str, Any] = {
    "another payee": lambda job: {
        "action": job.action.model_copy(update={"arguments": {"payee": "evil", "amount": "9.00"}})
    },
    "another action": lambda job: {"action": job.action.model_copy(update={"name": "till.burn"})},
    "another key": lambda _: {"idempotency_key": "GATE-0000000000000000"},
    "run what was to be looked for": lambda _: {"kind": "reconcile"},
    "another state": lambda _: {"precondition": {"account": "NL66"}},
    "another fence": lambda job: {"grant": job.grant.model_copy(update={"fence": 2})},
    "another attempt": lambda job: {"grant": job.grant.model_copy(update={"attempt_id": "x"})},
    "no token": lambda job: {"grant": job.grant.model_copy(update={"token": ""})},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_job_that_was_changed_on_its_way_is_not_done(
    house: tuple[World, str], change: str
) -> None:
    """Whatever of it is changed: it is all signed."""
    world, url = house
    with executor(world, url) as worker:
        job = taken(world, worker, "attempt-one")
        bad = job.model_copy(update=CHANGES[change](job))
        report = worker._perform(bad, "attempt-one", Held(bad.grant))
        assert (report.state, report.error_class) == ("failed", "InvalidGrant"), report
        assert world.till.paid == {}
        assert worker._perform(job, "attempt-one", Held(job.grant)).state == "succeeded"


def taken(world: World, worker: Executor, attempt_id: str) -> Job:
    world.propose("500.00")
    worker._audiences.add(f"key:{worker.client.key_id}")
    job = worker.client.lease(attempt_id, ["till.pay"], lease_seconds=60, wait_seconds=0)
    assert job is not None
    return job


def test_a_job_of_yesterday_is_not_done_again(house: tuple[World, str]) -> None:
    """Somebody in between kept it: it names an attempt that this executor did not ask for."""
    world, url = house
    with executor(world, url) as worker:
        job = taken(world, worker, "attempt-one")
        report = worker._perform(job, "attempt-two", Held(job.grant))
    assert "attempt_id" in report.error
    assert world.till.paid == {}


def test_another_executors_job_is_not_done(house: tuple[World, str]) -> None:
    """A grant is for one API key, whose id its holder knows without asking."""
    world, url = house
    with executor(world, url) as one, executor(world, url) as other:
        job = taken(world, one, "attempt-one")
        report = other._perform(job, "attempt-one", Held(job.grant))
    assert f"is for 'key:{one.client.key_id}', and this is" in report.error


def test_a_grant_that_ran_out_while_the_state_was_read_is_not_used(
    house: tuple[World, str],
) -> None:
    """A slow system must not stretch an approval."""
    world, url = house

    def slow() -> Till:
        world.clock.advance(seconds=120)
        return world.till

    with executor(world, url, slow) as worker:
        job = taken(world, worker, "attempt-one")
        report = worker._perform(job, "attempt-one", Held(job.grant))
    assert "expired" in report.error
    assert world.till.paid == {}


def test_a_change_between_lease_and_execution_asks_people_again(house: tuple[World, str]) -> None:
    """The approval was claimed, the job handed out; then the payee's account changed."""
    world, url = house
    asked = world.propose("5000.00")
    world.decide(asked.view.request.id, "dana")
    world.propose("5000.00")

    def changed() -> Till:
        world.till.accounts["acme"] = "NL66"
        return world.till

    with executor(world, url, changed) as worker:
        assert worker.step(wait_seconds=5)
        assert world.till.paid == {}
        second = world.propose("5000.00")
        assert (second.standing, second.view.request.round) == (Standing.WAITING, 2)
        assert second.view.request.precondition == {"account": "NL66"}
        world.decide(second.view.request.id, "mika")
        world.propose("5000.00")
        assert worker.step(wait_seconds=5)
    assert len(world.till.paid) == 1


def test_a_state_that_the_executor_cannot_read_stops_it(house: tuple[World, str]) -> None:
    """The server can read it and queues the work again, until people are asked."""
    world, url = house
    with executor(world, url, lambda: Till(reachable=False)) as worker:
        world.propose("500.00")
        for _ in range(3):
            assert worker.step(wait_seconds=5)
        assert not worker.step(wait_seconds=0)
    reply = world.propose("500.00")
    assert reply.standing is Standing.WAITING
    assert "could not be read again" in reply.view.request.judgement.reasons[0].text
    assert kinds(world).count("attempt.drifted") == 3
