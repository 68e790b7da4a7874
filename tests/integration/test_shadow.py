"""A policy that looks on: differences are counted and shown, and nothing else comes of it."""

from uuid import uuid4

import pytest

from gates.core.model import GateReply, RunRef, Standing
from gates.core.policy import load_policy
from gates.health import Look, shadow
from gates.shadow import LONGEST_QUEUE, Shadow
from gates.store import shadows
from tests.support.world import POLICY, World

STRICTER = POLICY.replace("amount.minor < 100000", "amount.minor < 10000")
WINDOW = "exposure: {week: {by: [counterparty], window: 7d}}\nrules:\n"
SUMS = POLICY.replace(
    "rules:\n",
    WINDOW + "  - {name: sum, on: till.pay, when: exposure.week.minor > 60000, verdict: forbid,"
    " because: sum}\n",
)


def pay(world: World, amount: str) -> GateReply:
    run = RunRef(run_id=uuid4().hex, root_run_id=uuid4().hex)
    return world.propose(amount, run=run)


def looks_on(world: World, policy: str) -> Shadow:
    made = Shadow(
        world.database,
        load_policy(policy, "shadow.yaml", world.directory),
        "shadow.yaml",
        world.clock,
    )
    world.gates.opened, world.gates.shadow = made.see, made.policy.digest
    return made


def summary(world: World) -> dict[str, object]:
    with world.database.read() as session:
        return shadows.summary(session, world.gates.shadow)


def test_differences_are_counted_and_the_active_policy_decides(world: World) -> None:
    """A payment that the shadow would ask about runs; the request is named."""
    made = looks_on(world, STRICTER)
    assert [pay(world, one).standing for one in ("50.00", "500.00", "5000.00")] == [
        Standing.EXECUTING,
        Standing.EXECUTING,
        Standing.WAITING,
    ]
    made.drain()
    found = summary(world)
    assert (found["judged"], found["different"], found["failed"]) == (3, 1, 0)
    assert found["verdicts"] == [
        {"active": "allow (routine)", "shadow": "require_approval (ambiguous)", "number": 1}
    ]
    (one,) = found["latest"]  # type: ignore[misc]
    assert (one["action"], one["shadow_rules"]) == ("till.pay", ["default"])


def test_it_sums_by_windows_of_its_own(world: World) -> None:
    """Circumstances that the active policy does not want are looked up for it."""
    made = looks_on(world, SUMS)
    pay(world, "500.00")
    made.drain()
    assert summary(world)["different"] == 0
    pay(world, "500.00")
    made.drain()
    assert summary(world)["different"] == 1


def test_a_repeated_proposal_and_a_refused_one_are_not_seen(world: World) -> None:
    """Only what was really opened counts, once."""
    made = looks_on(world, STRICTER)
    world.propose("500.00")
    world.propose("500.00")
    made.drain()
    assert summary(world)["judged"] == 1


def test_its_errors_hurt_nobody(world: World) -> None:
    """A store that fails it, and a queue that is full: requests go on, failures are counted."""
    made = looks_on(world, STRICTER)
    made.clock = lambda: 1 / 0  # type: ignore[assignment,return-value]
    assert pay(world, "500.00").standing is Standing.EXECUTING
    made.drain()
    made.clock = world.clock
    request = pay(world, "500.00").view.request
    for _ in range(LONGEST_QUEUE):
        made.see(request)
    assert made.dropped == 1
    assert pay(world, "500.00").standing is Standing.EXECUTING
    made.drain()
    found = summary(world)
    assert (found["judged"], found["failed"]) == (LONGEST_QUEUE + 2, 2)
    with world.database.read() as session:
        (finding,) = shadow(Look(world.gates, session, world.clock()))
    assert (finding.level, finding.check) == ("warning", "shadow")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_it_works_behind_the_requests_until_it_is_stopped(world: World) -> None:
    made = looks_on(world, STRICTER)
    made.start()
    pay(world, "500.00")
    made.stop()
    assert summary(world)["different"] == 1
