"""Whether a budget over runs is used up, looked at before each call where the policy has one."""

from __future__ import annotations

from datetime import datetime

from gates.core.loops import over_runs
from gates.core.loops.over_runs import Answer, Scope, WindowBudget
from gates.core.model import ApprovalRequest, Json
from gates.core.policy import LoopPolicy
from gates.store import budgets
from gates.store.database import Database
from gates.store.repository import Unit


def look(
    database: Database, now: datetime, request: ApprovalRequest, loops: LoopPolicy
) -> Json | None:
    """Why this call is put to people, as evidence; None where it may go on."""
    if loops.over_runs is None:
        return None
    with database.read() as session:
        unit = Unit(session, now)
        for scope, budget in over_runs.scopes(request, loops.over_runs):
            found = _look(unit, scope, budget)
            if found is not None:
                return found
    return None


def _look(unit: Unit, scope: Scope, budget: WindowBudget) -> Json | None:
    since = budget.since(unit.now)
    used = budgets.used(unit, scope, since)
    over = over_runs.used_up(used, budget)
    if over is None:
        return None
    answers = _answers(unit, scope)
    last = over_runs.latest(answers)
    if last is not None and budgets.begun(unit, scope, last.at) < last.more:
        return None
    return over_runs.evidence(
        scope,
        budget,
        used,
        over,
        runs=budgets.runs(unit, scope, since),
        calls=budgets.last(unit, scope, since),
        answers=answers,
        now=unit.now,
    )


def _answers(unit: Unit, scope: Scope) -> list[Answer]:
    found = []
    for one in unit.budget_answers(scope):
        if one.outcome is None or one.row.settled_at is None:
            continue
        told = over_runs.answered_with(one.request, one.decisions, one.outcome, one.row.settled_at)
        if told is not None:
            found.append(told)
    return found
