"""How values that others wrote become something to read. Pure.

Rules:
1. Nothing is hidden: what is cut says so and keeps the whole text beside it.
2. Characters that do not show, or that turn the order of others around, are spelled out
   (a text must not read differently from what would run).
3. Everything ends as text; the templates escape it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Literal

from pydantic import JsonValue

from gates.core.model import Money

LONG = 180  # characters that are shown of one value before it is cut
ROWS = 6  # entries of a list that are shown before the rest is folded away
COLUMNS = 6  # more fields than this are not squeezed into one table
DEPTH = 3  # nesting that is laid out; deeper values are shown as JSON
FIELDS = 60  # fields of a comparison
ALIKE = 6  # characters that texts must have in common for only the rest to be marked

ACRONYMS = frozenset({"iban", "bic", "vat", "id", "url", "erp", "iso", "sepa", "pdf", "xml"})
# differ from one attempt to the next without meaning anything
QUIET = frozenset(
    {"id", "attempt_id", "request_id", "at", "started_at", "ended_at", "lease_until", "fence"}
)
MINOR = "_minor"  # integers under such keys are money in the currency's smallest unit
SHOWN_CONTROLS = "\n\t"
HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@dataclass(frozen=True)
class Text:
    """`full` is there only where `short` is cut; `empty` marks words of ours for "nothing"."""

    short: str
    full: str = ""
    empty: bool = False
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Field:
    label: str
    key: str
    value: Node


@dataclass(frozen=True)
class Fields:
    fields: tuple[Field, ...]
    kind: Literal["fields"] = "fields"


@dataclass(frozen=True)
class Items:
    items: tuple[Node, ...]
    rest: tuple[Node, ...] = ()
    kind: Literal["items"] = "items"


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    rest: tuple[tuple[Text, ...], ...] = ()
    kind: Literal["table"] = "table"


Node = Text | Fields | Items | Table


@dataclass(frozen=True)
class Cell:
    """`middle` is the part that is not the same in all columns; empty where all of it differs."""

    value: Text
    before: str = ""
    middle: str = ""
    after: str = ""


@dataclass(frozen=True)
class Difference:
    """One field across several columns. `quiet`: an id or a time, which always differs."""

    label: str
    cells: tuple[Cell, ...]
    quiet: bool = False


@dataclass(frozen=True)
class Comparison:
    """What differs between the columns, and what is the same in all of them."""

    headings: tuple[str, ...]
    differing: tuple[Difference, ...]
    same: tuple[Field, ...]
    left_out: int = 0


def visible(text: str) -> str:
    """The text with every character that does not show spelled out: [U+202E]."""
    return "".join(_spelled(character) for character in text)


def _spelled(character: str) -> str:
    if character in SHOWN_CONTROLS or unicodedata.category(character) not in HIDDEN_CATEGORIES:
        return character
    return f"[U+{ord(character):04X}]"


def label(key: str) -> str:
    """`supplier_iban` -> `Supplier IBAN`; the exact key stands beside it in the page."""
    words = visible(key.removesuffix(MINOR)).replace("_", " ").split()
    spelled = [_acronym(word) for word in words]
    if not spelled:
        return key or "(no name)"
    return spelled[0][:1].upper() + " ".join(spelled)[1:]


def _acronym(word: str) -> str:
    if word.lower() in ACRONYMS:
        return word.upper()
    return f"{word[:-1].upper()}s" if word.lower()[:-1] in ACRONYMS and word[-1] == "s" else word


def text(value: str, limit: int = LONG) -> Text:
    whole = visible(value)
    if not whole.strip():
        return Text("empty text" if not whole else "only blanks", empty=True)
    if len(whole) <= limit:
        return Text(whole)
    return Text(whole[:limit].rstrip() + "…", whole)


def shown(value: JsonValue, depth: int = 0) -> Node:
    """Any JSON value, laid out as far as it can be read."""
    if isinstance(value, dict):
        if not value:
            return Text("nothing", empty=True)
        return fields(value, depth) if depth < DEPTH else _as_json(value)
    if isinstance(value, list):
        if not value:
            return Text("empty list", empty=True)
        return _sequence(value, depth) if depth < DEPTH else _as_json(value)
    return scalar(value)


def scalar(value: JsonValue, key: str = "") -> Text:
    if value is None:
        return Text("none", empty=True)
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int) and key.endswith(MINOR):
        return Text(str(Money(minor=value, currency="")).strip())
    return text(str(value))


def fields(values: Mapping[str, JsonValue], depth: int = 0) -> Fields:
    return Fields(
        tuple(
            Field(
                label(key),
                visible(key),
                shown(item, depth + 1) if isinstance(item, (dict, list)) else scalar(item, key),
            )
            for key, item in values.items()
        )
    )


def _as_json(value: JsonValue) -> Text:
    return text(json.dumps(value, ensure_ascii=False, indent=1))


def _sequence(values: Sequence[JsonValue], depth: int) -> Node:
    table = _records(values) or _rows(values)
    if table is not None:
        return table
    nodes = tuple(shown(item, depth + 1) for item in values)
    return Items(nodes[:ROWS], nodes[ROWS:])


def _records(values: Sequence[JsonValue]) -> Table | None:
    """A list of flat objects."""
    records = [item for item in values if isinstance(item, dict) and _flat(item.values())]
    columns = list(dict.fromkeys(key for record in records for key in record))
    if len(records) < len(values) or not 0 < len(columns) <= COLUMNS:
        return None
    absent = Text("absent", empty=True)
    rows = tuple(
        tuple(scalar(one[key], key) if key in one else absent for key in columns) for one in records
    )
    return Table(tuple(label(key) for key in columns), rows[:ROWS], rows[ROWS:])


def _rows(values: Sequence[JsonValue]) -> Table | None:
    """A list of flat lists of one length."""
    lists = [item for item in values if isinstance(item, list) and _flat(item)]
    widths = {len(item) for item in lists}
    if len(lists) < len(values) or len(widths) != 1 or not 0 < max(widths) <= COLUMNS:
        return None
    rows = tuple(tuple(scalar(cell) for cell in item) for item in lists)
    return Table((), rows[:ROWS], rows[ROWS:])


def _flat(values: Iterable[JsonValue]) -> bool:
    return not any(isinstance(item, (dict, list)) for item in values)


def compare(headings: Sequence[str], columns: Sequence[Mapping[str, JsonValue]]) -> Comparison:
    """Field by field across the columns; nested values are compared leaf by leaf."""
    flat = [dict(_leaves(column, ())) for column in columns]
    paths = list(dict.fromkeys(path for column in flat for path in column))
    differing: list[Difference] = []
    same: list[Field] = []
    for path in paths[:FIELDS]:
        name = " · ".join(label(step) for step in path)
        present = [column[path] for column in flat if path in column]
        if len(present) == len(flat) and len({json.dumps(leaf) for leaf in present}) == 1:
            same.append(Field(name, visible(".".join(path)), _leaf(present[0], path[-1])))
        else:
            absent = Text("absent", empty=True)
            cells = (_leaf(column[path], path[-1]) if path in column else absent for column in flat)
            quiet = path[0] in QUIET and len(path) == 1
            differing.append(Difference(name, _marked(tuple(cells), quiet=quiet), quiet))
    differing.sort(key=lambda one: one.quiet)
    left_out = max(len(paths) - FIELDS, 0)
    return Comparison(tuple(headings), tuple(differing), tuple(same), left_out)


def _marked(cells: tuple[Text, ...], *, quiet: bool) -> tuple[Cell, ...]:
    """Point at what differs within texts that begin and end alike."""
    words = [cell.short for cell in cells]
    start = _alike(words)
    tails = [word[start:][::-1] for word in words]
    end = _alike(tails)
    if quiet or start + end < ALIKE or any(cell.empty or cell.full for cell in cells):
        return tuple(Cell(_clock(cell) if quiet else cell) for cell in cells)
    return tuple(
        Cell(cell, word[:start], word[start : len(word) - end], word[len(word) - end :])
        for cell, word in zip(cells, words, strict=True)
    )


def _alike(words: Sequence[str]) -> int:
    """How many characters all of them begin with."""
    columns = zip(*words, strict=False)
    return sum(1 for _ in takewhile(lambda characters: len(set(characters)) == 1, columns))


def _clock(cell: Text) -> Text:
    """A time of ours, written by a machine, as people write it."""
    try:
        at = datetime.fromisoformat(cell.short)
    except ValueError:
        return cell
    return Text(f"{at.astimezone(UTC):%H:%M:%S} UTC") if at.tzinfo else cell


def _leaf(value: JsonValue, key: str) -> Text:
    return Text("empty", empty=True) if isinstance(value, (dict, list)) else scalar(value, key)


def _leaves(
    value: JsonValue | Mapping[str, JsonValue], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    """The scalars, and the empty containers, each with the way to it."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value, 1):
            yield from _leaves(item, (*path, str(index)))
    else:
        yield path, value if not isinstance(value, Mapping) else {}
