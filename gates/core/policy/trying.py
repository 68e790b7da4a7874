"""A rule's examples put to the policy: which come out otherwise than their author says."""

from __future__ import annotations

from collections.abc import Iterator

from gates.core.policy.chains import names
from gates.core.policy.judging import Example, Hearing, Policy, Rule
from gates.core.policy.patterns import matches
from gates.core.policy.seeing import seen, shown


def failures(policy: Policy, rule: Rule) -> Iterator[tuple[Example, str]]:
    """Each with what was expected and what was seen."""
    for example in rule.examples:
        hearing = policy.hear(example.question)
        if (words := _wrong(policy, rule, example, hearing)) is not None:
            yield example, words


def _wrong(policy: Policy, rule: Rule, example: Example, hearing: Hearing) -> str | None:
    answer = next((answer for one, answer in hearing.answers if one is rule), None)
    kind = "example" if example.matches else "counterexample"
    about = f"{kind} of rule {rule.name!r}"
    if (answer is True) is not example.matches or isinstance(answer, str):
        expected = "match" if example.matches else "not match"
        return f"{about}: the rule should {expected}, but {_why(policy, rule, example, answer)}"
    judged = hearing.judgement
    reasons = "; ".join(f"{one.rule}: {one.text}" for one in judged.reasons)
    if example.verdict not in (None, judged.verdict):
        assert example.verdict is not None  # noqa: S101 - the line above
        return (
            f"{about}: {example.verdict.value} is expected, but the policy says "
            f"{judged.verdict.value} ({reasons})"
        )
    if example.tier not in (None, judged.tier):
        assert example.tier is not None  # noqa: S101 - likewise
        return f"{about}: tier {example.tier.value} is expected, but it is {judged.tier.value}"
    return None


def _why(policy: Policy, rule: Rule, example: Example, answer: bool | str | None) -> str:
    if not matches(rule.on, example.question.action.name):
        return f"it is on {', '.join(rule.on)}, not on {example.question.action.name!r}"
    base = policy.in_base(example.question.amount)
    values = [
        f"{name} = {shown(value)}"
        for name, value in seen(names(rule.condition.text), example.question, base).items()
    ]
    saw = f", with {', '.join(values)}" if values else ""
    if isinstance(answer, str):
        return f"it cannot be evaluated: {answer}{saw}"
    return f"it does{' not' if answer is False else ''}{saw}"


def overruled_in_all_examples(policy: Policy, rule: Rule) -> str | None:
    """Who is stricter, where a rule has examples that it matches and decides none of them."""
    by = None
    for example in (one for one in rule.examples if one.matches):
        judgement = policy.hear(example.question).judgement
        if judgement.verdict is rule.verdict:
            return None
        if example.verdict is judgement.verdict:
            return None  # its author knows that another one decides here
        by = judgement.reasons[0].rule
    return by
