import hashlib
from decimal import Decimal
from enum import StrEnum

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gates.core.canonical import MAX_DEPTH, MAX_INTEGER, canonical_json, digest
from gates.core.errors import NotCanonical

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.text(st.characters(codec="utf-8"), max_size=12)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


@given(VALUES)
def test_it_is_the_canonical_form_of_rfc_8785(value):
    """Byte for byte what the reference implementation writes, control characters included."""
    assert canonical_json(value) == rfc8785.dumps(value)


@given(VALUES)
def test_the_digest_is_sha_256_over_it(value):
    """Anybody can compute a fingerprint with standard tools."""
    assert digest(value) == hashlib.sha256(rfc8785.dumps(value)).hexdigest()


@given(st.dictionaries(KEYS, LEAVES, min_size=2, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value, random):
    """The same object written in another order has the same fingerprint."""
    keys = list(value)
    random.shuffle(keys)
    assert digest({key: value[key] for key in keys}) == digest(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"amount": "505.75"}, {"amount": "505.750"}),
        ({"amount": "1"}, {"amount": 1}),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {}),
        ({"a": []}, {"a": {}}),
        ([[1], 2], [1, [2]]),
        ("\u00e9", "e\u0301"),
    ],
)
def test_what_differs_has_another_digest(one, other):
    """No two things that a person could tell apart share a fingerprint."""
    assert digest(one) != digest(other)


def test_a_tuple_is_a_list_and_an_enum_its_value():
    """Frozen values and plain JSON come to the same bytes."""

    class Color(StrEnum):
        RED = "red"

    assert canonical_json({"a": (1, Color.RED)}) == b'{"a":[1,"red"]}'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"total": 505.75}, r"\$\.total = 505.75 is a float: send money and decimals as strings"),
        ({"lines": [{"price": float("nan")}]}, r"\$\.lines\[0\]\.price = nan is a float"),
        ({"a": Decimal("1.0")}, "is a Decimal: send money"),
        ({"a": b"x"}, "is a bytes"),
        ({"a": {1, 2}}, "is a set"),
        ({"größe": 1}, "Key 'größe' in \\$ is not ASCII text: rename the field"),
        ({1: "x"}, "Key 1 in"),
        (MAX_INTEGER + 1, r"beyond 2\*\*53: send it as a string"),
        (-MAX_INTEGER - 1, r"beyond 2\*\*53"),
        ({"a": "\ud800"}, "cannot be written as JSON"),
    ],
)
def test_what_has_no_single_form_is_refused(value, words):
    """The error names the place, the value and the cure."""
    with pytest.raises(NotCanonical, match=words):
        canonical_json(value)


def test_depth_is_bounded():
    """A value that nests without end is refused before it can exhaust the stack."""
    deep: list = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert canonical_json(deep)
    with pytest.raises(NotCanonical, match=f"deeper than {MAX_DEPTH} levels"):
        canonical_json([deep])
    endless: dict = {}
    endless["a"] = endless
    with pytest.raises(NotCanonical):
        canonical_json(endless)
