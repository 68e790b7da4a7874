"""What actions add up to: by whom or what, and how far back.

A rule reads `exposure.supplier_week.minor` and `.count`, this action included. How the section is
written is said in gates/core/policy/exposure.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, get_args

from gates.core.model import Json, Money
from gates.core.policy.conditions import Condition
from gates.core.policy.patterns import matches
from gates.core.value import Value

Key = Literal["agent", "counterparty", "action"]
KEYS: tuple[Key, ...] = get_args(Key)
_STEP = r"\s*\.\s*([A-Za-z_]\w*)"
_EXPOSURE = re.compile(rf"\bexposure{_STEP}(?:{_STEP})?")
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
