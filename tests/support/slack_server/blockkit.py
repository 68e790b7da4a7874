"""Block Kit, as strict as Slack: what a message or a modal may contain, and every limit on it.

`check_message_blocks` and `check_view` return the complaints in Slack's own form (a sentence and
a JSON pointer); an empty list means that Slack would show it. Lengths are counted in UTF-16 code
units: the strictest reading of "characters", so that what passes here passes anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
_URL = re.compile(r"https?://[^\s<>|\"]+\Z")
_MESSAGE_TYPES = {
    "section",
    "divider",
    "header",
    "context",
    "actions",
    "image",
    "input",
    "rich_text",
}
_VIEW_TYPES = _MESSAGE_TYPES


def length(text: str) -> int:
    """Return the number of UTF-16 code units; an unpaired surrogate counts as one."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass
class Complaints:
    """Collects what is wrong; `at` walks down the document."""

    pointer: str = ""
    found: list[str] = field(default_factory=list)

    def at(self, step: str | int) -> Complaints:
        return Complaints(f"{self.pointer}/{step}", self.found)

    def add(self, sentence: str) -> None:
        self.found.append(f"[ERROR] {sentence} [json-pointer:{self.pointer}]")


def check_message_blocks(blocks: object) -> list[str]:
    """Return Slack's complaints about the `blocks` of a message."""
    out = Complaints("/blocks")
    _blocks(blocks, out, _MESSAGE_TYPES, MESSAGE_BLOCKS)
    return out.found


def check_view(view: object) -> list[str]:
    """Return Slack's complaints about a modal."""
    out = Complaints("/view")
    if not isinstance(view, dict):
        out.add("must be an object")
        return out.found
    allowed = {"type", "title", "blocks", "close", "submit", "private_metadata", "callback_id"}
    optional = {"clear_on_close", "notify_on_close", "external_id", "submit_disabled"}
    _keys(view, out, required={"type", "title", "blocks"}, allowed=allowed | optional)
    if view.get("type") != "modal":
        out.at("type").add("must be equal to modal")
    for name in ("title", "submit", "close"):
        if name in view:
            _text(view[name], out.at(name), limit=24, kinds={"plain_text"})
    for name, limit in (("private_metadata", 3000), ("callback_id", 255), ("external_id", 255)):
        if name in view:
            _string(view[name], out.at(name), limit, least=0)
    for name in ("clear_on_close", "notify_on_close", "submit_disabled"):
        if name in view:
            _boolean(view[name], out.at(name))
    _blocks(view.get("blocks"), out.at("blocks"), _VIEW_TYPES, VIEW_BLOCKS)
    inputs = [b for b in _objects(view.get("blocks")) if b.get("type") == "input"]
    if inputs and "submit" not in view:
        out.add("missing required field: submit, because the view has an input block")
    return out.found


def check_home(view: object) -> list[str]:
    """Return Slack's complaints about a home tab."""
    out = Complaints("/view")
    if not isinstance(view, dict):
        out.add("must be an object")
        return out.found
    allowed = {"type", "blocks", "private_metadata", "callback_id", "external_id"}
    _keys(view, out, required={"type", "blocks"}, allowed=allowed)
    if view.get("type") != "home":
        out.at("type").add("must be equal to home")
    _blocks(view.get("blocks"), out.at("blocks"), _VIEW_TYPES, VIEW_BLOCKS)
    return out.found


def _objects(value: object) -> Iterable[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _keys(value: Json, out: Complaints, *, required: set[str], allowed: set[str]) -> None:
    for name in sorted(required - value.keys()):
        out.add(f"missing required field: {name}")
    for name in sorted(value.keys() - allowed):
        out.add(f"no more than {len(allowed)} properties allowed; unknown property: {name}")


def _string(value: object, out: Complaints, limit: int, *, least: int = 1) -> None:
    if not isinstance(value, str):
        out.add("must be a string")
    elif length(value) < least:
        out.add(f"must be more than {least - 1} characters")
    elif length(value) > limit:
        out.add(f"must be less than {limit + 1} characters")
    elif any("\ud800" <= letter <= "\udfff" for letter in value):
        out.add("must be valid Unicode")


def _integer(value: object, out: Complaints, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        out.add(f"must be an integer from {low} to {high}")


def _boolean(value: object, out: Complaints) -> None:
    if not isinstance(value, bool):
        out.add("must be a boolean")


def _choice(value: object, out: Complaints, choices: set[str]) -> None:
    if value not in choices:
        out.add(f"must be one of {', '.join(sorted(choices))}")


def _url(value: object, out: Complaints) -> None:
    _string(value, out, 3000)
    if isinstance(value, str) and not _URL.match(value):
        out.add("must be a valid URL")


def _text(
    value: object,
    out: Complaints,
    *,
    limit: int = 3000,
    kinds: frozenset[str] | set[str] = frozenset({"plain_text", "mrkdwn"}),
) -> None:
    if not isinstance(value, dict):
        out.add("must be a text object")
        return
    kind = value.get("type")
    extra = {"plain_text": {"emoji"}, "mrkdwn": {"verbatim"}}.get(str(kind), set())
    _keys(value, out, required={"type", "text"}, allowed={"type", "text"} | extra)
    if kind not in kinds:
        out.at("type").add(f"must be one of {', '.join(sorted(kinds))}")
    if "text" in value:
        _string(value["text"], out.at("text"), limit)
    for name in extra & value.keys():
        _boolean(value[name], out.at(name))


def _blocks(value: object, out: Complaints, types: set[str], most: int) -> None:
    if not isinstance(value, list):
        out.add("must be an array")
        return
    if len(value) > most:
        out.add(f"no more than {most} items allowed")
    seen: set[str] = set()
    for index, block in enumerate(value):
        here = out.at(index)
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(block, dict) or kind not in types:
            here.add(f"unsupported type: {kind}")
            continue
        if "block_id" in block:
            name = block["block_id"]
            _string(name, here.at("block_id"), 255)
            if name in seen:
                here.at("block_id").add(f"`block_id` {name} already exists")
            seen.add(str(name))
        _BLOCKS[kind](block, here)
        _one_action_id_each(block, here)


def _one_action_id_each(block: Json, out: Complaints) -> None:
    inner = [block.get("element"), block.get("accessory"), *(block.get("elements") or [])]
    seen: set[str] = set()
    for element in inner:
        name = element.get("action_id") if isinstance(element, dict) else None
        if name is None:
            continue
        if name in seen:
            out.add(f"`action_id` {name} already exists for this block")
        seen.add(name)


def _section(block: Json, out: Complaints) -> None:
    allowed = {"type", "block_id", "text", "fields", "accessory", "expand"}
    _keys(block, out, required={"type"}, allowed=allowed)
    if "text" not in block and "fields" not in block:
        out.add("missing required field: text or fields")
    if "text" in block:
        _text(block["text"], out.at("text"))
    if "fields" in block:
        fields = block["fields"]
        if not isinstance(fields, list) or not 1 <= len(fields) <= 10:
            out.at("fields").add("must have from 1 to 10 items")
        else:
            for index, item in enumerate(fields):
                _text(item, out.at("fields").at(index), limit=2000)
    if "accessory" in block:
        _element(block["accessory"], out.at("accessory"), {"button", "image", "static_select"})
    if "expand" in block:
        _boolean(block["expand"], out.at("expand"))


def _divider(block: Json, out: Complaints) -> None:
    _keys(block, out, required={"type"}, allowed={"type", "block_id"})


def _header(block: Json, out: Complaints) -> None:
    _keys(block, out, required={"type", "text"}, allowed={"type", "text", "block_id"})
    _text(block.get("text"), out.at("text"), limit=150, kinds={"plain_text"})


def _context(block: Json, out: Complaints) -> None:
    _keys(block, out, required={"type", "elements"}, allowed={"type", "elements", "block_id"})
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
        out.at("elements").add("must have from 1 to 10 items")
        return
    for index, item in enumerate(elements):
        here = out.at("elements").at(index)
        if isinstance(item, dict) and item.get("type") == "image":
            _element(item, here, {"image"})
        else:
            _text(item, here)


def _actions(block: Json, out: Complaints) -> None:
    _keys(block, out, required={"type", "elements"}, allowed={"type", "elements", "block_id"})
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
        out.at("elements").add("must have from 1 to 25 items")
        return
    for index, item in enumerate(elements):
        _element(item, out.at("elements").at(index), {"button", "static_select"})


def _image_block(block: Json, out: Complaints) -> None:
    allowed = {"type", "block_id", "image_url", "alt_text", "title"}
    _keys(block, out, required={"type", "image_url", "alt_text"}, allowed=allowed)
    _url(block.get("image_url"), out.at("image_url"))
    _string(block.get("alt_text"), out.at("alt_text"), 2000)
    if "title" in block:
        _text(block["title"], out.at("title"), limit=2000, kinds={"plain_text"})


def _input(block: Json, out: Complaints) -> None:
    allowed = {"type", "block_id", "label", "element", "hint", "optional", "dispatch_action"}
    _keys(block, out, required={"type", "label", "element"}, allowed=allowed)
    for name in ("label", "hint"):
        if name in block:
            _text(block[name], out.at(name), limit=2000, kinds={"plain_text"})
    for name in ("optional", "dispatch_action"):
        if name in block:
            _boolean(block[name], out.at(name))
    fields = {"plain_text_input", "static_select", "number_input", "datepicker"}
    _element(block.get("element"), out.at("element"), fields)


def _rich_text(block: Json, out: Complaints) -> None:
    _keys(block, out, required={"type", "elements"}, allowed={"type", "elements", "block_id"})
    kinds = {"rich_text_section", "rich_text_quote", "rich_text_preformatted"}
    for index, part in enumerate(block.get("elements") or []):
        here = out.at("elements").at(index)
        if not isinstance(part, dict) or part.get("type") not in kinds:
            here.add("unsupported type")
            continue
        _keys(part, here, required={"type", "elements"}, allowed={"type", "elements", "border"})
        for place, item in enumerate(part.get("elements") or []):
            _rich_element(item, here.at("elements").at(place))


def _rich_element(item: object, out: Complaints) -> None:
    allowed = {"text": {"type", "text", "style"}, "link": {"type", "url", "text", "style"}}
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(item, dict) or kind not in allowed:
        out.add("unsupported type")
        return
    _keys(item, out, required={"type"}, allowed=allowed[str(kind)])
    if kind == "text":
        _string(item.get("text"), out.at("text"), 3000)
    else:
        _url(item.get("url"), out.at("url"))


def _element(value: object, out: Complaints, types: set[str]) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in types:
        out.add(f"unsupported type: {kind}")
        return
    if "action_id" in value:
        _string(value["action_id"], out.at("action_id"), 255)
    _ELEMENTS[str(kind)](value, out)


def _button(value: Json, out: Complaints) -> None:
    allowed = {"type", "text", "action_id", "url", "value", "style", "confirm"}
    _keys(value, out, required={"type", "text"}, allowed=allowed | {"accessibility_label"})
    _text(value.get("text"), out.at("text"), limit=75, kinds={"plain_text"})
    if "url" in value:
        _url(value["url"], out.at("url"))
    if "value" in value:
        _string(value["value"], out.at("value"), 2000)
    if "style" in value:
        _choice(value["style"], out.at("style"), {"primary", "danger"})
    if "accessibility_label" in value:
        _string(value["accessibility_label"], out.at("accessibility_label"), 75)
    if "confirm" in value:
        _confirm(value["confirm"], out.at("confirm"))


def _confirm(value: object, out: Complaints) -> None:
    if not isinstance(value, dict):
        out.add("must be an object")
        return
    needed = {"title", "text", "confirm", "deny"}
    _keys(value, out, required=needed, allowed=needed | {"style"})
    for name, limit in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
        kinds = {"plain_text", "mrkdwn"} if name == "text" else {"plain_text"}
        _text(value.get(name), out.at(name), limit=limit, kinds=kinds)
    if "style" in value:
        _choice(value["style"], out.at("style"), {"primary", "danger"})


def _image(value: Json, out: Complaints) -> None:
    needed = {"type", "image_url", "alt_text"}
    _keys(value, out, required=needed, allowed=needed)
    _url(value.get("image_url"), out.at("image_url"))
    _string(value.get("alt_text"), out.at("alt_text"), 2000)


def _plain_text_input(value: Json, out: Complaints) -> None:
    allowed = {"type", "action_id", "initial_value", "multiline", "min_length", "max_length"}
    more = {"placeholder", "focus_on_load", "dispatch_action_config"}
    _keys(value, out, required={"type"}, allowed=allowed | more)
    for name in ("multiline", "focus_on_load"):
        if name in value:
            _boolean(value[name], out.at(name))
    if "min_length" in value:
        _integer(value["min_length"], out.at("min_length"), 0, 3000)
    if "max_length" in value:
        _integer(value["max_length"], out.at("max_length"), 1, 3000)
    if "initial_value" in value:
        _string(value["initial_value"], out.at("initial_value"), 3000, least=0)
    if "placeholder" in value:
        _text(value["placeholder"], out.at("placeholder"), limit=150, kinds={"plain_text"})


def _number_input(value: Json, out: Complaints) -> None:
    allowed = {"type", "action_id", "is_decimal_allowed", "initial_value", "focus_on_load"}
    more = {"min_value", "max_value", "placeholder", "dispatch_action_config"}
    _keys(value, out, required={"type", "is_decimal_allowed"}, allowed=allowed | more)
    _boolean(value.get("is_decimal_allowed"), out.at("is_decimal_allowed"))
    for name in ("initial_value", "min_value", "max_value"):
        if name in value:
            _string(value[name], out.at(name), 3000)
            if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", str(value[name])):
                out.at(name).add("must be a number")


def _datepicker(value: Json, out: Complaints) -> None:
    allowed = {"type", "action_id", "initial_date", "placeholder", "focus_on_load", "confirm"}
    _keys(value, out, required={"type"}, allowed=allowed)
    if "initial_date" in value and not re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}", str(value["initial_date"])
    ):
        out.at("initial_date").add("must be a date, YYYY-MM-DD")


def _static_select(value: Json, out: Complaints) -> None:
    allowed = {"type", "action_id", "placeholder", "options", "initial_option", "focus_on_load"}
    _keys(value, out, required={"type", "options"}, allowed=allowed)
    options = value.get("options")
    if not isinstance(options, list) or not 1 <= len(options) <= 100:
        out.at("options").add("must have from 1 to 100 items")
        return
    for index, option in enumerate(_objects(options)):
        here = out.at("options").at(index)
        _keys(option, here, required={"text", "value"}, allowed={"text", "value", "description"})
        _text(option.get("text"), here.at("text"), limit=75)
        _string(option.get("value"), here.at("value"), 150)
    if "initial_option" in value and value["initial_option"] not in options:
        out.at("initial_option").add("must be one of the options")


_Check = Callable[[Json, Complaints], None]
_BLOCKS: dict[str, _Check] = {
    "section": _section,
    "divider": _divider,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "image": _image_block,
    "input": _input,
    "rich_text": _rich_text,
}
_ELEMENTS: dict[str, _Check] = {
    "button": _button,
    "image": _image,
    "plain_text_input": _plain_text_input,
    "static_select": _static_select,
    "number_input": _number_input,
    "datepicker": _datepicker,
}
