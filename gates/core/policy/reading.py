"""A policy file's text -> Policy, or every mistake in it with file:line:column.

    version: 1
    defaults: {tier: ambiguous, ask: {who: [ap], quorum: 1, deadline: 24h}}
    calendars:                                                   # optional
      office: {zone: Europe/Berlin, hours: {mon-fri: ["09:00-17:00"]}, holidays: [2026-12-25]}
    calendar: office                                             # optional: for `time` in rules
    loops: {same_failure: 3, allow_more: 3, ask: {who: [ap]}}    # optional
    in_doubt: {ask: {who: [controllers]}}                        # optional
    rules:
      - name: large
        on: [erp.bill.post, erp.payment.*]
        when: amount.minor >= 1000000 || amount.currency != "EUR"
        verdict: require_approval
        tier: high
        ask: {who: [controllers], quorum: 2}
        because: "{amount} is 10,000 or more"

An `ask` may also say `valid: 8h` (an approval not used by then has lapsed; a day if left out) and
`from_each: true` (somebody of each group in `who`, nobody for two of them), `escalate_to: [group]`
(asked as well once somebody escalates), `reason: true` (no approval without one),
`channel: C0123ABCD` (where they are asked, instead of the usual channel),
`notify: [channel, direct]` (there, or each of them directly, or both) and `calendar: office` (its
deadline counts that calendar's working time).

What an `ask` leaves out it takes from `defaults.ask`. An unsatisfiable requirement is refused
where it is written: no group that is unknown, no quorum that the groups cannot fill.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import yaml

from gates.core.calendars import Calendar
from gates.core.canonical import digest
from gates.core.model import Ask, Tier, Verdict
from gates.core.policy.asks import Asks, Groups, are
from gates.core.policy.calendars import read_calendars
from gates.core.policy.conditions import (
    Condition,
    Malformed,
    compile_condition,
    refuse_claims,
)
from gates.core.policy.judging import DEFAULT_RULE, Defaults, LoopPolicy, Policy, Rule
from gates.core.policy.patterns import PATTERN, may_meet
from gates.core.policy.words import Piece, parse_words
from gates.core.yaml_file import Fields, YamlFile, cure, position_within
from gates.core.yaml_file import plain as plain_content

TOP_KEYS = ("version", "defaults", "calendars", "calendar", "loops", "in_doubt", "rules")
SUPPORTED = (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL, Verdict.FORBID)
RULE_KEYS = ("name", "on", "when", "verdict", "tier", "ask", "because")
_BUSINESS_HOURS = re.compile(r"\btime\s*\.\s*business_hours\b")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_Word = TypeVar("_Word", bound=StrEnum)


def load_policy(text: str, source: str, directory: Groups) -> Policy:
    """`source` names the file in messages. Raises InvalidPolicy with all that is wrong."""
    return _Reader(YamlFile(text, source), directory).policy()


@dataclass(frozen=True)
class _Demand:
    """Somebody whom the file wants to ask: for the proof that a requirement can be met."""

    label: str
    on: Sequence[str]
    tier: Tier
    ask: Ask
    node: yaml.Node


class _Reader:
    def __init__(self, file: YamlFile, directory: Groups) -> None:
        self.file = file
        self.asks = Asks(file, directory)
        self.names: set[str] = set()
        self.tells_time = False
        self.demands: list[_Demand] = []

    def policy(self) -> Policy:
        root = self.file.root()
        top = Fields(self.file, root, "a policy", TOP_KEYS)
        top.require("version", "defaults", "rules")
        self._version(top)
        calendar = self._calendars(top)
        defaults = self._defaults(top)
        loops = self._loops(top, defaults.ask)
        in_doubt = self._in_doubt(top, defaults.ask)
        rules = [self._rule(node, defaults) for node in top.items("rules")]
        self._prove()
        self.file.check()
        ready = tuple(rule for rule in rules if rule is not None)
        return Policy(ready, defaults, loops, in_doubt, digest(plain_content(root)), calendar)

    def _calendars(self, top: Fields) -> Calendar | None:
        """Before any `ask` is read; the one in which rules are told the time."""
        self.asks.calendars = read_calendars(self.file, top)
        node = top.values.get("calendars")
        if isinstance(node, yaml.MappingNode):
            self.asks.known_calendars = [str(key.value) for key, _ in node.value]
        self.tells_time = "calendar" in top
        return self.asks.calendar(top)

    def _version(self, top: Fields) -> None:
        if top.integer("version", least=1) not in (None, 1):
            self.file.note(top.values["version"], "this version is unknown here: write 1")

    def _defaults(self, top: Fields) -> Defaults:
        nothing = Defaults(tier=Tier.AMBIGUOUS, ask=Ask(who=()))
        if "defaults" not in top:
            return nothing
        fields = Fields(self.file, top.values["defaults"], "defaults", ("tier", "ask"))
        fields.require("tier", "ask")
        tier = self._word(fields, "tier", Tier) or nothing.tier
        ask = self.asks.read(fields, None) or nothing.ask
        if "ask" in fields:
            self.demands.append(_Demand("defaults", "*", tier, ask, fields.values["ask"]))
        return Defaults(tier=tier, ask=ask)

    def _loops(self, top: Fields, default: Ask) -> LoopPolicy:
        if "loops" not in top:
            return LoopPolicy(ask=default)
        loops = Fields(
            self.file, top.values["loops"], "loops", ("same_failure", "allow_more", "ask")
        )
        least_failures = 2  # one failure is no circle
        return LoopPolicy(
            same_failure=loops.integer("same_failure", least=least_failures) or 3,
            allow_more=loops.integer("allow_more", least=1) or 3,
            ask=self.asks.read(loops, default) or default,
        )

    def _in_doubt(self, top: Fields, default: Ask) -> Ask:
        if "in_doubt" not in top:
            return default
        in_doubt = Fields(self.file, top.values["in_doubt"], "in_doubt", ("ask",))
        return self.asks.read(in_doubt, default) or default

    def _rule(self, node: yaml.Node, defaults: Defaults) -> Rule | None:
        fields = Fields(self.file, node, "a rule", RULE_KEYS)
        fields.require("name", "on", "verdict", "because")
        name = self._name(fields)
        on = self._patterns(fields)
        verdict = self._verdict(fields)
        condition = self._condition(fields, verdict)
        because = self._because(fields)
        fallback = Tier.ROUTINE if verdict is Verdict.ALLOW else defaults.tier
        tier = self._word(fields, "tier", Tier) or fallback
        ask = self._rule_ask(fields, verdict, defaults.ask)
        if name is None or verdict is None or condition is None or because is None:
            return None
        if ask is not None:
            where = fields.values.get("ask", node)
            self.demands.append(_Demand(f"rule {name!r}", on, tier, ask, where))
        return Rule(name, on, condition, verdict, tier, ask, because)

    def _name(self, fields: Fields) -> str | None:
        name = fields.text("name")
        if name is None:
            return None
        node = fields.values["name"]
        if name in self.names:
            self.file.note(node, f"two rules are named {name!r}: rename one")
        elif name == DEFAULT_RULE or _CONTROL.search(name):
            self.file.note(node, f"a rule cannot be named {name!r}: choose another name")
        self.names.add(name)
        return name

    def _patterns(self, fields: Fields) -> tuple[str, ...]:
        found = fields.texts("on")
        for text, node in found:
            if not PATTERN.fullmatch(text):
                self.file.note(
                    node, f"on {text!r} names no action: write letters, digits, . _ - and *"
                )
        return tuple(text for text, _ in found)

    def _verdict(self, fields: Fields) -> Verdict | None:
        verdict = self._word(fields, "verdict", Verdict)
        if verdict is not None and verdict not in SUPPORTED:
            self.file.note(
                fields.values["verdict"],
                f"verdict {verdict.value!r} is not supported yet: write require_approval",
            )
        return verdict

    def _condition(self, fields: Fields, verdict: Verdict | None) -> Condition | None:
        if "when" not in fields:
            if verdict is Verdict.ALLOW:
                self.file.note(
                    fields.node,
                    "this rule allows whatever comes: add a `when`, or `when: true` if so meant",
                )
            return compile_condition("true")
        text, node = fields.text("when"), fields.values["when"]
        if text is None:
            return None
        try:
            condition = compile_condition(text)
            if verdict is Verdict.ALLOW:
                refuse_claims(condition)
        except Malformed as error:
            self._malformed(node, text, error)
            return None
        if not self.tells_time and _BUSINESS_HOURS.search(text):
            self.file.note(
                node,
                "time.business_hours is known only with a `calendar: NAME` at the top: add it",
            )
        return condition

    def _because(self, fields: Fields) -> tuple[Piece, ...] | None:
        text = fields.text("because")
        if text is None:
            return None
        try:
            return parse_words(text)
        except Malformed as error:
            self._malformed(fields.values["because"], text, error)
            return None

    def _malformed(self, node: yaml.Node, text: str, error: Malformed) -> None:
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - it has been read as a text
        start = text.rfind("\n", 0, error.offset) + 1
        line = text[start:].split("\n", 1)[0].strip()
        at = position_within(self.file, node, error.offset)
        self.file.note(at, f"in `{line}`: {error.words}")

    def _rule_ask(self, fields: Fields, verdict: Verdict | None, default: Ask) -> Ask | None:
        if verdict is Verdict.REQUIRE_APPROVAL:
            return self.asks.read(fields, default) or default
        if "ask" in fields and verdict in SUPPORTED:
            self.file.note(
                fields.values["ask"],
                f"a rule with verdict {verdict.value!r} asks nobody: remove `ask`",
            )
        return None

    def _word(self, fields: Fields, key: str, words: type[_Word]) -> _Word | None:
        text = fields.text(key)
        if text is None:
            return None
        known = [word.value for word in words]
        if text in known:
            return words(text)
        self.file.note(fields.values[key], f"unknown {key} {text!r}: {cure(text, known)}")
        return None

    def _prove(self) -> None:
        """Where two demands meet, the groups of the higher tier must fill the larger quorum."""
        for high in self.demands:
            people = self.asks.people(high.ask.who)
            for low in self.demands:
                higher = high.tier.height > low.tier.height
                if higher and low.ask.quorum > people > 0 and may_meet(high.on, low.on):
                    self.file.note(
                        high.node,
                        f"where {high.label} and {low.label} both apply, {low.ask.quorum} of "
                        f"{', '.join(high.ask.who)} are needed, {are(people)} there: "
                        "name more groups here or lower the quorum there",
                    )
