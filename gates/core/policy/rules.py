"""One entry of `rules` after the other -> Rule."""

from __future__ import annotations

import re

import yaml

from gates.core.model import Ask, Tier, Verdict
from gates.core.policy.conditions import Condition, Malformed, compile_condition, refuse_claims
from gates.core.policy.judging import DEFAULT_RULE, Defaults, Rule
from gates.core.policy.patterns import PATTERN
from gates.core.policy.places import Demand, Place
from gates.core.policy.words import Piece, parse_words
from gates.core.yaml_file import Fields, position_within

RULE_KEYS = ("name", "on", "when", "verdict", "tier", "ask", "because")
SUPPORTED = (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL, Verdict.FORBID)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Rules:
    """Reads the rules of all files; `names` says where each name was given."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def read(self, place: Place) -> Rule | None:
        """None where something is wrong with it, which has been noted."""
        fields = Fields(place.file, place.node, "a rule", RULE_KEYS)
        fields.require("name", "on", "verdict", "because")
        defaults: Defaults = place.found["defaults"]
        name = self._name(fields)
        on = _patterns(fields)
        verdict = _verdict(fields)
        condition = _condition(fields, verdict)
        because = _because(fields)
        fallback = Tier.ROUTINE if verdict is Verdict.ALLOW else defaults.tier
        tier = fields.word("tier", Tier) or fallback
        ask = _ask(place, fields, verdict)
        if name is None or verdict is None or condition is None or because is None:
            return None
        if ask is not None:
            where = fields.values.get("ask", place.node)
            demand = Demand(f"rule {name!r}", on, tier, ask, place.file, where)
            place.demands.append(demand)
        at = place.file.place(fields.values["name"])
        return Rule(name, on, condition, verdict, tier, ask, because, at=at)

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


def _patterns(fields: Fields) -> tuple[str, ...]:
    found = fields.texts("on")
    for text, node in found:
        if not PATTERN.fullmatch(text):
            words = f"on {text!r} names no action: write letters, digits, . _ - and *"
            fields.file.note(node, words)
    return tuple(text for text, _ in found)


def _verdict(fields: Fields) -> Verdict | None:
    verdict = fields.word("verdict", Verdict)
    if verdict is not None and verdict not in SUPPORTED:
        fields.file.note(
            fields.values["verdict"],
            f"verdict {verdict.value!r} is not supported yet: write require_approval",
        )
    return verdict


def _condition(fields: Fields, verdict: Verdict | None) -> Condition | None:
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
        condition = compile_condition(text)
        if verdict is Verdict.ALLOW:
            refuse_claims(condition)
    except Malformed as error:
        malformed(fields, "when", text, error)
        return None
    return condition


def _because(fields: Fields) -> tuple[Piece, ...] | None:
    text = fields.text("because")
    if text is None:
        return None
    try:
        return parse_words(text)
    except Malformed as error:
        malformed(fields, "because", text, error)
        return None


def malformed(fields: Fields, key: str, text: str, error: Malformed) -> None:
    """Note what is wrong within a text at its own place."""
    node = fields.values[key]
    assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - it has been read as a text
    start = text.rfind("\n", 0, error.offset) + 1
    line = text[start:].split("\n", 1)[0].strip()
    at = position_within(fields.file, node, error.offset)
    fields.file.note(at, f"in `{line}`: {error.words}")


def _ask(place: Place, fields: Fields, verdict: Verdict | None) -> Ask | None:
    if verdict is Verdict.REQUIRE_APPROVAL:
        return place.ask(fields)
    if "ask" in fields and verdict in SUPPORTED:
        words = f"a rule with verdict {verdict.value!r} asks nobody: remove `ask`"
        fields.file.note(fields.values["ask"], words)
    return None
