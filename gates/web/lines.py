"""The lines of a batch as a table: what differs between them, why, and who refused which. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gates.core.batches import LineShown, lines_of
from gates.core.model import RequestView
from gates.web.values import label, text, visible

COLUMNS = 5  # arguments that stand in the table; the others are the same in all lines, or below
LONGEST = 80  # characters of one value
PREFIX = "refuse-"  # how the fields of the form begin


@dataclass(frozen=True)
class Row:
    number: int
    cells: tuple[str, ...]
    amount: str
    why: str
    refused_by: str
    because: str
    typed: str


@dataclass(frozen=True)
class Table:
    """`same`: names and values that all lines have in common."""

    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    same: tuple[tuple[str, str], ...]
    amounts: bool


def lines_table(view: RequestView, sent: Mapping[str, str]) -> Table | None:
    """None where it is no batch. `sent`: what somebody had typed into a form that came back."""
    lines = lines_of(view.request, view.decisions)
    if not lines:
        return None
    names = list(dict.fromkeys(name for one in lines for name in one.arguments))
    differing = [name for name in names if len({str(one.arguments.get(name)) for one in lines}) > 1]
    shown = (differing or names)[:COLUMNS]
    same = [name for name in names if name not in differing] if differing else []
    return Table(
        headings=tuple(label(name) for name in shown),
        rows=tuple(_row(one, shown, sent) for one in lines),
        same=tuple((label(name), _cell(lines[0], name)) for name in same),
        amounts=any(one.amount for one in lines),
    )


def _row(one: LineShown, names: Sequence[str], sent: Mapping[str, str]) -> Row:
    return Row(
        number=one.number,
        cells=tuple(_cell(one, name) for name in names),
        amount=str(one.amount or ""),
        why=visible("; ".join(one.reasons)),
        refused_by=visible(one.refused_by),
        because=visible(one.because),
        typed=sent.get(f"{PREFIX}{one.number}", ""),
    )


def _cell(one: LineShown, name: str) -> str:
    value = one.arguments.get(name)
    return text("" if value is None else str(value), LONGEST).short


def refused(sent: Mapping[str, str]) -> dict[str, str]:
    """The lines that a form refuses, by number, with the reason for each."""
    return {
        name.removeprefix(PREFIX): why
        for name, why in sent.items()
        if name.startswith(PREFIX) and why.strip()
    }
