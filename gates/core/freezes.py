"""What people in command have ordered: freezes, which stop whatever matches, and holds, which put
the next step of a run to people. Pure.

Rules, each with what it protects from:
1. A freeze beats any grant: whatever was allowed or approved does not start while one covers it
   (an order to stop that waits for old permissions to run out).
2. What several fields of a freeze name must all fit; one that names nothing is none, and
   everything is said in so many words (an empty form that stops the house).
3. Each freeze stands by itself: lifting one lifts no other.
4. Who has frozen does not thaw (one person who stops, does and starts again unseen), and a run
   that was stopped stays so.
5. A hold makes a verdict stricter and never milder: people whom the policy asks are still asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Literal

from pydantic import Field

from gates.core.asked import Ask, PersonId
from gates.core.errors import InvalidInput, NotEntitled
from gates.core.model import ApprovalRequest, Judgement, Outcome, OutcomeKind, Reason, Verdict
from gates.core.policy.patterns import matches
from gates.core.value import Value

HELD = "held"  # the rule that a hold gives as its reason
LONGEST = 200
LONGEST_WHY = 1_000
Need = Literal["policy", "thaw", "directory"]


class Scope(Value):
    """What a freeze covers. `agent` and `action` are names with `*`, `counterparty` is one business
    object, `run` a root run; `everything` stands alone.
    """

    agent: str = Field(default="", max_length=LONGEST)
    action: str = Field(default="", max_length=LONGEST)
    counterparty: str = Field(default="", max_length=LONGEST)
    run: str = Field(default="", max_length=LONGEST)
    everything: bool = False

    def __str__(self) -> str:
        if self.everything:
            return "everything"
        return ", ".join(f"{what} {name}" for what, name in _named(self).items() if name)

    def covers(self, start: Start) -> bool:
        if self.everything:
            return True
        if not (self.agent or self.action or self.counterparty or self.run):
            return False
        return (
            (not self.agent or matches((self.agent,), start.agent))
            and (not self.action or matches((self.action,), start.action))
            and self.counterparty in ("", start.counterparty)
            and self.run in ("", start.run)
        )


class Start(Value):
    """Something that would start: who, what, with whom, in which root run."""

    agent: str
    action: str
    counterparty: str
    run: str

    @classmethod
    def of(cls, request: ApprovalRequest) -> Start:
        return _start(
            request.requester.agent,
            request.action.name,
            request.counterparty,
            request.run.root_run_id,
        )


@lru_cache(maxsize=256)
def _start(agent: str, action: str, counterparty: str, run: str) -> Start:
    return Start(agent=agent, action=action, counterparty=counterparty, run=run)


class Freeze(Value):
    """A stop. `by` is a person's id, or `key:NAME` for an admin's process; `for_good`: the run was
    stopped, and nobody thaws that.
    """

    id: str
    scope: Scope
    by: PersonId
    name: str
    reason: str
    at: datetime
    for_good: bool = False

    def __str__(self) -> str:
        kind = "Stopped" if self.for_good else "Frozen"
        return (
            f"{kind} by {self.name} at {self.at:%Y-%m-%d %H:%M} UTC ({self.scope}): {self.reason}"
        )


class Hold(Value):
    """A run that is held at its next gate, until people have answered there."""

    id: str
    run: str
    by: PersonId
    name: str
    reason: str
    at: datetime

    def __str__(self) -> str:
        return f"Held by {self.name}: {self.reason}"


class InForce(Value):
    """All orders that stand, the oldest first."""

    freezes: tuple[Freeze, ...] = ()
    holds: tuple[Hold, ...] = ()

    def freeze(self, start: Start) -> Freeze | None:
        return stopping(self.freezes, start) if self.freezes else None

    def hold(self, run: str) -> Hold | None:
        return next((one for one in self.holds if one.run == run), None)


def stopping(freezes: Iterable[Freeze], start: Start) -> Freeze | None:
    """The freeze that keeps this from starting, or None."""
    return next((one for one in freezes if one.scope.covers(start)), None)


def checked(scope: Scope) -> Scope:
    """Raises InvalidInput for a scope that says nothing, or everything and something."""
    named = bool(scope.agent or scope.action or scope.counterparty or scope.run)
    if scope.everything and named:
        raise InvalidInput(f"everything = true and {Scope(**_named(scope))}: choose one of them.")
    if not scope.everything and not named:
        raise InvalidInput("Nothing is named: give agent, action, counterparty, run or everything.")
    return scope


def _named(scope: Scope) -> dict[str, str]:
    return {name: value for name, value in scope if name != "everything"}


def why(reason: str) -> str:
    """The reason, tidied. Raises InvalidInput where there is none."""
    told = reason.strip()
    if not told:
        raise InvalidInput("reason is empty: say why, so that others know when it may end.")
    if len(told) > LONGEST_WHY:
        raise InvalidInput(f"reason has {len(told)} characters: shorten it to {LONGEST_WHY:,}.")
    return told


def refuse_thaw(freeze: Freeze, person: PersonId, name: str) -> None:
    """Raises NotEntitled for who has frozen, and for a run that was stopped."""
    if freeze.for_good:
        raise NotEntitled(f"Run {freeze.scope.run!r} was stopped for good: start a new run.")
    if freeze.by == person:
        raise NotEntitled(f"{name}, you have frozen this, so somebody else in command thaws it.")


def held(judgement: Judgement, hold: Hold, commanders: Ask) -> Judgement:
    """The verdict under a hold: `commanders` are asked; where the policy asks people of its own,
    somebody of the first group of the commanders has to agree beside them.
    """
    if judgement.verdict is Verdict.FORBID:
        return judgement
    ask = commanders
    if judgement.ask is not None:
        groups = dict.fromkeys((*judgement.ask.from_each, *commanders.who[:1]))
        ask = judgement.ask.model_copy(update={"from_each": tuple(groups)})
    reason = Reason(rule=HELD, text=f"{hold}.")
    return judgement.model_copy(
        update={
            "verdict": Verdict.REQUIRE_APPROVAL,
            "reasons": (reason, *judgement.reasons),
            "ask": ask,
        }
    )


def releases(request: ApprovalRequest, outcome: Outcome) -> bool:
    """Whether people have answered a question that a hold has put: neither time nor the agent does
    that.
    """
    asked = any(reason.rule == HELD for reason in request.judgement.reasons)
    return asked and outcome.kind in (
        OutcomeKind.APPROVED,
        OutcomeKind.REJECTED,
        OutcomeKind.SENT_BACK,
    )
