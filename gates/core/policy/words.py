"""The sentence of a rule: `because: "{amount} to {facts.supplier_name}"`, filled in for people."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

from gates.core.disguises import plain
from gates.core.model import Money
from gates.core.policy.circumstances import unknown
from gates.core.policy.conditions import CLAIMED, NAMES, OPEN_NAMES, Malformed, Question
from gates.core.yaml_file import cure

LONGEST_VALUE = 120
SAID = (*CLAIMED, "action.arguments", "action.subject")
_QUOTES = str.maketrans("“”„‟", '""""')
PLACEHOLDERS = ("amount", *NAMES)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")

Piece = tuple[str, str | None]  # literal text, and the name whose value follows it


def parse_words(text: str) -> tuple[Piece, ...]:
    """Raises Malformed at the first placeholder that stands for nothing."""
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise Malformed(0, f"{error}: write {{{{ and }}}} for braces") from error
    for _, field, form, conversion in pieces:
        if field is not None:
            _check(text, field, decorated=bool(form or conversion))
    return tuple((literal, field) for literal, field, _, _ in pieces)


def _check(text: str, field: str, *, decorated: bool) -> None:
    offset = max(0, text.find("{" + field))
    if decorated or not _FIELD.fullmatch(field):
        raise Malformed(offset, f"{{{field}}} is not a plain name: write {{facts.supplier_name}}")
    open_ended = any(field.startswith(f"{name}.") for name in OPEN_NAMES)
    if (wrong := unknown(tuple(field.split(".")), None)) is not None:
        raise Malformed(offset, f"{{{field}}} stands for nothing: {cure(*wrong)}")
    if field in OPEN_NAMES or (field not in PLACEHOLDERS and not open_ended):
        known = [name for name in PLACEHOLDERS if name not in OPEN_NAMES]
        known += [f"{name}.…" for name in OPEN_NAMES]
        raise Malformed(offset, f"{{{field}}} stands for nothing: {cure(field, known)}")


def fill(pieces: Sequence[Piece], question: Question, base: Money | None = None) -> str:
    """Never fails: what is missing is said to be missing. `base`: the amount in the policy's base
    currency.
    """
    return "".join(
        literal + ("" if field is None else _shown(field, question, base))
        for literal, field in pieces
    )


def _shown(field: str, question: Question, base: Money | None) -> str:
    if field == "amount":
        return "no amount" if question.amount is None else str(question.amount)
    root = {
        "amount": _amount(question, base),
        "action": question.action.model_dump(include={"name", "subject", "arguments"})
        | {"effect": question.effect, "in_process": question.in_process},
        "batch": question.batch,
        "facts": question.facts,
        "claims": question.claims,
        "requester": question.requester.model_dump(),
    } | question.circumstances
    value = _value(root, field.split("."))
    if value is None:
        return f"(no {field})"
    text = _text(value)
    # What the requester says is set apart from what is known, whatever it says of itself.
    said = any(field == name or field.startswith(f"{name}.") for name in SAID)
    return f"“{text.translate(_QUOTES)}”" if said else text


def _amount(question: Question, base: Money | None) -> dict[str, Any]:
    told = {"base_known": base is not None} | ({"base": str(base)} if base is not None else {})
    if question.amount is None:
        return told | {"known": False}
    return told | {"known": True} | question.amount.model_dump()


def _value(root: Any, path: Sequence[str]) -> Any:
    for step in path:
        if not isinstance(root, dict) or step not in root:
            return None
        root = root[step]
    return root


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value[:5]) or "none"
    text = plain(str(value)).strip()  # no letter that turns the line round, or that nobody sees
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
