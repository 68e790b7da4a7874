"""What a person has approved beforehand: what it lifts, how far, and how it ends."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from gates.core.errors import GatesError, InvalidPolicy, NotEntitled, RequestClosed
from gates.core.model import Money, Standing
from gates.store.database import Database
from gates.store.tables import LogRow
from integrations.operating.epoch import Epoch, mark
from tests.support.standing import POLICY, desk, euros, give, limits, pay
from tests.support.world import PEOPLE, World

ASKS, RUNS = Standing.WAITING, Standing.EXECUTING
WITHOUT_DANA = PEOPLE.replace(
    "dana@example.com, groups: [controllers]", "dana@example.com, groups: [clerks]"
).replace("groups: [treasury]}", "groups: [treasury, controllers]}")


@pytest.fixture
def ruled(world: World) -> World:
    world.rule(POLICY)
    return world


def test_it_lets_run_what_would_ask_and_says_by_whom(ruled: World) -> None:
    """The request says which standing approval, by whom and why, and keeps its id."""
    held = give(ruled)
    reply = pay(ruled)
    assert reply.standing is RUNS
    request = reply.view.request
    assert request.lifted == {"payments": held.id}
    assert str(reply.view.outcome) == (
        f"approved by policy: standing approval {held.id} by Dana Okafor: rent, each month; "
        "500.00 EUR is paid out"
    )


def test_uses_are_spent_and_then_people_are_asked(ruled: World) -> None:
    give(ruled, uses=2)
    assert [pay(ruled).standing for _ in range(3)] == [RUNS, RUNS, ASKS]


def test_a_repeated_proposal_spends_nothing(ruled: World) -> None:
    """The same gate reads what is there."""
    give(ruled, uses=1)
    assert [ruled.propose("500.00").standing for _ in range(3)] == [RUNS] * 3
    assert desk(ruled).all()[0].used == 1


@pytest.mark.parametrize(
    ("changes", "fits", "beyond"),
    [
        ({"each": euros(600)}, {"amount": "600.00"}, {"amount": "600.01"}),
        ({"counterparties": ("acme",)}, {}, {"payee": "bolt"}),
        ({"agents": ("invoice-agent",)}, {}, None),
        ({"total": euros(800), "uses": 0}, {}, {"amount": "301.00"}),
    ],
)
def test_each_limit_holds(
    ruled: World, changes: dict[str, Any], fits: dict[str, str], beyond: dict[str, str] | None
) -> None:
    """What is within it runs; what is beyond it asks, and spends nothing."""
    give(ruled, **{"uses": 5} | changes)
    assert pay(ruled, **fits).standing is RUNS
    if beyond is not None:
        assert pay(ruled, **beyond).standing is ASKS
    assert desk(ruled).all()[0].used == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"agents": ("another",)},
        {"on": ("till.p*y2", "till.pay2", "till.pa*")},
        {"each": Money(minor=10**9, currency="USD")},
    ],
)
def test_what_it_is_not_for_asks(ruled: World, changes: dict[str, Any]) -> None:
    """Another agent; another currency than the limit's. A pattern that fits is one."""
    give(ruled, **changes)
    assert pay(ruled).standing is (RUNS if "on" in changes else ASKS)


@pytest.mark.parametrize("amount", ["777.00", "888.00"])
def test_a_rule_that_it_does_not_name_still_asks(ruled: World, amount: str) -> None:
    """All that asks must be lifted: otherwise nothing is spent either."""
    give(ruled)
    assert pay(ruled, amount).standing is ASKS
    assert desk(ruled).all()[0].used == 0


def test_nobody_lifts_a_rule_for_their_own_agent(ruled: World) -> None:
    """The giver is the person the agent acts for."""
    give(ruled)
    ruled.flow = ruled.key("flow", "invoice-agent", "dana")
    assert pay(ruled).standing is ASKS


def test_what_a_flow_runs_itself_is_never_lifted(ruled: World) -> None:
    """Its name, its arguments and its amount are all the flow's word."""
    ruled.rule(
        POLICY.replace("on: till.pay", "on: [till.pay, notes.add]").replace(
            "amount.minor > 10000", "true"
        )
    )
    give(ruled, on=("*",))
    assert pay(ruled, name="notes.add", in_process=True).standing is ASKS


def test_it_ends_with_its_time(ruled: World) -> None:
    give(ruled)
    ruled.clock.advance(days=30)
    assert pay(ruled).standing is ASKS


def test_it_ends_with_its_givers_right(ruled: World) -> None:
    """Who could no longer approve it has approved nothing beforehand either."""
    give(ruled)
    ruled.rule(POLICY, WITHOUT_DANA)
    assert pay(ruled).standing is ASKS


@pytest.mark.parametrize("by", ["dana", "mika"])
def test_it_is_revoked_by_its_giver_or_who_could_have_given_it(ruled: World, by: str) -> None:
    held = give(ruled)
    desk(ruled).revoke(held.id, by)
    assert pay(ruled).standing is ASKS
    with pytest.raises(RequestClosed, match="was revoked by"):
        desk(ruled).revoke(held.id, by)


def test_nobody_else_revokes_it(ruled: World) -> None:
    with pytest.raises(NotEntitled, match="neither gave S-1 nor could have"):
        desk(ruled).revoke(give(ruled).id, "sam")


@pytest.mark.parametrize("end", ["revoked", "over", "without its giver"])
def test_what_was_not_yet_begun_is_asked_anew(ruled: World, end: str) -> None:
    """Between the opening and the claim it may end: then the approval no longer holds."""
    held = give(ruled)
    in_hand = ruled.proposal("500.00")
    ruled.till.broken = "no paper"
    assert ruled.gates.propose(ruled.flow, in_hand).standing is RUNS
    job = ruled.lease()
    assert job is not None
    ruled.perform(job)  # it has failed, and may be tried again
    if end == "revoked":
        desk(ruled).revoke(held.id, "mika")
    elif end == "over":
        ruled.clock.advance(days=31)
    else:
        ruled.rule(POLICY, WITHOUT_DANA)
    again = ruled.propose("500.00", call=2)
    assert again.standing is ASKS
    assert "no longer holds" in again.view.request.before[0]


def test_two_at_once_do_not_overdraw(database: Database) -> None:
    """Eight payments at once under three uses: three run."""
    world = World(database)
    world.rule(POLICY)
    give(world, uses=3, total=euros(10_000))
    started, found = threading.Barrier(8), list[Standing]()

    def propose() -> None:
        started.wait()
        found.append(pay(world).standing)

    threads = [threading.Thread(target=propose) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
    assert sorted(found) == sorted([RUNS] * 3 + [ASKS] * 5)
    assert desk(world).all()[0].used == 3


@pytest.mark.parametrize(
    ("person", "changes", "words"),
    [
        ("dana", {"uses": 0}, "has no limit"),
        ("dana", {"ends_at": timedelta(days=-1)}, "is past"),
        ("dana", {"ends_at": timedelta(days=400)}, "366 days"),
        ("dana", {"rules": ("paymnets",)}, "no rule 'paymnets'.*payments"),
        ("dana", {"rules": ("doubtful",)}, "cannot be lifted"),
        ("dana", {"rules": ("never",), "on": ("till.burn",)}, "forbid.*cannot be lifted"),
        ("dana", {"on": ("till.burn",)}, "never meets till.burn"),
        ("dana", {"on": ("till pay",)}, "names no action"),
        ("dana", {"each": euros(0)}, "no limit"),
        ("dana", {"each": euros(5), "total": euros(4)}, "lower it"),
        ("dana", {"each": euros(5), "total": Money(minor=900, currency="USD")}, "one currency"),
        ("sam", {}, "Sam Rivera is not among those"),
        ("nobody", {}, "nobody"),
    ],
)
def test_what_is_unsound_is_not_given(
    ruled: World, person: str, changes: dict[str, Any], words: str
) -> None:
    """Each in a sentence that names what is wrong."""
    if isinstance(changes.get("ends_at"), timedelta):
        changes = {"ends_at": ruled.clock() + changes["ends_at"]}
    with pytest.raises(GatesError, match=words):
        desk(ruled).give(person, limits(ruled, **changes), "why")
    assert desk(ruled).all() == []


def test_a_reason_is_part_of_it(ruled: World) -> None:
    with pytest.raises(GatesError, match="reason is empty"):
        desk(ruled).give("dana", limits(ruled), "  ")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("verdict: forbid, standing: true", "lifts only what asks"),
        ("verdict: require_approval, ask: {quorum: 2}, standing: true", "is one person's"),
    ],
)
def test_rules_that_nobody_could_lift_are_refused_when_loaded(
    ruled: World, rule: str, words: str
) -> None:
    text = f"{POLICY}  - {{name: x, on: till.pay, because: x, {rule}}}\n"
    with pytest.raises(InvalidPolicy, match=words):
        ruled.rule(text)


def test_all_of_it_is_in_the_log(ruled: World) -> None:
    held = give(ruled)
    pay(ruled)
    desk(ruled).revoke(held.id, "mika")
    with ruled.database.read() as session:
        rows = session.exec(select(LogRow).where(LogRow.subject == held.id).order_by("seq")).all()
        found = [(row.kind, row.actor) for row in rows]
    assert found == [
        ("standing.given", "dana"),
        ("standing.used", "invoice-agent"),
        ("standing.revoked", "mika"),
    ]


def test_a_restore_ends_them(ruled: World) -> None:
    """What was spent, or revoked, since the backup is not known any more."""
    give(ruled)
    mark(ruled.database, Epoch(ruled.clock(), "0" * 64, "ops", ruled.clock()), {})
    assert desk(ruled).all()[0].revoked_by == "the restore"
    assert pay(ruled).standing is ASKS
