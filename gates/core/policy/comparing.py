"""What a new policy changes: rule by rule, section by section, and question by question."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from pydantic import Field, JsonValue

from gates.core.asked import Ask
from gates.core.model import Json, Judgement, Verdict
from gates.core.policy.conditions import Question
from gates.core.policy.judging import Policy
from gates.core.value import Value

People = Callable[[tuple[str, ...]], Iterable[str]]  # who is in the groups, by their ids


class Change(Value):
    """`before` and `after` in words; empty where there was, or is, nothing."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before or '(nothing)'} -> {self.after or '(nothing)'}"


class Differs(Value):
    """A question that the two policies answer differently. `about`: what it is, for people."""

    about: str
    before: Verdict
    after: Verdict
    tier_before: str
    tier_after: str
    reasons: tuple[str, ...]

    @property
    def relaxed(self) -> bool:
        return self.after.strictness < self.before.strictness


class Comparison(Value):
    """`changed`: by rule; `asked`: how many questions were put to both."""

    old: str
    new: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: dict[str, tuple[Change, ...]] = Field(default_factory=dict)
    sections: tuple[Change, ...] = ()
    people: tuple[Change, ...] = ()
    asked: int = 0
    differs: tuple[Differs, ...] = ()

    @property
    def same(self) -> bool:
        return self.old == self.new and not self.people


def compare(
    old: Policy,
    new: Policy,
    questions: Iterable[tuple[str, Question]] = (),
    people: tuple[People, People] | None = None,
) -> Comparison:
    """`questions`: each with what it is; those of both policies' examples are put beside them."""
    before = {rule.name: rule for rule in old.rules}
    after = {rule.name: rule for rule in new.rules}
    both = [name for name in before if name in after]
    changed = {name: _changes(before[name].told, after[name].told) for name in both}
    put = [*_examples(old), *_examples(new), *questions]
    asked: dict[str, tuple[str, Question]] = {}
    for what, question in put:
        asked.setdefault(question.model_dump_json(), (what, question))
    answers = [_differs(what, old.judge(one), new.judge(one)) for what, one in asked.values()]
    return Comparison(
        old=old.digest,
        new=new.digest,
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed={name: found for name, found in changed.items() if found},
        sections=_changes(old.told, new.told),
        people=_people(old, new, *people) if people else (),
        asked=len(asked),
        differs=tuple(one for one in answers if one is not None),
    )


def _examples(policy: Policy) -> Iterable[tuple[str, Question]]:
    for rule in policy.rules:
        for example in rule.examples:
            yield f"{example.at} ({rule.name})", example.question


def _changes(before: Json, after: Json) -> tuple[Change, ...]:
    return tuple(
        Change(what=key, before=_words(before.get(key)), after=_words(after.get(key)))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def _words(value: JsonValue) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _differs(about: str, before: Judgement, after: Judgement) -> Differs | None:
    if (before.verdict, before.tier, before.ask) == (after.verdict, after.tier, after.ask):
        return None
    return Differs(
        about=about,
        before=before.verdict,
        after=after.verdict,
        tier_before=before.tier.value,
        tier_after=after.tier.value,
        reasons=tuple(f"{one.rule}: {one.text}" for one in after.reasons),
    )


def _people(old: Policy, new: Policy, was: People, is_: People) -> tuple[Change, ...]:
    """Who could answer for each rule, and for the defaults."""
    before, after = _asks(old), _asks(new)
    found = []
    for name in [name for name in before if name in after]:
        one, other = sorted(was(before[name].who)), sorted(is_(after[name].who))
        if one != other:
            found.append(Change(what=name, before=", ".join(one), after=", ".join(other)))
    return tuple(found)


def _asks(policy: Policy) -> Mapping[str, Ask]:
    rules = {f"rule {rule.name}": rule.ask for rule in policy.rules if rule.ask is not None}
    return {"defaults": policy.defaults.ask, "in_doubt": policy.in_doubt} | rules
