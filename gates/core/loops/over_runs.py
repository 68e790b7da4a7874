"""Budgets over runs: what one agent, or one subject, has used in all runs together. Pure.

A run's own budget begins at nothing with each run, so an agent that starts a new run each time has
none. These are counted from the store, in a window that slides. Nothing else makes room: an answer
lets so many more attempts pass, whichever run makes them, and gives nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from gates.core.loops.circles import Kind
from gates.core.loops.failing import Call, allowed
from gates.core.loops.levels import REMEMBERED, Guidance, climbed, guidance, level_of
from gates.core.loops.spending import MONEY, in_words
from gates.core.loops.steps import Step, short
from gates.core.loops.telling import spent
from gates.core.model import ApprovalRequest, Decision, Json, Outcome, OutcomeKind
from gates.core.value import Value

MOST_ATTEMPTS = 1_000_000
SHORTEST, LONGEST = 60, 90 * 86_400  # seconds
EVER = datetime(1970, 1, 1, tzinfo=UTC)
PREFIX = "over_runs:"
LONGEST_KEY = 200  # characters of a key, which stands in an index
GUIDED = 1  # attempts that guidance lets pass: it is there to be followed

Counted = Literal["agent", "business_key"]


class WindowBudget(Value):
    """`per`: the window in seconds; None: all that is kept. `cost`: in minor units."""

    attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] | None = None
    cost: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1)] | None = None
    per: Annotated[int, Field(ge=SHORTEST, le=LONGEST)] | None = None

    def since(self, now: datetime) -> datetime:
        return EVER if self.per is None else now - timedelta(seconds=self.per)


class OverRuns(Value):
    agent: WindowBudget | None = None
    business_key: WindowBudget | None = None


class Scope(NamedTuple):
    """Whose attempts count together."""

    counted: Counted
    name: str

    @property
    def key(self) -> str:
        """What it is called in the evidence and in the store."""
        key = f"{PREFIX}{'agent' if self.counted == 'agent' else 'key'}:{self.name}"
        if len(key) <= LONGEST_KEY:
            return key
        return f"{key[:LONGEST_KEY]}:{sha256(key.encode(errors='replace')).hexdigest()}"

    def __str__(self) -> str:
        return short(f"agent {self.name}" if self.counted == "agent" else self.name)


class Used(NamedTuple):
    """`ended`: attempts within the window, with what they have cost; `under_way`: queued, running
    or in doubt now.
    """

    ended: int
    cost: int
    tokens: int
    under_way: int

    @property
    def attempts(self) -> int:
        return self.ended + self.under_way


class Answer(NamedTuple):
    """What people said of a scope that was over its budget. `level`: of their question; `more`: the
    attempts that may pass from then on.
    """

    at: datetime
    level: int
    more: int
    guided: Guidance | None = None


class Over(NamedTuple):
    """A budget that is used up: `used` of `most` of `what`."""

    used: int
    most: int
    what: str


def scopes(request: ApprovalRequest, budgets: OverRuns) -> Iterator[tuple[Scope, WindowBudget]]:
    """What this proposal would count for, where the policy has a budget for it."""
    agent, subject = request.requester.agent, " ".join(request.action.subject)
    if agent and budgets.agent is not None:
        yield Scope("agent", agent), budgets.agent
    if subject and budgets.business_key is not None:
        yield Scope("business_key", subject), budgets.business_key


def used_up(used: Used, budget: WindowBudget) -> Over | None:
    """The first part of a budget that is used up."""
    for count, most, what in (
        (used.attempts, budget.attempts, "attempts"),
        (used.cost, budget.cost, MONEY),
        (used.tokens, budget.tokens, "tokens"),
    ):
        if most is not None and count >= most:
            return Over(count, most, what)
    return None


def answered_with(
    request: ApprovalRequest, decisions: Sequence[Decision], outcome: Outcome, at: datetime
) -> Answer | None:
    """None for what lets nothing pass: a no, silence, a world that has changed."""
    level = level_of(request.evidence)
    if (given := guidance(decisions, outcome)) is not None:
        return Answer(at, level, GUIDED, given)
    if outcome.kind is not OutcomeKind.APPROVED:
        return None
    return Answer(at, level, allowed(request, decisions))


def latest(answers: Iterable[Answer]) -> Answer | None:
    """The one that holds: each says anew how many more may pass from then on."""
    return max(answers, key=lambda one: one.at, default=None)


def evidence(
    scope: Scope,
    budget: WindowBudget,
    used: Used,
    over: Over,
    *,
    runs: int,
    calls: Sequence[Call],
    answers: Iterable[Answer],
    now: datetime,
) -> Json:
    """`calls`: the last ones within the window, oldest first; `runs`: in how many all of them, and
    those under way, were made. Questions side by side on one level go up together, and once.
    """
    window = "" if budget.per is None else f" in {_span(budget.per)}"
    where = f", in {runs:,} run{'' if runs == 1 else 's'}"
    recent = [one for one in answers if one.guided and one.at >= now - REMEMBERED]
    by_level = {one.level: one.guided for one in sorted(recent, key=lambda one: one.at)}
    attempts: list[Json] = [
        _attempt(number, call)
        for number, call in enumerate(calls, start=used.ended - len(calls) + 1)
    ]
    told: Json = {
        "detector": Kind.BUDGET.value,
        "circle": scope.key,
        "count": over.used,
        "total": used.ended,
        "words": in_words(str(scope), *over) + window + where,
        "attempts": [*attempts],
        "differences": [],
    }
    given = [one for one in by_level.values() if one is not None]
    return told | spent([], used.cost, used.tokens) | climbed(given)


def key_of(evidence: Json) -> str:
    """The scope whose budget over runs a question is about; empty where it is about none."""
    key = evidence.get("circle")
    return key if isinstance(key, str) and key.startswith(PREFIX) else ""


def _attempt(number: int, call: Call) -> Json:
    shown = Step.of(call.action, call.arguments).shown
    return {
        "number": number,
        "at": call.at.isoformat(),
        "arguments": {"call": f"{short(call.action)} {shown}"},
        "error": short(call.error if call.failed else call.answer),
    }


def _span(seconds: int) -> str:
    """The largest unit of which it is a whole number; one day is 24 hours."""
    for unit, size, least in (("days", 86_400, 2), ("h", 3_600, 1), ("min", 60, 1)):
        count, rest = divmod(seconds, size)
        if not rest and count >= least:
            return f"{count} {unit}"
    return f"{seconds:,} s"
