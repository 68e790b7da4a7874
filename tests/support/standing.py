"""A policy whose rule can be lifted beforehand, and limits for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from gates.core.model import GateReply, Money, RunRef
from gates.core.standing import Limits, StandingApproval
from gates.standing import StandingDesk
from tests.support.world import World

POLICY = """
version: 1
defaults: {tier: ambiguous, ask: {who: [controllers], quorum: 1, deadline: 1h}}
rules:
  - name: payments
    on: till.pay
    when: amount.minor > 10000
    verdict: require_approval
    because: "{amount} is paid out"
    standing: true
  - name: doubtful
    on: till.pay
    when: amount.minor == 77700
    verdict: require_approval
    because: doubtful
  - name: two
    on: till.pay
    when: amount.minor == 88800
    verdict: require_approval
    ask: {who: [controllers], quorum: 2}
    because: two
  - {name: never, on: till.burn, verdict: forbid, because: never}
"""


def desk(world: World) -> StandingDesk:
    return StandingDesk(world.database, lambda: world.gates.asking, world.clock)


def euros(amount: int) -> Money:
    return Money(minor=amount * 100)


def limits(world: World, **changes: Any) -> Limits:
    values: dict[str, Any] = {
        "rules": ("payments",),
        "on": ("till.pay",),
        "ends_at": world.clock() + timedelta(days=30),
        "uses": 2,
    }
    return Limits(**values | changes)


def give(world: World, person: str = "dana", **changes: Any) -> StandingApproval:
    return desk(world).give(person, limits(world, **changes), "rent, each month")


def pay(world: World, amount: str = "500.00", payee: str = "acme", **changes: Any) -> GateReply:
    """A payment of a run of its own."""
    run = RunRef(run_id=uuid4().hex, root_run_id=uuid4().hex)
    arguments = {"payee": payee, "amount": amount}
    return world.propose(amount, **{"run": run, "arguments": arguments} | changes)
