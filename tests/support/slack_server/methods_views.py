"""Modals as Slack's client lets people use them: what fields hold, and buttons within."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.support.slack_server.blockkit import length
from tests.support.slack_server.workspace import Json


class ClientRefusalError(Exception):
    """Slack's own client does not let the person do this."""


def states(blocks: list[Json], values: dict[str, str]) -> Json:
    """`state.values` of a modal in which `values` (by `action_id`) were put into its fields; an
    empty text clears one.
    """
    state: Json = {}
    for index, block in enumerate(blocks):
        if block["type"] != "input":
            continue
        element = block["element"]
        name = element.get("action_id", f"auto{index}")
        held = _state(element, values.get(name))
        if not any(held.values()) and not block.get("optional"):
            raise ClientRefusalError("this field is required")
        place = state.setdefault(block.get("block_id", f"auto{index}"), {})
        place[name] = {"type": element["type"], **held}
    return state


def _state(element: Json, given: str | None) -> Json:
    kind = element["type"]
    if kind == "static_select":
        return {"selected_option": _selected(element, given)}
    if kind == "datepicker":
        chosen = element.get("initial_date") if given is None else given or None
        if chosen:
            date.fromisoformat(chosen)
        return {"selected_date": chosen}
    text = element.get("initial_value") if given is None else given
    if text:
        _check(element, text)
    return {"value": text or None}


def _selected(element: Json, given: str | None) -> Json | None:
    if given is None:
        return element.get("initial_option")
    if not given:
        return None
    found = [one for one in element["options"] if given in (one["value"], one["text"]["text"])]
    if not found:
        raise ClientRefusalError(f"there is no option {given!r}")
    return dict(found[0])


def _check(element: Json, text: str) -> None:
    """What Slack's client checks before it sends anything."""
    if length(text) < int(element.get("min_length", 0)):
        raise ClientRefusalError("too short")
    if length(text) > int(element.get("max_length", 3000)):
        raise ClientRefusalError("too long")
    if element["type"] == "number_input":
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise ClientRefusalError("not a number") from None
        if number != number.to_integral_value() and not element["is_decimal_allowed"]:
            raise ClientRefusalError("not a whole number")


def button_of(blocks: list[Json], action_id: str) -> tuple[Json, Json]:
    """(block, button) of a modal; `LookupError` where the person sees no such."""
    for block in blocks:
        for element in [*block.get("elements", []), block.get("accessory") or {}]:
            if element.get("type") == "button" and element.get("action_id") == action_id:
                return block, element
    raise LookupError(f"no button {action_id!r} on the modal")


def pressed(block: Json, button: Json, stamp: str) -> dict[str, Any]:
    """One of the `actions` of a payload."""
    kept = {key: one for key, one in button.items() if key in {"type", "text", "value", "style"}}
    about = {"action_id": button["action_id"], "action_ts": stamp}
    return kept | about | {"block_id": block.get("block_id") or "auto"}
