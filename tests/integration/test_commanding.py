"""Freezes, holds and stops over the store, on both databases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import col, select

from gates.commanding import STOP, Commander, Commanding
from gates.core.errors import Frozen, InvalidGrant, InvalidInput, NotEntitled, NotFound
from gates.core.freezes import Scope
from gates.core.model import GateReply, OutcomeKind, Purpose, Standing, Verdict
from gates.grants.redeeming import Redeeming
from gates.orders import OLDEST, Orders, write_freeze
from gates.passes import Passes
from gates.service import Gates
from gates.store.database import Database
from gates.store.freezes import HoldRow
from gates.store.repository import Unit
from gates.store.tables import LogRow, OutboxRow
from gates.work import Work
from tests.integration.test_work import leased
from tests.support.world import PEOPLE, POLICY, World

COMMANDED = POLICY.replace("rules:", "command: {who: [treasury, clerks]}\nrules:")
TESS, SAM = Commander("tess", "Tess Laurent"), Commander("sam", "Sam Rivera")
ALL = Scope(everything=True)
NOTE: dict[str, Any] = {"name": "note", "in_process": True, "arguments": {"n": "1"}, "key": "note"}


@dataclass
class Ticks:
    """Seconds that pass when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """The small world with people in command, and another server over the same store."""

    world: World
    ticks: Ticks = field(default_factory=Ticks)

    def __post_init__(self) -> None:
        self.world.rule(COMMANDED)
        self.world.gates.orders = Orders(self.ticks)
        self.command = Commanding(self.world.gates)
        self.other = Gates(
            self.world.database,
            self.world.gates.asking,
            "http://127.0.0.1",
            clock=self.world.clock,
            keys=self.world.gates.ring,
            orders=Orders(self.ticks),
        )

    def freeze(self, scope: Scope = ALL, who: Commander = TESS) -> str:
        return self.command.freeze(who, scope, "odd amounts").id

    def approved(self, amount: str = "5000.00", **changes: Any) -> str:
        request_id = self.world.propose(amount, **changes).view.request.id
        self.world.decide(request_id, "dana")
        return request_id


@pytest.fixture
def house(database: Database) -> House:
    return House(World(database))


def kinds(house: House, *wanted: str) -> list[str]:
    with house.world.database.read() as session:
        found = session.exec(select(LogRow.kind).order_by(col(LogRow.seq))).all()
    return [kind for kind in found if kind in wanted]


def wished(house: House, kind: str) -> list[str]:
    with house.world.database.read() as session:
        query = select(OutboxRow.request_id).where(OutboxRow.kind == kind)
        return list(session.exec(query.where(OutboxRow.state == "pending")).all())


SCOPES = {
    "everything": ALL,
    "agent": Scope(agent="invoice-*"),
    "action": Scope(action="till.*"),
    "both": Scope(agent="invoice-agent", action="till.pay"),
}


@pytest.mark.parametrize("scope", list(SCOPES.values()), ids=list(SCOPES))
def test_what_is_frozen_is_not_opened(house: House, scope: Scope) -> None:
    """The flow hears who, when and why; nothing is written but that it was refused."""
    house.freeze(scope)
    with pytest.raises(Frozen, match=r"Frozen by Tess Laurent at .*: odd amounts") as refused:
        house.world.propose("5000.00")
    assert refused.value.state_name == "Frozen"
    assert house.world.gates.waiting() == []
    assert kinds(house, "request.opened", "proposal.frozen") == ["proposal.frozen"]


def test_what_another_scope_names_goes_on(house: House) -> None:
    """Other agents, actions, counterparties and runs."""
    for scope in (
        Scope(agent="other"),
        Scope(action="till.burn"),
        Scope(counterparty="other"),
        Scope(run="other"),
        Scope(agent="invoice-agent", run="other"),
    ):
        house.freeze(scope)
    assert house.world.propose("500.00").standing is Standing.EXECUTING


def test_a_refused_proposal_names_what_the_run_has_done(house: House) -> None:
    """By one of its requests, whose trail the flow reads for its last word."""
    first = house.world.propose("500.00", key="first").view.request.id
    house.freeze(Scope(run=house.world.run))
    with pytest.raises(Frozen) as refused:
        house.world.propose("600.00", key="second")
    assert refused.value.details["request_id"] == first


def test_an_approval_waits_for_the_thaw_and_is_used_then(house: House) -> None:
    """Given before or during the freeze; the flow waits as for people, and is woken."""
    world = house.world
    request_id = world.propose("5000.00").view.request.id
    freeze_id = house.freeze()
    world.decide(request_id, "dana")
    reply = world.propose("5000.00")
    assert (reply.standing, reply.view.outcome is not None) == (Standing.WAITING, True)
    assert world.gates.claim(world.flow, request_id, world.proposal("5000.00")).standing is (
        Standing.WAITING
    )
    assert world.gates.doorbell(request_id) is None, "nothing to wake it for"
    passes = Passes(world.gates)
    assert passes.suspending(world.flow, [request_id]).pause_key, "it may sleep meanwhile"

    world.woken.clear()
    house.command.thaw("sam", freeze_id, "looked into")
    assert request_id in wished(house, "ring")
    assert world.woken == [reply.view.request.gate_id]
    assert world.gates.doorbell(request_id) is not None
    later = world.gates.standing(world.flow, request_id, "", 1)
    assert (later.standing, later.version > reply.version) == (Standing.CLAIMABLE, True)
    assert world.propose("5000.00").standing is Standing.EXECUTING
    assert world.perform(leased(world)).standing is Standing.SUCCEEDED


def test_what_lapsed_during_the_freeze_is_asked_anew(house: House) -> None:
    """A thaw makes no old approval young."""
    house.approved()
    freeze_id = house.freeze()
    house.world.clock.advance(days=2)
    house.command.thaw("sam", freeze_id, "looked into")
    reply = house.world.propose("5000.00")
    assert (reply.standing, reply.view.request.round) == (Standing.WAITING, 2)


def test_queued_work_waits_and_what_is_not_frozen_is_leased_before_it(house: House) -> None:
    """However much of the frozen stands before it in the queue."""
    world = house.world
    for number in range(7):
        world.propose("500.00", key=f"old-{number}")
    freeze_id = house.freeze(Scope(run=world.run))
    assert world.lease() is None
    world.run, frozen_run = uuid4().hex, world.run
    wanted = world.propose("500.00").view.request.id
    assert leased(world).grant.request_id == wanted
    assert world.lease() is None
    everything = house.freeze()
    house.command.thaw("sam", freeze_id, "looked into")
    assert world.lease() is None
    house.command.thaw("sam", everything, "looked into")
    assert world.work.lease(world.executor, uuid4().hex, ["till.pay"], 60) is not None
    assert frozen_run != world.run


def test_a_lease_is_refused_although_the_queue_was_read_before(house: House) -> None:
    """The freeze counts at the moment that would start the work."""
    house.world.propose("500.00")
    work = house.world.work
    with house.world.database.read() as session:
        assert not house.world.gates.orders.now(session).freezes
    waiting = _leasable(house)
    house.freeze()
    assert work._lease(house.world.executor, *waiting, uuid4().hex, 60) is None


def _leasable(house: House) -> tuple[str, int]:
    from gates.store.repository import Unit  # noqa: PLC0415 - this helper's alone

    with house.world.database.read() as session:
        unit = Unit(session, house.world.clock())
        work = unit.leasable(["till.pay"], house.world.clock())[0]
    return work.request_id, work.version


def test_what_happened_is_found_out_during_a_freeze(house: House) -> None:
    """Reconciling starts nothing, and what had begun is renewed and reported."""
    world = house.world
    world.propose("500.00")
    job = leased(world)
    house.freeze()
    grant = world.work.renew(world.executor, job.grant.attempt_id, job.grant.fence, 60)
    assert grant.attempt_id == job.grant.attempt_id
    assert world.perform(job).standing is Standing.SUCCEEDED


def test_a_frozen_grant_is_not_redeemed_and_not_used_up(house: House) -> None:
    """A proxy's executor held it already; after the thaw the same grant is good once."""
    world = house.world
    world.propose("500.00")
    job = leased(world)
    redeeming = Redeeming(world.gates)
    freeze_id = house.freeze()
    with pytest.raises(InvalidGrant, match=r"Frozen by Tess Laurent .* not used up"):
        redeeming.redeem(world.executor, job.grant.token)
    house.command.thaw("sam", freeze_id, "looked into")
    assert redeeming.redeem(world.executor, job.grant.token).request_id == job.grant.request_id
    assert kinds(house, "grant.refused", "grant.redeemed") == ["grant.refused", "grant.redeemed"]


def test_another_server_hears_of_it_within_half_a_second(house: House) -> None:
    """It remembers for so long and no longer; the server that wrote knows at once."""
    world, other = house.world, house.other
    request_id = house.approved()
    proposal = world.proposal("5000.00")
    with world.database.read() as session:
        assert not other.orders.now(session).freezes
    house.freeze()
    assert world.gates.claim(world.flow, request_id, proposal).standing is Standing.WAITING
    house.ticks.now += OLDEST
    assert other.claim(world.flow, request_id, proposal).standing is Standing.WAITING
    assert Work(other).lease(world.executor, uuid4().hex, ["till.pay"], 60) is None
    with pytest.raises(Frozen):
        other.propose(world.flow, world.proposal("500.00", key="other"))


def test_a_flow_s_own_body_is_frozen_too(house: House) -> None:
    """No executor stands between; the claim is where it starts."""
    world = house.world
    asked: GateReply = world.propose(**NOTE | {"begins": False})
    assert asked.standing is Standing.CLAIMABLE
    freeze_id = house.freeze(Scope(action="note"))
    proposal = world.proposal(**NOTE)
    reply = world.gates.claim(world.flow, asked.view.request.id, proposal)
    assert (reply.standing, reply.grant) == (Standing.WAITING, None)
    house.command.thaw("sam", freeze_id, "looked into")
    assert world.gates.claim(world.flow, asked.view.request.id, proposal).grant is not None


def test_only_people_in_command_order_and_somebody_else_thaws(house: House) -> None:
    """By the policy's section; an admin's key stops things and starts none."""
    with pytest.raises(NotEntitled, match="Dana Okafor is not in command; the policy names trea"):
        house.command.person("dana")
    freeze_id = house.freeze(who=house.command.person("tess"))
    with pytest.raises(NotEntitled, match="you have frozen this, so somebody else"):
        house.command.thaw("tess", freeze_id, "never mind")
    with pytest.raises(NotEntitled, match="is not in command"):
        house.command.thaw("dana", freeze_id, "please")
    with pytest.raises(NotFound, match="No freeze 'beef' stands"):
        house.command.thaw("sam", "beef", "please")
    assert house.command.thaw("sam", freeze_id, "looked into").id == freeze_id
    with pytest.raises(NotFound):
        house.command.thaw("sam", freeze_id, "again")
    admin = Commanding.key(house.world.key("admin", "ops"))
    with pytest.raises(NotEntitled):
        Commanding.key(house.world.flow)
    by_key = house.command.freeze(admin, ALL, "at night").id
    house.command.thaw("tess", by_key, "looked into")
    made = ["freeze.made", "freeze.thawed"]
    assert kinds(house, *made) == made * 2


def test_a_freeze_that_is_told_twice_is_one(house: House) -> None:
    """Its answer was lost and the client asks again: one thaw lifts it, and then it is another."""
    first, again = house.freeze(), house.freeze()
    assert again == first
    assert house.command.freeze(TESS, ALL, "other amounts").id != first
    house.command.thaw("sam", first, "looked into")
    assert house.freeze() != first
    assert len(kinds(house, "freeze.made")) == 3


def test_one_thaw_lifts_what_two_servers_were_told_at_once(house: House) -> None:
    """Neither waited for the other, so it stands twice; by other people or in other words it is
    another freeze.
    """
    with house.world.database.write() as session:
        unit = Unit(session, house.world.clock())
        twins = [write_freeze(unit, (TESS.id, TESS.name), ALL, "odd amounts") for _ in range(2)]
    others = {house.freeze(who=SAM), house.command.freeze(TESS, ALL, "other amounts").id}
    house.command.thaw("sam", twins[1].id, "looked into")
    assert {one.id for one in house.command.in_force().freezes} == others
    assert len(kinds(house, "freeze.thawed")) == 2


def test_without_the_section_nobody_is_in_command(house: House) -> None:
    """Unless there is a group `admins`."""
    house.world.rule(POLICY)
    with pytest.raises(NotEntitled, match=r"the policy names nobody: name groups under"):
        house.command.person("tess")
    people = PEOPLE.replace("groups: {", "groups: {admins: Admins, ")
    house.world.rule(POLICY, people.replace("[treasury]", "[treasury, admins]"))
    assert house.command.person("tess") == TESS


def test_a_reader_sees_what_is_frozen(house: House) -> None:
    """On an open question and on an approval that waits; not on what is over."""
    world = house.world
    done = world.propose("500.00", key="done").view.request.id
    world.perform(leased(world))
    request_id = world.propose("5000.00").view.request.id
    house.freeze()
    assert "Frozen by Tess Laurent" in world.gates.view(request_id).frozen
    assert request_id in wished(house, "cards")
    assert world.gates.view(done).frozen == ""


# -- holds ----------------------------------------------------------------------------------


def test_a_held_run_asks_at_its_next_gate(house: House) -> None:
    """What the policy would allow; the page says who holds it and why; the answer releases it."""
    world = house.world
    first = world.propose("500.00", key="first")
    house.command.hold(TESS, world.run, "odd amounts")
    reply = world.propose("600.00", key="second")
    request = reply.view.request
    assert (first.standing, reply.standing) == (Standing.EXECUTING, Standing.WAITING)
    assert request.judgement.reasons[0].text == "Held by Tess Laurent: odd amounts."
    assert request.requirement is not None
    assert request.requirement.people == {"tess": "Tess Laurent"}  # sam is whom the agent acts for
    world.decide(request.id, "tess")
    assert world.propose("600.00", key="second").standing is Standing.EXECUTING
    assert world.propose("700.00", key="third").standing is Standing.EXECUTING


def test_a_hold_adds_to_whom_the_policy_asks(house: House) -> None:
    """Neither stands for the other."""
    world = house.world
    world.propose("500.00", key="first")
    house.command.hold(TESS, world.run, "odd amounts")
    request_id = world.propose("5000.00").view.request.id
    assert world.decide(request_id, "tess").outcome is None
    assert world.decide(request_id, "dana").outcome is not None


def test_neither_time_nor_the_agent_releases_a_hold(house: House) -> None:
    """A question that expires, or that the agent replaces, leaves the run held."""
    world = house.world
    world.propose("500.00", key="first")
    house.command.hold(TESS, world.run, "odd amounts")
    with pytest.raises(InvalidInput, match="is held already"):
        house.command.hold(SAM, world.run, "me too")
    world.propose("600.00")
    again = world.propose("601.00")
    assert (again.view.request.round, again.standing) == (2, Standing.WAITING)
    world.clock.advance(hours=2)
    world.gates.expire()
    assert world.propose("600.00", key="third").standing is Standing.WAITING
    world.decide(world.gates.waiting()[0].request.id, "tess", "reject", "no")
    assert world.propose("600.00", key="fourth").standing is Standing.EXECUTING
    with world.database.read() as session:
        assert [row.ended_by for row in session.exec(select(HoldRow)).all()] == ["Tess Laurent"]


def test_what_is_forbidden_stays_forbidden_for_a_held_run(house: House) -> None:
    """A hold forgives nothing."""
    world = house.world
    world.propose("500.00", key="first")
    house.command.hold(TESS, world.run, "odd amounts")
    reply = world.propose("500.00", name="till.burn", key="burn")
    assert reply.view.request.judgement.verdict is Verdict.FORBID


# -- stops ----------------------------------------------------------------------------------


def test_a_stopped_run_is_over(house: House) -> None:
    """Questions and queued work are taken back, the engine is told, nothing starts any more."""
    world = house.world
    queued = world.propose("500.00", key="queued").view.request.id
    open_ = world.propose("5000.00", key="open").view.request.id
    approved = house.approved("6000.00", key="approved")
    taken = house.command.stop(TESS, open_[:8], "wrong supplier")
    assert sorted(taken) == sorted([queued, open_, approved])
    outcome = world.gates.view(open_).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.CANCELLED
    assert "stopped by Tess Laurent: wrong supplier" in outcome.reason
    assert world.lease() is None
    assert wished(house, STOP) == [world.run]
    assert "Stopped by Tess Laurent" in house.command.why_stopped(world.run)
    with pytest.raises(Frozen, match="Stopped by Tess Laurent"):
        world.propose("700.00", key="more")
    (stop,) = house.command.in_force().freezes
    with pytest.raises(NotEntitled, match="was stopped for good"):
        house.command.thaw("sam", stop.id, "please")


def test_what_a_stopped_run_has_in_hand_is_reported(house: House) -> None:
    """What had begun is not undone by an order: how it ended is recorded."""
    world = house.world
    world.propose("500.00")
    job = leased(world)
    assert house.command.stop(TESS, world.run, "wrong supplier") == []
    assert world.perform(job).standing is Standing.SUCCEEDED


@pytest.mark.parametrize("order", ["hold", "stop"])
def test_an_order_names_a_run_that_is_known(house: House, order: str) -> None:
    """A typing error stops nothing, and says so."""
    with pytest.raises(NotFound, match=r"'nonsense' names no run"):
        getattr(house.command, order)(TESS, "nonsense", "why not")
    with pytest.raises(InvalidInput, match="say why"):
        getattr(house.command, order)(TESS, house.world.run, " ")


def test_a_loop_s_question_is_not_opened_by_a_flow(house: House) -> None:
    """A failure under a freeze is reported, and its question put: nothing starts by that."""
    world = house.world
    world.till.broken = "locked"
    for number in range(3):
        world.propose("500.00", call=number + 1)
        last = world.perform(leased(world))
    assert last.view.request.purpose is Purpose.LOOP
    house.freeze()
    world.decide(last.view.request.id, "dana")
    assert world.propose("500.00", call=3).standing is Standing.WAITING
