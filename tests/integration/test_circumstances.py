"""What rules know of the past, and many small payments that add up."""

import threading
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from gates.core.model import GateReply, RunRef, Standing
from gates.store.database import Database
from tests.support.world import World

HEAD = """
version: 1
defaults: {tier: ambiguous, ask: {who: [controllers], quorum: 1, deadline: 1h}}
exposure:
  payee_week: {on: [till.*], by: [counterparty], window: 7d}
  agent_day: {by: [agent], window: 24h}
rules:
"""
WEEK = (
    HEAD
    + """
  - name: small
    on: [till.pay, till.burn]
    when: amount.minor < 100000
    verdict: allow
    because: small
  - name: adds-up
    on: till.pay
    when: exposure.payee_week.minor > 200000
    verdict: require_approval
    because: "{exposure.payee_week.total} in a week, {exposure.payee_week.count} payments"
"""
)
ROOMY = WEEK.replace("200000", "99999999")
PAST = (
    HEAD
    + """
  - name: known
    on: till.pay
    when: history.counterparty_known == true
    verdict: allow
    because: known
"""
)
ASKS, RUNS = Standing.WAITING, Standing.EXECUTING


def pay(world: World, amount: str = "900.00", payee: str = "acme") -> GateReply:
    """A payment of a run of its own."""
    run = RunRef(run_id=uuid4().hex, root_run_id=uuid4().hex)
    return world.propose(amount, run=run, arguments={"payee": payee, "amount": amount})


def past(world: World, payee: str = "acme", amount: str = "900.00") -> dict[str, object]:
    """What a rule that wants to know it is told of the past."""
    world.rule(PAST)
    return dict(pay(world, amount, payee).view.request.circumstances["history"])


def done(world: World, amount: str = "900.00", payee: str = "acme") -> None:
    reply = pay(world, amount, payee)
    assert reply.standing is RUNS
    job = world.lease()
    assert job is not None
    world.perform(job)


# -- sums -------------------------------------------------------------------------------------


def test_many_small_payments_add_up(world: World) -> None:
    """The third of three payments that each would run asks, and says what they come to."""
    world.rule(WEEK)
    assert [pay(world).standing for _ in range(3)] == [RUNS, RUNS, ASKS]
    last = pay(world)
    assert last.view.request.judgement.reasons[0].text == "3,600.00 EUR in a week, 4 payments"


def test_another_payee_has_a_sum_of_its_own(world: World) -> None:
    world.rule(WEEK)
    assert [pay(world).standing for _ in range(2)] == [RUNS, RUNS]
    assert pay(world, payee="bolt").standing is RUNS


def test_what_waits_for_people_counts_and_what_they_reject_does_not(world: World) -> None:
    """Pending money may leave at any time; rejected money never will."""
    world.rule(WEEK)
    waiting = pay(world, "1500.00")
    assert waiting.standing is ASKS
    assert pay(world).standing is ASKS
    for view in world.gates.waiting():
        world.decide(view.request.id, "dana", "reject")
    assert pay(world).standing is RUNS


def test_a_window_ends(world: World) -> None:
    """What was approved a week ago no longer counts; what is still open does."""
    world.rule(WEEK)
    pay(world), pay(world)
    world.clock.advance(days=7, seconds=1)
    assert pay(world).standing is RUNS


def test_rounds_of_one_gate_count_once(world: World) -> None:
    """A proposal that is changed replaces what was proposed before."""
    world.rule(WEEK)
    world.propose("1500.00")
    second = world.propose("1900.00", call=2)
    assert second.view.request.circumstances["exposure"]["payee_week"]["minor"] == 190000


def test_negative_amounts_hide_nothing(world: World) -> None:
    """A credit note does not make room for a payment."""
    world.rule(WEEK)
    pay(world), pay(world, "-5000.00")
    assert [pay(world).standing for _ in range(2)] == [RUNS, ASKS]


def test_a_sum_without_its_key_asks(world: World) -> None:
    """An action that names no counterparty is not counted under nobody's name."""
    on_burn = WEEK.replace("    on: till.pay\n", "    on: [till.pay, till.burn]\n")
    world.rule(on_burn)
    reply = world.propose(name="till.burn")
    assert reply.standing is ASKS
    words = " ".join(one.text for one in reply.view.request.judgement.reasons)
    assert "exposure.payee_week goes by counterparty" in words


def test_nothing_is_looked_up_that_no_rule_mentions(world: World) -> None:
    world.rule(WEEK)
    assert pay(world).view.request.circumstances.keys() == {"exposure"}
    assert "agent_day" not in pay(world).view.request.circumstances["exposure"]
    world.rule(HEAD + "  - {name: no, on: till.pay, verdict: forbid, because: no}\n")
    assert pay(world).view.request.circumstances == {}


LOOPS = (
    HEAD
    + """
  - name: fine
    on: till.pay
    when: run.same_writes == 0 && !run.circling
    verdict: allow
    because: fine
  - name: failing
    on: till.pay
    when: run.same_failures > 0 && run.failures > 0
    verdict: forbid
    because: it has failed {run.same_failures} times
"""
)


def test_a_rule_knows_what_the_run_has_done_so_far(world: World) -> None:
    """Failures of this very call and of this run alone."""
    world.rule(LOOPS)
    world.till.broken = "overpays line 17"
    assert world.propose("900.00", key="a").standing is RUNS
    job = world.lease()
    assert job is not None
    world.perform(job)
    again = world.propose("900.00", key="b")
    assert again.standing is Standing.FORBIDDEN
    assert again.view.request.judgement.reasons[0].text == "it has failed 1 times"
    assert world.propose("901.00", key="c").standing is RUNS
    assert pay(world).standing is RUNS


def test_what_nobody_knows_asks(world: World) -> None:
    """A circumstance without a source is no empty one."""
    world.rule(
        HEAD
        + """
  - name: quiet
    on: till.pay
    when: "!has(history.rejected_count) || history.rejected_count == 0"
    verdict: allow
    because: nobody has said no
"""
    )
    assert pay(world).standing is RUNS
    world.gates.asking = replace(world.gates.asking, circumstances=())
    reply = pay(world)
    assert reply.standing is ASKS
    words = " ".join(one.text for one in reply.view.request.judgement.reasons)
    assert "history is known to nobody here" in words


def test_payments_proposed_at_once_do_not_all_see_the_old_sum(database: Database) -> None:
    """Twelve payments at once of which two are within the limit: two run, ten ask."""
    world = World(database)
    world.rule(WEEK)
    servers = [replace(world.gates) for _ in range(12)]
    found: list[Standing] = []
    started = threading.Barrier(len(servers))

    def propose(gates: object) -> None:
        run = RunRef(run_id=uuid4().hex, root_run_id=uuid4().hex)
        proposal = world.proposal("900.00", run=run)
        started.wait()
        found.append(gates.propose(world.flow, proposal).standing)  # type: ignore[attr-defined]

    at_once(propose, servers)
    assert sorted(found) == sorted([RUNS] * 2 + [ASKS] * 10)


def at_once(task: Callable[[object], None], given: list[object]) -> None:
    threads = [threading.Thread(target=task, args=(one,)) for one in given]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)


# -- history ----------------------------------------------------------------------------------


def test_a_counterparty_is_known_once_something_was_done(world: World) -> None:
    """Neither asking nor being allowed makes it so: the money has to have arrived."""
    world.rule(ROOMY)
    pay(world, "20.00")
    assert past(world)["counterparty_known"] is False
    world.rule(ROOMY)
    done(world)
    assert past(world)["counterparty_known"] is True
    assert past(world, "bolt")["counterparty_known"] is False


def test_history_tells_the_usual_amount_and_when(world: World) -> None:
    """Median and maximum of what was done before, days since the last and the first."""
    world.rule(ROOMY)
    for amount in ("100.00", "300.00", "200.00"):
        done(world, amount)
        world.clock.advance(days=10)
    found = past(world, amount="50.00")
    assert (found["median_minor"], found["max_minor"]) == (20000, 30000)
    assert (found["last_seen_days"], found["counterparty_first_seen_days"]) == (10, 30)
    assert (found["agent_count"], found["first_use"]) == (3, False)


def test_history_of_nobody_leaves_out_what_there_is_not(world: World) -> None:
    """A median of nothing is no number: a rule that reads it asks."""
    found = past(world)
    assert found["first_use"] is True
    assert not {"median_minor", "max_minor", "last_seen_days"} & found.keys()


def test_duplicates_are_the_same_action_of_other_runs(world: World) -> None:
    """Done or still open counts; another amount is another action."""
    world.rule(WEEK)
    done(world, "900.00"), pay(world, "900.00")
    assert past(world, amount="900.00")["duplicates"] == 2
    assert past(world, amount="901.00")["duplicates"] == 0


def test_rejections_are_remembered(world: World) -> None:
    world.rule(WEEK)
    world.decide(pay(world, "1500.00").view.request.id, "dana", "reject")
    assert past(world)["rejected_count"] == 1


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("exposure.pay_week.minor > 1", "did you mean 'exposure.payee_week'"),
        ("exposure.payee_week.minr > 1", "did you mean 'exposure.payee_week.minor'"),
        ("history.counterparty_knwon", "did you mean 'history.counterparty_known'"),
    ],
)
def test_misspelled_circumstances_are_found_when_the_policy_loads(
    world: World, when: str, words: str
) -> None:
    """They would be missing each time, and ask each time."""
    text = f"  - {{name: x, on: till.pay, when: {when}, verdict: forbid, because: x}}\n"
    with pytest.raises(Exception, match=words):
        world.rule(HEAD + text)
