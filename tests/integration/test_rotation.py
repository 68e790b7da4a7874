"""Changing secrets while runs wait: nothing is lost, and the old secret ends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gates.client import GatesClient
from gates.core.errors import InvalidInput, NotAuthenticated
from gates.core.model import Standing
from gates.executor import Executor
from gates.settings import ClientSettings
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.erp import ErpServer, erp_server
from tests.support.world import Clock, World


def test_the_old_key_works_for_the_overlap(world: World) -> None:
    """Both open the same doors until then; afterwards only the new one does."""
    old = world.access.create_key("flow", "agent-1", "sam")
    key_id = old.split("_")[1]
    new = world.access.rotate_key(key_id, timedelta(hours=1))
    holders = [world.access.key_holder(key).requester for key in (old, new)]
    assert holders[0] == holders[1]
    world.clock.advance(minutes=61)
    world.access._known.clear()  # what is remembered for a second
    assert world.access.key_holder(new).requester.agent == "agent-1"
    with pytest.raises(NotAuthenticated, match="gates key rotate"):
        world.access.key_holder(old)
    with pytest.raises(InvalidInput, match="opens nothing any more"):
        world.access.rotate_key(key_id, timedelta(hours=1))


def test_a_second_rotation_does_not_lengthen_the_first(world: World) -> None:
    """The end of a key that leaked comes nearer, never further."""
    key_id = world.access.create_key("flow", "agent-1").split("_")[1]
    world.access.rotate_key(key_id, timedelta(hours=1))
    world.access.rotate_key(key_id, timedelta(hours=9))
    known = world.access.keys()
    (row,) = [one for one in known if one.id == key_id]
    assert row.expires_at == world.clock.now + timedelta(hours=1)


def test_runs_go_on_under_the_new_key(world: World) -> None:
    """A run belongs to the agent and person: what waits is claimed with the new key."""
    request_id = world.propose("5000.00").view.request.id
    new = world.access.rotate_key(world.flow.key_id, timedelta(0))
    world.decide(request_id, "dana")
    reply = world.gates.propose(world.access.key_holder(new), world.proposal("5000.00"))
    assert reply.standing is Standing.EXECUTING


def test_what_an_executor_has_in_hand_is_reported_under_its_new_key(world: World) -> None:
    """A job belongs to the name that took it."""
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    new = world.access.rotate_key(world.executor.key_id, timedelta(0))
    world.executor = world.access.key_holder(new)
    assert world.perform(job).standing is Standing.SUCCEEDED


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[World, str]]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    world = World(database, clock=Clock(datetime.now(UTC)))  # executors have clocks of their own
    app = create_app(world.gates, world.work, world.access, Waiters())
    with serving(app, free_socket()) as url:
        yield world, url
    database.close()


def test_a_refused_process_reads_its_key_file_again(
    server: tuple[World, str], tmp_path: Path
) -> None:
    """An executor that runs goes on with the new key, without a restart."""
    world, url = server
    key = world.access.create_key("executor", "executor-7")
    file = tmp_path / "executor.key"
    file.write_text(key)
    settings = ClientSettings(url=url, api_key_file=file)
    registry = world.gates.asking.registry
    with GatesClient(url, key=settings.key(), patience=0, fresh_key=settings.key) as client:
        executor = Executor(client, registry)
        world.propose("500.00")
        assert executor.step(wait_seconds=0)
        new = world.access.rotate_key(key.split("_")[1], timedelta(0))
        with pytest.raises(NotAuthenticated):
            executor.step(wait_seconds=0)
        file.write_text(new)
        world.run = "another"
        world.propose("501.00")
        assert executor.step(wait_seconds=0)
        file.unlink()
        assert not executor.step(wait_seconds=0)
    assert sorted(world.till.paid.values()) == ["500.00", "501.00"]


@pytest.fixture(scope="module")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErpServer]:
    pytest.importorskip("trytond", reason="the reference ERP is not installed")
    with erp_server(tmp_path_factory.mktemp("erp")) as running:
        yield running


@pytest.mark.erp
def test_a_changed_erp_password_needs_no_restart(erp: ErpServer) -> None:
    """The ERP closes the session of the old one; the next call logs in with what the file says."""
    executor, admin = erp.erp("executor"), erp.running.company.connect(erp.url, "admin")
    assert executor.find_supplier("DE999000017") is not None
    (user,) = admin.call("model.res.user.search", [["login", "=", "executor"]], 0, None, None)
    new = "a-new-Password-of-4-words"
    admin.call("model.res.user.write", [user], {"password": new})
    erp.password_file("executor").write_text(new)
    assert executor.find_supplier("DE999000017") is not None
    executor.close()
    admin.close()
