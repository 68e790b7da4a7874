"""Deadlines and leases, with several servers at once on one store."""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlmodel import select

from gates.core.errors import GatesError, InvalidGrant, RequestClosed
from gates.core.messages import AttemptReport
from gates.core.model import ExecutionState, OutcomeKind
from gates.service import Gates
from gates.store.database import Database
from gates.store.tables import EventRow, LogRow
from gates.timers import Timers
from gates.work import Work
from tests.support.world import World


def second_server(world: World) -> Work:
    """Another server on the same store, with connections of its own."""
    database = Database(world.database.engine.url.render_as_string(hide_password=False))
    gates = Gates(database, world.gates.asking, "http://127.0.0.1", clock=world.clock)
    return world.server(gates)


def together(*calls: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def one(index: int) -> None:
        barrier.wait()
        try:
            answers[index] = calls[index]()
        except GatesError as error:
            answers[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def logged(world: World, kind: str) -> int:
    with world.database.read() as session:
        return len(session.exec(select(LogRow).where(LogRow.kind == kind)).all())


def test_two_servers_expire_each_request_once(world: World) -> None:
    """Both look at the same moment: every request has one deadline event and one outcome."""
    ids = [world.propose("20000.00", key=f"k{n}").view.request.id for n in range(5)]
    world.clock.advance(hours=1)
    other = second_server(world)
    settled = together(world.gates.expire, other.gates.expire)
    other.gates.database.close()
    assert sum(settled) == 5
    with world.database.read() as session:
        events = session.exec(select(EventRow)).all()
    assert sorted(event.request_id for event in events) == sorted(ids)
    assert logged(world, "request.settled") == 5
    assert world.gates.expire() == 0


def test_a_decision_and_the_deadline_never_both_win(world: World) -> None:
    """Whoever takes the row first decides; the other is told, and there is one outcome."""
    other = second_server(world)
    ids = [world.propose("5000.00", key=f"k{n}").view.request.id for n in range(6)]
    world.clock.advance(minutes=59)
    other.gates.clock = lambda: world.clock() + timedelta(minutes=1)  # its clock is ahead

    def last_moment() -> None:
        for request_id in ids:
            world.decide(request_id, "dana")

    answers = together(last_moment, other.gates.expire)
    other.gates.database.close()
    outcomes = [world.gates.view(one).outcome for one in ids]
    kinds = {one.kind for one in outcomes if one is not None}
    assert kinds <= {OutcomeKind.APPROVED, OutcomeKind.EXPIRED}
    assert isinstance(answers[0], RequestClosed) == (OutcomeKind.EXPIRED in kinds)
    assert None not in outcomes
    assert logged(world, "request.settled") == 6


def test_two_servers_close_a_lapsed_lease_once(world: World) -> None:
    """Both timers find it: one closes it, one question follows."""
    grant = world.propose(name="note", in_process=True, arguments={}, key="note").grant
    assert grant is not None
    world.clock.advance(seconds=31)
    other = second_server(world)
    closed = together(world.work.lapse, other.lapse)
    other.gates.database.close()
    assert sum(closed) == 1
    assert len(world.gates.waiting()) == 1
    assert logged(world, "attempt.lapsed") == 1


def test_a_report_and_the_lapse_never_both_win(world: World) -> None:
    """Either it counts as reported, or it is in doubt and the report is refused."""
    other = second_server(world)
    for number in range(6):
        world.propose(f"50{number}.00", key=f"k{number}")
        job = world.lease()
        assert job is not None
        world.clock.advance(seconds=61)
        _, told = together(other.lapse, partial(world.perform, job))
        execution = world.gates.view(job.grant.request_id).execution
        assert execution is not None
        if isinstance(told, InvalidGrant):
            assert execution.state is ExecutionState.IN_DOUBT
        else:
            assert execution.state is ExecutionState.SUCCEEDED
        assert len(execution.attempts) == 1
        world.clock.advance(seconds=11)
        while (doubt := world.lease()) is not None:  # the next round begins with no work left
            world.perform(doubt)
    other.gates.database.close()


def test_a_renewal_and_the_lapse_never_both_win(world: World) -> None:
    """A holder that was told it may go on is not in doubt."""
    other = second_server(world)
    for number in range(6):
        world.propose(f"50{number}.00", key=f"k{number}")
        job = world.lease()
        assert job is not None
        grant = job.grant
        world.clock.advance(seconds=61)
        _, told = together(
            other.lapse,
            partial(world.work.renew, world.executor, grant.attempt_id, grant.fence, 60),
        )
        execution = world.gates.view(grant.request_id).execution
        assert execution is not None
        renewed = not isinstance(told, InvalidGrant)
        assert (execution.state is ExecutionState.RUNNING) == renewed
    other.gates.database.close()


def test_one_that_cannot_lapse_does_not_hold_up_the_others(world: World) -> None:
    """Nobody can be asked about the first; the second is closed all the same."""
    world.propose(name="note", in_process=True, arguments={}, key="note", lease_seconds=1)
    world.clock.advance(seconds=2)
    world.propose("500.00")
    assert world.lease() is not None
    empty = type(world.directory)([], world.directory.groups)
    object.__setattr__(world.gates.asking, "directory", empty)
    world.clock.advance(seconds=61)
    assert world.work.lapse() == 1
    object.__setattr__(world.gates.asking, "directory", world.directory)
    assert world.work.lapse() == 1
    assert len(world.gates.waiting()) == 1


@pytest.mark.parametrize("command", ["expire", "lapse"])
def test_timers_run_by_themselves(world: World, command: str) -> None:
    """A started timer settles what is due, tells those who wait, and stops when told to."""
    if command == "expire":
        gate = world.propose("20000.00").view.request.gate_id
    else:
        gate = world.propose(
            name="note", in_process=True, arguments={}, key="n"
        ).view.request.gate_id
    world.clock.advance(hours=1)
    told = threading.Event()
    world.gates.woken = lambda name: told.set() if name == gate else None
    timers = Timers(world.gates, world.work, world.passes, every=0.01)
    timers.start()
    assert told.wait(60)
    timers.stop()
    if command == "expire":
        assert world.gates.waiting() == []
    else:
        assert len(world.gates.waiting()) == 1


def test_a_report_in_time_by_the_servers_clock_counts_until_the_lapse(world: World) -> None:
    """A lease that ran out but was not closed yet may still be reported: nothing else began."""
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    world.clock.advance(seconds=61)
    report = AttemptReport(state="succeeded", fence=job.grant.fence, result={"paid": "500.00"})
    world.work.report(world.executor, job.grant.attempt_id, report)
    assert world.work.lapse() == 0
