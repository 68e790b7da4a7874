"""The commands of the server, on SQLite and on PostgreSQL."""

import contextlib
import json
import threading
from typing import Any

import pytest

from gates.core.errors import (
    AlreadyDecided,
    InvalidArguments,
    InvalidGrant,
    InvalidInput,
    NotEntitled,
    RequestClosed,
    SelfApproval,
    Unavailable,
    UnknownAction,
)
from gates.core.messages import AttemptReport
from gates.core.model import ExecutionState, OutcomeKind, Purpose, Standing
from tests.support.world import POLICY, World


def test_routine_action_runs_at_once_and_is_paid_once(world: World) -> None:
    """An allowed action is queued with its proposal, executed, and a repeat reads the result."""
    assert world.propose("500.00").standing is Standing.EXECUTING
    job = world.lease()
    assert job is not None
    assert world.lease() is None
    assert world.perform(job).standing is Standing.SUCCEEDED
    again = world.propose("500.00")
    assert again.standing is Standing.SUCCEEDED
    assert again.result == {"paid": "500.00"}
    assert list(world.till.paid.values()) == ["500.00"]


def test_two_people_must_agree_on_a_large_one(world: World) -> None:
    """One approval of two changes nothing; the second settles; then it is claimed and runs."""
    reply = world.propose("20000.00")
    request_id = reply.view.request.id
    assert reply.standing is Standing.WAITING
    assert world.decide(request_id, "dana").outcome is None
    assert world.lease() is None
    outcome = world.decide(request_id, "mika").outcome
    assert outcome is not None
    assert outcome.by == ("Dana Okafor", "Mika Lindqvist")
    assert world.propose("20000.00").standing is Standing.EXECUTING
    job = world.lease()
    assert job is not None
    assert world.perform(job).result == {"paid": "20000.00"}


def test_rejection_ends_it_and_names_the_person(world: World) -> None:
    """A rejected request stays rejected whoever asks again."""
    request_id = world.propose("20000.00").view.request.id
    world.decide(request_id, "mika", "reject", "not ours")
    reply = world.propose("20000.00")
    assert reply.standing is Standing.REJECTED
    assert str(reply.view.outcome) == "rejected by Mika Lindqvist: not ours"
    with pytest.raises(RequestClosed, match="not ours"):
        world.decide(request_id, "dana")


def test_who_may_not_decide(world: World) -> None:
    """Strangers, the one acted for, and a second word are refused and change nothing."""
    request_id = world.propose("20000.00").view.request.id
    with pytest.raises(SelfApproval):
        world.decide(request_id, "sam")
    world.decide(request_id, "dana")
    with pytest.raises(AlreadyDecided, match="Dana Okafor has decided this already: approved"):
        world.decide(request_id, "dana", "reject")
    assert world.gates.view(request_id).outcome is None


def test_everybody_at_once_gives_one_outcome(world: World) -> None:
    """Approvals and rejections that race end in exactly one outcome, told alike to all."""
    request_id = world.propose("20000.00").view.request.id
    barrier = threading.Barrier(4)

    def click(person: str, kind: str) -> None:
        barrier.wait()
        with contextlib.suppress(AlreadyDecided, RequestClosed):
            world.decide(request_id, person, kind)

    clicks = [(who, kind) for who in ("dana", "mika") for kind in ("approve", "reject")]
    threads = [threading.Thread(target=click, args=one) for one in clicks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    view = world.gates.view(request_id)
    assert view.outcome is not None
    assert len({decision.person for decision in view.decisions}) == len(view.decisions)
    approvals = [one for one in view.decisions if one.kind.value == "approve"]
    assert (view.outcome.kind is OutcomeKind.APPROVED) == (len(approvals) == 2)


def test_deadline_expires_as_refusal(world: World) -> None:
    """Silence never approves: at the deadline the request expires, a late click is told so."""
    request_id = world.propose("20000.00").view.request.id
    world.clock.advance(hours=1)
    with pytest.raises(RequestClosed, match="expired"):
        world.decide(request_id, "dana")
    assert world.gates.expire() == 0
    assert world.propose("20000.00").standing is Standing.EXPIRED


def test_unknown_action_and_bad_arguments_write_nothing(world: World) -> None:
    """Bad input is a typed error that names the field and its value."""
    with pytest.raises(UnknownAction, match=r"till\.pray"):
        world.propose(name="till.pray")
    with pytest.raises(InvalidArguments, match="amount = 'many'"):
        world.propose("many")
    with pytest.raises(InvalidArguments, match="payee"):
        world.propose(arguments={"amount": "1.00"})
    assert world.gates.waiting() == []


def test_forbidden_by_policy(world: World) -> None:
    """A forbidden action is refused by the policy, and nobody is asked."""
    reply = world.propose("5.00", name="till.burn", key="burn")
    assert reply.standing is Standing.FORBIDDEN
    assert str(reply.view.outcome) == "rejected by policy: money is not burned"


def test_another_requesters_key_cannot_read_or_use_a_run(world: World) -> None:
    """A key is bound to its own runs."""
    request_id = world.propose("20000.00").view.request.id
    stranger = world.key("flow", "other-agent")
    with pytest.raises(NotEntitled):
        world.gates.propose(stranger, world.proposal("20000.00"))
    with pytest.raises(NotEntitled):
        world.gates.standing(stranger, request_id, "", 1)
    with pytest.raises(NotEntitled):
        world.work.lease(world.flow, "a" * 32, ["till.pay"], 60)


def test_an_approval_outlives_a_system_that_is_away(world: World) -> None:
    """Nothing runs unseen, and nobody is asked again for that."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    world.till.reachable = False
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"cannot be looked at now .* The approval stands"):
            world.gates.claim(world.flow, request_id, world.proposal("5000.00"))
    world.till.reachable = True
    reply = world.gates.claim(world.flow, request_id, world.proposal("5000.00"))
    assert (reply.standing, reply.view.request.round) == (Standing.EXECUTING, 1)


def test_work_that_waited_long_is_not_handed_out_unseen(world: World) -> None:
    """Nor is its approval void, while the system is away."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    world.gates.claim(world.flow, request_id, world.proposal("5000.00"))
    world.clock.advance(seconds=90)
    world.till.reachable = False
    assert world.lease() is None
    world.till.reachable = True
    assert world.lease() is not None


def test_a_changed_world_voids_the_approval(world: World) -> None:
    """The payee's account changed after the approval: people are asked again, with the change."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    world.till.accounts["acme"] = "XX99"
    reply = world.propose("5000.00")
    assert reply.standing is Standing.WAITING
    assert reply.view.request.round == 2
    voided = world.gates.view(request_id).outcome
    assert voided is not None
    assert voided.kind is OutcomeKind.VOIDED
    assert "account: NL01 -> XX99" in voided.reason
    assert world.lease() is None


def test_another_proposal_never_uses_the_old_approval(world: World) -> None:
    """After a resume the agent proposes something else: the old approval is void."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    reply = world.propose("9000.00")
    assert reply.standing is Standing.WAITING
    assert reply.view.request.round == 2
    assert world.lease() is None


def test_third_same_failure_goes_to_a_person(world: World) -> None:
    """Two failures are the agent's; the third opens a question; allowing lets it go on."""
    world.till.broken = "overpays line 17"
    for call in (1, 2):
        reply = world.propose("500.00", call=call)
        assert reply.standing is Standing.EXECUTING
        job = world.lease()
        assert job is not None
        world.perform(job)
        assert world.propose("500.00", call=call).standing is Standing.FAILED
    assert world.propose("500.00", call=3).standing is Standing.EXECUTING
    job = world.lease()
    assert job is not None
    world.perform(job)
    reply = world.propose("500.00", call=3)
    assert reply.standing is Standing.WAITING
    request = reply.view.request
    assert request.purpose is Purpose.LOOP
    assert len(request.evidence["attempts"]) == 3
    world.till.broken = ""
    world.decide(request.id, "dana")
    assert world.propose("500.00", call=3).standing is Standing.EXECUTING
    job = world.lease()
    assert job is not None
    world.perform(job)
    assert world.propose("500.00", call=3).result == {"paid": "500.00"}


def test_lapsed_attempt_that_had_paid_is_found_not_repeated(world: World) -> None:
    """An executor that dies after the effect: the till is asked, and nothing is paid twice."""
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    world.till.paid[job.idempotency_key] = "500.00"
    world.clock.advance(seconds=61)
    assert world.work.lapse() == 1
    assert world.lease() is None, "the old call could still land"
    world.clock.advance(seconds=11)
    found = world.lease()
    assert found is not None
    assert found.kind == "reconcile"
    assert world.perform(found).standing is Standing.SUCCEEDED
    report = AttemptReport(state="failed", fence=job.grant.fence, error="late")
    with pytest.raises(InvalidGrant):
        world.work.report(world.executor, job.grant.attempt_id, report)


def test_lapsed_attempt_that_never_paid_runs_again_once(world: World) -> None:
    """ "Not there" makes it safe to run again under the same idempotency key."""
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    world.clock.advance(seconds=72)
    world.work.lapse()
    world.clock.advance(seconds=11)
    found = world.lease()
    assert found is not None
    world.perform(found)
    again = world.lease()
    assert again is not None
    assert (again.kind, again.idempotency_key) == ("execute", job.idempotency_key)
    assert world.perform(again).standing is Standing.SUCCEEDED
    assert len(world.till.paid) == 1


def test_where_the_system_cannot_tell_a_person_is_asked(world: World) -> None:
    """An unclear reconciliation opens a question and is never blindly run again."""
    world.propose("500.00")
    assert world.lease() is not None
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.clock.advance(seconds=11)
    world.till.reachable = False
    found = world.lease()
    assert found is not None
    world.perform(found)
    world.till.reachable = True
    reply = world.propose("500.00")
    assert reply.standing is Standing.WAITING
    assert reply.view.request.purpose is Purpose.IN_DOUBT
    world.clock.advance(seconds=11)
    assert world.lease() is None


def test_in_process_action_is_held_by_one_process(world: World) -> None:
    """A twin of the run waits; when the holder's lease lapses a person is asked."""
    note = {"name": "note", "in_process": True, "arguments": {}, "key": "note"}
    first = world.propose(**note, attempt_id="attempt-one")
    assert first.standing is Standing.CLAIMED
    assert first.grant is not None
    assert world.propose(**note, attempt_id="attempt-two").standing is Standing.EXECUTING
    assert world.propose(**note, attempt_id="attempt-one").grant == first.grant
    world.clock.advance(seconds=31)
    world.work.lapse()
    asked = world.propose(**note, attempt_id="attempt-two")
    assert asked.standing is Standing.WAITING
    assert asked.view.request.purpose is Purpose.IN_DOUBT


def test_resume_without_decision_is_recorded(world: World) -> None:
    """A run that comes back although nobody decided is counted, shown and logged."""
    request_id = world.propose("20000.00").view.request.id
    assert world.passes.suspending(world.flow, [request_id]).pause_key == f"{world.run}-1"
    assert world.gates.view(request_id).suspended
    reply = world.propose("20000.00")
    assert reply.standing is Standing.WAITING
    view = world.gates.view(request_id)
    assert (view.woken, view.suspended) == (1, False)


def test_a_run_that_prefect_would_not_suspend_was_not_resumed_by_anybody(world: World) -> None:
    """It waits in its process after all; nobody is said to have resumed it."""
    request_id = world.propose("20000.00").view.request.id
    assert world.passes.suspending(world.flow, [request_id]).pause_key
    world.passes.staying(world.flow, [request_id])
    assert not world.gates.view(request_id).suspended
    world.propose("20000.00")
    assert world.gates.view(request_id).woken == 0


def test_facts_that_cannot_be_read_ask_people(world: World) -> None:
    """A till that does not answer raises even a small payment to people."""
    world.till.reachable = False
    reply = world.propose("5.00")
    assert reply.standing is Standing.WAITING
    assert "does not answer" in reply.view.request.judgement.reasons[0].text


def test_succeeded_execution_is_final(world: World) -> None:
    """A report that contradicts an earlier one is refused."""
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    world.perform(job)
    report = AttemptReport(state="failed", fence=job.grant.fence, error="changed my mind")
    with pytest.raises(InvalidGrant):
        world.work.report(world.executor, job.grant.attempt_id, report)
    execution = world.gates.view(world.propose("500.00").view.request.id).execution
    assert execution is not None
    assert execution.state is ExecutionState.SUCCEEDED


def test_a_question_is_done_with_its_answer(world: World) -> None:
    """Nothing runs behind a question: the claim and its end are one transaction."""
    ask = {"name": "may-we", "in_process": True, "question": True, "arguments": {}, "key": "ask"}
    request_id = world.propose(**ask).view.request.id
    world.decide(request_id, "dana")
    reply = world.propose(**ask)
    assert reply.standing is Standing.SUCCEEDED
    assert reply.grant is None
    assert world.gates.doorbell(request_id) is None


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"all": [0] * 5_001}, "claims has more than 5,000 values"),
        ({"n": 2**63}, "beyond 2"),
        ({"deep": json.loads("[" * 70 + "]" * 70)}, "nested deeper"),
    ],
)
def test_more_than_a_policy_can_look_at_is_refused(
    world: World, claims: dict[str, Any], words: str
) -> None:
    """Nothing is opened: a rule must not break by the size of what it is asked."""
    with pytest.raises(InvalidInput, match=words):
        world.propose("500.00", claims=claims)
    assert world.gates.waiting() == []


def test_whom_a_claim_adds_must_agree_beside_those_whom_facts_ask(world: World) -> None:
    """Neither of them alone lets it run; Sam, for whom it is asked, is left out."""
    world.rule(
        POLICY
        + """
  - name: unsure
    on: till.pay
    when: claims.unsure == true
    verdict: require_approval
    tier: expert
    ask: {who: [clerks, treasury], quorum: 2}
    because: unsure
"""
    )
    asked = world.propose("20000.00", claims={"unsure": True}).view.request
    for person in ("mika", "dana"):
        world.decide(asked.id, person, reason="seen")
        assert world.gates.view(asked.id).outcome is None
    world.decide(asked.id, "tess", reason="seen")
    outcome = world.gates.view(asked.id).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.APPROVED
