"""The form in which a person approves something else: a field for each argument. Pure.

Rules:
1. What nobody has touched comes back as it was, to the last character: a form must not change
   what it only shows.
2. A text is edited as text, everything else as JSON. So is a text in which something does not
   show (it could not be told from what it looks like).
3. What does not fit is told at its field, and what was typed stays there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from gates.core.drift import cut
from gates.core.errors import InvalidInput
from gates.core.model import Json
from gates.web.values import label, visible

PREFIX = "arguments."  # of the form's fields, so that no argument is taken for one of ours
LONG = 60  # characters that fit on a line of the form
MOST_ROWS = 16


@dataclass(frozen=True)
class ArgumentField:
    """`name` is the form's; `shown` what the field holds, `original` what it held when the form
    was new; `rows` 0 is a single line.
    """

    key: str
    label: str
    shown: str
    original: str
    as_json: bool
    error: str = ""

    @property
    def name(self) -> str:
        return PREFIX + self.key

    @property
    def spelled(self) -> str:
        return visible(self.key)

    @property
    def asked(self) -> str:
        """What is asked, on one short line."""
        return cut(" ".join(self.original.split()))

    @property
    def touched(self) -> bool:
        return self.shown != self.original

    @property
    def rows(self) -> int:
        lines = sum(1 + len(line) // LONG for line in self.shown.split("\n"))
        return 0 if lines == 1 else min(lines + 1, MOST_ROWS)


def form(arguments: Json) -> tuple[ArgumentField, ...]:
    """The fields with what is asked."""
    return tuple(_field(key, value) for key, value in arguments.items())


def _field(key: str, value: JsonValue) -> ArgumentField:
    if isinstance(value, str) and visible(value) == value:
        return ArgumentField(key, label(key), value, value, as_json=False)
    text = _as_json(value)
    return ArgumentField(key, label(key), text, text, as_json=True)


def typed(fields: tuple[ArgumentField, ...], sent: Mapping[str, str]) -> tuple[ArgumentField, ...]:
    """The fields with what was typed. Raises InvalidInput where the form is not one of ours."""
    found = []
    for field in fields:
        if field.name not in sent:
            raise InvalidInput(f"The form lacks {visible(field.key)!r}: load the page again.")
        text = sent[field.name].replace("\r\n", "\n").replace("\r", "\n")  # browsers send CRLF
        found.append(replace(field, shown=text))
    return tuple(found)


def values(
    arguments: Json, fields: tuple[ArgumentField, ...]
) -> tuple[Json, tuple[ArgumentField, ...]]:
    """All arguments as the fields say, and the fields with what is wrong with them."""
    found: Json = {}
    told = []
    for field in fields:
        error = ""
        try:
            found[field.key] = _value(field, arguments[field.key])
        except ValueError as wrong:
            error = str(wrong)
        told.append(replace(field, error=error))
    return found, tuple(told)


def with_errors(
    fields: tuple[ArgumentField, ...], errors: Mapping[str, object]
) -> tuple[ArgumentField, ...]:
    """`errors`: words by argument, as the action's own schema has them."""
    return tuple(replace(one, error=visible(str(errors.get(one.key, "")))) for one in fields)


def _value(field: ArgumentField, before: JsonValue) -> JsonValue:
    if not field.touched:
        return before
    return _parsed(field.shown) if field.as_json else field.shown


def _parsed(text: str) -> JsonValue:
    """Raises ValueError in words for people."""
    try:
        found: JsonValue = json.loads(
            text,
            parse_float=_refuse_fraction,
            parse_constant=_refuse_fraction,
            object_pairs_hook=_unambiguous,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise ValueError(f'This is not JSON ({where}). Text stands in "quotes".') from None
    except RecursionError:
        raise ValueError("This is nested too deeply.") from None
    return found


def _refuse_fraction(text: str) -> JsonValue:
    raise ValueError(f'{text} is not exact: write it as text, "{text}".')


def _unambiguous(pairs: list[tuple[str, JsonValue]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("A name stands twice in one object: remove one.")
    return found


def _as_json(value: JsonValue) -> str:
    """JSON that shows every character: what does not show by itself stands as an escape."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return "".join(one if visible(one) == one else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
