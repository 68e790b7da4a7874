"""A policy's answer to one question. Pure.

Rules, each with what it protects from:
1. Every rule whose `on` names the action is evaluated; the strictest verdict among those that
   match wins (the order of rules and of files must not matter).
2. Where no rule matches, people are asked as the defaults say (what nobody thought of).
3. A rule that cannot be evaluated asks (a missing fact must not let anything through); one that
   forbids asks at the highest tier (what would break it must not make it one voice of many).
4. Among equally strict rules the most demanding wins: the highest tier and the groups of the
   rule that has it (at the same tier: the larger quorum, then the shorter deadline, then the
   name), with the largest quorum and the shortest deadline of all of them; of veto windows the
   longest (time must not consent sooner because one more rule is worried), and of samples the
   largest. Groups are never joined: more people to choose from would make an approval easier.
   So an escalation reaches only groups that each of these rules names for it.
5. Rules that rest on what the requester says never displace the defaults, nor the people of any
   rule that rests on facts: they can only add to them (an agent must not choose who decides by
   what it claims). So a veto window or a later review that rests on a claim never stands in for
   people where nothing else matches; and where both ask, the groups are those of the rules on
   facts, and those of the others must agree beside them, as far as there are people for both. The
   same goes for a rule that could not be evaluated (an error is no way to choose, either).
6. An `allow` that matches takes the voices of the rules away that it `lifts`, and of no others
   (an exception must say to what). What forbids is never lifted, nor is an error, and what lifts
   rests on facts alone.
7. A flow's own function is let run only by a rule that names it in full, or speaks of
   `action.in_process`; one that matches by a pattern asks (whoever writes a flow chooses the name).
8. A rule that is lifted from outside, by a person's standing approval, counts as one that allows:
   where the rule says `standing: true`, asks, and could be evaluated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from gates.core.asked import Ask, Assurance
from gates.core.loops.over_runs import OverRuns
from gates.core.loops.thresholds import Thresholds
from gates.core.model import Json, Judgement, Money, Reason, Tier, Verdict
from gates.core.policy.circumstances import CIRCUMSTANCES
from gates.core.policy.command import Command
from gates.core.policy.conditions import (
    Condition,
    Question,
    bindings,
    evaluate,
    evaluate_all,
    joined,
)
from gates.core.policy.judges import JudgeRule
from gates.core.policy.patterns import matches
from gates.core.policy.plainly import either, plainly
from gates.core.policy.voices import DEFAULT_RULE, Rests, Voice, strictest
from gates.core.policy.windows import Window, used
from gates.core.policy.words import Piece, fill
from gates.core.value import Value

MOST_PLANS = 1_000
OWN = (
    "this is a flow's own function, which no pattern lets run: name it in `on`, or say "
    "action.in_process in `when`"
)
LONGEST_PART = 20_000  # characters of conditions that are evaluated as one expression
MOST_IN_PART = 200


class LoopLevel(Value):
    """Whom a loop is put to that has gone so far up, and how many more tries they may allow at
    once; 0: none.
    """

    ask: Ask
    allow_more: int = 1


class LoopPolicy(Value):
    """The same call failing the same way `same_failure` times asks; "go on" allows `allow_more`
    failures before it asks again. `thresholds`: of the detector that watches a run's calls.
    `levels`: from the second one on; `over_runs`: budgets that all runs share; `actions_at`: where
    the actions of `thresholds` stand.
    """

    same_failure: int = 3
    allow_more: int = 3
    ask: Ask
    thresholds: Thresholds = Thresholds()
    levels: tuple[LoopLevel, ...] = ()
    over_runs: OverRuns | None = None
    actions_at: dict[str, str] = Field(default_factory=dict)


class Defaults(Value):
    """What counts where no rule matches, and whatever a rule's own `ask` leaves out."""

    tier: Tier
    ask: Ask


@dataclass(frozen=True)
class Example:
    """A question that a rule's author has answered beforehand. `matches`: whether the rule is meant
    to; `verdict`, `tier`: what the whole policy is to say, where the author does.
    """

    question: Question
    matches: bool
    at: str
    verdict: Verdict | None = None
    tier: Tier | None = None


@dataclass(frozen=True)
class Rule:
    """One rule, ready to be evaluated. `ask` is there where the verdict has people asked, or shown
    a sample later; `lifts`: the rules that it takes the voice from; `standing`: a standing approval
    may lift it; `at`: where it stands, as file:line:column; `told`: as it is written.
    """

    name: str
    on: tuple[str, ...]
    condition: Condition
    verdict: Verdict
    tier: Tier
    ask: Ask | None
    because: tuple[Piece, ...]
    sample_permille: int = 0
    lifts: tuple[str, ...] = ()
    standing: bool = False
    examples: tuple[Example, ...] = field(default=(), compare=False)
    at: str = field(default="", compare=False)
    told: Json = field(default_factory=dict, compare=False, repr=False)

    @property
    def mentions(self) -> frozenset[str]:
        """The circumstances that it wants to know, for its sentence, too."""
        said = {name.split(".")[0] for _, name in self.because if name}
        return self.condition.mentions | said.intersection(CIRCUMSTANCES)


@dataclass(frozen=True)
class Plan:
    """The rules for one action, in parts, with all conditions of a part as one expression."""

    parts: tuple[tuple[tuple[Rule, ...], Any], ...]
    mentions: frozenset[str]

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> Plan:
        mentions = frozenset().union(*(rule.mentions for rule in rules))
        parts = [(some, joined([rule.condition for rule in some])) for some in _parted(rules)]
        return cls(tuple(parts), mentions)

    @property
    def rules(self) -> list[Rule]:
        return [rule for rules, _ in self.parts for rule in rules]


@dataclass(frozen=True)
class Hearing:
    """Everything that was said: each rule for the action with its answer (in words where there is
    none), who took whose voice away, the voices that are left, and what came of them.
    """

    answers: Sequence[tuple[Rule, bool | str]]
    lifted: Mapping[str, str]
    voices: Sequence[Voice]
    judgement: Judgement


@dataclass(frozen=True)
class Policy:
    """Made by `load_policies`. `digest` names its content: layout and comments do not count.
    `sections`: what each of its sections says, by its key (see `gates.core.policy.sections`);
    `told`: the same as it is written.
    """

    rules: tuple[Rule, ...]
    defaults: Defaults
    loops: LoopPolicy
    in_doubt: Ask
    digest: str
    sections: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    told: Json = field(default_factory=dict, repr=False, compare=False)
    _plans: OrderedDict[str, Plan] = field(default_factory=OrderedDict, repr=False, compare=False)

    def judge(self, question: Question, lifted: AbstractSet[str] = frozenset()) -> Judgement:
        """The verdict, its tier and its reasons; whom to ask where people are to be asked.
        `lifted`: the names of rules that standing approvals lift, where they may.
        """
        return self.hear(question, lifted).judgement

    def hear(self, question: Question, lifted: AbstractSet[str] = frozenset()) -> Hearing:
        """As `judge`, with all that led to it."""
        base = self.in_base(question.amount)
        answers = self._answers(question, base)
        taken = _taken(answers)
        voices: list[Voice] = []
        for rule, answer in answers:
            if answer is False or (answer is True and rule.name in taken):
                continue
            if answer is not True:
                voices.append(self._error(rule, answer))
            elif rule.name in lifted and liftable(rule):
                taken[rule.name] = "a standing approval"
                voices.append(_voice(rule, question, base, Verdict.ALLOW))
            else:
                voices.append(_voice(rule, question, base, rule.verdict))
        if not any(voice.displaces for voice in voices):
            voices.append(self._default(question, alone=not voices))
        return Hearing(answers, taken, voices, strictest(voices, self.digest, taken))

    def mentions(self, action: str) -> frozenset[str]:
        """The circumstances that the rules for an action want to know."""
        return self._plan(action).mentions

    def in_base(self, amount: Money | None) -> Money | None:
        """In the policy's base currency; None where it has none, or no rate."""
        table = self.sections.get("currencies")
        return None if table is None else table.in_base(amount)

    def assured(self, judgement: Judgement) -> Assurance:
        """How surely it must be known who approves: as the tier wants it, the lower ones, too, and
        as the rules do.
        """
        height = judgement.tier.height
        table: Mapping[Tier, Assurance] = self.sections.get("assurance", {})
        wanted = [one for tier, one in table.items() if tier.height <= height]
        asked = judgement.ask.assurance if judgement.ask else Assurance.ANY
        return max([asked, *wanted], key=lambda one: one.strength)

    def loop_level(self, level: int) -> LoopLevel:
        """Where nobody has written levels, what came back after guidance is for people in command;
        and for those of level 1 where there are none.
        """
        loops = self.loops
        if level <= 1:
            return LoopLevel(ask=loops.ask, allow_more=loops.allow_more)
        if loops.levels:
            return loops.levels[min(level - 2, len(loops.levels) - 1)]
        return LoopLevel(ask=self.commanders(loops.ask))

    def loop_asks(self, level: int) -> list[Ask]:
        """Whom a loop goes to, one after another, until there is somebody who could answer: its own
        level, those above it, people in command, those below it, and who is asked by default.
        """
        top = max(level, 1 + len(self.loops.levels))
        above = [self.loop_level(one).ask for one in range(level, top + 1)]
        below = [self.loop_level(one).ask for one in reversed(range(1, level))]
        return [*above, self.commanders(self.loops.ask), *below, self.defaults.ask]

    def commanders(self, default: Ask) -> Ask:
        """Any one of those in command, asked as `default` says; `default` where nobody is."""
        command = self.command
        whom = command.ask.who if command.ask else command.who
        if not whom:
            return default
        alone = {"who": whom, "quorum": 1, "from_each": (), "roles": (), "escalate_to": ()}
        if whom != default.who:  # it leads to others
            alone["ladder"] = ()
        return default.model_copy(update=alone)

    @property
    def command(self) -> Command:
        """Who is in command, and what needs four eyes."""
        found: Command = self.sections.get("command", Command())
        return found

    @property
    def judges(self) -> Mapping[str, JudgeRule]:
        """Who is heard beside the rules, by name."""
        found: Mapping[str, JudgeRule] = self.sections.get("judges", {})
        return found

    def exposure(self, action: str) -> list[Window]:
        """The windows whose sums the rules for an action want to know."""
        rules = [(rule.on, rule.condition) for rule in self.rules]
        return used(self.sections.get("exposure", {}), rules, action)

    def liftable(self, names: Collection[str]) -> list[Rule]:
        """Of these rules those that a standing approval may lift."""
        return [rule for rule in self.rules if rule.name in names and liftable(rule)]

    def _answers(self, question: Question, base: Money | None) -> Sequence[tuple[Rule, bool | str]]:
        plan = self._plan(question.action.name)
        answers = _evaluated(plan, bindings(question, base))
        shown = plainly(question)
        if shown is not None:
            again = _evaluated(plan, bindings(shown, base))
            answers = [
                either(rule.verdict, one, other)
                for rule, one, other in zip(plan.rules, answers, again, strict=True)
            ]
        return [
            (rule, OWN if answer is True and _guessed(rule, question) else answer)
            for rule, answer in zip(plan.rules, answers, strict=True)
        ]

    def _plan(self, action: str) -> Plan:
        plan = self._plans.get(action)
        if plan is None:
            plan = Plan.of([rule for rule in self.rules if matches(rule.on, action)])
            if len(self._plans) >= MOST_PLANS:  # names come from outside: the oldest goes
                self._plans.popitem(last=False)
        self._plans.pop(action, None)
        self._plans[action] = plan
        return plan

    def _error(self, rule: Rule, why: bool | str) -> Voice:
        text = f"Rule {rule.name!r} could not be evaluated: {why}."
        whom = rule if rule.ask and rule.verdict is Verdict.REQUIRE_APPROVAL else self.defaults
        tier = whom.tier
        if rule.verdict is Verdict.FORBID:
            text += " It forbids where it matches."
            tier = Tier.EXPERT
        reason = Reason(rule=rule.name, text=text)
        rests = Rests.CLAIMS if rule.condition.claimed else Rests.ERROR
        return Voice(reason, Verdict.REQUIRE_APPROVAL, tier, whom.ask, rests)

    def _default(self, question: Question, *, alone: bool) -> Voice:
        words = "No rule matches" if alone else "No rule that rests on facts matches"
        reason = Reason(rule=DEFAULT_RULE, text=f"{words} {question.action.name}.")
        tier, ask = self.defaults.tier, self.defaults.ask
        return Voice(reason, Verdict.REQUIRE_APPROVAL, tier, ask)


def _guessed(rule: Rule, question: Question) -> bool:
    """Whether it would let a flow's own function run that its author may never have heard of."""
    return (
        question.in_process
        and rule.verdict.strictness < Verdict.REQUIRE_APPROVAL.strictness
        and question.action.name not in rule.on
        and not rule.condition.tells_apart
    )


def _parted(rules: Sequence[Rule]) -> Iterator[tuple[Rule, ...]]:
    """As many at once as the engine takes."""
    part: list[Rule] = []
    length = 0
    for rule in rules:
        length += len(rule.condition.text)
        if part and (length > LONGEST_PART or len(part) >= MOST_IN_PART):
            yield tuple(part)
            part, length = [], len(rule.condition.text)
        part.append(rule)
    if part:
        yield tuple(part)


def _evaluated(plan: Plan, values: Mapping[str, Any]) -> list[bool | str]:
    found: list[bool | str] = []
    for rules, expression in plan.parts:
        answers = evaluate_all(expression, values)
        # one error voids the whole list: find out which rule it is
        found += answers or [evaluate(rule.condition, values) for rule in rules]
    return found


def liftable(rule: Rule) -> bool:
    """Whether a standing approval may lift it."""
    return rule.standing and rule.ask is not None and rule.verdict is not Verdict.FORBID


def _taken(answers: Sequence[tuple[Rule, bool | str]]) -> dict[str, str]:
    """The rules that matched and have lost their voice, each with the rule that took it."""
    lifting = [rule for rule, answer in answers if answer is True and rule.lifts]
    lifts = {name: rule.name for rule in lifting for name in rule.lifts}
    if not lifts:
        return lifts
    spoken = {
        rule.name
        for rule, answer in answers
        if answer is True and rule.verdict is not Verdict.FORBID
    }
    return {name: by for name, by in lifts.items() if name in spoken}


def _voice(rule: Rule, question: Question, base: Money | None, verdict: Verdict) -> Voice:
    reason = Reason(rule=rule.name, text=fill(rule.because, question, base))
    rests = Rests.CLAIMS if rule.condition.claimed else Rests.FACTS
    if verdict is not rule.verdict:
        return Voice(reason, verdict, rule.tier, None, rests)
    return Voice(reason, verdict, rule.tier, rule.ask, rests, rule.sample_permille)
