"""How a judgement came about: every rule, matched or not, with the values that it saw."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Literal

from pydantic import Field

from gates.core.model import Json, Judgement, Tier, Verdict
from gates.core.policy.chains import names
from gates.core.policy.conditions import Question
from gates.core.policy.judging import Hearing, Policy, Rule
from gates.core.policy.seeing import seen
from gates.core.policy.voices import DEFAULT_RULE
from gates.core.value import Value

Answer = Literal["matches", "does not match", "cannot be evaluated", "is not about this action"]


class RuleSeen(Value):
    """`values`: the names in its condition, with what stood there; `error`: why there is no answer;
    `lifted_by`: who has taken its voice away.
    """

    rule: str
    at: str
    verdict: Verdict
    tier: Tier
    condition: str
    answer: Answer
    values: Json = Field(default_factory=dict)
    error: str = ""
    lifted_by: str = ""


class Explanation(Value):
    """`steps`: how the verdict was found, in words."""

    action: str
    judgement: Judgement
    rules: tuple[RuleSeen, ...]
    steps: tuple[str, ...]


def explain(
    policy: Policy, question: Question, lifted: AbstractSet[str] = frozenset()
) -> Explanation:
    """`lifted`: the rules that standing approvals lift."""
    hearing = policy.hear(question, lifted)
    return Explanation(
        action=question.action.name,
        judgement=hearing.judgement,
        rules=tuple(_seen(policy, rule, question, hearing) for rule in policy.rules),
        steps=tuple(_steps(policy, question, hearing)),
    )


def _seen(policy: Policy, rule: Rule, question: Question, hearing: Hearing) -> RuleSeen:
    told = RuleSeen(
        rule=rule.name,
        at=rule.at,
        verdict=rule.verdict,
        tier=rule.tier,
        condition=rule.condition.text.strip(),
        answer="is not about this action",
    )
    answer = next((answer for one, answer in hearing.answers if one is rule), None)
    if answer is None:
        return told
    base = policy.in_base(question.amount)
    changes: dict[str, object] = {"values": seen(names(rule.condition.text), question, base)}
    if isinstance(answer, str):
        changes |= {"answer": "cannot be evaluated", "error": answer}
    else:
        changes["answer"] = "matches" if answer else "does not match"
        changes["lifted_by"] = hearing.lifted.get(rule.name, "")
    return told.model_copy(update=changes)


def _steps(policy: Policy, question: Question, hearing: Hearing) -> Iterator[str]:
    answers = [answer for _, answer in hearing.answers]
    yield (
        f"{len(answers)} of {len(policy.rules)} rules are about {question.action.name}: "
        f"{answers.count(True)} match, {sum(isinstance(one, str) for one in answers)} cannot be "
        "evaluated and ask."
    )
    for name, by in sorted(hearing.lifted.items()):
        yield f"{name!r} is lifted by {by if by.startswith('a ') else repr(by)}."
    if any(voice.reason.rule == DEFAULT_RULE for voice in hearing.voices):
        words = "no rule that rests on facts matches" if len(hearing.voices) > 1 else "none matches"
        yield f"The defaults speak, since {words}."
    for voice in sorted(hearing.voices, key=lambda one: -one.verdict.strictness):
        yield f"{voice.reason.rule!r} says {voice.verdict.value} ({voice.tier.value})."
    yield from _end(hearing.judgement)


def _end(judgement: Judgement) -> Iterator[str]:
    said = ", ".join(repr(reason.rule) for reason in judgement.reasons)
    yield f"The strictest is {judgement.verdict.value} ({judgement.tier.value}), said by {said}."
    ask = judgement.ask
    if ask is None:
        return
    first, hours = judgement.reasons[0].rule, f"{ask.deadline_seconds / 3600:g} h"
    whom = ", ".join(ask.who)
    if judgement.verdict is Verdict.VETO_WINDOW:
        yield f"{whom} may object for {hours}, as {first!r} says; then it runs."
    elif judgement.verdict is Verdict.REVIEW_LATER:
        share = f"{judgement.sample_permille / 10:g}%"
        yield f"It runs, and {share} of such actions are looked at by {whom}, as {first!r} says."
    else:
        yield f"{ask.quorum} of {whom} must agree within {hours}; {first!r} demands the most."
        if ask.from_each:
            yield f"Each of {', '.join(ask.from_each)} must agree."
        for one in ask.beside:
            yield f"Beside them {one.quorum} of {', '.join(one.who)} must agree."
