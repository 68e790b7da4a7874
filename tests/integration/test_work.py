"""Attempts over the store: who may hold, renew and report them, and what becomes of doubt."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import col, select

from gates.core.errors import (
    InvalidGrant,
    InvalidInput,
    NotEntitled,
    NotFound,
    RetryLater,
    Skipped,
)
from gates.core.messages import AttemptReport
from gates.core.model import (
    DecisionKind,
    ExecutionState,
    GateReply,
    Job,
    LoopAnswer,
    LoopLabel,
    OutcomeKind,
    Purpose,
    Standing,
    Tier,
)
from gates.flow.words import stopped
from gates.store.database import Database
from gates.store.tables import AttemptRow, LogRow
from gates.work import Work
from tests.support.world import POLICY, World

NOTE: dict[str, Any] = {"name": "note", "in_process": True, "arguments": {"n": "1"}, "key": "note"}


def leased(world: World) -> Job:
    job = world.lease()
    assert job is not None
    return job


def failed(job: Job, error: str = "no") -> AttemptReport:
    return AttemptReport(
        state="failed", fence=job.grant.fence, error=error, error_class="TillError"
    )


def kinds(world: World) -> list[str]:
    with world.database.read() as session:
        return list(session.exec(select(LogRow.kind).order_by(col(LogRow.seq))).all())


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returned or raised, all begun at the same moment."""
    barrier = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def one(index: int) -> None:
        barrier.wait()
        try:
            answers[index] = calls[index]()
        except Exception as error:  # noqa: BLE001 - judged by the test
            answers[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# -- holding ------------------------------------------------------------------------------------


def test_a_lease_whose_reply_was_lost_is_given_again(world: World) -> None:
    """The same attempt id gets the same job while it holds it, and nobody else gets it."""
    world.propose("500.00")
    first = world.work.lease(world.executor, "attempt-one", ["till.pay"], 60)
    assert first is not None
    assert world.work.lease(world.executor, "attempt-one", ["till.pay"], 60) == first
    assert world.lease() is None


def test_a_lease_that_arrives_after_the_end_gets_nothing(world: World) -> None:
    """A delayed message runs nothing: neither the finished job nor the next one."""
    world.propose("500.00")
    job = leased(world)
    world.perform(job)
    world.propose("600.00", key="other")
    with pytest.raises(InvalidGrant, match="has ended"):
        world.work.lease(world.executor, job.grant.attempt_id, ["till.pay"], 60)
    assert leased(world).action.arguments["amount"] == "600.00"


def test_another_executors_key_neither_renews_nor_reports(world: World) -> None:
    """An attempt belongs to the executor that leased it, whatever ids another one knows."""
    world.propose("500.00")
    job = leased(world)
    other = world.key("executor", "executor-2")
    attempt, fence = job.grant.attempt_id, job.grant.fence
    done = AttemptReport(state="succeeded", fence=fence, result={"paid": "0.00"})
    for holder in (other, world.flow, world.key("admin", "admin")):
        with pytest.raises(NotEntitled):
            world.work.renew(holder, attempt, fence, 60)
        with pytest.raises(NotEntitled):
            world.work.report(holder, attempt, done)
    with pytest.raises(NotEntitled):
        world.work.lease(other, attempt, ["till.pay"], 60)
    assert world.perform(job).standing is Standing.SUCCEEDED


def test_a_strangers_flow_cannot_touch_an_attempt_in_process(world: World) -> None:
    """An attempt in a flow's process belongs to the key of its run."""
    grant = world.propose(**NOTE).grant
    assert grant is not None
    done = AttemptReport(state="succeeded", fence=grant.fence, result={})
    for holder in (world.key("flow", "other-agent"), world.executor):
        with pytest.raises(NotEntitled):
            world.work.report(holder, grant.attempt_id, done)
        with pytest.raises(NotEntitled):
            world.work.renew(holder, grant.attempt_id, grant.fence, 30)
    with pytest.raises(NotFound):
        world.work.report(world.flow, "no-such-attempt", done)


def test_an_attempt_id_of_another_request_is_refused(world: World) -> None:
    """Two calls under one id would overwrite each other's attempt: the second is refused."""
    grant = world.propose(**NOTE, attempt_id="attempt-one").grant
    other = NOTE | {"key": "other", "arguments": {"n": "2"}}
    with pytest.raises(InvalidInput, match="belongs to another request"):
        world.propose(**other, attempt_id="attempt-one")
    assert world.propose(**NOTE, attempt_id="attempt-one").grant == grant


def test_a_renewed_lease_does_not_lapse(world: World) -> None:
    """A slow executor that says so keeps its job; one that has lost it is told."""
    world.propose("500.00")
    job = leased(world)
    world.clock.advance(seconds=59)
    world.work.renew(world.executor, job.grant.attempt_id, job.grant.fence, 60)
    world.clock.advance(seconds=59)
    assert world.work.lapse() == 0
    world.clock.advance(seconds=1)
    assert world.work.lapse() == 1
    with pytest.raises(InvalidGrant):
        world.work.renew(world.executor, job.grant.attempt_id, job.grant.fence, 60)


def test_twin_executors_take_one_job_each(world: World) -> None:
    """Eight leases at once on four jobs: each job goes to one attempt, nothing is lost."""
    for number in range(4):
        world.propose(f"50{number}.00", key=f"pay-{number}")
    answers: list[Any] = []
    for _ in range(3):  # a loser that saw only taken jobs asks again, as executors do
        answers += at_once(*[world.lease] * 8)
    jobs = [one for one in answers if one is not None]
    assert not [one for one in jobs if isinstance(one, Exception)]
    assert len({job.grant.request_id for job in jobs}) == len(jobs) == 4


def test_one_message_sent_twice_at_once_gets_one_job(world: World) -> None:
    """The same lease from two connections at the same moment holds one attempt, not two."""
    for number in range(4):
        world.propose(f"50{number}.00", key=f"pay-{number}")

    def lease() -> Job | None:
        return world.work.lease(world.executor, "attempt-one", ["till.pay"], 60)

    answers = [one for one in at_once(*[lease] * 4) if one is not None]
    assert {one.grant.attempt_id for one in answers} == {"attempt-one"}
    assert len({one.grant.request_id for one in answers}) == 1


# -- reporting ----------------------------------------------------------------------------------


def test_a_repeated_report_gets_the_same_answer(world: World) -> None:
    """The second of two equal reports changes nothing and reads the same."""
    world.propose("500.00")
    job = leased(world)
    report = AttemptReport(state="succeeded", fence=job.grant.fence, result={"paid": "500.00"})
    first = world.work.report(world.executor, job.grant.attempt_id, report)
    assert world.work.report(world.executor, job.grant.attempt_id, report) == first
    assert kinds(world).count("attempt.succeeded") == 1


def test_a_late_report_is_refused_and_logged(world: World) -> None:
    """What a process says after its lease lapsed changes nothing, but stands in the log."""
    world.propose("500.00")
    job = leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    report = AttemptReport(state="succeeded", fence=job.grant.fence, result={"paid": "500.00"})
    with pytest.raises(InvalidGrant):
        world.work.report(world.executor, job.grant.attempt_id, report)
    assert "report.refused" in kinds(world)
    reply = world.propose("500.00")
    assert reply.standing is Standing.EXECUTING
    assert reply.view.execution is not None
    assert reply.view.execution.state is ExecutionState.IN_DOUBT


def test_a_clock_that_is_set_takes_nobody_for_dead(world: World) -> None:
    """Every lease seems over at once; holders get the time to renew before one lapses."""
    world.propose("500.00")
    job = leased(world)
    world.clock.jump(minutes=10)
    assert world.work.lapse() == 0
    world.clock.advance(seconds=8)
    world.work.renew(world.executor, job.grant.attempt_id, job.grant.fence, 60)
    world.clock.advance(seconds=8)
    assert world.work.lapse() == 0
    assert world.perform(job).standing is Standing.SUCCEEDED


@pytest.mark.parametrize("minutes", [10, -10])
def test_a_clock_that_is_set_does_not_shorten_the_wait_for_a_cut_call(
    world: World, minutes: int
) -> None:
    """What may still land is not asked after any sooner, whatever the clock says."""
    world.propose("500.00")
    leased(world)
    world.clock.advance(seconds=61)
    assert world.work.lapse() == 1
    world.clock.jump(minutes=minutes)
    assert world.lease() is None
    world.clock.advance(seconds=9)
    assert world.lease() is None
    world.clock.advance(minutes=11)
    assert leased(world).kind == "reconcile"


def test_a_server_that_has_just_begun_takes_nobody_for_dead(world: World) -> None:
    """While it was away nobody could renew."""
    world.propose("500.00")
    leased(world)
    world.clock.advance(seconds=61)
    fresh = Work(world.gates, world.work.settle, world.clock.monotonic)
    assert fresh.lapse() == 0
    world.clock.advance(seconds=10)
    assert fresh.lapse() == 1


def test_only_a_reconciliation_finds_that_nothing_happened(world: World) -> None:
    """An executing attempt that says "absent" would be run again without end: refused."""
    world.propose("500.00")
    job = leased(world)
    for state in ("absent", "unclear"):
        with pytest.raises(InvalidInput, match="answers a reconciliation"):
            world.work.report(
                world.executor,
                job.grant.attempt_id,
                AttemptReport(state=state, fence=job.grant.fence),
            )
    assert world.perform(job).standing is Standing.SUCCEEDED


def test_a_reconciliation_that_fails_proves_nothing(world: World) -> None:
    """Not being able to ask is no proof that nothing happened: a person is asked."""
    world.propose("500.00")
    leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.clock.advance(seconds=11)
    job = leased(world)
    assert job.kind == "reconcile"
    world.work.report(world.executor, job.grant.attempt_id, failed(job))
    reply = world.propose("500.00")
    assert (reply.standing, reply.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
    assert world.lease() is None


def test_results_may_hold_floats(world: World) -> None:
    """A success whose result no fingerprint could hold is a success all the same."""
    grant = world.propose(**NOTE).grant
    assert grant is not None
    report = AttemptReport(state="succeeded", fence=grant.fence, result={"score": 0.5})
    assert world.work.report(world.flow, grant.attempt_id, report).result == {"score": 0.5}


def test_a_difference_between_booked_and_approved_is_an_alarm(world: World) -> None:
    """It is stored with the execution and logged."""
    world.propose("500.00")
    job = leased(world)
    report = AttemptReport(
        state="succeeded", fence=job.grant.fence, result={}, differences=("total: 5.00 -> 6.00",)
    )
    world.work.report(world.executor, job.grant.attempt_id, report)
    execution = world.propose("500.00").view.execution
    assert execution is not None
    assert execution.differences == ("total: 5.00 -> 6.00",)
    assert "alarm.booked_differs" in kinds(world)


# -- loops --------------------------------------------------------------------------------------


def fail_until_asked(world: World, call: int) -> tuple[GateReply, int]:
    """The loop question, and the number of calls that were needed to open it."""
    for tries in range(1, 10):
        assert world.propose("500.00", call=call).standing is Standing.EXECUTING
        world.perform(leased(world))
        reply = world.propose("500.00", call=call)
        if reply.standing is Standing.WAITING:
            return reply, tries
        assert reply.standing is Standing.FAILED
        call += 1
    raise AssertionError("nobody was asked")


def test_an_allowance_is_used_up(world: World) -> None:
    """Two more were allowed: after two more failures the next question opens by itself."""
    world.till.broken = "overpays line 17"
    reply, tries = fail_until_asked(world, 1)
    assert (reply.view.request.purpose, tries) == (Purpose.LOOP, 3)
    world.clock.advance(seconds=1)
    world.decide(reply.view.request.id, "dana")
    world.clock.advance(seconds=1)
    again, tries = fail_until_asked(world, 3)
    assert (again.view.request.purpose, tries) == (Purpose.LOOP, 2)
    assert again.view.request.round == reply.view.request.round + 1
    world.decide(again.view.request.id, "dana", "reject", "broken for good")
    assert world.propose("500.00", call=4).standing is Standing.REJECTED
    assert world.lease() is None


def test_people_say_how_many_more_tries_they_allow(world: World) -> None:
    """One more instead of the policy's two: the next failure asks again."""
    world.till.broken = "overpays line 17"
    reply, _ = fail_until_asked(world, 1)
    world.clock.advance(seconds=1)
    world.gates.decide(
        reply.view.request.id,
        person_id="dana",
        kind=DecisionKind.APPROVE,
        channel="test",
        assurance="test",
        loop=LoopAnswer(more=1, label=LoopLabel.LOOP),
    )
    world.clock.advance(seconds=1)
    again, tries = fail_until_asked(world, 3)
    assert (again.view.request.purpose, tries) == (Purpose.LOOP, 1)


def test_a_step_that_goes_in_circles_can_be_skipped(world: World) -> None:
    """It is not run again, and its flow can tell that from a plain no."""
    world.till.broken = "overpays line 17"
    reply, _ = fail_until_asked(world, 1)
    skipped = world.gates.decide(
        reply.view.request.id,
        person_id="dana",
        kind=DecisionKind.SKIP,
        reason="paid by hand",
        channel="test",
        assurance="test",
    )
    assert str(skipped.outcome) == "skipped by Dana Okafor: paid by hand"
    after = world.propose("500.00", call=4)
    assert after.standing is Standing.REJECTED
    assert isinstance(stopped(after, ()), Skipped)
    assert world.lease() is None


def test_only_a_loop_is_answered_as_one(world: World) -> None:
    """More tries and skipping belong to the question about a circle."""
    reply = world.propose("5000.00")
    answer = partial(
        world.gates.decide,
        reply.view.request.id,
        person_id="dana",
        channel="test",
        assurance="test",
        reason="no",
    )
    with pytest.raises(InvalidInput, match="only a step that goes in circles"):
        answer(kind=DecisionKind.SKIP)
    with pytest.raises(InvalidInput, match="Nobody was stopped for going in circles"):
        answer(kind=DecisionKind.APPROVE, loop=LoopAnswer(more=2))


def test_failures_that_end_at_once_are_all_counted(world: World) -> None:
    """Three equal calls that fail at the same moment open one question, not none."""
    for world.run in (uuid4().hex for _ in range(3)):
        world.propose("500.00")
    jobs = [leased(world) for _ in range(3)]
    world.till.broken = "no"
    at_once(*[partial(world.perform, job) for job in jobs])
    asked = [view.request.purpose for view in world.gates.waiting()]
    assert asked == [Purpose.LOOP]


def test_an_earlier_failure_is_replayed_whatever_was_proposed_since(world: World) -> None:
    """A run that starts from its top meets its old failure again and does not redo it."""
    world.till.broken = "no"
    world.propose("500.00")
    world.perform(leased(world))
    second = world.propose("5000.00", call=2)
    assert (second.standing, second.view.request.round) == (Standing.WAITING, 2)
    replayed = world.propose("500.00", call=1)
    assert replayed.standing is Standing.FAILED
    assert world.propose("5000.00", call=2).view.request.id == second.view.request.id
    assert world.gates.view(second.view.request.id).outcome is None


# -- doubt --------------------------------------------------------------------------------------


def in_doubt(world: World, amount: str = "500.00") -> tuple[GateReply, Job]:
    """An open question about an attempt that nobody can tell the end of."""
    world.propose(amount)
    job = leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.clock.advance(seconds=11)
    found = leased(world)
    report = AttemptReport(state="unclear", fence=found.grant.fence, error="the till is closed")
    world.work.report(world.executor, found.grant.attempt_id, report)
    reply = world.propose(amount)
    assert (reply.standing, reply.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
    return reply, job


def test_approved_doubt_runs_again_under_the_same_key(world: World) -> None:
    """What had landed after all is recognized by its key, and paid once."""
    reply, job = in_doubt(world)
    world.till.paid[job.idempotency_key] = "500.00"
    world.decide(reply.view.request.id, "dana")
    assert world.propose("500.00").standing is Standing.EXECUTING
    again = leased(world)
    assert (again.kind, again.idempotency_key) == ("execute", job.idempotency_key)
    assert world.perform(again).standing is Standing.SUCCEEDED
    assert len(world.till.paid) == 1
    assert world.lease() is None


def test_a_repeated_message_of_an_earlier_round_claims_nothing(world: World) -> None:
    """Its attempt lapsed and people have allowed another: the caller is told to claim, under an
    id of its own.
    """
    first = world.proposal(attempt_id="0" * 12, **NOTE)
    assert world.gates.propose(world.flow, first).standing is Standing.CLAIMED
    world.clock.advance(seconds=61)
    world.work.lapse()
    asked = world.gates.propose(world.flow, first)
    assert asked.view.request.purpose is Purpose.IN_DOUBT
    world.decide(asked.view.request.id, "dana")
    for reply in (
        world.gates.propose(world.flow, first),
        world.gates.claim(world.flow, asked.view.request.id, first),
    ):
        assert reply.standing is Standing.CLAIMABLE
    second = first.model_copy(update={"attempt_id": "1" * 12})
    reply = world.gates.claim(world.flow, asked.view.request.id, second)
    assert (reply.standing, reply.grant and reply.grant.attempt_id) == (
        Standing.CLAIMED,
        "1" * 12,
    )


def test_rejected_doubt_ends_it(world: World) -> None:
    """Nobody touches it again."""
    reply, _ = in_doubt(world)
    world.decide(reply.view.request.id, "dana", "reject", "I book it by hand")
    assert world.propose("500.00").standing is Standing.REJECTED
    world.clock.advance(hours=1)
    assert world.lease() is None


def test_what_a_rejected_doubt_leaves_is_half_done(world: World) -> None:
    """The run that is told no is told what may stand all the same, and so are people who look."""
    reply, _ = in_doubt(world)
    request = world.propose().view.request.id
    world.decide(request, "dana", "reject", "look at the till first")
    assert world.propose().standing is Standing.REJECTED
    (step,) = world.gates.trail(world.flow, reply.view.request.id)
    assert (step.state, step.note) == ("half_done", "nobody knows whether it took effect")
    other = world.propose("5000.00", key="later").view.request.id
    assert world.gates.view(other).stands == (step,)
    assert world.gates.view(request).stands == ()  # its own page tells it in full


def test_a_doubt_is_not_dodged_by_another_proposal(world: World) -> None:
    """While people are asked, a slightly different proposal for the same gate is refused."""
    in_doubt(world)
    with pytest.raises(InvalidInput, match="took effect"):
        world.propose("500.01")


def test_a_doubt_in_a_changed_world_stays_a_doubt(world: World) -> None:
    """The payee's account changes before the claim: people are asked about both again."""
    reply, _ = in_doubt(world)
    world.decide(reply.view.request.id, "dana")
    world.till.accounts["acme"] = "XX99"
    again = world.propose("500.00")
    assert (again.standing, again.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
    assert "NL01 -> XX99" in " ".join(one.text for one in again.view.request.judgement.reasons)
    assert world.lease() is None


CHANGED = POLICY.replace(
    "rules:\n",
    """rules:
  - name: elsewhere
    on: till.pay
    when: facts.account != "NL01"
    verdict: require_approval
    tier: expert
    ask: {who: [treasury, controllers]}
    because: "It goes to {facts.account}"
""",
)


def test_a_doubt_in_a_changed_world_is_as_grave_as_that(world: World) -> None:
    """What the policy says of the world as it is now counts: tier, reasons and people."""
    world.rule(CHANGED)
    reply, job = in_doubt(world)
    world.till.accounts["acme"] = "XX99"
    del job
    asked = world.gates.asking.doubt_again(reply.view.request, world.clock())
    judgement = asked.judgement
    assert judgement.tier is Tier.EXPERT
    assert "elsewhere" in [one.rule for one in judgement.reasons]
    assert judgement.ask is not None
    assert judgement.ask.who == ("treasury", "controllers")


def test_a_change_does_not_slip_in_under_a_doubt(world: World) -> None:
    """Two agreed to a large payment to one account; one alone cannot send it to another."""
    request_id = world.propose("20000.00").view.request.id
    world.decide(request_id, "dana")
    world.decide(request_id, "mika")
    world.propose("20000.00")
    leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.clock.advance(seconds=11)
    world.till.accounts["acme"] = "XX99"
    found = leased(world)
    report = AttemptReport(state="unclear", fence=found.grant.fence)
    world.work.report(world.executor, found.grant.attempt_id, report)
    doubt = world.propose("20000.00").view.request
    assert doubt.requirement is not None
    assert doubt.requirement.quorum == 2
    assert "NL01 -> XX99" in " ".join(one.text for one in doubt.judgement.reasons)


def test_not_there_is_believed_a_limited_number_of_times(world: World) -> None:
    """An action that always ends in doubt and is never found goes to a person."""
    world.propose("500.00")
    for _ in range(3):
        job = leased(world)
        assert job.kind == "execute"
        report = AttemptReport(state="in_doubt", fence=job.grant.fence, error="cut off")
        world.work.report(world.executor, job.grant.attempt_id, report)
        world.clock.advance(seconds=11)
        found = leased(world)
        assert found.kind == "reconcile"
        world.perform(found)
    job = leased(world)
    report = AttemptReport(state="in_doubt", fence=job.grant.fence, error="cut off")
    world.work.report(world.executor, job.grant.attempt_id, report)
    reply = world.propose("500.00")
    assert (reply.standing, reply.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
    assert "attempt 7" in reply.view.request.judgement.reasons[0].text
    world.clock.advance(seconds=11)
    assert world.lease() is None


def test_an_executor_that_dies_asking_is_replaced_a_limited_number_of_times(world: World) -> None:
    """Reconciliations that never answer end with a person too."""
    world.propose("500.00")
    for _ in range(4):
        leased(world)
        world.clock.advance(seconds=61)
        assert world.work.lapse() == 1
        world.clock.advance(seconds=11)
    reply = world.propose("500.00")
    assert (reply.standing, reply.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
    assert world.lease() is None


# -- claiming -----------------------------------------------------------------------------------


def test_another_proposal_is_refused_while_the_first_executes(world: World) -> None:
    """Queued, running or in doubt: the gate is not free for something else."""
    world.propose("500.00")
    with pytest.raises(InvalidInput, match="still executes"):
        world.propose("600.00")
    leased(world)
    with pytest.raises(InvalidInput, match="still executes"):
        world.propose("600.00")
    world.clock.advance(seconds=61)
    world.work.lapse()
    with pytest.raises(InvalidInput, match="still executes"):
        world.propose("600.00")


def test_another_proposal_never_comes_on_top_of_what_was_done(world: World) -> None:
    """A resumed run whose agent now says 501 instead of 500 does not pay twice."""
    world.propose("500.00")
    world.perform(leased(world))
    with pytest.raises(InvalidInput, match="has done what it proposed"):
        world.propose("501.00")
    assert list(world.till.paid.values()) == ["500.00"]


def test_an_old_round_cannot_be_claimed_again(world: World) -> None:
    """Its action failed, the agent proposed something else: the old approval is not used."""
    request_id = world.propose("5000.00").view.request.id
    old = world.proposal("5000.00", call=2)
    world.decide(request_id, "dana")
    world.propose("5000.00")
    world.till.broken = "no"
    world.perform(leased(world))
    assert world.propose("9000.00", call=2).standing is Standing.WAITING
    reply = world.gates.claim(world.flow, request_id, old)
    assert (reply.standing, reply.view.request.round) == (Standing.WAITING, 2)
    assert world.lease() is None


def test_a_claim_is_for_its_own_run_and_its_own_proposal(world: World) -> None:
    """Neither a stranger nor another proposal, gate or run uses an approval."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    same = world.proposal("5000.00")
    with pytest.raises(NotEntitled):
        world.gates.claim(world.key("flow", "other-agent"), request_id, same)
    with pytest.raises(NotEntitled):
        world.gates.claim(world.executor, request_id, same)
    for other in ({"key": "other"}, {"amount": "5001.00"}):
        with pytest.raises(InvalidInput, match="something else"):
            world.gates.claim(
                world.flow, request_id, world.proposal(**{"amount": "5000.00"} | other)
            )
    elsewhere = same.model_copy(update={"run": same.run.model_copy(update={"root_run_id": "x"})})
    with pytest.raises(InvalidInput, match="something else"):
        world.gates.claim(world.flow, request_id, elsewhere)
    assert world.gates.claim(world.flow, request_id, same).standing is Standing.EXECUTING


def test_a_claim_before_the_decision_does_not_silence_the_doorbell(world: World) -> None:
    """A run that claims too early, suspends, and is decided on is still woken."""
    request_id = world.propose("5000.00").view.request.id
    early = world.gates.claim(world.flow, request_id, world.proposal("5000.00"))
    assert early.standing is Standing.WAITING
    world.passes.suspending(world.flow, [request_id])
    world.decide(request_id, "dana")
    bell = world.gates.doorbell(request_id)
    assert bell is not None
    assert bell.pauses == (f"{world.run}-", f"{request_id}-")


def test_the_doorbell_rings_until_the_flow_has_the_result(world: World) -> None:
    """A run that dies between its claim and the executor's report is still found and woken."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    world.propose("5000.00")
    job = world.lease()
    assert job is not None
    world.perform(job)
    assert world.gates.doorbell(request_id) is not None
    assert world.propose("5000.00").standing is Standing.SUCCEEDED
    assert world.gates.doorbell(request_id) is None


def test_an_action_of_the_registry_does_not_run_in_a_flows_process(world: World) -> None:
    """A flow cannot have a payment judged without its facts by calling it its own function."""
    with pytest.raises(InvalidInput, match="action of the registry"):
        world.propose("5.00", in_process=True)


def test_a_new_key_of_the_same_requester_goes_on(world: World) -> None:
    """Keys are rotated while runs wait; another requester's key still opens nothing."""
    request_id = world.propose("5000.00").view.request.id
    world.access.revoke_key(world.flow.key_id)
    world.decide(request_id, "dana")
    for stranger in (world.key("flow", "invoice-agent"), world.key("flow", "x", "sam")):
        with pytest.raises(NotEntitled):
            world.gates.propose(stranger, world.proposal("5000.00"))
    renewed = world.key("flow", "invoice-agent", "sam")
    reply = world.gates.propose(renewed, world.proposal("5000.00"))
    assert reply.standing is Standing.EXECUTING


def test_twins_of_a_run_claim_once(world: World) -> None:
    """Six processes of one run ask at once: one execution, one holder."""
    answers = at_once(*[lambda: world.propose(**NOTE) for _ in range(6)])
    assert not [one for one in answers if isinstance(one, Exception)]
    standings = sorted(one.standing.value for one in answers)
    assert standings == ["claimed", *["executing"] * 5]
    with world.database.read() as session:
        assert len(session.exec(select(AttemptRow)).all()) == 1


def test_a_claim_and_another_proposal_at_once_never_both_win(world: World) -> None:
    """Either the approval is used and the other refused, or it is void and nothing runs."""
    for number in range(6):
        key = f"race-{number}"
        request_id = world.propose("5000.00", key=key).view.request.id
        world.decide(request_id, "dana")
        one, two = at_once(
            partial(world.propose, "5000.00", key=key),
            partial(world.propose, "9000.00", key=key),
        )
        rounds = world.gates.rounds(request_id)
        used = [view for view in rounds if view.execution is not None]
        outcome = rounds[0].outcome
        assert outcome is not None
        if used:
            assert [view.request.id for view in used] == [request_id]
            assert outcome.kind is OutcomeKind.APPROVED
            assert isinstance(two, InvalidInput)
        else:
            assert outcome.kind is OutcomeKind.VOIDED
            assert len(rounds) >= 2
        assert not isinstance(one, (KeyError, AssertionError, RetryLater))


def test_a_decision_and_another_proposal_at_once_leave_one_outcome(world: World) -> None:
    """The round ends as approved-then-void or as withdrawn; the next one asks anew."""
    for number in range(6):
        key = f"race-{number}"
        request_id = world.propose("5000.00", key=key).view.request.id
        _, reply = at_once(
            partial(world.decide, request_id, "dana"),
            partial(world.propose, "9000.00", key=key),
        )
        assert isinstance(reply, GateReply)
        assert (reply.standing, reply.view.request.round) == (Standing.WAITING, 2)
        outcome = world.gates.view(request_id).outcome
        assert outcome is not None
        assert outcome.kind in (OutcomeKind.VOIDED, OutcomeKind.CANCELLED)


def test_versions_only_grow(database: Database) -> None:
    """Whoever waits for news beyond a version misses none of them."""
    world = World(database)
    request_id = world.propose("20000.00").view.request.id
    seen: list[int] = []

    def look() -> None:
        seen.append(world.gates.standing(world.flow, request_id, "", 1).version)

    look()
    for step in (
        lambda: world.passes.suspending(world.flow, [request_id]),
        lambda: world.propose("20000.00"),
        lambda: world.decide(request_id, "dana"),
        lambda: world.decide(request_id, "mika"),
        lambda: world.propose("20000.00"),
        lambda: world.perform(leased(world)),
    ):
        step()
        look()
    assert seen == sorted(set(seen))
