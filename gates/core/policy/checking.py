"""What is wrong with a policy that loads: rules that never count, examples that come out otherwise.

Errors: an example that fails; a policy that gates nothing. Warnings: a pattern that fits no action,
an action that no rule names, a condition that is never true, a rule that another one always
overrules or repeats, limits of a loop that hold for no action. What cannot be shown is not
said: no warning is no proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from gates.core.model import Verdict
from gates.core.policy.constants import answer_of
from gates.core.policy.judging import Policy, Rule
from gates.core.policy.patterns import covers, matches
from gates.core.policy.trying import failures, overruled_in_all_examples
from gates.core.value import Value

Level = Literal["error", "warning"]


class Remark(Value):
    """`at`: file:line:column; `kind`: a word for scripts."""

    level: Level
    kind: str
    at: str
    rule: str = ""
    text: str

    def __str__(self) -> str:
        return f"{self.at}: {self.level}: {self.text}"


@dataclass(frozen=True)
class Known:
    """Actions that there are, each with where it was seen; `complete`: there are no others."""

    actions: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


def check(policy: Policy, known: Known | None = None) -> list[Remark]:
    """Everything that can be said, errors first."""
    known = known or Known()
    found = [
        *_examples(policy),
        *_gates_nothing(policy, known),
        *_constant(policy),
        *_shadowed(policy),
        *_repeated(policy),
        *(_unreachable(policy, known) if known.complete else ()),
        *_unnamed(policy, known),
        *_limits(policy, known),
    ]
    return sorted(found, key=lambda one: one.level)


def _examples(policy: Policy) -> Iterator[Remark]:
    for rule in policy.rules:
        for example, words in failures(policy, rule):
            yield _error("example", rule, words, at=example.at)


def _gates_nothing(policy: Policy, known: Known) -> Iterator[Remark]:
    """Whatever is asked is allowed: then there are no gates, and it should not look like some."""
    open_ = [rule for rule in policy.rules if _always(rule) and rule.verdict is Verdict.ALLOW]
    strict = [rule for rule in policy.rules if rule.verdict is not Verdict.ALLOW]
    everything = next((rule for rule in open_ if _everything(rule)), None)
    live = [rule for rule in strict if answer_of(rule.condition) is not False]
    if everything is not None and all(rule.name in everything.lifts for rule in live):
        words = "this policy gates nothing: rule {!r} allows every action, and nothing is stricter"
        yield _error("gates-nothing", everything, words.format(everything.name))
    elif known.complete and known.actions and not everything:
        free = {
            name: rule
            for name in known.actions
            if (rule := next((one for one in open_ if matches(one.on, name)), None)) is not None
            and not any(matches(one.on, name) for one in live)
        }
        if len(free) == len(known.actions):
            first = next(iter(free.values()))
            words = f"this policy gates nothing: it allows {', '.join(sorted(free))} in any case"
            yield _error("gates-nothing", first, words)


def _constant(policy: Policy) -> Iterator[Remark]:
    for rule in policy.rules:
        if answer_of(rule.condition) is False:
            words = f"rule {rule.name!r} never matches: its condition is always false"
            yield _warning("unreachable", rule, words)


def _unreachable(policy: Policy, known: Known) -> Iterator[Remark]:
    for rule in policy.rules:
        for pattern in rule.on:
            if not any(matches([pattern], name) for name in known.actions):
                words = (
                    f"rule {rule.name!r} names {pattern!r}, which fits no action of the registry "
                    "or of a flow: mend it, or remove it"
                )
                yield _warning("unreachable", rule, words)


def _shadowed(policy: Policy) -> Iterator[Remark]:
    """A rule whose word never counts: a stricter one always speaks where it does."""
    lifted = {name for rule in policy.rules for name in rule.lifts}
    loud = [rule for rule in policy.rules if rule.name not in lifted]
    for rule in policy.rules:
        by = next((other for other in loud if _overrules(other, rule)), None)
        if by is not None:
            words = (
                f"rule {rule.name!r} never decides: rule {by.name!r} says {by.verdict.value} to "
                "whatever it matches"
            )
            yield _warning("shadowed", rule, words)
        elif (stricter := overruled_in_all_examples(policy, rule)) is not None:
            words = (
                f"rule {rule.name!r} decides none of its own examples: {stricter!r} is stricter in "
                "each of them"
            )
            yield _warning("shadowed", rule, words)


def _overrules(strict: Rule, rule: Rule) -> bool:
    return (
        strict.verdict.strictness > rule.verdict.strictness
        and (_always(strict) or strict.condition.text.strip() == rule.condition.text.strip())
        and all(any(covers(wide, one) for wide in strict.on) for one in rule.on)
        and not strict.standing
    )


def _repeated(policy: Policy) -> Iterator[Remark]:
    seen: dict[tuple[object, ...], Rule] = {}
    for rule in policy.rules:
        content = (
            rule.on,
            rule.condition.text.strip(),
            rule.verdict,
            rule.tier,
            rule.ask,
            rule.lifts,
        )
        if (first := seen.setdefault(content, rule)) is not rule:
            words = f"rule {rule.name!r} says what rule {first.name!r} says at {first.at}: keep one"
            yield _warning("duplicate", rule, words)


def _unnamed(policy: Policy, known: Known) -> Iterator[Remark]:
    """One remark for each place where such actions were seen."""
    places: dict[str, list[str]] = {}
    for name, where in sorted(known.actions.items()):
        if not any(matches(rule.on, name) for rule in policy.rules):
            places.setdefault(where, []).append(name)
    for where, names in places.items():
        words = f"no rule names {', '.join(names)}: the defaults ask people each time"
        yield Remark(level="warning", kind="unnamed", at=where, text=words)


def _limits(policy: Policy, known: Known) -> Iterator[Remark]:
    """Of `loops.thresholds.actions` the first that fits an action holds."""
    earlier: list[str] = []
    for pattern in policy.loops.thresholds.actions:
        what = f"loops.thresholds.actions names {pattern!r}, which "
        wide = next((one for one in earlier if _reaches_all(one, pattern)), None)
        if wide is not None:
            words = f"never counts: {wide!r} before it fits whatever it does: put this one first"
            yield _of_limits(policy, "shadowed", pattern, what + words)
        elif known.complete and not any(fnmatchcase(name, pattern) for name in known.actions):
            words = "fits no action of the registry or of a flow: mend it, or remove it"
            yield _of_limits(policy, "unreachable", pattern, what + words)
        earlier.append(pattern)


def _reaches_all(wide: str, narrow: str) -> bool:
    """Shown for names and `*` alone."""
    return not set("?[") & set(wide + narrow) and covers(wide, narrow)


def _of_limits(policy: Policy, kind: str, pattern: str, text: str) -> Remark:
    at = policy.loops.actions_at.get(pattern, "")
    return Remark(level="warning", kind=kind, at=at, text=text)


def _everything(rule: Rule) -> bool:
    return any(covers(pattern, "*") for pattern in rule.on)


def _always(rule: Rule) -> bool:
    return answer_of(rule.condition) is True


def _error(kind: str, rule: Rule, text: str, at: str = "") -> Remark:
    return Remark(level="error", kind=kind, at=at or rule.at, rule=rule.name, text=text)


def _warning(kind: str, rule: Rule, text: str) -> Remark:
    return Remark(level="warning", kind=kind, at=rule.at, rule=rule.name, text=text)
