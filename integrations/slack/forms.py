"""Approve with changes as a modal: a field for each argument that one can hold. Pure.

Rules:
1. What kind of field it is says the action's own schema (or, for a flow's own function, the value
   that is asked). What no field can hold is named, with the way to the inbox.
2. What nobody has touched comes back as it was, to the last character.
3. What does not fit is told at its field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from pydantic import JsonValue

from gates.core.care import wants_reason
from gates.core.model import Json, RequestView
from gates.web.values import label, visible
from integrations.slack.blocks import HEADER, Block, context, ours, plain, scalar
from integrations.slack.modals import REASON, REASON_BLOCK, REASON_INPUT
from integrations.slack.text import cut, link, units
from integrations.slack.text import label as bare

VIEW = "gates_changes"
HEADING = "Approve with changes"
BLOCK, FIELD = "gates_argument_", "gates_value_"
MOST = 90  # fields of Slack's 100 blocks
OPTIONS, CHOICE = 100, 75
LONGEST = 3_000
ONE_LINE = 60
NAMED = 20  # arguments that are named as not to be changed here
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NUMBER = re.compile(r"-?[0-9]{1,200}(\.[0-9]{1,200})?")
SCALARS = {"string", "integer", "number", "boolean"}

Kind = Literal["text", "whole", "decimal", "date", "choice", "list", "fixed"]


@dataclass(frozen=True)
class Field:
    """One argument; `number` is its place among all of them, which block ids go by."""

    number: int
    key: str
    value: JsonValue
    kind: Kind
    nullable: bool = False
    options: tuple[JsonValue, ...] = ()

    @property
    def block(self) -> str:
        return f"{BLOCK}{self.number}"

    @property
    def shown(self) -> str:
        """What the field holds when the form is new."""
        if isinstance(self.value, list):
            return "\n".join(str(one) for one in self.value)
        return "" if self.value is None else str(self.value)


def fields(arguments: Json, schema: Json) -> tuple[Field, ...]:
    """`schema`: JSON schema of all arguments; empty where there is none."""
    found = []
    for number, (key, value) in enumerate(arguments.items()):
        kinds, options = _kinds(schema, key) if schema else ({_name(value)}, ())
        field = Field(number, key, value, _kind(kinds, options), "null" in kinds, options)
        found.append(field if _fits(field) else Field(number, key, value, "fixed"))
    editable = [one for one in found if one.kind != "fixed"][MOST:]
    late = {one.number for one in editable}
    return tuple(
        Field(one.number, one.key, one.value, "fixed") if one.number in late else one
        for one in found
    )


def _kinds(schema: Json, key: str) -> tuple[set[str], tuple[JsonValue, ...]]:
    """The types that a value may have (`list` for one of scalars, `date`), and an enumeration."""
    kinds: set[str] = set()
    options: list[JsonValue] = []
    properties = schema.get("properties")
    start = properties.get(key) if isinstance(properties, dict) else None
    for one in _alternatives(start, schema):
        if isinstance(listed := one.get("enum"), list):
            options += listed
        elif "const" in one:
            options.append(one["const"])
        elif one.get("type") == "array":
            inner = {str(item.get("type")) for item in _alternatives(one.get("items"), schema)}
            kinds.add("list" if inner and inner <= SCALARS - {"boolean"} else "other")
        elif one.get("type") == "string" and one.get("format") == "date":
            kinds.add("date")
        else:
            kinds.add(str(one.get("type") or "other"))
    return kinds, tuple(options)


def _alternatives(part: JsonValue, schema: Json, depth: int = 0) -> Iterator[dict[str, JsonValue]]:
    if not isinstance(part, dict) or depth > 5:  # noqa: PLR2004 - deeper is no form of ours
        return
    reference = part.get("$ref")
    definitions = schema.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, dict):
        yield from _alternatives(definitions.get(reference.rsplit("/", 1)[-1]), schema, depth + 1)
    elif isinstance(several := part.get("anyOf", part.get("oneOf")), list):
        for one in several:
            yield from _alternatives(one, schema, depth + 1)
    else:
        yield part


def _name(value: JsonValue) -> str:
    """The type of a value, as a schema would call it."""
    if isinstance(value, list):
        flat = all(isinstance(one, str | int) and not isinstance(one, bool) for one in value)
        return "list" if value and flat else "other"
    names = {bool: "boolean", int: "integer", str: "string"}
    return names.get(type(value), "other")


def _kind(kinds: set[str], options: tuple[JsonValue, ...]) -> Kind:
    real = kinds - {"null"}
    if options and not real:
        return "choice"
    if options or not real:
        return "fixed"
    if real <= {"number", "integer", "string"} and "number" in real:
        return "decimal"
    simple: dict[str, Kind] = {
        "string": "text",
        "integer": "whole",
        "boolean": "choice",
        "date": "date",
        "list": "list",
    }
    return simple.get(real.pop(), "fixed") if len(real) == 1 else "fixed"


def _fits(field: Field) -> bool:
    """Whether a field shows this very value, and all of it."""
    value, shown = field.value, field.shown
    if units(shown) > LONGEST or (isinstance(value, str) and visible(value) != value):
        return False
    if value is None:
        return field.nullable
    every = field.options or (True, False)
    text = isinstance(value, str)
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits: dict[Kind, bool] = {
        "text": text,
        "whole": whole,
        "decimal": (text or whole) and bool(NUMBER.fullmatch(shown)),
        "date": text and bool(DATE.fullmatch(shown)),
        "choice": value in every and len(every) <= OPTIONS,
        "list": isinstance(value, list) and all(_is_line(one) for one in value),
    }
    return fits.get(field.kind, False)


def _is_line(item: JsonValue) -> bool:
    if isinstance(item, bool) or not isinstance(item, str | int):
        return False
    text = str(item)
    return visible(text) == text and "\n" not in text and bool(text.strip())


def changes_view(view: RequestView, schema: Json, token: str, place: str) -> Block:
    """The modal, with what is asked in its fields."""
    found = fields(view.request.action.arguments, schema)
    fixed = [one for one in found if one.kind == "fixed"]
    optional = not wants_reason(view.request)
    blocks = [
        context(
            "It is asked as a new round: the action's own rules and the policy look at it again, "
            "and everybody who agreed before has to agree again."
        ),
        *(_input(one) for one in found if one.kind != "fixed"),
        *_fixed(view, fixed),
        {
            "type": "input",
            "block_id": REASON_BLOCK,
            "optional": optional,
            "label": plain("Why?", HEADER),
            "element": {
                "type": "plain_text_input",
                "action_id": REASON_INPUT,
                "multiline": True,
                "max_length": REASON,
            },
        },
    ]
    return {
        "type": "modal",
        "callback_id": VIEW,
        "private_metadata": json.dumps({"token": token, "place": place}),
        "title": {"type": "plain_text", "text": HEADING},
        "submit": {"type": "plain_text", "text": "Approve this"},
        "close": {"type": "plain_text", "text": "Back"},
        "blocks": blocks,
    }


def _fixed(view: RequestView, found: list[Field]) -> Iterator[Block]:
    if not found:
        return
    names = ", ".join(bare(one.key) for one in found[:NAMED])
    more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    there = link(f"{view.url}/change", "change it in the inbox") or "change it in the inbox"
    text = f"Not to be changed here: {names}{more}; {there}."
    yield {"type": "section", "text": ours(text)}


def _input(field: Field) -> Block:
    loose = field.nullable or field.kind in ("text", "list")
    return {
        "type": "input",
        "block_id": field.block,
        "optional": loose,
        "label": plain(label(field.key), HEADER),
        "hint": plain(f"Asked: {field.shown or 'nothing'}", HEADER),
        "element": {"action_id": f"{FIELD}{field.number}", **_element(field)},
    }


def _element(field: Field) -> Block:
    shown = field.shown
    if field.kind in ("whole", "decimal"):
        element: Block = {
            "type": "number_input",
            "is_decimal_allowed": field.kind == "decimal",
        }
        return element | ({"initial_value": shown} if shown else {})
    if field.kind == "date":
        return {"type": "datepicker"} | ({"initial_date": shown} if shown else {})
    if field.kind == "choice":
        every = field.options or (True, False)
        options = [
            {"text": plain(scalar(one), CHOICE), "value": str(number)}
            for number, one in enumerate(every)
            if one is not None
        ]
        element = {"type": "static_select", "options": options}
        if field.value is None:
            return element
        chosen = str(every.index(field.value))
        return element | {"initial_option": next(one for one in options if one["value"] == chosen)}
    several = field.kind == "list" or "\n" in shown or len(shown) > ONE_LINE
    element = {"type": "plain_text_input", "multiline": several, "max_length": LONGEST}
    return element | ({"initial_value": shown} if shown else {})


def read(arguments: Json, schema: Json, values: Mapping[str, Any]) -> tuple[Json, dict[str, str]]:
    """All arguments as the modal says, and what is wrong with them by block. `values`: the
    `state.values` that Slack sends.
    """
    changed: Json = {}
    errors: dict[str, str] = {}
    for field in fields(arguments, schema):
        changed[field.key] = field.value
        state = values.get(field.block, {}).get(f"{FIELD}{field.number}")
        if field.kind == "fixed" or not isinstance(state, Mapping):
            continue
        try:
            changed[field.key] = _value(field, state)
        except ValueError as wrong:
            errors[field.block] = str(wrong)
    return changed, errors


def at_blocks(arguments: Json, schema: Json, told: Mapping[str, object]) -> dict[str, str]:
    """Words by argument -> words by block; what has no field stands at the reason."""
    blocks = {one.key: one.block for one in fields(arguments, schema) if one.kind != "fixed"}
    found: dict[str, str] = {}
    for key, words in told.items():
        known = key in blocks
        sentence = str(words) if known else f"{label(key)}: {words}"
        found[blocks.get(key, REASON_BLOCK)] = cut(visible(sentence), HEADER)
    return found


def _value(field: Field, state: Mapping[str, Any]) -> JsonValue:
    """Raises ValueError in words for people."""
    if field.kind == "choice":
        chosen = (state.get("selected_option") or {}).get("value")
        every = field.options or (True, False)
        return None if chosen is None else every[int(chosen)]
    if field.kind == "date":
        found = state.get("selected_date")
        return None if found is None else str(found)
    text = str(state.get("value") or "").replace("\r\n", "\n")
    if text == field.shown:
        return field.value
    return _typed(field, text)


def _typed(field: Field, text: str) -> JsonValue:
    if not text and field.nullable:
        return None
    if field.kind in ("whole", "decimal"):
        return _number(field, text)
    return _items(field, text) if field.kind == "list" else text


def _number(field: Field, text: str) -> JsonValue:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("This is not a number.") from None
    if not number.is_finite():
        raise ValueError("This is not a number.")
    if field.value is not None and number == Decimal(field.shown):
        return field.value
    if field.kind == "decimal":
        return text
    if number != number.to_integral_value():
        raise ValueError("This is not a whole number.")
    return int(number)


def _items(field: Field, text: str) -> JsonValue:
    """A value a line, of the kind that the list holds."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    before = field.value if isinstance(field.value, list) else []
    if before and all(isinstance(one, int) for one in before):
        try:
            return [int(line) for line in lines]
        except ValueError:
            raise ValueError("Write one whole number a line.") from None
    return list(lines)
