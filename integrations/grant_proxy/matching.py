"""Which action a request is, read so that nobody downstream can read it otherwise. Pure.

Rules, each with what it protects from:
1. A path has one spelling, the one that the proxy itself would write (`%2e%2e`, `//`, `;`).
2. A body is one JSON object without doubled keys, floats or NaN: two readers that differ in what
   they make of those would see two requests.
3. No query: nothing beside path and body could change what a write does.
4. What goes on to the API is written anew from what was approved, never the bytes that came.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote, unquote_to_bytes

from gates.core.canonical import canonical_json, digest
from gates.core.errors import InvalidGrant, InvalidInput
from gates.core.model import Json
from gates.grants.token import Claims
from integrations.grant_proxy.rules import Part, Rules, Write

INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}")


@dataclass(frozen=True)
class Call:
    """A request understood: the action's name and all of its arguments, and what to send on."""

    write: Write
    arguments: Json
    path: str
    body: bytes

    @property
    def action(self) -> str:
        return self.write.action


def understand(rules: Rules, method: str, path: str, query: str, body: bytes) -> list[Call]:
    """What this request may mean, by the rules; several actions may share an address.

    `path` is as it came, still percent-encoded. Raises InvalidInput.
    """
    found = []
    for write in rules.writes:
        values = _values(write, path) if write.method == method else None
        if values is not None:
            found.append((write, values))
    if not found:
        return []
    if query:
        raise InvalidInput(f"?{query[:80]}: a write through a grant has no query: leave it out.")
    return [_call(write, values, path, body) for write, values in found]


def granted(calls: list[Call], claims: Claims) -> Call:
    """The call that the grant is for. Raises InvalidGrant saying what differs."""
    if claims.use != "execute":
        raise InvalidGrant("This grant is for finding out what happened: it allows no call.")
    named = [call for call in calls if call.action == claims.action]
    if not named:
        meant = ", ".join(sorted({call.action for call in calls}))
        raise InvalidGrant(f"The grant is for {claims.action!r}, and this request is {meant}.")
    for call in named:
        if digest(call.arguments) == claims.arguments:
            return call
    given = canonical(named[0].arguments)
    raise InvalidGrant(
        f"The request is not what was approved: path and body give {given}, and the grant is for "
        "other arguments of the same action."
    )


def canonical(arguments: Json) -> str:
    text = canonical_json(arguments).decode()
    return text if len(text) <= 300 else f"{text[:299]}…"  # noqa: PLR2004 - fits a sentence


def _values(write: Write, path: str) -> Json | None:
    """The arguments in the path, or None where this is another address."""
    steps = path.split("/")[1:]
    if len(steps) != len(write.path):
        return None
    values: Json = {}
    for part, step in zip(write.path, steps, strict=True):
        if part.kind is None:
            if part.text != step:
                return None
            continue
        value = _value(part, step)
        if value is None:
            return None
        values[part.text] = value
    return values


def _value(part: Part, step: str) -> str | int | None:
    if part.kind == "int":
        return int(step) if INTEGER.fullmatch(step) else None
    try:
        text = unquote_to_bytes(step).decode()
    except UnicodeDecodeError:
        return None
    plain = text.isprintable() and not set(text) & {"/", "\\"} and text.strip(".") != ""
    return text if plain and quote(text, safe="") == step else None


def _call(write: Write, values: Json, path: str, body: bytes) -> Call:
    if write.body == "none":
        if body:
            raise InvalidInput(f"{write.method} {path} has no body by the rules: leave it out.")
        return Call(write, values, path, b"")
    sent = _object(body)
    twice = values.keys() & sent.keys()
    if twice:
        raise InvalidInput(f"{', '.join(sorted(twice))}: stands in the path, not in the body too.")
    return Call(write, values | sent, path, canonical_json(sent))


def _object(body: bytes) -> Json:
    """Raises InvalidInput or NotCanonical."""
    try:
        read = json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The body is not one JSON object in UTF-8: {error}.") from error
    if not isinstance(read, dict):
        raise InvalidInput("The body is not a JSON object: send the arguments by their names.")
    return read


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{twice[:80]!r} stands twice in the body: keep one of them.")
    return found


def _no_float(text: str) -> NoReturn:
    raise InvalidInput(f"{text[:40]} in the body: send money and decimals as texts.")
