"""What rules are read from, and what names it. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import NamedTuple

from gates.core.canonical import digest
from gates.core.yaml_file import YamlFile, plain

LONGEST_DIFF = 40_000  # characters that people are shown; both versions are kept whole


class Texts(NamedTuple):
    """Of a policy and a directory, as written: the files' names and texts."""

    policy: tuple[tuple[str, str], ...]
    people: tuple[str, str]

    @property
    def raw(self) -> str:
        """Names these very letters, comments included."""
        return digest([*(list(one) for one in self.policy), list(self.people)])


class Pair(NamedTuple):
    """Digests of a policy and a directory. `seq`: its place among all that were in force."""

    policy: str
    people: str
    seq: int = 0

    def same(self, other: Pair | None) -> bool:
        return other is not None and self[:2] == other[:2]


def people_digest(name: str, text: str) -> str:
    """Names the content of a people file: layout and comments do not count."""
    return digest(plain(YamlFile(text, name).root()))


def diff(old: Texts, new: Texts) -> str:
    """Both as one text in unified form, cut where it is too long to be read."""
    before, after = dict((*old.policy, old.people)), dict((*new.policy, new.people))
    lines: list[str] = []
    for name in dict.fromkeys((*before, *after)):
        lines += _diff(name, before.get(name, ""), after.get(name, ""))
    text = "\n".join(lines)
    if len(text) <= LONGEST_DIFF:
        return text
    return f"{text[:LONGEST_DIFF]}\n… and {len(text) - LONGEST_DIFF:,} characters more."


def _diff(name: str, old: str, new: str) -> Iterator[str]:
    before, after = f"{name} in force", f"{name} asked for"
    return difflib.unified_diff(old.splitlines(), new.splitlines(), before, after, lineterm="")
