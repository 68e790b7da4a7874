"""The very same proposal once more: what is done already, what was refused, whoever fails at it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from gates.actions import Registry
from gates.alarms import Alarms, of_store, report
from gates.circling import Circling
from gates.core.errors import Frozen, InvalidInput
from gates.core.freezes import Freeze, Scope
from gates.core.loops import Call, tried
from gates.core.messages import AttemptReport
from gates.core.model import (
    ApprovalRequest,
    DecisionKind,
    ExecutionState,
    GateReply,
    Job,
    LoopAnswer,
    LoopLabel,
    OutcomeKind,
    Purpose,
    Standing,
)
from gates.store import freezes
from gates.store.repository import Unit
from gates.work import Work
from tests.integration.test_work import at_once
from tests.support.world import POLICY, Till, World, burn, pay


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
    assert tried(request.evidence)[0].error == 'done: {"paid":"500.00"}'
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
        reply = a_look(world, uuid4().hex)
        standings.append(reply.standing)
        answer_look(world, reply, answer)
    return standings


def a_look(world: World, key: str) -> GateReply:
    return world.propose(
        name="note",
        in_process=True,
        arguments={"n": "1"},
        key=f"look-{key}",
        changes_nothing=True,
    )


def answer_look(world: World, reply: GateReply, answer: str) -> None:
    if reply.grant is not None:
        told = AttemptReport(state="succeeded", fence=reply.grant.fence, result={"value": answer})
        world.work.report(world.flow, reply.grant.attempt_id, told)


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


def test_long_answers_are_compared_to_their_end(world: World) -> None:
    """What people are shown of them is the beginning; a clock in them is no news all the same."""
    log = "booked " * 100
    assert looks(world, *[f"{log} {n} of 9 done" for n in range(9)])[-1] is Standing.CLAIMED
    clocks = [f"{log} as of 2026-03-01T10:00:0{n}Z" for n in range(4)]
    assert looks(world, *clocks)[-1] is Standing.WAITING
    (asked,) = world.gates.waiting()
    assert tried(asked.request.evidence)[0].error.endswith("...")


@pytest.mark.parametrize(
    ("declared", "answers", "expected"),
    [
        ("", ["5", "6", "7", "8"], Standing.CLAIMED),
        ("volatile: [value]", ["5", "6", "7", "8"], Standing.WAITING),
        ("volatile: [value]", ["x" * 600 + n for n in "5678"], Standing.WAITING),
        ("", [uuid4().hex for _ in range(4)], Standing.WAITING),
        ("exact: true", [uuid4().hex for _ in range(4)], Standing.CLAIMED),
        ("exact: true", ["5", "5", "5", "5"], Standing.WAITING),
    ],
)
def test_a_policy_says_what_counts_of_an_answer(
    world: World, declared: str, answers: list[str], expected: Standing
) -> None:
    """Fields that change by themselves, and ids that are the news."""
    ruled(world, f"{{same_failure: 3, thresholds: {{actions: {{note: {{{declared}}}}}}}}}")
    assert looks(world, *answers)[-1] is expected


def test_looks_side_by_side_are_one(world: World) -> None:
    """Proposed before any has ended: a round counts once, here and on a server that reads it."""
    for number in range(2):
        grants = [a_look(world, f"{number}-{side}") for side in "abc"]
        world.clock.advance(seconds=1)
        for grant in grants:
            answer_look(world, grant, "5")
        world.clock.advance(seconds=1)
    world.gates.circling = Circling()
    assert looks(world, "5", "5") == [Standing.CLAIMED, Standing.WAITING]


def test_what_is_proposed_beside_a_question_pushes_nothing(world: World) -> None:
    """A flow that asks for five at once has not heard yet that it is stopped."""
    ruled(world, "{same_failure: 3, thresholds: {run: {attempts: 1}}}")
    looks(world, "1")
    asked = [world.propose(f"{n}.00", key=f"pay-{n}").view.request for n in range(1, 6)]
    assert {one.judgement.reasons[0].rule for one in asked} == {"loop.budget"}
    assert [one.evidence["level"] for one in asked] == [1] * 5


def test_the_time_that_people_take_is_none_of_the_runs(world: World) -> None:
    """Neither in its budget nor in what a circle has cost; overlapping questions count once."""
    ruled(world, "{same_failure: 3, thresholds: {run: {seconds: 60}}}")
    looks(world, "5")
    asked = [world.propose("5000.00", key=key).view.request for key in ("slow", "slower")]
    world.clock.advance(minutes=50)
    for request in asked:
        world.decide(request.id, "dana", "reject", "not now")
    world.clock.advance(seconds=20)
    assert looks(world, "5", "5", "5")[-1] is Standing.WAITING
    (circle,) = world.gates.waiting()
    assert circle.request.evidence["detector"] == "same_outcome"
    assert dict(circle.request.evidence["spent"])["seconds"] == 20  # type: ignore[arg-type]
    world.decide(circle.request.id, "dana")
    world.clock.advance(seconds=45)
    assert looks(world, "6", "7")[-1] is Standing.WAITING
    (over,) = world.gates.waiting()
    assert "has used 65 of 60" in over.request.judgement.reasons[0].text


def test_guesses_go_to_people_before_the_next_one(world: World) -> None:
    """An action that fails in the same way whatever it is given; other actions go on."""
    world.till.broken = "The period is closed"
    for number in range(5):
        failing(world, f"guess-{number}", amount=f"{number + 1}.00")
    asked = world.propose("99.00", key="guess-5").view.request
    assert asked.judgement.reasons[0].rule == "loop.same_failure"
    assert asked.judgement.reasons[0].text.startswith("Pay out failed 5 times in the same way")
    assert "cycle" not in asked.evidence
    assert looks(world, "1") == [Standing.CLAIMED]


def test_a_detector_that_forgot_a_run_reads_it_again(world: World) -> None:
    """Another server, or a restart: what the store knows is enough."""
    looks(world, "5", "5", "5")
    world.gates.circling = Circling()
    assert looks(world, "5") == [Standing.WAITING]


def test_a_detector_reads_a_long_run_to_its_end(world: World) -> None:
    """However much came before: what a person has answered is heard in its place, too."""
    with world.database.write() as session:
        for number in range(700):
            Unit(session, world.clock()).add_call(world.run, old_call(world, number))
    world.clock.advance(seconds=1)
    use_up_two_more_looks(world)
    world.gates.circling = Circling()
    assert looks(world, "5") == [Standing.WAITING]


def use_up_two_more_looks(world: World) -> None:
    looks(world, "5", "5", "5", "5")
    (asked,) = world.gates.waiting()
    world.clock.advance(seconds=1)
    world.decide(asked.request.id, "dana")  # two more, as the policy says
    world.clock.advance(seconds=1)
    assert looks(world, "5", "5") == [Standing.CLAIMED] * 2


def old_call(world: World, number: int) -> Call:
    return Call(
        request_id=f"r{number}",
        attempt_id=f"a{number}",
        action="note",
        arguments_digest=f"d{number}",
        outcome_digest=f"o{number}",
        arguments={"n": f"old {number}"},
        failed=False,
        at=world.clock(),
        writes=False,
    )


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
    assert (fourth.purpose, fourth.evidence["count"]) == (Purpose.LOOP, 3)  # with what came before


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


def test_what_the_policy_forbids_is_asked_about_each_third_time(world: World) -> None:
    """Also after people have said no to the circle; in between the agent is told by the policy."""
    found = []
    for number in range(9):
        reply = world.propose(name="till.burn", key=f"burn-{number}")
        found.append(reply.standing is Standing.WAITING)
        world.clock.advance(seconds=1)
        if found[-1]:
            world.decide(reply.view.request.id, "dana", "reject", "stop it")
    assert found == [False, False, True] * 3


def test_of_writes_side_by_side_the_second_is_asked(world: World) -> None:
    """What nobody has begun yet counts, too; one yes lets it run once."""
    assert world.propose("500.00", key="first").standing is Standing.EXECUTING
    again = world.propose("500.00", key="second")
    request = again.view.request
    assert (again.standing, request.purpose) == (Standing.WAITING, Purpose.LOOP)
    assert "or is under way once in this run" in request.judgement.reasons[0].text
    job = world.lease()
    assert job is not None
    world.perform(job)
    assert world.lease() is None
    with pytest.raises(InvalidInput, match="more = 2: one approval lets it run once"):
        world.gates.decide(
            request.id,
            person_id="dana",
            kind=DecisionKind.APPROVE,
            channel="test",
            assurance="session",
            loop=LoopAnswer(more=2),
        )
    world.decide(request.id, "dana")
    assert world.propose("500.00", key="second").standing is Standing.EXECUTING
    third = world.propose("500.00", key="third")
    assert (third.standing, third.view.request.evidence["count"]) == (Standing.WAITING, 2)


def test_of_writes_at_the_same_moment_one_runs(world: World) -> None:
    """Two threads of one run: whoever comes second is put to people, whichever it is."""
    for number in range(10):
        calls = [
            partial(world.propose, f"{number + 1}.00", key=f"{number}-{side}") for side in "ab"
        ]
        found = sorted(reply.standing for reply in at_once(*calls))
        assert found == [Standing.EXECUTING, Standing.WAITING]


@pytest.mark.parametrize("together", [False, True])
def test_of_two_approvals_of_one_write_one_is_used(world: World, together: bool) -> None:
    """People who agreed to each did not know of the other: the second is asked about with it."""
    asked = [world.propose("5000.00", key=key).view.request for key in ("first", "second")]
    for request in asked:
        assert (request.purpose, request.requirement is None) == (Purpose.ACTION, False)
        world.decide(request.id, "dana")
    calls = [partial(world.propose, "5000.00", key=key) for key in ("first", "second")]
    replies = at_once(*calls) if together else [call() for call in calls]
    assert sorted(one.standing for one in replies) == [Standing.EXECUTING, Standing.WAITING]
    again = next(one for one in replies if one.standing is Standing.WAITING).view.request
    assert (again.purpose, again.round) == (Purpose.LOOP, 2)
    assert "the run has done the same since" in again.before[0]
    used = "first" if again.gate_key == "second" else "second"
    before = world.gates.rounds(again.id)[0]
    assert before.outcome is not None
    assert (before.outcome.kind, before.outcome.by) == (OutcomeKind.VOIDED, ("the run",))
    assert f"{used} is under way" in str(before.outcome)
    world.decide(again.id, "mika")
    done = world.propose("5000.00", key=again.gate_key)
    assert done.standing is Standing.EXECUTING


def test_a_yes_counts_for_what_it_was_told_of(world: World) -> None:
    """Done once more than people knew when they said yes: they are asked with that."""
    paid(world, "first")
    asked = [world.propose("500.00", key=key).view.request for key in ("second", "third")]
    for request in asked:
        assert request.evidence["count"] == 1
        world.decide(request.id, "dana")
    assert world.propose("500.00", key="second").standing is Standing.EXECUTING
    third = world.propose("500.00", key="third")
    assert (third.standing, third.view.request.evidence["count"]) == (Standing.WAITING, 2)
    world.decide(third.view.request.id, "dana")
    assert world.propose("500.00", key="third").standing is Standing.EXECUTING


def test_what_has_failed_for_sure_is_no_write(world: World) -> None:
    """Side by side with one that left nothing behind, the other may run."""
    asked = [world.propose("5000.00", key=key).view.request for key in ("first", "second")]
    for request in asked:
        world.decide(request.id, "dana")
    world.till.broken = "overpays line 17"
    world.propose("5000.00", key="first")
    job = world.lease()
    assert job is not None
    world.perform(job)
    assert world.propose("5000.00", key="second").standing is Standing.EXECUTING


def test_looks_side_by_side_are_left_alone(world: World) -> None:
    """People who let two of them pass are not asked again: nothing is done twice."""
    look = partial(
        world.propose, name="note.at", in_process=True, arguments={"n": "1"}, changes_nothing=True
    )
    for key in ("first", "second"):
        world.decide(look(key=key).view.request.id, "dana")
    assert look(key="first").standing is Standing.CLAIMED
    assert look(key="second").standing is Standing.CLAIMED


def test_guidance_is_no_leave_to_do_a_write_again(world: World) -> None:
    """The same gate's next round asks anew, of those on the next level."""
    paid(world, "first")
    asked = world.propose("500.00", key="second").view.request
    world.decide(asked.id, "dana", "send_back", "it is paid: leave it")
    again = world.propose("500.00", key="second", call=2)
    request = again.view.request
    assert (again.standing, request.purpose, request.round) == (Standing.WAITING, Purpose.LOOP, 2)
    assert request.evidence["level"] == 2
    assert "guidance by Dana Okafor: it is paid: leave it" in str(request.judgement.reasons)
    assert world.lease() is None


def test_a_lapsed_leave_to_do_a_write_again_is_asked_for_again(world: World) -> None:
    """Not judged by the policy alone, which would let it pass as it let the first one."""
    paid(world, "first")
    asked = world.propose("500.00", key="second", begins=False).view.request
    world.decide(asked.id, "dana")
    world.clock.advance(days=3)
    later = world.propose("500.00", key="second")
    assert (later.standing, later.view.request.purpose) == (Standing.WAITING, Purpose.LOOP)
    assert later.view.request.evidence["detector"] == "same_write"
    assert world.lease() is None


def test_what_stands_half_done_is_told_as_it_is_now(world: World) -> None:
    """A draft that somebody has cleared away since is not on the question that is put again."""
    left = ["payment SCRIPT-7 is a draft"]
    telling = replace(pay, half_done=lambda _till, _payout: [*left])
    registry = Registry.of([telling, burn], {Till: lambda: world.till})
    world.gates.asking = replace(world.gates.asking, registry=registry)
    paid(world, "first")
    asked = world.propose("500.00", key="second", begins=False).view.request
    assert asked.evidence["half_done"] == left
    world.decide(asked.id, "dana")
    world.clock.advance(days=3)
    left.clear()
    later = world.propose("500.00", key="second").view.request
    assert later.round == 2
    assert "half_done" not in later.evidence


def failing(
    world: World, key: str, claims: dict[str, Any] | None = None, amount: str = "500.00"
) -> GateReply:
    """A call that fails, of a flow that gives each of its calls a gate of its own."""
    world.clock.advance(seconds=1)
    reply = world.propose(amount, key=key, claims=claims or {})
    if reply.standing is Standing.WAITING:
        return reply
    job = world.lease()
    assert job is not None
    world.perform(job)
    return world.propose(amount, key=key)


@pytest.mark.parametrize("restarted", [False, True], ids=["same server", "after a restart"])
def test_tries_that_people_allowed_are_used_up_once(world: World, restarted: bool) -> None:
    """Through whichever gate, counted over runs or in this one: two more are two more, and a server
    that reads them again from the store does not allow them anew.
    """
    world.till.broken = "overpays line 17"
    standings = [failing(world, f"try-{number}").standing for number in (1, 2, 3)]
    assert standings == [Standing.FAILED, Standing.FAILED, Standing.WAITING]
    (asked,) = world.gates.waiting()
    world.clock.advance(seconds=1)
    world.decide(asked.request.id, "dana")
    world.clock.advance(seconds=1)
    job = world.lease() if world.propose("500.00", key="try-3") else None
    assert job is not None
    world.perform(job)
    if restarted:
        world.gates.circling = Circling()
    fifth = failing(world, "try-5")
    assert (fifth.standing, fifth.view.request.purpose) == (Standing.WAITING, Purpose.LOOP)
    assert len(fifth.view.request.evidence["attempts"]) == 5  # type: ignore[arg-type]


@pytest.mark.parametrize("restarted", [False, True], ids=["same server", "after a restart"])
def test_looks_that_people_allowed_are_used_up_once(world: World, restarted: bool) -> None:
    """What a run knows is read in the order in which it came about: an answer that was heard after
    the calls that it allowed would allow as many once more.
    """
    use_up_two_more_looks(world)
    if restarted:
        world.gates.circling = Circling()
    assert looks(world, "5") == [Standing.WAITING]


@pytest.mark.parametrize("restarted", [False, True], ids=["same server", "after a restart"])
@pytest.mark.parametrize(
    ("budget", "scope"),
    [
        ("run: {tokens: 300}", "this run"),
        ("agent: {tokens: 300}", "agent invoice-agent"),
        ("business_key: {cost: 30}", "payee:acme"),
        ("run: {seconds: 2}", "this run"),
        ("run: {attempts: 3}", "this run"),
    ],
)
def test_budgets_are_used_up_and_never_refill(
    world: World, budget: str, scope: str, restarted: bool
) -> None:
    """Tokens and money as the agent reports them, of a run, an agent and a business key; neither a
    restart nor a yes gives anything back.
    """
    ruled(world, f"{{same_failure: 3, allow_more: 2, thresholds: {{{budget}}}}}")
    claims = {"tokens": 100, "cost_minor": 10}
    for number in range(4):
        world.clock.advance(seconds=1)
        reply = world.propose(f"{number + 1}.00", key=f"pay-{number}", claims=claims)
        if reply.standing is Standing.WAITING:
            break
        job = world.lease()
        assert job is not None
        world.perform(job)
    request = reply.view.request
    assert request.judgement.reasons[0].rule == "loop.budget"
    assert f"{scope} has used" in request.judgement.reasons[0].text
    assert number == 3
    assert (request.evidence["total"], len(tried(request.evidence))) == (3, 3)
    world.decide(request.id, "dana", "send_back", "be brief")
    if restarted:
        world.gates.circling = Circling()
    allowed = world.propose("5.00", key="pay-5", claims=claims)
    assert allowed.standing is Standing.EXECUTING  # the guidance lets it go on ...
    job = world.lease()
    assert job is not None
    world.perform(job)
    again = world.propose("6.00", key="pay-6", claims=claims)  # ... and gives nothing back
    assert again.standing is Standing.WAITING
    assert again.view.request.evidence["level"] == 2


def ruled(world: World, loops: str) -> None:
    """The world with another section `loops`."""
    kept = [line for line in POLICY.splitlines() if not line.startswith("loops:")]
    world.rule("\n".join([*kept, f"loops: {loops}"]))


LEVELS = """
  same_failure: 3
  allow_more: 2
  ask: {who: [controllers]}
  levels:
    - ask: {who: [treasury], deadline: 10m}
    - {ask: {who: [controllers, treasury], quorum: 2}, allow_more: 0}
"""


def test_what_comes_back_after_guidance_goes_a_level_up(world: World) -> None:
    """At its next failure, to other people, who are told by whose guidance it came; they may allow
    one more try, and those above them none.
    """
    ruled(world, LEVELS)
    world.till.broken = "overpays line 17"
    first = [failing(world, f"try-{number}") for number in (1, 2, 3)][-1].view.request
    assert (first.evidence["level"], names(first)) == (1, ["Dana Okafor", "Mika Lindqvist"])
    world.decide(first.id, "dana", "send_back", "withdraw the draft, then pay")
    second = failing(world, "try-4").view.request
    assert (second.evidence["level"], names(second)) == (2, ["Tess Laurent"])
    why = "Level 2: it came back after guidance by Dana Okafor: withdraw the draft, then pay"
    assert why in [reason.text for reason in second.judgement.reasons]
    with pytest.raises(InvalidInput, match="on level 2 nobody allows more than 1"):
        allow(world, second.id, "tess", more=5)
    world.decide(second.id, "tess", "send_back", "withdraw SCRIPT-7")
    third = failing(world, "try-5").view.request
    assert third.evidence["level"] == 3
    assert third.requirement is not None
    assert third.requirement.quorum == 2
    with pytest.raises(InvalidInput, match="on level 3 the policy lets nobody allow more tries"):
        allow(world, third.id, "dana")
    world.decide(third.id, "mika", "reject", "stop it")


def test_other_trouble_begins_on_the_first_level(world: World) -> None:
    """Guidance about one failure says nothing of another, or of another run's business."""
    ruled(world, LEVELS)
    world.till.broken = "overpays line 17"
    first = [failing(world, f"try-{number}") for number in (1, 2, 3)][-1].view.request
    world.decide(first.id, "dana", "send_back", "withdraw the draft, then pay")
    world.till.broken = "the period is closed"
    asked = None
    for number in range(4, 9):
        reply = failing(world, f"try-{number}")
        if reply.standing is Standing.WAITING:
            asked = reply.view.request
            break
    assert asked is not None
    assert asked.evidence["level"] == 1


def test_a_level_is_no_way_round_who_has_to_agree_anyhow(world: World) -> None:
    """What controllers must approve they approve a level up, too, beside whom the level names; the
    level's people alone are not enough.
    """
    ruled(world, LEVELS)
    first = world.propose("5000.00", key="first").view.request
    world.decide(first.id, "dana")
    world.propose("5000.00", key="first")
    job = world.lease()
    assert job is not None
    world.perform(job)
    second = world.propose("5000.00", key="second").view.request
    assert (second.purpose, names(second)) == (Purpose.LOOP, ["Dana Okafor", "Mika Lindqvist"])
    world.decide(second.id, "dana", "send_back", "it is paid: leave it")
    third = world.propose("5000.00", key="second", call=2).view.request
    assert names(third) == ["Dana Okafor", "Mika Lindqvist", "Tess Laurent"]
    world.decide(third.id, "tess")
    assert world.propose("5000.00", key="second", call=2).standing is Standing.WAITING
    world.decide(third.id, "mika")
    assert world.propose("5000.00", key="second", call=2).standing is Standing.EXECUTING


def approved(world: World, key: str) -> Job:
    """A payment that the policy puts to controllers; the job to make it."""
    world.clock.advance(seconds=1)
    reply = world.propose("5000.00", key=key)
    world.decide(reply.view.request.id, "dana")
    world.propose("5000.00", key=key)
    job = world.lease()
    assert job is not None
    return job


def test_a_world_that_changes_takes_no_level_from_a_loop(world: World) -> None:
    """What people have to agree to again they agree to beside the level's people."""
    ruled(world, LEVELS)
    world.till.broken = "overpays line 17"
    first = [world.perform(approved(world, f"try-{number}")) for number in (1, 2, 3)][-1]
    world.decide(first.view.request.id, "dana", "send_back", "withdraw the draft, then pay")
    job = approved(world, "try-4")
    world.till.accounts["acme"] = "NL02"  # while it runs
    second = world.perform(job).view.request
    assert (second.purpose, second.evidence["level"]) == (Purpose.LOOP, 2)
    assert "Changed meanwhile" in str(second.judgement.reasons)
    assert names(second) == ["Dana Okafor", "Mika Lindqvist", "Tess Laurent"]
    world.decide(second.id, "dana")
    assert world.gates.view(second.id).outcome is None  # nor are controllers alone enough


class Slow(dict[str, str]):
    """Accounts that take their time: `meanwhile` happens while they are read, once."""

    def __init__(self, accounts: dict[str, str], meanwhile: Callable[[], object]) -> None:
        super().__init__(accounts)
        self.meanwhile = [meanwhile]

    def get(self, key: str, default: Any = None) -> Any:
        if self.meanwhile:
            self.meanwhile.pop()()
        return super().get(key, default)


def test_guidance_that_comes_while_a_failure_is_reported_counts(world: World) -> None:
    """The question is put as it is found under the lock, not as it was a moment before."""
    ruled(world, LEVELS)
    world.till.broken = "overpays line 17"
    failing(world, "try-1")
    failing(world, "try-2")
    runs = [world.run, uuid4().hex]  # one of them is another: they do it at the same time
    for world.run in runs:
        world.propose("500.00", key="try-3")
    world.run = runs[0]
    jobs = [world.lease(), world.lease()]
    assert jobs[0] is not None
    assert jobs[1] is not None
    first = world.perform(jobs[0]).view.request
    guide = partial(world.decide, first.id, "dana", "send_back", "withdraw the draft, then pay")
    world.till.accounts = Slow(world.till.accounts, guide)
    asked = world.perform(jobs[1]).view.request
    assert (asked.evidence["level"], names(asked)) == (2, ["Tess Laurent"])


def test_without_levels_people_in_command_are_asked_next(world: World) -> None:
    """Whoever may stop everything hears of what guidance could not cure."""
    ruled(world, "{ask: {who: [controllers]}}\ncommand: {who: [treasury]}")
    world.till.broken = "overpays line 17"
    first = [failing(world, f"try-{number}") for number in (1, 2, 3)][-1].view.request
    world.decide(first.id, "dana", "send_back", "withdraw the draft, then pay")
    assert names(failing(world, "try-4").view.request) == ["Tess Laurent"]


def names(request: ApprovalRequest) -> list[str]:
    return sorted(request.requirement.people.values()) if request.requirement else []


def allow(world: World, request_id: str, person: str, more: int | None = None) -> None:
    world.gates.decide(
        request_id,
        person_id=person,
        kind=DecisionKind.APPROVE,
        channel="test",
        assurance="session",
        loop=LoopAnswer(more=more),
    )


def test_changed_arguments_are_guidance_too(world: World) -> None:
    """A person's own arguments that fail the same way again come back on the next level."""
    ruled(world, LEVELS)
    world.till.broken = "overpays line 17"
    first = [failing(world, f"try-{number}") for number in (1, 2, 3)][-1].view.request
    fewer = {"payee": "acme", "amount": "400.00"}
    world.decide(first.id, "dana", "approve_with_changes", "less", changes=fewer)
    replies = []
    for call in (1, 2, 3):
        world.clock.advance(seconds=1)
        world.propose("500.00", key="try-3", call=call)
        job = world.lease()
        assert job is not None
        world.perform(job)
        replies.append(world.propose("500.00", key="try-3", call=call))
    request = replies[-1].view.request
    assert (request.purpose, request.evidence["level"]) == (Purpose.LOOP, 2)
    assert request.action.arguments == fewer


def test_what_is_pushed_against_a_no_goes_a_level_up(world: World) -> None:
    """Stopped by the detector, rejected by people, proposed all the same: it is not refused for
    ever, the third time others are asked.
    """
    ruled(world, LEVELS)
    looks(world, "5", "5", "5")
    asked = []
    for _ in range(3):
        assert looks(world, "5") == [Standing.WAITING]
        (waiting,) = world.gates.waiting()
        asked.append(waiting.request)
        person = "tess" if waiting.request.evidence["level"] == 2 else "dana"
        world.decide(waiting.request.id, person, "reject", "leave it")
    assert [one.evidence["level"] for one in asked] == [1, 1, 2]
    assert names(asked[-1]) == ["Tess Laurent"]
    assert "Level 2: it was tried again and again" in str(asked[-1].judgement.reasons)


def test_a_proposal_that_is_looked_at_twice_is_pushed_once(world: World) -> None:
    """A command that lost a race, or was stopped by a freeze, and is said again is no new push."""
    ruled(world, LEVELS)
    looks(world, "5", "5", "5")
    note = {"name": "note", "in_process": True, "arguments": {"n": "1"}, "changes_nothing": True}
    scope, at = Scope(agent="*"), world.clock()
    freeze = Freeze(id="f", scope=scope, by="dana", name="Dana", reason="wait", at=at)
    with world.database.write() as session:
        freezes.add_freeze(session, freeze)
    world.gates.orders.drop()
    for _ in range(4):
        with pytest.raises(Frozen):
            world.propose(key="again", **note)
    with world.database.write() as session:
        freezes.thaw(session, freeze, "mika", "go on", world.clock())
    world.gates.orders.drop()
    assert world.propose(key="again", **note).view.request.evidence["level"] == 1


def test_a_no_and_a_yes_in_between_are_no_progress(world: World) -> None:
    """What a gate refuses changes nothing, and neither does what people agree to with nothing
    behind it.
    """
    assert looks(world, "5", "5") == [Standing.CLAIMED] * 2
    refused = world.propose("5000.00", key="refused").view.request
    world.decide(refused.id, "dana", "reject", "not this supplier")
    burnt = world.propose(name="till.burn", key="burnt")
    assert burnt.standing is Standing.FORBIDDEN
    agreed = {"name": "May it?", "in_process": True, "question": True, "arguments": {}}
    asked = world.propose(key="agreed", **agreed).view.request
    world.decide(asked.id, "dana")
    world.propose(key="agreed", **agreed)
    assert looks(world, "5", "5") == [Standing.CLAIMED, Standing.WAITING]


def test_a_changed_world_is_nobodys_guidance(world: World) -> None:
    """An approval that a drift has voided moves nothing up, and allows nothing."""
    ruled(world, LEVELS)
    world.till.broken = "overpays line 17"
    first = [failing(world, f"try-{number}") for number in (1, 2, 3)][-1].view.request
    world.decide(first.id, "dana")
    world.till.accounts["acme"] = "NL02"
    assert world.propose("500.00", key="try-3").standing is Standing.EXECUTING  # judged anew
    again = failing(world, "try-3").view.request
    assert world.gates.view(first.id).outcome.kind is OutcomeKind.VOIDED  # type: ignore[union-attr]
    assert (again.purpose, again.evidence["level"]) == (Purpose.LOOP, 1)


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
    (row,) = alarms(world)
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


def noted(world: World, words: str, error: str = "", about: str = "") -> GateReply:
    """A function of the flow's own, which fails with `error`, or not."""
    world.clock.advance(seconds=1)
    reply = world.propose(
        name="note",
        in_process=True,
        arguments={"n": words},
        subject=(about,) if about else (),
        key=f"note-{uuid4().hex}",
    )
    if reply.grant is None:
        return reply
    told = AttemptReport(
        state="failed" if error else "succeeded",
        fence=reply.grant.fence,
        error=error,
        error_class="TestsFailed" if error else "",
    )
    return world.work.report(world.flow, reply.grant.attempt_id, told)


def test_fix_and_retest_is_left_alone(world: World) -> None:
    """What the run has changed in between shows in the error: that is work, and no circle."""
    for count in (12, 11, 10):
        assert noted(world, "test", f"{count} tests failed").standing is Standing.CLAIMABLE
        assert noted(world, f"fix {count}").standing is Standing.SUCCEEDED
    assert noted(world, "test", "10 tests failed").standing is Standing.CLAIMABLE
    again = noted(world, "test", "10 tests failed")
    assert (again.standing, again.view.request.purpose) == (Standing.WAITING, Purpose.LOOP)
    assert again.view.request.evidence["count"] == 3


def test_a_fix_that_shows_in_no_error_is_none(world: World) -> None:
    """Another write between two failures that say the same has not been its cure."""
    standings = []
    for number in range(3):
        noted(world, f"fix {number}")
        standings.append(noted(world, "test", "12 tests failed").standing)
    assert standings == [Standing.CLAIMABLE, Standing.CLAIMABLE, Standing.WAITING]


def fails_in_runs(world: World, *memos: str, about: str = "bill:1") -> list[GateReply]:
    """The same trouble once a run, each with words of its own."""
    replies = []
    for memo in memos:
        world.run = uuid4().hex
        replies.append(noted(world, memo, "the period is closed", about))
    return replies


def test_what_fails_about_the_same_counts_over_runs(world: World) -> None:
    """A memo of its own makes it no other transaction; another bill is one."""
    standings = [reply.standing for reply in fails_in_runs(world, "run 0", "run 1")]
    (other,) = fails_in_runs(world, "run 2", about="bill:2")
    assert [*standings, other.standing] == [Standing.CLAIMABLE] * 3
    (asked,) = fails_in_runs(world, "run 2")
    assert (asked.standing, asked.view.request.purpose) == (Standing.WAITING, Purpose.LOOP)
    assert "run 1 -> run 2" in str(asked.view.request.evidence["differences"])


def test_without_a_subject_failures_count_word_for_word(world: World) -> None:
    """Nothing says that they are about the same."""
    replies = fails_in_runs(world, "run 0", "run 1", "run 2", about="")
    assert [reply.standing for reply in replies] == [Standing.CLAIMABLE] * 3


def test_an_answer_counts_for_all_that_is_about_the_same(world: World) -> None:
    """Two more tries are two, whichever runs make them, with whatever memo; guidance moves what
    comes back a level up, there too.
    """
    ruled(world, LEVELS)
    asked = fails_in_runs(world, "run 0", "run 1", "run 2")[-1].view.request
    world.clock.advance(seconds=1)
    world.decide(asked.id, "dana")
    fourth, fifth = fails_in_runs(world, "run 3", "run 4")
    assert (fourth.standing, fifth.standing) == (Standing.CLAIMABLE, Standing.WAITING)
    assert fifth.view.request.evidence["level"] == 1
    world.clock.advance(seconds=1)
    world.decide(fifth.view.request.id, "dana", "send_back", "open the period first")
    (sixth,) = fails_in_runs(world, "run 5")
    assert (sixth.standing, sixth.view.request.evidence["level"]) == (Standing.WAITING, 2)


@pytest.mark.parametrize("amounts", [("500.00",) * 3, ("500.00", "501.00", "502.00")])
def test_runs_that_fail_at_the_same_moment_open_one_question(
    world: World, amounts: tuple[str, ...]
) -> None:
    """Three runs, two servers, one transaction that fails, or what is about the same: the last of
    them asks, whichever it is, and no failure slips between two counts.
    """
    jobs = []
    for amount in amounts:
        world.run = uuid4().hex
        world.propose(amount)
        jobs.append(world.lease())
    world.till.broken = "overpays line 17"
    other = world.server(replace(world.gates, circling=Circling()))

    def perform(job: Job, work: Work) -> GateReply:
        told = AttemptReport(
            state="failed", fence=job.grant.fence, error=world.till.broken, error_class="TillError"
        )
        return work.report(world.executor, job.grant.attempt_id, told)

    works = [world.work, other, world.work]
    calls = [partial(perform, job, work) for job, work in zip(jobs, works, strict=True) if job]
    assert len(calls) == 3
    replies = at_once(*calls)
    assert [reply.standing for reply in replies].count(Standing.WAITING) == 1
    (asked,) = world.gates.waiting()
    assert asked.request.purpose is Purpose.LOOP
    assert len(asked.request.evidence["attempts"]) == 3  # type: ignore[arg-type]


def test_what_a_resumed_run_repeats_is_no_attempt(world: World) -> None:
    """It runs from its top and meets what failed before; nothing of that counts twice, here or on a
    server that has just been started.
    """
    world.till.broken = "overpays line 17"
    for number in (1, 2):
        assert failing(world, f"try-{number}").standing is Standing.FAILED
    for _ in range(3):
        world.gates.circling = Circling()
        replayed = [world.propose("500.00", key=f"try-{number}") for number in (1, 2)]
        assert [one.standing for one in replayed] == [Standing.FAILED, Standing.FAILED]
    with world.database.read() as session:
        calls = Unit(session, world.clock()).first("", world.run, "", 0).calls
    assert len(calls) == 2
    assert world.propose("500.00", key="try-3").standing is Standing.EXECUTING


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


def alarms(world: World) -> list[Alarms]:
    found = of_store(world.database, world.clock(), timedelta(days=1))
    return report(found, world.gates.asking.policy.loops)


def test_what_the_alarms_saved_is_counted_from_below(world: World) -> None:
    """One attempt for each that was right, at the price of those before; and the money that would
    have moved twice. What went on as it was has saved nothing.
    """
    ruled(world, "{same_failure: 3, ask: {who: [controllers]}}")
    claims = {"tokens": 100, "cost_minor": 7}
    world.till.broken = "overpays line 17"
    for kind in ("reject", "approve"):
        world.run = uuid4().hex
        for number in (1, 2, 3):
            reply = failing(world, f"try-{number}", claims)
            if reply.standing is Standing.WAITING:
                break
        world.decide(reply.view.request.id, "dana", kind, "said")
    world.till.broken, world.run = "", uuid4().hex
    paid(world, "first")
    again = world.propose("500.00", key="second").view.request
    world.decide(again.id, "dana", "skip", "paid already")
    rows = {row.detector: row for row in alarms(world)}
    failures, writes = rows["same_failure_over_runs"], rows["same_write"]
    assert failures.alarms == 2
    assert (failures.saved_tokens, failures.saved_cost_minor) == (100, 7)
    assert failures.tokens == 100 * failures.tried
    assert [str(one) for one in writes.held_back] == ["500.00 EUR"]


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
    (row,) = alarms(world)
    assert (row.action, row.detector, row.alarms) == ("till.pay", "same_write", 4)
    assert (row.loops, row.not_loops, row.harmful, row.open) == (1, 1, 1, 1)
    assert row.precision == pytest.approx(2 / 3)
    assert row.answered_seconds == pytest.approx(120)
    world.clock.advance(days=2)
    assert alarms(world) == []
