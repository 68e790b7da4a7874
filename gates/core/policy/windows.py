"""The policy's section `exposure`: which actions add up, by whom or what, and how far back.

    exposure:
      supplier_week: {on: [erp.payment.*], by: [counterparty], window: 7d}
      agent_day: {by: [agent], window: 24h}

A rule reads `exposure.supplier_week.minor` and `.count`, this action included. What a condition
names under `exposure` and `history` is checked here: what is misspelled would be missing each
time, and ask each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, get_args

import yaml

from gates.core.model import Json, Money, Value
from gates.core.policy.asks import Asks
from gates.core.policy.conditions import Condition
from gates.core.policy.patterns import PATTERN, matches
from gates.core.yaml_file import Fields, YamlFile, cure, shown

Key = Literal["agent", "counterparty", "action"]
KEYS: tuple[Key, ...] = get_args(Key)
HISTORY = (
    *("first_use", "agent_count", "rejected_count", "duplicates"),
    *("counterparty_known", "counterparty_count", "counterparty_first_seen_days"),
    *("median_minor", "max_minor", "last_seen_days"),
)
EXPOSURE = ("minor", "count", "currencies_mixed", "currency", "total")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_STEP = r"\s*\.\s*([A-Za-z_]\w*)"
_EXPOSURE = re.compile(rf"\bexposure{_STEP}(?:{_STEP})?")
_HISTORY = re.compile(rf"\bhistory{_STEP}")
_BARE = re.compile(r"\bexposure\b(?!\s*\.)")


class Window(Value):
    """Actions that `on` names add up while they are not older than `seconds`, those apart that
    differ in one of `by`.
    """

    name: str
    by: tuple[Key, ...]
    seconds: int
    on: tuple[str, ...] = ("*",)


class Sum(NamedTuple):
    """Actions of one currency, empty where they move no money."""

    currency: str
    minor: int
    number: int


def total(
    own: Money | None,
    found: Iterable[Sum],
    *,
    counts: bool = True,
    convert: Callable[[Money], Money] | None = None,
) -> Json:
    """What a rule reads of a window. `own`: the amount of the action that is asked about, which
    is one of them where it `counts`. Without a table to `convert` with, other currencies than its
    own are left out of `minor` and told by `currencies_mixed`.
    """
    sums = [*found, *([Sum(own.currency if own else "", own.minor if own else 0, 1)] * counts)]
    moved = [Money(minor=one.minor, currency=one.currency) for one in sums if one.currency]
    if convert is not None:
        moved, own = [convert(one) for one in moved], convert(own) if own else None
    currencies = {one.currency for one in moved} | ({own.currency} if own else set())
    answer: Json = {
        "count": sum(one.number for one in sums),
        "currencies_mixed": len(currencies) > 1,
    }
    currency = own.currency if own else min(currencies, default="")
    if own is None and len(currencies) > 1:
        return answer  # of which there is no sum: a rule that reads it asks
    minor = sum(one.minor for one in moved if one.currency == currency)
    shown_total = str(Money(minor=minor, currency=currency)) if currency else "nothing"
    return answer | {"minor": minor, "currency": currency, "total": shown_total}


def used(
    windows: Mapping[str, Window], rules: Iterable[tuple[tuple[str, ...], Condition]], action: str
) -> list[Window]:
    """The windows that the rules for an action name; `rules`: what each is on, and its condition.
    A condition that takes `exposure` in another form than by name may mean any.
    """
    conditions = [condition for on, condition in rules if matches(on, action)]
    if any(_BARE.search(one.text) for one in conditions):
        return list(windows.values())
    names = {found[1] for one in conditions for found in _EXPOSURE.finditer(one.text)}
    return [window for name, window in windows.items() if name in names]


class Windows:
    """Reads the section, then looks at each condition."""

    def __init__(self, file: YamlFile, asks: Asks) -> None:
        self.file = file
        self.asks = asks
        self.found: dict[str, Window] = {}

    def read(self, top: Fields) -> dict[str, Window]:
        node = top.values.get("exposure")
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.file.note(
                node, f"{shown(node)} is not windows: write `supplier_week: {{by: …, window: 7d}}`"
            )
            return {}
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        fields = Fields(self.file, node, "exposure", names)
        for name, value in fields.values.items():
            if not _NAME.fullmatch(name):
                self.file.note(value, f"a window cannot be named {name!r}: write a-z, 0-9 and _")
            elif (window := self._window(name, value)) is not None:
                self.found[name] = window
        return self.found

    def _window(self, name: str, node: yaml.Node) -> Window | None:
        fields = Fields(self.file, node, "a window", ("on", "by", "window"))
        fields.require("by", "window")
        by = [(text, where) for text, where in fields.texts("by")]
        for text, where in by:
            if text not in KEYS:
                self.file.note(where, f"unknown by {text!r}: {cure(text, KEYS)}")
        seconds = self.asks.duration(fields, "window")
        patterns = fields.texts("on")
        for text, where in patterns:
            if not PATTERN.fullmatch(text):
                self.file.note(where, f"on {text!r} names no action: write erp.payment.*")
        keys = tuple(key for key in KEYS if key in [text for text, _ in by])
        if seconds is None or not keys:
            return None
        on = tuple(text for text, _ in patterns) or ("*",)
        return Window(name=name, by=keys, seconds=seconds, on=on)

    def check(self, condition: Condition, node: yaml.Node) -> None:
        """Note what a condition names that will never be there."""
        for found in _HISTORY.finditer(condition.text):
            if found[1] not in HISTORY:
                self.file.note(node, f"there is no history.{found[1]}: {cure(found[1], HISTORY)}")
        for found in _EXPOSURE.finditer(condition.text):
            window, value = found[1], found[2]
            if window not in self.found:
                self.file.note(
                    node,
                    f"there is no window {window!r}: declare it under `exposure:`, "
                    f"or {cure(window, self.found) if self.found else 'remove this'}",
                )
            elif value is not None and value not in EXPOSURE:
                self.file.note(
                    node, f"there is no exposure.{window}.{value}: {cure(value, EXPOSURE)}"
                )
