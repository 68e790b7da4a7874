"""Rungs and deadlines on real stores: each once, over servers, restarts and outages."""

import pytest
from sqlmodel import select

from gates.core.errors import NotEntitled
from gates.core.model import OutcomeKind
from gates.service import Gates
from gates.store.database import Database
from gates.store.tables import EventRow, RequestRow
from tests.integration.test_timers import second_server, together
from tests.support.world import POLICY, World

CLIMBING = (
    POLICY
    + """\
  - name: slow
    on: till.pay
    when: amount.minor == 500000
    verdict: require_approval
    ask: {ladder: [{after: 20m, widen: [treasury]}, {after: 40m, replace: [treasury]}]}
    because: "{amount} must not wait"
"""
)
AMOUNT = "5000.00"


def kinds(world: World, request_id: str) -> list[str]:
    with world.database.read() as session:
        query = select(EventRow).where(EventRow.request_id == request_id).order_by(EventRow.seq)  # type: ignore[arg-type]
        return [event.kind for event in session.exec(query).all()]


def asked(world: World, request_id: str) -> set[str]:
    requirement = world.gates.view(request_id).request.requirement
    assert requirement is not None
    return set(requirement.people)


def test_time_widens_replaces_and_ends(world: World) -> None:
    """The ladder of the policy, rung by rung, seen by everybody who looks, and then the end."""
    world.rule(CLIMBING)
    request_id = world.propose(AMOUNT).view.request.id
    assert world.gates.expire() == 0
    world.clock.advance(minutes=20)
    with pytest.raises(NotEntitled):  # not before the timer has said so
        world.decide(request_id, "tess")
    assert world.gates.expire() == 1
    assert asked(world, request_id) == {"dana", "mika", "tess"}
    world.clock.advance(minutes=20)
    assert world.gates.expire() == 1
    assert asked(world, request_id) == {"tess"}
    with pytest.raises(NotEntitled):
        world.decide(request_id, "dana")
    world.clock.advance(minutes=20)
    assert world.gates.expire() == 1
    assert kinds(world, request_id) == ["climbed", "climbed", "deadline_passed"]
    found = world.gates.view(request_id).outcome
    assert found is not None
    assert found.kind is OutcomeKind.EXPIRED


def test_who_came_by_the_ladder_may_approve_and_it_runs(world: World) -> None:
    """Their approval is as good as any at the claim."""
    world.rule(CLIMBING)
    request_id = world.propose(AMOUNT).view.request.id
    world.clock.advance(minutes=41)
    world.gates.expire()
    world.decide(request_id, "tess")
    world.propose(AMOUNT)  # the run has resumed
    job = world.lease()
    assert job is not None
    world.perform(job)
    assert len(world.till.paid) == 1


def test_a_policy_that_changes_moves_no_rung_of_a_request_in_flight(world: World) -> None:
    """The ladder is that of the time at which the question was put."""
    world.rule(CLIMBING)
    request_id = world.propose(AMOUNT).view.request.id
    world.rule(POLICY)
    world.clock.advance(minutes=20)
    assert world.gates.expire() == 1
    assert asked(world, request_id) == {"dana", "mika", "tess"}


def test_a_server_that_was_away_climbs_what_it_missed_once(world: World) -> None:
    """Another process on the same store goes on where the first one stopped."""
    world.rule(CLIMBING)
    request_id = world.propose(AMOUNT).view.request.id
    world.clock.advance(minutes=20)
    world.gates.expire()
    world.clock.advance(minutes=35)
    database = Database(world.database.engine.url.render_as_string(hide_password=False))
    restarted = Gates(database, world.gates.asking, "http://127.0.0.1", clock=world.clock)
    assert restarted.expire() == 1
    assert restarted.expire() == 0
    database.close()
    assert kinds(world, request_id) == ["climbed", "climbed"]


def test_two_servers_fire_a_thousand_timers_once(world: World) -> None:
    """500 requests, two rungs each, climbed by two servers at once: every one is there once."""
    world.rule(CLIMBING)
    count = 20 if world.database.is_sqlite else 500
    ids = {world.propose(AMOUNT, key=f"k{n}").view.request.id for n in range(count)}
    other = second_server(world)

    def fire(gates: Gates) -> int:
        return sum(iter(gates.expire, 0))

    for _ in range(2):
        world.clock.advance(minutes=20)
        fired = together(lambda: fire(world.gates), lambda: fire(other.gates))
        assert sum(fired) == count
    other.gates.database.close()
    with world.database.read() as session:
        events = session.exec(select(EventRow)).all()
        rows = session.exec(select(RequestRow)).all()
    assert sorted(event.request_id for event in events) == sorted([*ids, *ids])
    assert {row.due_at == row.deadline_at for row in rows} == {True}


KEPT = CLIMBING.replace(
    "ask: {ladder: [{after: 20m, widen: [treasury]}, {after: 40m, replace: [treasury]}]}",
    "ask: {remind: [10m, 20m], at_end: keep_open, escalate_to: [treasury]}",
)


def test_two_servers_remind_and_keep_open_once(world: World) -> None:
    """Each reminder and each deadline is one event, whoever fires it; then people decide."""
    world.rule(KEPT)
    ids = [world.propose(AMOUNT, key=f"k{n}").view.request.id for n in range(10)]
    other = second_server(world)

    def fire(gates: Gates) -> int:
        return sum(iter(gates.expire, 0))

    for minutes in (10, 10, 40, 60):
        world.clock.advance(minutes=minutes)
        fired = together(lambda: fire(world.gates), lambda: fire(other.gates))
        assert sum(fired) == len(ids)
    other.gates.database.close()
    for one in ids:
        assert kinds(world, one) == ["reminded", "reminded", "kept_open", "kept_open"]
    view = world.gates.view(ids[0])
    assert view.outcome is None
    assert asked(world, ids[0]) == {"dana", "mika", "tess"}
    world.decide(ids[0], "tess")
    found = world.gates.view(ids[0]).outcome
    assert found is not None
    assert found.kind is OutcomeKind.APPROVED


def test_a_decision_after_the_deadline_of_a_question_kept_open_counts(world: World) -> None:
    """Though no timer has seen that deadline."""
    world.rule(KEPT)
    request_id = world.propose(AMOUNT).view.request.id
    world.clock.advance(minutes=61)
    world.decide(request_id, "dana")
    assert kinds(world, request_id) == ["kept_open", "decided"]
