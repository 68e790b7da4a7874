"""The very same proposal once more: what is done already, what was refused, whoever fails at it."""

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from gates.alarms import of_store, report
from gates.circling import Circling
from gates.core.errors import Frozen, InvalidInput
from gates.core.messages import AttemptReport
from gates.core.model import (
    DecisionKind,
    ExecutionState,
    GateReply,
    LoopAnswer,
    LoopLabel,
    Purpose,
    Standing,
)
from tests.support.world import World


def paid(world: World, key: str) -> GateReply:
    world.propose("500.00", key=key)
    job = world.lease()
    assert job is not None
    world.perform(job)
    return world.propose("500.00", key=key)


def test_the_same_write_is_put_to_people_before_it_is_done_again(world: World) -> None:
    """Word for word, in one run, through another gate: nothing runs until somebody has agreed."""
    assert paid(world, "first").standing is Standing.SUCCEEDED
    again = world.propose("500.00", key="second")
    request = again.view.request
    assert (again.standing, request.purpose) == (Standing.WAITING, Purpose.LOOP)
    assert request.judgement.reasons[0].rule == "loop.same_write"
    assert "it has been done once in this run" in request.judgement.reasons[0].text
    assert world.lease() is None
    world.decide(request.id, "dana")
    assert world.propose("500.00", key="second").standing is Standing.EXECUTING


def test_another_amount_another_run_or_a_look_is_no_repetition(world: World) -> None:
    """What differs is another write, and whoever only looks may look again."""
    paid(world, "first")
    assert world.propose("501.00", key="second").standing is Standing.EXECUTING
    world.run = uuid4().hex
    assert world.propose("500.00", key="first").standing is Standing.EXECUTING
    assert looks(world, "a", "b") == [Standing.CLAIMED, Standing.CLAIMED]


def looks(world: World, *answers: str) -> list[Standing]:
    """The same look, once for each answer that it gets; how each of them stood."""
    standings = []
    for answer in answers:
        reply = world.propose(
            name="note",
            in_process=True,
            arguments={"n": "1"},
            key=f"look-{uuid4().hex}",
            changes_nothing=True,
        )
        standings.append(reply.standing)
        if reply.grant is not None:
            told = AttemptReport(
                state="succeeded", fence=reply.grant.fence, result={"value": answer}
            )
            world.work.report(world.flow, reply.grant.attempt_id, told)
    return standings


def test_looking_at_the_same_again_and_again_goes_to_people(world: World) -> None:
    """Answers that change are polling; the same three times over is a circle. What people allow is
    used up."""
    assert looks(world, "1", "2", "3", "4", "5") == [Standing.CLAIMED] * 5
    assert looks(world, "5", "5", "5")[-1] is Standing.WAITING
    (asked,) = world.gates.waiting()
    assert asked.request.purpose is Purpose.LOOP
    assert asked.request.judgement.reasons[0].rule == "loop.same_outcome"
    assert len(asked.request.evidence["attempts"]) == 3  # type: ignore[arg-type]
    world.decide(asked.request.id, "dana")
    assert looks(world, "5")[-1] is Standing.CLAIMED


def test_a_detector_that_forgot_a_run_reads_it_again(world: World) -> None:
    """Another server, or a restart: what the store knows is enough."""
    looks(world, "5", "5", "5")
    world.gates.circling = Circling()
    assert looks(world, "5") == [Standing.WAITING]


def test_what_was_refused_twice_goes_to_people_the_third_time(world: World) -> None:
    """The agent is told why twice; the third time somebody looks, and can help it."""
    for number in (1, 2):
        reply = world.propose("5000.00", key=f"try-{number}")
        assert reply.view.request.purpose is Purpose.ACTION
        world.decide(reply.view.request.id, "dana", "reject", "not this supplier")
    third = world.propose("5000.00", key="try-3").view.request
    assert third.purpose is Purpose.LOOP
    assert third.evidence["refused_by"] == "people"
    assert third.judgement.reasons[0].rule == "loop.refused_again"
    world.decide(third.id, "dana", "reject", "stop it")
    fourth = world.propose("5000.00", key="try-4").view.request
    assert fourth.purpose is Purpose.ACTION  # people have said no to the circle: not asked for ever


def test_nobody_lets_through_what_the_policy_forbids(world: World) -> None:
    """The third refusal of the policy is put to people too; they can steer, not allow."""
    burn = partial(world.propose, name="till.burn")
    for number in (1, 2):
        assert burn(key=f"burn-{number}").standing is Standing.FORBIDDEN
    third = burn(key="burn-3")
    assert third.standing is Standing.WAITING
    with pytest.raises(InvalidInput, match="the policy forbids this"):
        world.decide(third.view.request.id, "dana")
    world.decide(third.view.request.id, "dana", "send_back", "Burn nothing; book it instead.")
    assert burn(key="burn-3").standing is Standing.SENT_BACK


def test_whoever_stops_a_circle_may_freeze_its_agent(world: World) -> None:
    """In one answer and one transaction: nothing of that agent starts from then on."""
    assert paid(world, "first").standing is Standing.SUCCEEDED
    asked = world.propose("500.00", key="second").view.request
    answer = partial(
        world.gates.decide,
        asked.id,
        person_id="dana",
        reason="it pays twice",
        channel="test",
        assurance="session",
        loop=LoopAnswer(freeze=True),
    )
    with pytest.raises(InvalidInput, match="by whoever stops its run"):
        answer(kind=DecisionKind.APPROVE)
    answer(kind=DecisionKind.REJECT)
    with pytest.raises(Frozen, match="Dana Okafor"):
        world.propose("501.00", key="third")
    (row,) = report(of_store(world.database, world.clock(), timedelta(days=1)))
    assert row.harmful == 1


def test_failures_count_over_runs(world: World) -> None:
    """A fresh run does not start from zero: the third failure is the third, whoever made it."""
    world.till.broken = "overpays line 17"
    for number in range(3):
        world.run = uuid4().hex
        world.propose("500.00")
        job = world.lease()
        assert job is not None
        world.perform(job)
        reply = world.propose("500.00")
        expected = Standing.WAITING if number == 2 else Standing.FAILED
        assert reply.standing is expected
    assert reply.view.request.purpose is Purpose.LOOP
    assert len(reply.view.request.evidence["attempts"]) == 3  # type: ignore[arg-type]


def test_failures_of_last_week_are_forgotten(world: World) -> None:
    """What failed long ago says nothing of today."""
    world.till.broken = "overpays line 17"
    for _ in range(3):
        world.run = uuid4().hex
        world.propose("500.00")
        job = world.lease()
        assert job is not None
        world.perform(job)
        reply = world.propose("500.00")
        world.clock.advance(days=8)
    execution = reply.view.execution
    assert execution is not None
    assert execution.state is ExecutionState.FAILED


def test_every_answer_labels_its_alarm(world: World) -> None:
    """By action and detector: what was a loop, what was none, and what nobody has said yet."""
    answers = [("reject", None), ("approve", None), ("approve", LoopLabel.HARMFUL)]
    paid(world, "first")
    for number, (kind, label) in enumerate(answers):
        asked = world.propose("500.00", key=f"again-{number}").view.request
        world.clock.advance(minutes=2)
        world.gates.decide(
            asked.id,
            person_id="dana",
            kind=DecisionKind(kind),
            reason="said",
            channel="test",
            assurance="test",
            loop=LoopAnswer(label=label) if label else None,
        )
    world.propose("500.00", key="open")
    (row,) = report(of_store(world.database, world.clock(), timedelta(days=1)))
    assert (row.action, row.detector, row.alarms) == ("till.pay", "same_write", 4)
    assert (row.loops, row.not_loops, row.harmful, row.open) == (1, 1, 1, 1)
    assert row.precision == pytest.approx(2 / 3)
    assert row.answered_seconds == pytest.approx(120)
    world.clock.advance(days=2)
    assert report(of_store(world.database, world.clock(), timedelta(days=1))) == []
