"""A policy's answer to one question. Pure.

Rules, each with what it protects from:
1. Every rule whose `on` names the action is evaluated; the strictest verdict among those that
   match wins (the order of a file must not matter).
2. Where no rule matches, people are asked as the defaults say (what nobody thought of).
3. A rule that cannot be evaluated asks (a missing fact must not let anything through).
4. Among equally strict rules the most demanding wins: the highest tier and the groups of the
   rule that has it (at the same tier: the larger quorum, then the shorter deadline, then the
   first in the file), with the largest quorum and the shortest deadline of all of them.
   Groups are never joined: more people to choose from would make an approval easier. So an
   escalation reaches only groups that each of these rules names for it. Which of two deadlines
   is shorter cannot be said where they count different times: both hold. A ladder is climbed
   only where all of these rules have that ladder.
5. Rules that rest on what the requester says never displace the defaults: they can only add to
   them (an agent must not choose who decides by what it claims).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gates.core.calendars import Calendar
from gates.core.model import Ask, Judgement, Limit, Reason, Rung, Tier, Value, Verdict
from gates.core.policy.conditions import (
    Condition,
    Question,
    bindings,
    evaluate,
    evaluate_all,
    joined,
)
from gates.core.policy.patterns import matches
from gates.core.policy.words import Piece, fill

DEFAULT_RULE = "default"
MOST_PLANS = 1_000


class LoopPolicy(Value):
    """The same call failing the same way `same_failure` times asks; "go on" allows `allow_more`
    failures before it asks again.
    """

    same_failure: int = 3
    allow_more: int = 3
    ask: Ask


class Defaults(Value):
    """What counts where no rule matches, and whatever a rule's own `ask` leaves out."""

    tier: Tier
    ask: Ask


@dataclass(frozen=True)
class Rule:
    """One rule, ready to be evaluated. `ask` is there exactly where the verdict asks people."""

    name: str
    on: tuple[str, ...]
    condition: Condition
    verdict: Verdict
    tier: Tier
    ask: Ask | None
    because: tuple[Piece, ...]


@dataclass(frozen=True)
class Matched:
    """One voice in the judgement. `displaces`: the defaults need not speak beside it."""

    reason: Reason
    verdict: Verdict
    tier: Tier
    ask: Ask | None
    displaces: bool


@dataclass(frozen=True)
class Plan:
    """The rules for one action, and all their conditions as one expression."""

    rules: tuple[Rule, ...]
    expression: Any
    mentions: frozenset[str]


@dataclass(frozen=True)
class Policy:
    """Made by `load_policy`. `digest` names its content: layout and comments do not count."""

    rules: tuple[Rule, ...]
    defaults: Defaults
    loops: LoopPolicy
    in_doubt: Ask
    digest: str
    calendar: Calendar | None = None  # in which the circumstance `time` is told
    _plans: dict[str, Plan] = field(default_factory=dict, repr=False, compare=False)

    def judge(self, question: Question) -> Judgement:
        """The verdict, its tier and its reasons; whom to ask where people are to be asked."""
        voices = [
            voice
            for rule, answer in self._answers(question)
            if (voice := self._voice(rule, answer, question)) is not None
        ]
        if not any(voice.displaces for voice in voices):
            voices.append(self._default(question, alone=not voices))
        return _strictest(voices, self.digest)

    def mentions(self, action: str) -> frozenset[str]:
        """The circumstances that the rules for an action want to know."""
        return self._plan(action).mentions

    def _answers(self, question: Question) -> Sequence[tuple[Rule, bool | str]]:
        plan, values = self._plan(question.action.name), bindings(question)
        answers: Sequence[bool | str] | None = evaluate_all(plan.expression, values)
        if answers is None:  # one error voids the whole list: find out which rule it is
            answers = [evaluate(rule.condition, values) for rule in plan.rules]
        return list(zip(plan.rules, answers, strict=True))

    def _plan(self, action: str) -> Plan:
        plan = self._plans.get(action)
        if plan is None:
            rules = tuple(rule for rule in self.rules if matches(rule.on, action))
            mentions = frozenset().union(*(rule.condition.mentions for rule in rules))
            plan = Plan(rules, joined([rule.condition for rule in rules]), mentions)
            if len(self._plans) < MOST_PLANS:  # names come from outside: bounded
                self._plans[action] = plan
        return plan

    def _voice(self, rule: Rule, answer: bool | str, question: Question) -> Matched | None:
        if answer is False:
            return None
        if answer is True:
            reason = Reason(rule=rule.name, text=fill(rule.because, question))
            displaces = not rule.condition.claimed
            return Matched(reason, rule.verdict, rule.tier, rule.ask, displaces=displaces)
        reason = Reason(
            rule=rule.name, text=f"Rule {rule.name!r} could not be evaluated: {answer}."
        )
        whom = rule if rule.ask else self.defaults
        return Matched(reason, Verdict.REQUIRE_APPROVAL, whom.tier, whom.ask, displaces=False)

    def _default(self, question: Question, *, alone: bool) -> Matched:
        words = "No rule matches" if alone else "No rule that rests on facts matches"
        reason = Reason(rule=DEFAULT_RULE, text=f"{words} {question.action.name}.")
        tier, ask = self.defaults.tier, self.defaults.ask
        return Matched(reason, Verdict.REQUIRE_APPROVAL, tier, ask, displaces=True)


def _strictest(voices: Sequence[Matched], digest: str) -> Judgement:
    verdict = max((voice.verdict for voice in voices), key=lambda one: one.strictness)
    equal = sorted((one for one in voices if one.verdict is verdict), key=_demand, reverse=True)
    asks = [one.ask for one in equal if one.ask is not None]
    ask = None
    if asks:
        first, *others = _limits(asks)
        ask = Ask(
            who=asks[0].who,
            quorum=max(one.quorum for one in asks),
            deadline_seconds=first.seconds,
            calendar=first.calendar,
            limits=tuple(others),
            ladder=_same_ladder(asks),
            valid_seconds=min(one.valid_seconds for one in asks),
            from_each=tuple(dict.fromkeys(group for one in asks for group in one.from_each)),
            notify=tuple(dict.fromkeys(way for one in asks for way in one.notify)),
            channel=next((one.channel for one in asks if one.channel), ""),
            escalate_to=tuple(
                group
                for group in asks[0].escalate_to
                if all(group in one.escalate_to for one in asks)
            ),
            reason=any(one.reason for one in asks),
        )
    return Judgement(
        verdict=verdict,
        tier=equal[0].tier,
        reasons=tuple(one.reason for one in equal),
        policy_digest=digest,
        ask=ask,
    )


def _same_ladder(asks: Sequence[Ask]) -> tuple[Rung, ...]:
    first = asks[0]
    same = all((one.ladder, one.calendar) == (first.ladder, first.calendar) for one in asks)
    return first.ladder if same else ()


def _limits(asks: Sequence[Ask]) -> list[Limit]:
    """The shortest deadline of each calendar, beginning with that of the first ask."""
    shortest: dict[str, Limit] = {}
    for limit in (limit for one in asks for limit in (one.limit, *one.limits)):
        key = limit.calendar.name if limit.calendar else ""
        shortest[key] = min(shortest.get(key, limit), limit, key=lambda one: one.seconds)
    return list(shortest.values())


def _demand(voice: Matched) -> tuple[int, int, int]:
    if voice.ask is None:
        return voice.tier.height, 0, 0
    return voice.tier.height, voice.ask.quorum, -voice.ask.deadline_seconds
