"""Where the destinations of an action come from: from what the person asked, or from elsewhere.

An agent that reads mails, pages and documents may obey what stands in them. What it was asked to
do does not name the attacker's account, address or page; so a destination that the person has not
named is worth a look. This says which they are; what comes of it is for a policy to say.

Named is not the same as wanted: "never write to eve@x.example" names Eve. And what a person pastes
into the request is in the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pydantic import JsonValue

from gates.core.destinations import Destination, destinations
from gates.core.disguises import disguises
from gates.core.model import Json

MOST_READ = 200_000  # characters of an action's arguments; more are not read, and ask
MOST_TOLD = 50
LAYERS = 3  # of JSON within a text
TOO_LONG = "(too long to be read)"


def origin(
    arguments: Json, request: str, *, declared: Sequence[str] = (), facts: Json | None = None
) -> Json:
    """What CEL sees as `origin`: `known` and `unseen` destinations, `in_facts` (unseen ones that
    `facts` name), and whether there is a request to compare with. `declared`: values that the
    action's definition calls destinations, whatever they look like (a channel, a person's name).
    """
    wanted, complete = _of(arguments, declared)
    named = _named(request)
    known = {one for one in wanted if named.has(one)}
    unseen = [one for one in wanted if one not in known]
    trusted = _named(" \n ".join(leaves(facts or {})))
    return {
        "request_known": bool(request.strip()),
        "known": _json([one for one in wanted if one in known]),
        "unseen": _json(unseen) + ([] if complete else [TOO_LONG]),
        "in_facts": _json([one for one in unseen if trusted.has(one)]),
    }


def _of(arguments: Json, declared: Sequence[str]) -> tuple[list[Destination], bool]:
    """All destinations, each once, and whether everything was read."""
    found: dict[Destination, None] = {}
    left = MOST_READ
    for text in leaves(arguments):
        left -= len(text)
        if left < 0:
            return list(found), False
        found |= dict.fromkeys(destinations(text))
    for text in declared:
        inner = destinations(text)
        found |= dict.fromkeys(inner or [Destination("name", _name(text))])
    found.pop(Destination("name", ""), None)
    return list(found), True


def leaves(value: JsonValue, layers: int = LAYERS) -> Iterator[str]:
    """Every text in it, keys too, and what a text holds that is JSON itself. Fractions are
    amounts; a whole number may be an account.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner, layers)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, layers)
    elif isinstance(value, str):
        yield value
        if layers and value.lstrip()[:1] in ("{", "["):
            yield from leaves(_parsed(value), layers - 1)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def _parsed(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


class _Named:
    """What a text names."""

    def __init__(self, text: str) -> None:
        found = destinations(text, leaf=False, generous=True)
        self.values = {(one.kind, one.value) for one in found}
        self.pages: dict[str, list[Destination]] = {}
        for one in found:
            if one.kind == "url":
                self.pages.setdefault(one.host, []).append(one)
        self.texts = [shown.lower() for shown in disguises(text)]

    def has(self, one: Destination) -> bool:
        if one.kind == "url":
            return any(_covers(named, one) for named in self.pages.get(one.host, ()))
        if one.kind == "name":
            word = re.compile(rf"(?<!\w){re.escape(one.value)}(?!\w)")
            return any(word.search(text) for text in self.texts)
        return (one.kind, one.value) in self.values


@lru_cache(maxsize=256)  # all calls of a run are compared with one request
def _named(text: str) -> _Named:
    return _Named(text)


def _covers(named: Destination, one: Destination) -> bool:
    """The same page of the host or one below it; with a query it is that page alone."""
    if named.query:
        return (named.path, named.query) == (one.path, one.query)
    return not named.path or one.path == named.path or one.path.startswith(f"{named.path}/")


def _name(text: str) -> str:
    return " ".join(next(disguises(text), "").lower().lstrip("#@ ").split())


def _json(found: Sequence[Destination]) -> list[JsonValue]:
    told: list[JsonValue] = [one.value for one in found[:MOST_TOLD]]
    return told + ([f"and {len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else [])
