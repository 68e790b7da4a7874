"""Rounds: what is asked again, why, and what of the earlier answers counts."""

import threading

import pytest

from gates.core.errors import InvalidArguments, InvalidInput, RequestClosed, Unavailable
from gates.core.model import DecisionKind, OutcomeKind, Purpose, RunRef, Standing
from tests.support.world import PEOPLE, POLICY, World

LARGE = "20000.00"
CHANGED = {"payee": "acme", "amount": "12000.00"}
WITHOUT_MIKA = PEOPLE.replace("Lindqvist, email: mika@example.com, groups: [controllers]", "L")
WITHOUT_MIKA = WITHOUT_MIKA.replace("groups: [treasury]", "groups: [treasury, controllers]")


def asked(world: World, amount: str = LARGE, **changes: object) -> str:
    reply = world.propose(amount, **changes)
    assert reply.standing is Standing.WAITING
    return reply.view.request.id


def approved(world: World) -> str:
    request_id = asked(world)
    world.decide(request_id, "dana")
    world.decide(request_id, "mika")
    return request_id


# -- sent back --------------------------------------------------------------------------------


def test_what_is_sent_back_tells_the_agent_and_asks_anew(world: World) -> None:
    """The guidance reaches the flow; its next proposal is the next round, with what changed."""
    first = asked(world)
    world.decide(first, "dana", "send_back", "split it by invoice")
    told = world.propose(LARGE)
    assert told.standing is Standing.SENT_BACK
    assert str(told.view.outcome) == "sent back by Dana Okafor: split it by invoice"
    second = world.propose("12000.00", call=2)
    assert second.standing is Standing.WAITING
    assert second.view.request.round == 2
    assert second.view.request.before == (
        "Round 1: sent back by Dana Okafor: split it by invoice",
        "amount: 20000.00 -> 12000.00",
    )


def test_a_replay_is_told_its_guidance_again(world: World) -> None:
    """A run that starts from its top hears the same at the same call, whatever came after."""
    world.decide(asked(world), "dana", "send_back", "smaller")
    second = world.propose("12000.00", call=2).view.request.id
    world.decide(second, "dana")
    world.decide(second, "mika")
    assert world.propose(LARGE, call=1).standing is Standing.SENT_BACK
    assert world.propose("12000.00", call=2).standing is Standing.EXECUTING


def test_an_agent_may_insist_and_people_see_it(world: World) -> None:
    """The same proposal once more is a round of its own that says what it was told."""
    world.decide(asked(world), "dana", "send_back", "smaller")
    again = world.propose(LARGE, call=2)
    assert again.standing is Standing.WAITING
    assert again.view.request.before == ("Round 1: sent back by Dana Okafor: smaller",)


def test_votes_for_what_was_sent_back_do_not_count_for_the_next(world: World) -> None:
    """Mika's approval of the first round is gone with it."""
    first = asked(world)
    world.decide(first, "mika")
    world.decide(first, "dana", "send_back", "smaller")
    second = world.propose("12000.00", call=2).view.request.id
    assert world.decide(second, "dana").outcome is None


def test_sending_back_wants_guidance(world: World) -> None:
    """An empty guidance would leave the agent as wise as before."""
    with pytest.raises(InvalidInput, match="guidance"):
        world.gates.decide(
            asked(world),
            person_id="dana",
            kind=DecisionKind.SEND_BACK,
            channel="x",
            assurance="session",
        )


# -- approved with changes --------------------------------------------------------------------


def test_what_people_changed_is_what_runs(world: World) -> None:
    """The flow proposed one amount; the changed one is approved by both, and is paid, once."""
    first = asked(world)
    view = world.decide(first, "dana", "approve_with_changes", "partial", changes=CHANGED)
    assert view.request.round == 2
    assert view.request.action.arguments == CHANGED
    assert [one.name for one in view.decisions] == ["Dana Okafor"]
    assert view.outcome is None
    assert world.decide(view.request.id, "mika").outcome.kind is OutcomeKind.APPROVED
    assert world.propose(LARGE).standing is Standing.EXECUTING
    job = world.lease()
    assert job is not None
    world.perform(job)
    done = world.propose(LARGE)
    assert done.standing is Standing.SUCCEEDED
    assert done.view.request.action.arguments == CHANGED
    assert list(world.till.paid.values()) == ["12000.00"]
    outcome = world.gates.view(first).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.VOIDED


def test_earlier_votes_are_void_after_a_change(world: World) -> None:
    """Mika agreed to what was asked, not to what Dana made of it."""
    first = asked(world)
    world.decide(first, "mika")
    view = world.decide(first, "dana", "approve_with_changes", changes=CHANGED)
    assert [one.person for one in view.decisions] == ["dana"]
    assert view.outcome is None


def test_a_change_is_judged_by_the_policy(world: World) -> None:
    """Made larger, it needs those whom the policy wants for that beside who changed it."""
    first = asked(world)
    huge = {"payee": "acme", "amount": "2000000.00"}
    view = world.decide(first, "dana", "approve_with_changes", changes=huge)
    assert view.request.requirement.groups == {
        "controllers": ("dana", "mika"),
        "treasury": ("tess",),
    }
    world.decide(view.request.id, "mika")
    assert world.gates.view(view.request.id).outcome is None
    assert world.decide(view.request.id, "tess").outcome.kind is OutcomeKind.APPROVED


def test_a_change_below_every_limit_is_still_an_answer_of_people(world: World) -> None:
    """The policy would let it run by itself; it was asked, so those asked have to agree."""
    first = asked(world)
    view = world.decide(
        first, "dana", "approve_with_changes", changes={"payee": "acme", "amount": "10.00"}
    )
    assert view.request.requirement.quorum == 2
    assert view.outcome is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"payee": "acme"}, InvalidArguments, "amount"),
        ({"payee": "acme", "amount": "lots"}, InvalidArguments, "lots"),
        ({"payee": "acme", "amount": LARGE, "extra": 1}, InvalidArguments, "extra"),
        ({"payee": "acme", "amount": LARGE}, InvalidInput, "nothing differs"),
    ],
)
def test_a_change_that_does_not_fit_changes_nothing(
    world: World, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    """The action's own schema is asked; the question stays open and unanswered."""
    first = asked(world)
    with pytest.raises(error, match=words):
        world.decide(first, "dana", "approve_with_changes", changes=changes)
    view = world.gates.view(first)
    assert view.outcome is None
    assert view.decisions == ()


def test_changes_belong_to_one_kind_of_answer(world: World) -> None:
    """Changes with a rejection, or an approval with changes that brings none: refused."""
    first = asked(world)
    with pytest.raises(InvalidInput, match="contradict"):
        world.decide(first, "dana", "reject", "no", changes=CHANGED)
    with pytest.raises(InvalidInput, match="contradict"):
        world.decide(first, "dana", "approve_with_changes")


def test_what_may_have_happened_is_not_changed(world: World) -> None:
    """In doubt there is yes and no; other arguments could come on top of what was done."""
    world.propose("500.00")
    assert world.lease() is not None
    world.clock.advance(minutes=5)
    world.work.lapse()
    world.till.reachable = False
    world.clock.advance(minutes=5)
    job = world.lease()
    assert job is not None
    doubt = world.perform(job).view.request
    assert doubt.purpose is Purpose.IN_DOUBT
    for kind, changes in (("send_back", None), ("approve_with_changes", CHANGED)):
        with pytest.raises(InvalidInput):
            world.decide(doubt.id, "dana", kind, "x", changes=changes)
    assert world.gates.view(doubt.id).outcome is None


def test_change_and_approval_at_once_leave_one_answer(world: World) -> None:
    """Dana changes while Mika approves and rejects arrive: one of them wins, nothing is lost."""
    first = asked(world)
    world.decide(first, "mika")
    barrier = threading.Barrier(2)
    errors: list[Exception] = []

    def click(kind: str, changes: dict[str, object] | None) -> None:
        barrier.wait()
        try:
            world.decide(first, "dana", kind, changes=changes)
        except RequestClosed as error:
            errors.append(error)

    threads = [
        threading.Thread(target=click, args=("approve", None)),
        threading.Thread(target=click, args=("approve_with_changes", CHANGED)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    rounds = world.gates.rounds(first)
    kinds = [one.outcome.kind if one.outcome else None for one in rounds]
    assert kinds in ([OutcomeKind.APPROVED], [OutcomeKind.VOIDED, None])


def test_a_sleeping_run_sleeps_on_for_the_changed_round_and_is_woken(world: World) -> None:
    """The bell for the new round is rung under the key of the suspension before it."""
    first = asked(world)
    key = world.passes.suspending(world.flow, [first]).pause_key
    view = world.decide(first, "dana", "approve_with_changes", changes=CHANGED)
    assert view.suspended
    assert world.gates.doorbell(first) is None
    world.decide(view.request.id, "mika")
    bell = world.gates.doorbell(view.request.id)
    assert bell is not None
    assert any(key.startswith(pause) for pause in bell.pauses)


# -- what no longer holds at the claim ---------------------------------------------------------


def test_an_approval_lapses(world: World) -> None:
    """Not used within its time, it is void, and the next round says so."""
    first = approved(world)
    world.clock.advance(hours=25)
    reply = world.propose(LARGE)
    assert reply.standing is Standing.WAITING
    assert reply.view.request.round == 2
    assert "lapsed" in reply.view.request.before[0]
    outcome = world.gates.view(first).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.VOIDED
    assert world.lease() is None


def test_a_policy_says_how_long_an_approval_holds(world: World) -> None:
    """Two hours for the rule that says so, to the second."""
    request_id = asked(world, "2000000.00")
    world.decide(request_id, "dana")
    world.decide(request_id, "tess")
    world.clock.advance(hours=2, seconds=-1)
    assert world.propose("2000000.00").standing is Standing.EXECUTING
    other = World(world.database, clock=world.clock)
    request_id = asked(other, "2000000.00")
    other.decide(request_id, "dana")
    other.decide(request_id, "tess")
    other.clock.advance(hours=2)
    assert other.propose("2000000.00").standing is Standing.WAITING


def test_who_has_left_has_not_approved(world: World) -> None:
    """Mika is no controller any more when the approval is used: the next round asks others."""
    approved(world)
    world.rule(people=WITHOUT_MIKA)
    reply = world.propose(LARGE)
    assert reply.standing is Standing.WAITING
    assert "Mika Lindqvist may no longer approve this" in reply.view.request.before[0]
    assert set(reply.view.request.requirement.people) == {"dana", "tess"}


def test_enough_of_those_who_stay_is_enough(world: World) -> None:
    """Where the quorum stands without the one who left, the approval holds."""
    request_id = asked(world, "5000.00")
    world.decide(request_id, "dana")
    world.rule(people=WITHOUT_MIKA)
    assert world.propose("5000.00").standing is Standing.EXECUTING


def test_a_stricter_policy_asks_again(world: World) -> None:
    """Approved by one; the policy of the day of its use wants two."""
    request_id = asked(world, "5000.00")
    world.decide(request_id, "dana")
    world.rule(POLICY.replace("amount.minor >= 1000000\n", "amount.minor >= 400000\n"))
    reply = world.propose("5000.00")
    assert reply.standing is Standing.WAITING
    assert reply.view.request.requirement.quorum == 2
    assert reply.view.request.before[0] == "Round 1: the policy has changed"


def test_a_policy_that_now_forbids_is_obeyed(world: World) -> None:
    """What people approved yesterday does not run against today's prohibition."""
    request_id = asked(world, "5000.00")
    world.decide(request_id, "dana")
    world.rule(POLICY.replace("on: till.burn", 'on: "till.*"'))
    assert world.propose("5000.00").standing is Standing.FORBIDDEN
    assert world.lease() is None


def test_another_policy_to_which_the_answer_does_still_counts(world: World) -> None:
    """A changed comment-like rule must not send every open approval round again."""
    approved(world)
    world.rule(POLICY.replace('because: "small"', 'because: "is small"'))
    assert world.propose(LARGE).standing is Standing.EXECUTING


def test_an_ended_run_uses_nothing(world: World) -> None:
    """Cancelled in the engine after the approval: its process may live on, and gets no grant."""

    class Ended:
        def ended(self, run: RunRef) -> str | None:
            return f"run {run.run_id[:4]} was cancelled"

    approved(world)
    world.gates.runs = Ended()
    with pytest.raises(RequestClosed, match="was cancelled"):
        world.propose(LARGE)
    assert world.lease() is None


def test_where_nobody_can_say_whether_the_run_lives_it_waits(world: World) -> None:
    """Fail closed: an engine that does not answer gives no grant, and the approval stands."""

    class Away:
        def ended(self, run: RunRef) -> str | None:
            raise Unavailable(f"nobody knows {run.run_id[:4]}")

    request_id = approved(world)
    world.gates.runs = Away()
    with pytest.raises(Unavailable):
        world.propose(LARGE)
    outcome = world.gates.view(request_id).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.APPROVED


def test_work_that_nobody_took_for_a_while_is_looked_at_again(world: World) -> None:
    """Executors were away; meanwhile the account has changed: nothing is handed out, people are
    asked.
    """
    approved(world)
    assert world.propose(LARGE).standing is Standing.EXECUTING
    world.clock.advance(minutes=10)
    world.till.accounts["acme"] = "NL99"
    assert world.lease() is None
    reply = world.propose(LARGE)
    assert reply.standing is Standing.WAITING
    assert "account: NL01 -> NL99" in reply.view.request.before
    for person in ("dana", "mika"):
        world.decide(reply.view.request.id, person)
    world.propose(LARGE)
    assert world.lease() is not None
    assert world.lease() is None


def test_work_that_waits_and_still_holds_is_handed_out_late(world: World) -> None:
    """An hour without an executor changes nothing by itself."""
    approved(world)
    world.propose(LARGE)
    world.clock.advance(hours=1)
    job = world.lease()
    assert job is not None
    assert world.perform(job).standing is Standing.SUCCEEDED


# -- somebody of each group -------------------------------------------------------------------


def test_two_of_one_group_do_not_stand_for_two(world: World) -> None:
    """Both controllers agree: treasury has not."""
    request_id = asked(world, "2000000.00")
    world.decide(request_id, "dana")
    assert world.decide(request_id, "mika").outcome is None
    assert world.decide(request_id, "tess").outcome.kind is OutcomeKind.APPROVED
