"""What a condition always answers, as far as that can be shown without knowing a thing.

Two ways: it is evaluated without any name (an answer then rests on none of them), and what must all
be true at once is held against itself: `amount.minor < 100 && amount.minor > 200`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gates.core.policy.conditions import Condition, evaluate

WHOLE = ("amount.minor", "amount.base")
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_COMPARED = re.compile(
    r"\s*\(*\s*(?P<name>[A-Za-z_][\w.]*)\s*(?P<op>==|!=|<=|>=|<|>)\s*"
    r"(?P<value>-?[0-9]+|true|false|\"[^\"\\]*\"|'[^'\\]*')\s*\)*\s*"
)
_NAME = re.compile(r"\s*(?P<no>!?)\s*(?P<name>[A-Za-z_][\w.]*)\s*")


@dataclass
class _Wanted:
    """What one name must be, so that all of a conjunction holds."""

    least: float = float("-inf")
    most: float = float("inf")
    equal: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)

    @property
    def possible(self) -> bool:
        if len(self.equal) > 1 or self.equal & self.other or self.least > self.most:
            return False
        numbers = [int(one) for one in self.equal if re.fullmatch(r"-?[0-9]+", one)]
        return all(self.least <= one <= self.most for one in numbers)


def answer_of(condition: Condition) -> bool | None:
    """None where it depends on something, or nobody can tell."""
    found = evaluate(condition, {})
    if not isinstance(found, str):
        return found
    return False if _contradicts_itself(condition.text) else None


def _contradicts_itself(text: str) -> bool:
    wanted: dict[str, _Wanted] = {}
    for part in _conjuncts(text):
        if (compared := _COMPARED.fullmatch(part)) is not None:
            want = wanted.setdefault(compared["name"], _Wanted())
            value = compared["value"].replace("'", '"')
            _narrow(want, compared["op"], value, whole=compared["name"] in WHOLE)
        elif (plain := _NAME.fullmatch(part)) is not None:
            wanted.setdefault(plain["name"], _Wanted()).equal.add(
                "false" if plain["no"] else "true"
            )
    return not all(one.possible for one in wanted.values())


def _narrow(want: _Wanted, operator: str, value: str, *, whole: bool) -> None:
    """Of whole numbers what is below 5 is at most 4; a fact may be anything."""
    if operator == "==":
        want.equal.add(value)
    elif operator == "!=":
        want.other.add(value)
    elif re.fullmatch(r"-?[0-9]+", value):
        number = int(value)
        step = int(whole and "=" not in operator)
        if "<" in operator:
            want.most = min(want.most, number - step)
        else:
            want.least = max(want.least, number + step)


def _conjuncts(text: str) -> Iterator[str]:
    """The parts between the outermost `&&`; none where an outermost `||` or `?` gives a choice."""
    plain = re.sub(r"//[^\n]*", lambda found: " " * len(found[0]), text)
    bare = _STRING.sub(lambda found: "_" * len(found[0]), plain)
    depth, start, parts = 0, 0, []
    for index, sign in enumerate(bare):
        depth += _BRACKETS.get(sign, 0)
        if depth == 0 and (bare.startswith("||", index) or sign == "?"):
            return
        if depth == 0 and bare.startswith("&&", index):
            parts.append(plain[start:index])
            start = index + 2
    yield from [*parts, plain[start:]]
