"""Budgets: attempts, time, money and tokens, per run, business key and agent. Never refilled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gates.core.loops.memory import Memory, Spent
from gates.core.loops.steps import End, Step
from gates.core.loops.thresholds import Budget, Thresholds

RUN, MONEY = "run", "money"
LONGEST_SCOPE = 60


def spend(memory: Memory, step: Step, end: End) -> None:
    """Every attempt costs, a refused one and one that ran beside its twin too."""
    memory.paused += step.paused
    for scope in _scopes(step):
        memory.spend(scope, step.at, end.cost, end.tokens)


class Over(NamedTuple):
    scope: str
    used: int
    words: str


def overspent(memory: Memory, step: Step, thresholds: Thresholds) -> Over | None:
    """The first budget that is used up."""
    for scope in _scopes(step):
        budget = thresholds.run if scope is RUN else _budget(thresholds, scope)
        over = _over(memory.used(scope), budget)
        if over:
            used, most, what = over
            return Over(scope, used, _words(scope, used, most, what))
    return None


def _words(scope: str, used: int, most: int, what: str) -> str:
    who = "this run" if scope is RUN else scope.removeprefix("key:").replace("agent:", "agent ", 1)
    return in_words(who, used, most, what)


def in_words(who: str, used: int, most: int, what: str) -> str:
    if what == MONEY:
        return f"{who} has used {used / 100:,.2f} of {most / 100:,.2f} in money"
    return f"{who} has used {used:,} of {most:,} {what}"


def _budget(thresholds: Thresholds, scope: str) -> Budget:
    return thresholds.business_key if scope.startswith("key:") else thresholds.agent


def _scopes(step: Step) -> Sequence[str]:
    if not step.business_key and not step.agent:
        return (RUN,)
    scopes = [RUN]
    if step.business_key:
        scopes.append(f"key:{step.business_key}"[:LONGEST_SCOPE])
    if step.agent:
        scopes.append(f"agent:{step.agent}"[:LONGEST_SCOPE])
    return scopes


def _over(used: Spent, budget: Budget) -> tuple[int, int, str] | None:
    if budget.attempts is not None and used.attempts >= budget.attempts:
        return used.attempts, budget.attempts, "attempts"
    if budget.cost is not None and used.cost >= budget.cost:
        return used.cost, budget.cost, MONEY
    if budget.tokens is not None and used.tokens >= budget.tokens:
        return used.tokens, budget.tokens, "tokens"
    if budget.seconds is not None and used.began and used.last:
        seconds = int((used.last - used.began).total_seconds())
        if seconds >= budget.seconds:
            return seconds, budget.seconds, "seconds"
    return None
