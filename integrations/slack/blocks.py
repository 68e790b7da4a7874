"""The pieces that everything we show in Slack is made of. Pure.

Rules:
1. Only words of ours are markup. What agents, documents and people wrote stands in plain-text
   objects, without emoji, and cannot ping, mask a link or close the frame around it.
2. Whatever comes in, each piece is within Block Kit's limits; what is cut says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from gates.core.model import Money
from gates.web.values import MINOR
from integrations.slack.text import clean, cut, label

Block = dict[str, Any]
Row = tuple[str, str]

# What buttons and modals are called; a card's token, which names the request, is their value.
APPROVE = "gates_approve"
CHANGE = "gates_change"
SEND_BACK = "gates_send_back"
REJECT = "gates_reject"
ESCALATE = "gates_escalate"
SKIP = "gates_skip"
DETAILS = "gates_details"

HEADER = 150
BUTTON = 75
VALUE = 300  # of one value; ten rows of each fill a screen
ROWS = 10
ROWS_A_SECTION = 5  # Slack allows ten fields: a name and a value each


def plain(text: str, limit: int, *, lines: bool = False) -> Block:
    """Anybody's text, which stays text."""
    shown = cut(clean(text, lines=lines), limit) or "(empty)"
    return {"type": "plain_text", "text": shown, "emoji": False}


def ours(markup: str) -> Block:
    """Markup of our own making, with every foreign word in it escaped by the caller."""
    return {"type": "mrkdwn", "text": markup, "verbatim": True}


def said(text: str, limit: int, *, lines: bool = False) -> Block:
    """A section of anybody's text."""
    return {"type": "section", "text": plain(text, limit, lines=lines)}


def context(*lines: str) -> Block:
    """Small print of ours."""
    return {"type": "context", "elements": [ours(line) for line in lines if line]}


def button(action_id: str, words: str, value: str, style: str = "") -> Block:
    made: Block = {
        "type": "button",
        "action_id": action_id,
        "text": plain(words, BUTTON),
        "value": value,
    }
    return made | ({"style": style} if style else {})


def table(heading: str, rows: Sequence[Row], *, rest: str, value: int = VALUE) -> Iterator[Block]:
    """Names and values side by side; what does not fit is counted, and `rest` says where it is."""
    if not rows:
        return
    yield context(f"*{heading}*")
    yield from pairs(rows[:ROWS], value)
    if len(rows) > ROWS:
        yield context(f"… and {len(rows) - ROWS:,} more values: see {rest}")


def pairs(rows: Sequence[Row], value: int = VALUE, *, lines: bool = False) -> Iterator[Block]:
    for start in range(0, len(rows), ROWS_A_SECTION):
        fields: list[Block] = []
        for name, text in rows[start : start + ROWS_A_SECTION]:
            fields += [ours(f"*{label(name)}*"), plain(text, value, lines=lines)]
        yield {"type": "section", "fields": fields}


def flat(value: JsonValue | Mapping[str, JsonValue], path: str = "") -> Iterator[Row]:
    """Every scalar with the way to it; lists of scalars on one line."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value, 1):
            yield from flat(item, f"{path} [{index}]")
    elif isinstance(value, list):
        yield path, ", ".join(scalar(item) for item in value) or "none"
    else:
        yield path, scalar(value, path)


def scalar(value: JsonValue, name: str = "") -> str:
    """In words; `name` says what is money in the smallest unit, which labels leave out."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name.endswith(MINOR):
        return str(Money(minor=value, currency="")).strip()
    return str(value)
