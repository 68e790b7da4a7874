"""Budgets that all runs share: an agent that starts a new run each time has one, too."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from gates.alarms import of_store, report
from gates.circling import Circling
from gates.core.errors import Frozen, InvalidInput
from gates.core.loops import tried
from gates.core.messages import AttemptReport
from gates.core.model import DecisionKind, GateReply, LoopAnswer, Purpose, Standing, Verdict
from gates.explaining import explained
from gates.store.database import Database
from integrations.slack.card import card
from integrations.terminal import details
from tests.integration.test_repeats import allow, looks, names, ruled
from tests.support.world import World
from tests.unit.test_rendering import html

AGENT = "invoice-agent"
THREE = "agent: {attempts: 3, per: 24h}"
LEVELS = "levels: [{ask: {who: [treasury]}}, {ask: {who: [clerks]}, allow_more: 0}]"


def budget(world: World, over_runs: str, more: str = "") -> None:
    ask = "ask: {who: [controllers]}, allow_more: 2"
    ruled(world, f"{{{ask}, over_runs: {{{over_runs}}}{', ' if more else ''}{more}}}")


def ask(world: World, **changes: Any) -> GateReply:
    """Another run proposes a payment."""
    world.run = uuid4().hex
    world.clock.advance(seconds=1)
    return world.propose(changes.pop("amount", "5.00"), **changes)


def attempt(world: World, **changes: Any) -> GateReply:
    """Another run pays, if it may."""
    reply = ask(world, **changes)
    return ended(world, reply) if reply.standing is Standing.EXECUTING else reply


def ended(world: World, reply: GateReply) -> GateReply:
    world.clock.advance(seconds=1)
    job = world.lease()
    assert job is not None
    world.perform(job)
    return world.gates.standing(world.flow, reply.view.request.id, "", 1)


def standings(world: World, number: int, **changes: Any) -> list[Standing]:
    return [attempt(world, **changes).standing for _ in range(number)]


PAID, ASKED = Standing.SUCCEEDED, Standing.WAITING


def test_an_agent_is_asked_at_its_limit_whichever_run_it_is_in(world: World) -> None:
    """Before the next attempt runs, with what came before; another agent has its own."""
    budget(world, THREE)
    assert standings(world, 3) == [PAID] * 3
    reply = attempt(world)
    request = reply.view.request
    assert (reply.standing, request.purpose) == (ASKED, Purpose.LOOP)
    assert request.judgement.reasons[0].rule == "loop.budget"
    words = f"agent {AGENT} has used 3 of 3 attempts in 24 h, in 3 runs"
    assert request.judgement.reasons[0].text == f"Pay out: {words}"
    told = request.evidence
    assert (told["detector"], told["circle"]) == ("budget", f"over_runs:agent:{AGENT}")
    assert (told["words"], told["count"], told["total"]) == (words, 3, 3)
    assert [one.number for one in tried(told)] == ["1", "2", "3"]
    assert tried(told)[0].call.startswith('till.pay {"amount":"5.00"')
    assert tried(told)[0].error == '{"paid":"5.00"}'
    assert world.lease() is None
    world.flow = world.key("flow", "another-agent", "sam")
    assert attempt(world).standing is PAID


def test_what_is_about_one_subject_counts_together(world: World) -> None:
    """Whoever does it, and in whatever run; without `per` for as long as it is kept."""
    budget(world, "business_key: {attempts: 2}")
    assert attempt(world).standing is PAID
    world.flow = world.key("flow", "another-agent", "sam")
    assert attempt(world).standing is PAID
    world.clock.advance(days=400)
    other = {"arguments": {"payee": "bolt", "amount": "5.00"}}
    assert attempt(world, **other).standing is PAID
    request = attempt(world).view.request
    assert request.evidence["circle"] == "over_runs:key:payee:acme"
    assert request.evidence["words"] == "payee:acme has used 2 of 2 attempts, in 2 runs"
    assert world.propose(name="note", in_process=True, key="n").standing is Standing.CLAIMED


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("tokens: 250", "has used 300 of 250 tokens"),
        ("cost: 30", "has used 0.30 of 0.30 in money"),
    ],
)
def test_money_and_tokens_count_as_the_agent_reports_them(
    world: World, part: str, words: str
) -> None:
    """From its claims, over runs; what all of it has cost is shown."""
    budget(world, f"agent: {{{part}, per: 7d}}")
    claims = {"tokens": 100, "cost_minor": 10}
    assert standings(world, 3, claims=claims) == [PAID] * 3
    request = attempt(world, claims=claims).view.request
    assert f"{words} in 7 days, in 3 runs" in str(request.evidence["words"])
    assert request.evidence["spent"] == {"tokens": 300, "cost_minor": 30}


def test_the_window_slides_and_nothing_else_makes_room(world: World) -> None:
    """What ended a day ago is out of it, one after the other."""
    budget(world, "agent: {attempts: 2, per: 24h}")
    assert attempt(world).standing is PAID
    world.clock.advance(hours=12)
    assert attempt(world).standing is PAID
    world.decide(attempt(world).view.request.id, "dana", "reject", "no")
    assert attempt(world).standing is ASKED
    world.clock.advance(hours=12)
    assert standings(world, 2) == [PAID, ASKED]


@pytest.mark.parametrize("restarted", [False, True], ids=["same server", "after a restart"])
def test_so_many_more_pass_over_all_runs(world: World, restarted: bool) -> None:
    """A yes gives nothing back: two more are two, whichever runs make them, and the approved call,
    where it runs, is one of them.
    """
    budget(world, THREE)
    standings(world, 3)
    allow(world, attempt(world).view.request.id, "dana", more=2)
    if restarted:
        world.gates = replace(world.gates, circling=Circling())
    assert standings(world, 3) == [PAID, PAID, ASKED]
    asked = attempt(world)
    world.clock.advance(seconds=1)
    allow(world, asked.view.request.id, "dana", more=2)
    if restarted:
        world.gates = replace(world.gates, circling=Circling())
    world.run = asked.view.request.run.root_run_id
    assert ended(world, world.propose("5.00")).standing is PAID
    again = attempt(world), attempt(world)
    assert [one.standing for one in again] == [PAID, ASKED]
    assert again[1].view.request.evidence["level"] == 1
    assert "has used 7 of 3" in str(again[1].view.request.evidence["words"])


def test_each_budget_asks_for_itself(world: World) -> None:
    """What people allow of an agent is no word about the subject that it is at."""
    budget(world, "agent: {attempts: 1}, business_key: {attempts: 2}")
    assert attempt(world).standing is PAID
    allow(world, attempt(world).view.request.id, "dana", more=9)
    assert attempt(world).standing is PAID
    about = attempt(world).view.request
    assert about.evidence["circle"] == "over_runs:key:payee:acme"
    other = {"arguments": {"payee": "bolt", "amount": "5.00"}}
    assert attempt(world, **other).standing is PAID


def test_a_yes_counts_from_when_it_was_given(world: World) -> None:
    """What was under way by then is none of what it allows. The policy says how many where people
    do not.
    """
    budget(world, THREE)
    under_way = [ask(world) for _ in range(3)]
    asked = ask(world).view.request
    assert "has used 3 of 3 attempts in 24 h, in 3 runs" in str(asked.evidence["words"])
    assert (asked.evidence["total"], tried(asked.evidence)) == (0, [])
    world.clock.advance(seconds=1)
    allow(world, asked.id, "dana")
    for reply in under_way:
        ended(world, reply)
    assert standings(world, 3) == [PAID, PAID, ASKED]


@pytest.mark.parametrize("scope", ["agent", "business_key"])
def test_what_is_queued_or_in_doubt_counts(world: World, scope: str) -> None:
    """Nobody gets round a budget by proposing before anything has ended. What stays in doubt is an
    attempt of its time, and leaves the window.
    """
    budget(world, f"{scope}: {{attempts: 2, per: 1h}}")
    doubtful, queued = ask(world), ask(world)
    job = world.lease()
    assert job is not None
    unknown = AttemptReport(state="in_doubt", fence=job.grant.fence, error="no answer")
    world.work.report(world.executor, job.grant.attempt_id, unknown)
    assert ask(world).standing is ASKED
    world.clock.advance(hours=2)
    assert ask(world).standing is Standing.EXECUTING  # besides what is still queued
    assert ask(world).standing is ASKED
    assert {doubtful.standing, queued.standing} == {Standing.EXECUTING}


def test_what_comes_back_after_guidance_goes_a_level_up(world: World) -> None:
    """One attempt is let pass to follow it, in whatever run; the next question is put to others,
    who are told by whose guidance it came. A week later it is forgotten.
    """
    budget(world, "agent: {attempts: 1, per: 90d}", LEVELS)
    assert attempt(world).standing is PAID
    first = attempt(world).view.request
    assert (first.evidence["level"], names(first)) == (1, ["Dana Okafor", "Mika Lindqvist"])
    world.decide(first.id, "dana", "send_back", "pay by the week")
    followed, back = attempt(world), attempt(world)
    assert (followed.standing, back.standing) == (PAID, ASKED)
    second = back.view.request
    assert (second.evidence["level"], names(second)) == (2, ["Tess Laurent"])
    why = "Level 2: it came back after guidance by Dana Okafor: pay by the week"
    assert why in [reason.text for reason in second.judgement.reasons]
    with pytest.raises(InvalidInput, match="on level 2 nobody allows more than 1"):
        allow(world, second.id, "tess", more=2)
    world.clock.advance(days=8)
    assert attempt(world).view.request.evidence["level"] == 1


def test_guidance_side_by_side_is_one_level(world: World) -> None:
    """Runs that were stopped at once have heard of one trouble, however many people answer."""
    budget(world, "agent: {attempts: 1, per: 24h}", LEVELS)
    attempt(world)
    asked = [attempt(world).view.request for _ in range(3)]
    for one in asked:
        world.decide(one.id, "dana", "send_back", "pay by the week")
    assert attempt(world).standing is PAID
    assert attempt(world).view.request.evidence["level"] == 2


def test_what_was_sent_back_may_be_proposed_again(world: World) -> None:
    """A later round of its gate is the answer to guidance, and asked about by nobody."""
    budget(world, THREE)
    standings(world, 3)
    world.decide(attempt(world).view.request.id, "dana", "send_back", "less")
    again = world.propose("4.00", call=2)
    assert (again.standing, again.view.request.round) == (Standing.EXECUTING, 2)


def test_no_budget_opens_what_the_policy_forbids(world: World) -> None:
    """It stays forbidden, and nobody is asked."""
    budget(world, THREE)
    standings(world, 3)
    assert ask(world, name="till.burn").standing is Standing.FORBIDDEN


def test_a_runs_own_detector_hears_nothing_of_it(world: World) -> None:
    """Guidance about a budget over runs is none about its circle: its count goes on."""
    budget(world, "agent: {attempts: 3, per: 24h}")
    attempt(world)
    world.run = uuid4().hex
    looks(world, "5", "5")
    world.clock.advance(seconds=1)
    assert looks(world, "5") == [ASKED]
    (asked,) = world.gates.waiting()
    assert asked.request.evidence["circle"] == f"over_runs:agent:{AGENT}"
    world.decide(asked.request.id, "dana", "send_back", "slowly")
    world.clock.advance(seconds=1)
    world.gates.circling = Circling()
    assert looks(world, "5", "5") == [Standing.CLAIMED, ASKED]
    (circle,) = world.gates.waiting()
    assert circle.request.evidence["detector"] == "same_outcome"


def test_an_agent_may_be_frozen_with_the_answer(world: World) -> None:
    """As with every question about a loop; and a step may be skipped."""
    budget(world, THREE)
    standings(world, 3)
    skipped = attempt(world).view.request
    world.decide(skipped.id, "dana", "skip", "not needed")
    assert world.gates.view(skipped.id).outcome.skipped  # type: ignore[union-attr]
    world.gates.decide(
        attempt(world).view.request.id,
        person_id="dana",
        kind=DecisionKind.REJECT,
        reason="stop it",
        channel="test",
        assurance="session",
        loop=LoopAnswer(freeze=True),
    )
    with pytest.raises(Frozen, match="Dana Okafor"):
        ask(world)


def test_the_report_tells_it_from_a_runs_own(world: World) -> None:
    """Windows overlap: the longest of them is counted, and not all of them together."""
    budget(world, THREE)
    claims = {"tokens": 100}
    standings(world, 3, claims=claims)
    for _ in range(2):
        world.decide(attempt(world, claims=claims).view.request.id, "dana", "reject", "no")
    views = of_store(world.database, world.clock(), timedelta(days=1))
    (row,) = report(views, world.policy.loops)
    assert (row.detector, row.alarms, row.tried, row.tokens) == ("budget_over_runs", 2, 3, 300)
    assert (row.saved_tokens, row.proposal) == (200, "")


def test_every_surface_tells_it(world: World) -> None:
    """With its words, its last attempts and its price."""
    budget(world, THREE)
    standings(world, 12, claims={"tokens": 1_000}, amount="5.00")
    asked = attempt(world).view.request
    view = world.gates.view(asked.id)
    assert explained(world.gates, asked.id).explanation.judgement.verdict is Verdict.ALLOW
    surfaces = (
        html(view, person="dana"),
        str(card(view, "token").blocks),
        "\n".join(f"{name} {text}" for name, text in details(view)),
    )
    for told in surfaces:
        for words in ("3 of 3 attempts in 24 h, in 3 runs", "3,000 tokens", "till.pay"):
            assert words in told


@pytest.mark.parametrize(
    ("over_runs", "sums"),
    [
        ("", 0),
        ("agent: {attempts: 100}", 1),
        ("agent: {attempts: 100}, business_key: {tokens: 100}", 2),
    ],
)
def test_without_a_budget_over_runs_nothing_is_counted(
    tmp_path: Path, over_runs: str, sums: int
) -> None:
    """The way of every proposal is as long as before; with one it is a statement a budget."""
    database = Database(f"sqlite:///{tmp_path / 'gates.sqlite'}")
    database.migrate()
    world, sent, borrowed = World(database), list[str](), list[Any]()

    @event.listens_for(database.engine, "checkout")
    def _trace(connection: Any, *_: Any) -> None:
        borrowed.append(connection)
        connection.set_trace_callback(sent.append)

    ask(world)
    usual = len(borrowed)
    if over_runs:
        budget(world, over_runs)
    sent.clear()
    borrowed.clear()
    ask(world)
    assert len([one for one in sent if "sum(loop_call" in one]) == sums
    assert len(borrowed) == usual + (sums > 0)
    database.close()
