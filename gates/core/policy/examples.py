"""A rule's `examples` and `counterexamples`: questions with their answers, run by a check.

    - {name: large, ..., examples: [{amount: "12500.00 EUR", verdict: require_approval}],
       counterexamples: [{amount: "9999.99 EUR", action: erp.payment.submit, facts: {n: 1}}]}

An example is one that the rule matches, a counterexample one that it does not; where `verdict` (or
`tier`) is given, the whole policy has to say that. What is left out is empty; `action` may be where
the rule names a single one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from decimal import Decimal

import yaml
from pydantic import JsonValue

from gates.core.errors import NotCanonical
from gates.core.model import Action, Json, Money, Requester, Tier, Verdict
from gates.core.policy.circumstances import CIRCUMSTANCES, unknown
from gates.core.policy.conditions import Question
from gates.core.policy.currencies import Currencies, unknown_currency
from gates.core.policy.judging import Example, Policy
from gates.core.yaml_file import INTEGER, Fields, YamlFile, cure, shown, text_of

KINDS = {"examples": True, "counterexamples": False}
MAPPINGS = ("arguments", "claims", "facts", *CIRCUMSTANCES)
KEYS = (
    *("action", "subject", "amount", "counterparty", "agent", "on_behalf_of"),
    *(*MAPPINGS, "verdict", "tier"),
)
NOBODY = "an agent"
_AMOUNT = re.compile(r"(-?[0-9]{1,15}(?:,[0-9]{3})*(?:\.[0-9]{1,6})?) ([A-Z]{3})")
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")


class Examples:
    """Reads the examples of one file's rules."""

    def __init__(
        self, file: YamlFile, currencies: Currencies, windows: Collection[str] | None
    ) -> None:
        self.file = file
        self.currencies = currencies
        self.windows = windows

    def read(self, rule: Fields, on: Sequence[str]) -> tuple[Example, ...]:
        """Those of one rule; what is wrong is noted."""
        found = [
            self._one(node, key, on) for key in KINDS if key in rule for node in rule.items(key)
        ]
        return tuple(one for one in found if one is not None)

    def _one(self, node: yaml.Node, key: str, on: Sequence[str]) -> Example | None:
        fields = Fields(self.file, node, f"one of {key}", KEYS)
        question = self.question(fields, on)
        verdict, tier = fields.word("verdict", Verdict), fields.word("tier", Tier)
        if question is None:
            return None
        return Example(question, KINDS[key], self.file.place(node), verdict, tier)

    def question(self, fields: Fields, on: Sequence[str] = ()) -> Question | None:
        """What the fields describe; None where nobody can tell of which action."""
        name = fields.text("action")
        if name is None and "action" not in fields:
            if len(on) != 1 or "*" in on[0]:
                self.file.note(fields.node, f"{fields.what} has no 'action': say which is meant")
                return None
            name = on[0]
        told = {key: self._mapping(fields, key) for key in MAPPINGS}
        for root in CIRCUMSTANCES:
            self._check(fields, root, told[root])
        return Question(
            action=Action(
                name=name or "?",
                subject=tuple(text for text, _ in fields.texts("subject")),
                arguments=told["arguments"],
            ),
            amount=self._amount(fields),
            claims=told["claims"],
            facts=told["facts"],
            requester=Requester(
                agent=fields.text("agent") or NOBODY, on_behalf_of=fields.text("on_behalf_of")
            ),
            counterparty=fields.text("counterparty") or "",
            circumstances={root: told[root] for root in CIRCUMSTANCES if told[root]},
        )

    def _amount(self, fields: Fields) -> Money | None:
        text = fields.text("amount")
        if text is None:
            return None
        node = fields.values["amount"]
        found = _AMOUNT.fullmatch(text)
        if found is None:
            self.file.note(node, f"amount {text!r} is no sum of money: write '12500.00 EUR'")
            return None
        if (words := unknown_currency(found[2], self.currencies)) is not None:
            self.file.note(node, words)
        try:
            return Money.of(Decimal(found[1].replace(",", "")), found[2])
        except NotCanonical as error:
            self.file.note(node, error.message)
            return None

    def _mapping(self, fields: Fields, key: str) -> Json:
        node = fields.values.get(key)
        if node is None:
            return {}
        value = value_of(self.file, node)
        if isinstance(value, dict):
            return value
        self.file.note(node, f"{key} {shown(node)} is no mapping: write {key}: {{name: value}}")
        return {}

    def _check(self, fields: Fields, root: str, told: Json) -> None:
        """No example rests on what the server never says."""
        for key, value in told.items():
            steps = list(value) if root == "exposure" and isinstance(value, dict) else [""]
            for step in steps:
                path = (root, key, step) if step else (root, key)
                if (wrong := unknown(path, self.windows)) is not None:
                    words = f"there is no {wrong[0]!r}: {cure(*wrong)}"
                    self.file.note(fields.values[root], words)


def read_questions(text: str, source: str, policy: Policy) -> list[tuple[str, Question]]:
    """One question, or a list of them, in the form of examples, as YAML or JSON; each with where it
    stands. Raises InvalidPolicy with all that is wrong.
    """
    file = YamlFile(text, source)
    root = file.root()
    reader = Examples(file, policy.sections["currencies"], policy.sections.get("exposure"))
    nodes = root.value if isinstance(root, yaml.SequenceNode) else [root]
    found = [
        (file.place(node), reader.question(Fields(file, node, "a question", KEYS)))
        for node in nodes
    ]
    file.check()
    return [(at, question) for at, question in found if question is not None]


def value_of(file: YamlFile, node: yaml.Node) -> JsonValue:
    """A value as JSON has it: `true`, `null` and whole numbers by their form, quoted ones as text.
    A decimal is refused: facts and claims hold none, they are sent as text.
    """
    if isinstance(node, yaml.MappingNode):
        pairs = [(text_of(file, key, "a key"), value) for key, value in node.value]
        return {key: value_of(file, value) for key, value in pairs if key is not None}
    if isinstance(node, yaml.SequenceNode):
        return [value_of(file, item) for item in node.value]
    text = str(node.value)
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text
    if INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        file.note(node, f"{text} is a decimal, of which there are none here: write '{text}'")
    words: dict[str, JsonValue] = {"true": True, "false": False, "null": None, "~": None, "": None}
    return words.get(text, text)
