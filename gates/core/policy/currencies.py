"""The policy's section `currencies`: what one unit of each is worth in the base currency.

    currencies:
      base: EUR
      rates: {USD: "0.92", JPY: {rate: "0.0061", minor: 0}}

A rule then compares `amount.base`, in the base's minor units. Rates are exact decimals; the sum is
rounded away from zero, so that nothing slips in under a limit. `minor`, where it is given, is held
against ISO 4217, by which all amounts are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import yaml

from gates.core.currencies import CODES, minor_digits
from gates.core.model import Json, Money
from gates.core.policy.places import Place
from gates.core.yaml_file import Fields, cure

CODE = re.compile(r"[A-Z]{3}")
RATE = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
SCHEMA: Json = {
    "type": "object",
    "required": ["base"],
    "additionalProperties": False,
    "properties": {
        "base": {"$ref": "#/$defs/currency"},
        "rates": {
            "type": "object",
            "propertyNames": {"$ref": "#/$defs/currency"},
            "additionalProperties": {
                "anyOf": [
                    {"$ref": "#/$defs/rate"},
                    {
                        "type": "object",
                        "required": ["rate"],
                        "additionalProperties": False,
                        "properties": {
                            "rate": {"$ref": "#/$defs/rate"},
                            "minor": {"type": "integer", "minimum": 0},
                        },
                    },
                ]
            },
        },
    },
}
_COMPARED = re.compile(
    r"\bamount\.currency\s*(?:[!=]=)\s*(['\"])(?P<after>[^'\"]*)\1"
    r"|(['\"])(?P<before>[^'\"]*)\3\s*[!=]=\s*amount\.currency\b"
    r"|\bamount\.currency\s+in\s*\[(?P<many>[^\]]*)\]"
)


@dataclass(frozen=True)
class Currencies:
    """`base`: empty where the policy has no such section. `rates`: of one unit, in the base."""

    base: str = ""
    rates: Mapping[str, Fraction] = field(default_factory=dict)

    def knows(self, code: str) -> bool:
        return code in self.rates

    def in_base(self, amount: Money | None) -> Money | None:
        """None where there is no amount, or no rate for its currency."""
        if amount is None or amount.currency not in self.rates:
            return None
        digits = minor_digits(self.base) - minor_digits(amount.currency)
        exact = amount.minor * self.rates[amount.currency] * Fraction(10) ** digits
        away = -(-abs(exact.numerator) // exact.denominator)
        return Money(minor=away if exact >= 0 else -away, currency=self.base)


def read_currencies(place: Place) -> Currencies:
    fields = place.fields("base", "rates")
    fields.require("base")
    base = fields.text("base") or ""
    if base:
        _check_code(place, base, fields.values["base"])
    rates = {base: Fraction(1)}
    if (node := fields.values.get("rates")) is not None:
        below = Place("rates", place.file, node, place.asks, place.found)
        for code, value in below.each():
            _check_code(place, code, value)
            if code == base:
                place.note(value, f"{code} is the base, of which one is one: remove it")
            elif (rate := _rate(place, code, value)) is not None:
                rates[code] = rate
    return Currencies(base, rates)


def _rate(place: Place, code: str, node: yaml.Node) -> Fraction | None:
    text_node = node
    if isinstance(node, yaml.MappingNode):
        fields = Fields(place.file, node, f"rate of {code}", ("rate", "minor"))
        fields.require("rate")
        digits = fields.integer("minor", least=0)
        if digits not in (None, minor_digits(code)):
            words = f"{code} has {minor_digits(code)} minor digits by ISO 4217, not {digits}"
            place.note(fields.values["minor"], f"{words}: write {minor_digits(code)} or remove it")
        if "rate" not in fields:
            return None
        text_node = fields.values["rate"]
    text = text_node.value if isinstance(text_node, yaml.ScalarNode) else ""
    if not RATE.fullmatch(text) or not Fraction(text):
        place.note(text_node, f"rate {text!r} of {code} is no positive decimal: write '0.92'")
        return None
    return Fraction(text)


def _check_code(place: Place, code: str, node: yaml.Node) -> None:
    if not CODE.fullmatch(code):
        place.note(node, f"currency {code!r} is no code of three capital letters: write EUR")


def compared(text: str) -> Iterator[tuple[int, str]]:
    """The currencies that a condition compares `amount.currency` with, and where they stand."""
    for found in _COMPARED.finditer(text):
        if found["many"] is not None:
            for one in re.finditer(r"(['\"])([^'\"]*)\1", found["many"]):
                yield found.start("many") + one.start(2), one[2]
        else:
            name = "after" if found["after"] is not None else "before"
            yield found.start(name), found[name]


def unknown_currency(code: str, currencies: Currencies) -> str | None:
    """What is wrong with a currency that neither the policy nor ISO 4217 knows."""
    if code in CODES or currencies.knows(code):
        return None
    words = cure(code, currencies.rates.keys() | CODES)
    if not words.startswith("did"):  # there are too many to list
        words = "write a code of ISO 4217, such as EUR, or declare it in `currencies`"
    return f"unknown currency {code!r}: {words}"
