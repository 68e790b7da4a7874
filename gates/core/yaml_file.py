"""YAML that remembers where everything stands, so that a mistake is shown with file:line:column.

Read from PyYAML's nodes, not from its values: YAML 1.1 turns the key `on` and the value `off`
into booleans, drops the first of two equal keys, and forgets positions.
All problems of a file are collected and raised together.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, TypeVar

import yaml
from pydantic import JsonValue

from gates.core.errors import InvalidPolicy

INTEGER = re.compile(r"-?[0-9]{1,15}")
LONGEST_SHOWN = 60
WordT = TypeVar("WordT", bound=StrEnum)


@dataclass(frozen=True, order=True)
class Position:
    """Counted from 1, in characters."""

    line: int
    column: int


class YamlFile:
    """One file being read: its text, its name for messages, and the problems found so far."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.problems: list[tuple[Position, str]] = []

    def root(self) -> yaml.Node:
        """The document. Raises InvalidPolicy where this is not one YAML document."""
        try:
            node = yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
            self.stop(at, f"{self._line(at)!r} is not YAML: {error.problem or error.context}")
        except yaml.reader.ReaderError as error:
            before = self.text[: error.position]
            at = Position(before.count("\n") + 1, error.position - before.rfind("\n"))
            self.stop(at, f"character {error.character!r} does not belong in YAML: remove it")
        except RecursionError:
            self.stop(Position(1, 1), "the file is nested too deeply to be read: flatten it")
        if node is None:
            self.stop(Position(1, 1), "the file is empty: begin it with `version: 1`")
        return node

    def note(self, where: yaml.Node | Position, problem: str) -> None:
        """Keep a problem: what stands there, what is wrong with it, what to write instead."""
        self.problems.append((position(where), problem))

    def stop(self, where: yaml.Node | Position, problem: str) -> NoReturn:
        self.note(where, problem)
        self.check()
        raise AssertionError("unreachable")

    def check(self) -> None:
        """Raises InvalidPolicy with every problem, in the order of the file."""
        check_all([self])

    def told(self) -> list[str]:
        """Every problem with its place, in the order of the file."""
        return [
            f"{self.name}:{at.line}:{at.column}: {problem.rstrip('.')}."
            for at, problem in sorted(dict.fromkeys(self.problems))
        ]

    def place(self, where: yaml.Node | Position) -> str:
        """As file:line:column."""
        at = position(where)
        return f"{self.name}:{at.line}:{at.column}"

    def _line(self, at: Position) -> str:
        lines = self.text.splitlines()
        return short(lines[at.line - 1].strip()) if at.line <= len(lines) else "end of file"


def check_all(files: Collection[YamlFile]) -> None:
    """Raises InvalidPolicy with every problem of every file, one file after the other."""
    lines = [line for file in files for line in file.told()]
    if lines:
        raise InvalidPolicy("\n".join(lines), problems=lines)


class Fields:
    """One mapping of the file: keys checked when made, values read by type.

    Every reader notes a problem and returns None where the value is not as it should be.
    """

    def __init__(self, file: YamlFile, node: yaml.Node, what: str, known: Collection[str]) -> None:
        self.file = file
        self.node = node
        self.what = what
        self.values: dict[str, yaml.Node] = {}
        self.keys: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            file.note(node, f"{shown(node)} is not {what}: write keys, such as {listed(known)}")
            return
        for key, value in node.value:
            self._add(key, value, known)

    def _add(self, key: yaml.Node, value: yaml.Node, known: Collection[str]) -> None:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None or name not in known:
            self.file.note(key, f"unknown key {shown(key)} in {self.what}: {cure(name, known)}")
        elif name in self.values:
            self.file.note(key, f"{name!r} stands twice in {self.what}: keep one of them")
        else:
            self.values[name] = value
            self.keys[name] = key

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def require(self, *keys: str) -> None:
        if not isinstance(self.node, yaml.MappingNode):
            return
        for key in keys:
            if key not in self.values:
                self.file.note(self.node, f"{self.what} has no {key!r}: add it")

    def text(self, key: str) -> str | None:
        node = self.values.get(key)
        return None if node is None else text_of(self.file, node, key)

    def texts(self, key: str) -> list[tuple[str, yaml.Node]]:
        """A list of texts; one text alone is a list of one."""
        node = self.values.get(key)
        if node is None:
            return []
        if isinstance(node, yaml.SequenceNode) and not node.value:
            self.file.note(node, f"{key!r} of {self.what} is empty: name at least one")
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = [(text_of(self.file, item, key), item) for item in items]
        return [(text, item) for text, item in found if text is not None]

    def integer(self, key: str, *, least: int, most: int | None = None) -> int | None:
        node = self.values.get(key)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or not INTEGER.fullmatch(node.value):
            self.file.note(node, f"{key} {shown(node)} is not a whole number")
        elif int(node.value) < least:
            self.file.note(node, f"{key} {node.value} is too small: write {least} or more")
        elif most is not None and int(node.value) > most:
            self.file.note(node, f"{key} {node.value} is too much: write {most} or less")
        else:
            return int(node.value)
        return None

    def truth(self, key: str) -> bool | None:
        node = self.values.get(key)
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode) and node.value in ("true", "false"):
            return bool(node.value == "true")
        self.file.note(node, f"{key} {shown(node)} is neither true nor false: write one of them")
        return None

    def word(self, key: str, words: type[WordT]) -> WordT | None:
        """One of the words of an enumeration."""
        text = self.text(key)
        if text is None:
            return None
        known = [word.value for word in words]
        if text in known:
            return words(text)
        self.file.note(self.values[key], f"unknown {key} {text!r}: {cure(text, known)}")
        return None

    def items(self, key: str) -> Iterator[yaml.Node]:
        """The entries of a list that must have some."""
        node = self.values.get(key)
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.file.note(node, f"{key!r} is not a list: begin each entry with `- `")
        elif not node.value:
            self.file.note(node, f"{key!r} is empty: write at least one entry")
        else:
            yield from node.value


def text_of(file: YamlFile, node: yaml.Node, key: str) -> str | None:
    """A text as it is written: YAML's ideas about `yes` and `1:30` are ignored."""
    if isinstance(node, yaml.ScalarNode) and node.value.strip():
        if node.value.isascii() or node.value.encode(errors="ignore").decode() == node.value:
            return str(node.value)
        file.note(node, f"{key} holds half a character (an escape such as \\ud800): remove it")
        return None
    file.note(node, f"{key} {shown(node)} is not a text: write one")
    return None


def position(where: yaml.Node | Position) -> Position:
    if isinstance(where, Position):
        return where
    return Position(where.start_mark.line + 1, where.start_mark.column + 1)


def position_within(file: YamlFile, node: yaml.ScalarNode, offset: int) -> Position:
    """Where character `offset` of a scalar's value stands in the file.

    Value and source differ by quotes, escapes, indentation and folded lines only, so that
    walking both and skipping what does not match leads to the place.
    """
    source, at = file.text, node.start_mark.index
    if node.style in ("|", ">"):
        at = source.index("\n", at) + 1  # the header may end in a comment
    end = node.end_mark.index
    for character in node.value[:offset]:
        at = _find(source, at, end, character, past=1)
    if offset < len(node.value):
        at = _find(source, at, end, node.value[offset], past=0)
    line_start = source.rfind("\n", 0, at) + 1
    return Position(source.count("\n", 0, at) + 1, at - line_start + 1)


def _find(source: str, at: int, end: int, character: str, *, past: int) -> int:
    found = -1 if character.isspace() else source.find(character, at, end)
    return at if found < 0 else found + past


def plain(node: yaml.Node) -> JsonValue:
    """The node as lists, dicts and texts, for the digest: comments and layout left out."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    return str(node.value)


def shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(short(node.value))
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def cure(wrong: str | None, known: Collection[str]) -> str:
    """What to write instead: the nearest of the known names, or all of them."""
    near = difflib.get_close_matches(wrong or "", sorted(known), n=1)
    return f"did you mean {near[0]!r}" if near else f"write one of {listed(known)}"
