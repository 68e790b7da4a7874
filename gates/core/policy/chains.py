"""The names in a condition, as they are written: `facts.supplier_name`, `history.first_use`.

CEL's binding gives no syntax tree away, so the text is looked through: strings and comments are
skipped, a method at the end of a chain is left out (`facts.name.contains("x")` reads `facts.name`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    //[^\n]*
    | [bBrR]{0,2}(?:\"{3}.*?\"{3} | '{3}.*?'{3})
    | [bBrR]{0,2}(?:"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*')
    | (?P<chain> [A-Za-z_]\w* (?:\s*\.\s*[A-Za-z_]\w*)* ) (?P<call> \s*\( )?
    | (?P<step> \.\s*[A-Za-z_]\w* )
    | [0-9][\w.]*
    """,
    re.VERBOSE | re.DOTALL,
)


class Chain(NamedTuple):
    """`path`: its steps; `offset`: where in the text it begins, in characters."""

    offset: int
    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.path)


@lru_cache(maxsize=2_000)
def chains(text: str) -> tuple[Chain, ...]:
    """Every chain of names, in the order of the text; functions are none."""
    found = []
    for token in _TOKEN.finditer(text):
        if token["chain"] is None:
            continue
        path = tuple(step.strip() for step in token["chain"].split("."))
        if token["call"]:
            path = path[:-1]
        if path:
            found.append(Chain(token.start(), path))
    return tuple(found)


def names(text: str) -> tuple[str, ...]:
    """Each chain once."""
    return tuple(dict.fromkeys(str(chain) for chain in chains(text)))
