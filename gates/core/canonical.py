"""Canonical JSON (RFC 8785) and the digests over it.

RFC 8785 orders keys by UTF-16 code units and prints floats as ECMAScript does. Both are kept
exact here by refusing what could differ: keys are ASCII, there are no floats (money and
decimals are strings), and integers stay within 2**53. Within these limits sorted UTF-8 output
is the RFC's, at a tenth of its reference implementation's cost; tests hold the two together.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from gates.core.errors import InvalidInput, NotCanonical

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64
MAX_ITEMS = 5_000  # a condition over all of them stays within what it may take


def canonical_json(value: Any) -> bytes:
    """Raises NotCanonical naming the path of the value that has no canonical form."""
    _check(value, "$", 0)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError) as error:  # lone surrogates, for one
        raise NotCanonical(f"This value cannot be written as JSON: {error}.") from error


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def refuse_vast(name: str, value: Any) -> None:
    """Raises InvalidInput for more than a policy can look at, NotCanonical for what has no
    canonical form.
    """
    _check(value, name, 0)
    count, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple)):
            left += one
        count += 1
        if count + len(left) > MAX_ITEMS:
            raise InvalidInput(
                f"{name} has more than {MAX_ITEMS:,} values: send fewer, or in several calls."
            )


def _check(value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotCanonical(f"{path[:80]} is nested deeper than {MAX_DEPTH} levels: flatten it.")
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotCanonical(f"{path} = {value} is beyond 2**53: send it as a string.")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise NotCanonical(f"Key {key!r} in {path} is not ASCII text: rename the field.")
            _check(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth + 1)
    else:
        raise NotCanonical(
            f"{path} = {value!r} is a {type(value).__name__}: send money and decimals as strings."
        )
