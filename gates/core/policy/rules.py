"""One entry of `rules` after the other -> Rule."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import yaml

from gates.core.asked import Ask
from gates.core.model import Tier, Verdict
from gates.core.policy.conditions import Condition, Malformed, compile_condition, refuse_claims
from gates.core.policy.currencies import Currencies, compared, unknown_currency
from gates.core.policy.examples import Examples
from gates.core.policy.judging import Defaults, Rule
from gates.core.policy.patterns import PATTERN
from gates.core.policy.places import Demand, Place
from gates.core.policy.sampling import USUAL, read_share
from gates.core.policy.voices import DEFAULT_RULE
from gates.core.policy.words import Piece, parse_words
from gates.core.yaml_file import Fields, YamlFile, cure, plain, position_within

RULE_KEYS = (
    *("name", "on", "when", "verdict", "tier", "ask", "window", "sample", "lifts", "standing"),
    *("because", "examples", "counterexamples"),
)
TRIED = ("examples", "counterexamples")  # they judge nothing
PEOPLE = (Verdict.REVIEW_LATER, Verdict.VETO_WINDOW, Verdict.REQUIRE_APPROVAL)
ONLY = {  # keys that one verdict alone has
    "window": Verdict.VETO_WINDOW,
    "sample": Verdict.REVIEW_LATER,
    "lifts": Verdict.ALLOW,
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUSINESS_HOURS = re.compile(r"\btime\s*\.\s*business_hours\b")
_BASE = re.compile(r"\bamount\.base\b")


class Rules:
    """Reads the rules of all files; `names` says where each name was given."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.names: dict[str, str] = {}
        self.currencies: Currencies = found["currencies"]
        self.windows: Collection[str] | None = found.get("exposure")
        self.tells_time = found.get("calendar") is not None
        self.lifting: list[tuple[str, str, YamlFile, yaml.Node]] = []

    def read(self, place: Place) -> Rule | None:
        """None where something is wrong with it, which has been noted."""
        fields = Fields(place.file, place.node, "a rule", RULE_KEYS)
        fields.require("name", "on", "verdict", "because")
        defaults: Defaults = place.found["defaults"]
        name, on, verdict = self._name(fields), _patterns(fields), _verdict(fields)
        condition = self._condition(fields, verdict)
        because = self._because(fields)
        relaxed = verdict in (Verdict.ALLOW, Verdict.REVIEW_LATER)
        tier = fields.word("tier", Tier) or (Tier.ROUTINE if relaxed else defaults.tier)
        ask = _ask(place, fields, verdict)
        sample = _sample(place, fields, verdict, tier)
        lifts = self._lifts(fields, name)
        standing = _standing(fields, ask, condition)
        examples = Examples(place.file, self.currencies, self.windows).read(fields, on)
        if name is None or verdict is None or condition is None or because is None:
            return None
        if ask is not None:
            where = fields.values.get("ask", place.node)
            demand = Demand(f"rule {name!r}", on, tier, ask, place.file, where, verdict)
            place.demands.append(demand)
        return Rule(
            name=name,
            on=on,
            condition=condition,
            verdict=verdict,
            tier=tier,
            ask=ask,
            because=because,
            sample_permille=sample,
            lifts=lifts,
            standing=standing,
            examples=examples,
            at=place.file.place(fields.values["name"]),
            told={key: plain(node) for key, node in fields.values.items() if key not in TRIED},
        )

    def check_lifts(self, rules: Sequence[Rule]) -> None:
        """Once all rules are read: what is lifted is there, and can be."""
        known = {rule.name: rule for rule in rules}
        raising = {rule.name for rule in rules if rule.verdict in PEOPLE}
        for name, lifted, file, node in self.lifting:
            rule = known.get(lifted)
            if lifted not in self.names:
                file.note(node, f"rule {name!r} lifts {lifted!r}: {cure(lifted, raising)}")
            elif rule is not None and lifted not in raising:
                forbids = rule.verdict is Verdict.FORBID
                why = "what forbids is never lifted" if forbids else "which asks nobody"
                file.note(node, f"rule {name!r} lifts {lifted!r}, {why}: remove it")

    def _name(self, fields: Fields) -> str | None:
        name = fields.text("name")
        if name is None:
            return None
        node, here = fields.values["name"], fields.file.place(fields.values["name"])
        if name in self.names:
            there = self.names[name]
            other = "" if there.startswith(f"{fields.file.name}:") else f", the other at {there}"
            fields.file.note(node, f"two rules are named {name!r}{other}: rename one")
        elif name == DEFAULT_RULE or _CONTROL.search(name):
            fields.file.note(node, f"a rule cannot be named {name!r}: choose another name")
        self.names.setdefault(name, here)
        return name

    def _condition(self, fields: Fields, verdict: Verdict | None) -> Condition | None:
        if "when" not in fields:
            if verdict is Verdict.ALLOW:
                fields.file.note(
                    fields.node,
                    "this rule allows whatever comes: add a `when`, or `when: true` if so meant",
                )
            return compile_condition("true")
        text = fields.text("when")
        if text is None:
            return None
        try:
            condition = compile_condition(text, self.windows)
            if verdict is Verdict.ALLOW:
                refuse_claims(condition)
            self._check_money(text)
        except Malformed as error:
            malformed(fields, "when", text, error)
            return None
        if not self.tells_time and _BUSINESS_HOURS.search(text):
            words = "time.business_hours is known only with a `calendar: NAME` at the top: add it"
            fields.file.note(fields.values["when"], words)
        return condition

    def _check_money(self, text: str) -> None:
        """A currency that there is not is never met; a base that nobody named has no value."""
        for offset, code in compared(text):
            if (words := unknown_currency(code, self.currencies)) is not None:
                raise Malformed(offset, words)
        if not self.currencies.base and (found := _BASE.search(text)) is not None:
            words = "amount.base has no value here: declare the section `currencies`"
            raise Malformed(found.start(), words)

    def _because(self, fields: Fields) -> tuple[Piece, ...] | None:
        text = fields.text("because")
        if text is None:
            return None
        try:
            return parse_words(text)
        except Malformed as error:
            malformed(fields, "because", text, error)
            return None

    def _lifts(self, fields: Fields, name: str | None) -> tuple[str, ...]:
        found = fields.texts("lifts")
        self.lifting += [(name or "?", text, fields.file, node) for text, node in found]
        return tuple(dict.fromkeys(text for text, _ in found))


def _patterns(fields: Fields) -> tuple[str, ...]:
    found = fields.texts("on")
    for text, node in found:
        if not PATTERN.fullmatch(text):
            words = f"on {text!r} names no action: write letters, digits, . _ - and *"
            fields.file.note(node, words)
    return tuple(text for text, _ in found)


def _verdict(fields: Fields) -> Verdict | None:
    verdict = fields.word("verdict", Verdict)
    for key, only in ONLY.items():
        if key in fields and verdict not in (None, only):
            words = f"`{key}` belongs to the verdict {only.value}: remove it, or change the verdict"
            fields.file.note(fields.values[key], words)
    if verdict is Verdict.VETO_WINDOW and "window" not in fields:
        words = "a veto_window wants a `window`, in which people may object: add one, such as 2h"
        fields.file.note(fields.node, words)
    return verdict


def malformed(fields: Fields, key: str, text: str, error: Malformed) -> None:
    """Note what is wrong within a text at its own place."""
    node = fields.values[key]
    assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - it has been read as a text
    start = text.rfind("\n", 0, error.offset) + 1
    line = text[start:].split("\n", 1)[0].strip()
    at = position_within(fields.file, node, error.offset)
    fields.file.note(at, f"in `{line}`: {error.words}")


def _ask(place: Place, fields: Fields, verdict: Verdict | None) -> Ask | None:
    """Whom it asks, who may object, or who looks later. One objection is enough, and so is one
    who looks: how many must agree in the defaults says nothing about these.
    """
    if verdict in PEOPLE:
        default: Ask = place.found["defaults"].ask
        if verdict is not Verdict.REQUIRE_APPROVAL:
            default = default.model_copy(update={"quorum": 1, "from_each": (), "roles": ()})
        window = place.asks.duration(fields, "window")
        if window:
            default = place.asks.within(fields, default, window)
        ask = place.asks.read(fields, default) or default
        if verdict is Verdict.VETO_WINDOW and ask.keep_open:
            words = "at_end keep_open contradicts veto_window, whose end consents: remove it"
            place.file.note(fields.values.get("ask", fields.node), words)
        if window and any(rung.step == "replace" for rung in ask.ladder):
            words = "in a veto window nobody is replaced who could still object: write widen"
            place.file.note(fields.values.get("ask", fields.node), words)
        return place.asks.within(fields, ask, window) if window else ask
    if "ask" in fields and verdict is not None:
        words = f"a rule with verdict {verdict.value!r} asks nobody: remove `ask`"
        fields.file.note(fields.values["ask"], words)
    return None


def _sample(place: Place, fields: Fields, verdict: Verdict | None, tier: Tier) -> int:
    """Of a thousand."""
    said = read_share(fields, "sample")
    if verdict is not Verdict.REVIEW_LATER:
        return 0
    by_tier: dict[Tier, int] = place.found["sampling"]
    return by_tier.get(tier, USUAL) if said is None else said


def _standing(fields: Fields, ask: Ask | None, condition: Condition | None) -> bool:
    """A standing approval is one person's yes beforehand, and rests on facts."""
    if not fields.truth("standing"):
        return False
    words = ""
    if ask is None:
        words = "a standing approval lifts only what asks: remove `standing`"
    elif max(ask.quorum, len(ask.from_each)) > 1:
        words = (
            "a standing approval is one person's, and this rule asks for more: remove "
            "`standing`, or ask one person"
        )
    elif condition is not None and condition.claimed:
        words = (
            "a standing approval rests on facts only, and this rule on what the requester says: "
            "remove `standing`"
        )
    if words:
        fields.file.note(fields.values["standing"], words)
    return True
