"""Work in the queue whose run or approval is gone: nobody is handed it, and it has its end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import orjson
import pytest
from sqlmodel import select

from gates.core.errors import InvalidInput
from gates.core.messages import AttemptReport
from gates.core.model import ExecutionState, Job, OutcomeKind, Purpose, RequestView, Standing
from gates.store import runs
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import LogRow
from gates.watching import Watch
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.keeper import PrefectRunKeeper
from tests.integration.test_work import at_once, in_doubt, leased
from tests.support.world import World

WORDS = "Run 'tidy-owl' was cancelled (Prefect says Cancelled)"


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def watch(world: World) -> Iterator[Watch]:
    """Told what Prefect says; nobody is at the address."""
    api = PrefectApi("http://127.0.0.1:9/api")
    yield Watch(world.gates, PrefectRunKeeper(api))
    api.close()


def logged(world: World, kind: str) -> list[LogRow]:
    with world.database.read() as session:
        return list(session.exec(select(LogRow).where(LogRow.kind == kind).order_by("seq")).all())


def state(view: RequestView) -> ExecutionState | None:
    return view.execution and view.execution.state


@pytest.mark.parametrize("amount", ["500.00", "5000.00"])
def test_queued_work_of_an_ended_run_is_not_handed_out(
    world: World, watch: Watch, amount: str
) -> None:
    """Allowed or approved: flow, page and log say why, and what somebody holds is not touched."""
    held = world.propose("400.00", key="held").view.request.id
    job = leased(world)
    request_id = world.propose(amount).view.request.id
    if amount == "5000.00":
        world.decide(request_id, "dana")
        assert world.propose(amount).standing is Standing.EXECUTING
    assert watch.end(world.run, WORDS) == [request_id]
    assert world.lease() is None
    view = world.gates.view(request_id)
    assert view.outcome is not None
    assert (view.outcome.kind, view.outcome.by) == (OutcomeKind.VOIDED, ("the end of the run",))
    assert view.outcome.reason == f"nobody began its work: {WORDS}"
    assert state(view) is ExecutionState.WITHDRAWN
    reply = world.gates.standing(world.flow, request_id, "", 1)
    assert (reply.standing, reply.grant) == (Standing.CANCELLED, None)
    (entry,) = logged(world, "grant.withdrawn")
    assert (entry.subject, orjson.loads(entry.body)["why"]) == (request_id, WORDS)
    assert state(world.gates.view(held)) is ExecutionState.RUNNING
    assert world.perform(job).standing is Standing.SUCCEEDED
    assert list(world.till.paid.values()) == ["400.00"]


def test_a_run_that_is_started_again_asks_and_works_anew(world: World, watch: Watch) -> None:
    """What was withdrawn is judged once more: allowed, or put to people."""
    world.propose("500.00")
    other = world.propose("5000.00", key="asked").view.request.id
    world.decide(other, "dana")
    world.propose("5000.00", key="asked")
    watch.end(world.run, WORDS)
    again = world.propose("500.00")
    assert (again.standing, again.view.request.round) == (Standing.EXECUTING, 2)
    assert world.propose("5000.00", key="asked").standing is Standing.WAITING
    assert world.perform(leased(world)).standing is Standing.SUCCEEDED
    assert world.lease() is None
    assert list(world.till.paid.values()) == ["500.00"]


def test_an_executor_and_the_end_of_the_run_at_once(world: World, watch: Watch) -> None:
    """One wins: the work is withdrawn and in nobody's hands, or held and its approval stands."""
    for _ in range(8):
        world.run += "x"
        request_id = world.propose("500.00").view.request.id
        job, ended = at_once(world.lease, partial(watch.end, world.run, WORDS))
        view = world.gates.view(request_id)
        assert view.execution is not None
        assert view.outcome is not None
        if ended:
            assert (job, ended) == (None, [request_id])
            assert state(view) is ExecutionState.WITHDRAWN
            assert view.outcome.kind is OutcomeKind.VOIDED
            assert view.execution.attempts == ()
        else:
            assert isinstance(job, Job)
            assert view.outcome.kind is OutcomeKind.APPROVED
            assert world.perform(job).standing is Standing.SUCCEEDED
        assert world.lease() is None


def absent(world: World, job: Job) -> None:
    told = AttemptReport(state="absent", fence=job.grant.fence)
    world.work.report(world.executor, job.grant.attempt_id, told)


def asks_the_till(world: World) -> Job:
    """An attempt fell silent; an executor looks what became of it."""
    world.propose("500.00")
    leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.clock.advance(seconds=11)
    return leased(world)


def test_what_comes_back_into_the_queue_of_an_ended_run_leaves_it(
    world: World, watch: Watch
) -> None:
    """It was leased when the run ended, and it turns out that nothing was done."""
    job = asks_the_till(world)
    assert watch.end(world.run, WORDS) == []
    absent(world, job)
    view = world.gates.view(job.grant.request_id)
    assert state(view) is ExecutionState.WITHDRAWN
    assert view.outcome is not None
    assert "nobody began its work: the run had ended at" in view.outcome.reason
    assert world.lease() is None


def test_an_executor_that_finds_another_world_after_the_end(world: World, watch: Watch) -> None:
    """The server sees no change, and would queue the work again."""
    world.propose("500.00")
    job = leased(world)
    watch.end(world.run, WORDS)
    told = AttemptReport(state="drifted", fence=job.grant.fence, error="another account")
    world.work.report(world.executor, job.grant.attempt_id, told)
    assert state(world.gates.view(job.grant.request_id)) is ExecutionState.WITHDRAWN
    assert world.lease() is None


def test_nothing_was_done_and_the_end_of_the_run_at_once(world: World, watch: Watch) -> None:
    """Whoever is first, the work is not left in the queue."""
    for _ in range(6):
        world.run += "x"
        job = asks_the_till(world)
        told = at_once(partial(absent, world, job), partial(watch.end, world.run, WORDS))
        assert not [one for one in told if isinstance(one, Exception)]
        assert state(world.gates.view(job.grant.request_id)) is ExecutionState.WITHDRAWN
        assert world.lease() is None


def test_queued_work_whose_approval_is_voided_has_its_end(world: World) -> None:
    """The next round asks anew, and nothing of the run counts as under way."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    world.propose("5000.00")
    world.clock.advance(minutes=10)
    world.till.accounts["acme"] = "NL99"
    assert world.lease() is None
    assert state(world.gates.view(request_id)) is ExecutionState.WITHDRAWN
    (entry,) = logged(world, "grant.withdrawn")
    assert (entry.actor, entry.subject) == ("precondition", request_id)
    with world.database.read() as session:
        (run,) = runs.followed(Unit(session, world.clock()), "", 10)
    assert not run.under_way
    assert run.open


def test_a_doubt_that_its_run_left_is_asked_again(world: World, watch: Watch) -> None:
    """A run that is started again does not pay a second time without anybody having looked."""
    before, _ = in_doubt(world)
    assert watch.end(world.run, WORDS) == [before.view.request.id]
    again = world.propose("500.00")
    assert (again.standing, again.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
    assert again.view.request.id != before.view.request.id
    assert world.lease() is None
    world.decide(again.view.request.id, "dana")
    world.propose("500.00")
    watch.end(world.run, WORDS)  # allowed to run again, and nobody did
    assert world.propose("500.00").view.request.purpose is Purpose.IN_DOUBT


def test_a_doubt_that_its_run_left_is_not_dodged_by_another_proposal(
    world: World, watch: Watch
) -> None:
    """It is asked all the same."""
    in_doubt(world)
    watch.end(world.run, WORDS)
    with pytest.raises(InvalidInput, match="took effect"):
        world.propose("501.00")
    asked = world.propose("500.00")
    assert (asked.standing, asked.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
