"""Functions as actions: what is approved is what runs, through JSON and back."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gates.core.canonical import canonical_json
from gates.core.errors import InvalidArguments, MisusedGate, NotCanonical
from gates.flow.functions import Body, shown


class Note(BaseModel):
    to: str
    on: date
    amount: Decimal


@dataclass
class Place:
    city: str


def example(note: Note, place: Place, /, days: set[int], *, when: date | None = None) -> None:
    """Every kind of parameter."""


def echo(value: Any) -> Any:
    return value


def dumped(function, *args, **kwargs):
    body = Body("x", function)
    return body.dump(body.bind(args, kwargs))


NOTE = Note(to="ops", on=date(2026, 11, 20), amount=Decimal("505.75"))


def test_arguments_go_to_canonical_json_and_come_back_as_they_were():
    """Models, dataclasses, decimals, dates and sets survive the way through the server."""
    body = Body("x", example)
    told = body.dump(body.bind((NOTE, Place("Ghent"), {3}), {"when": date(2026, 1, 2)}))
    canonical_json(told)
    assert told == {
        "note": {"to": "ops", "on": "2026-11-20", "amount": "505.75"},
        "place": {"city": "Ghent"},
        "days": [3],
        "when": "2026-01-02",
    }
    back = body.load(told)
    assert back.args == (NOTE, Place("Ghent"), {3})
    assert back.kwargs == {"when": date(2026, 1, 2)}


def test_defaults_are_shown_to_people_too():
    """What would run is on the card, given or not."""
    assert dumped(example, NOTE, Place("Ghent"), {1})["when"] is None


def test_values_that_do_not_fit_are_refused_by_name():
    """Before anybody is asked."""
    with pytest.raises(InvalidArguments, match=r"x: days: .*'many'"):
        dumped(example, NOTE, Place("Ghent"), {"many"})


def test_calls_that_do_not_fit_are_refused():
    """As Python would, in one sentence."""
    with pytest.raises(InvalidArguments, match="missing a required argument"):
        dumped(example, NOTE)


def test_floats_are_refused_by_name():
    """Also deep inside a value without an annotation."""
    with pytest.raises(NotCanonical, match=r"\$.value.rates\[0\] = 0.5 is a float"):
        dumped(echo, {"rates": [0.5]})


def test_objects_without_a_json_form_are_refused():
    """A person cannot approve `<object at 0x...>`."""
    with pytest.raises(InvalidArguments, match=r"value = .* has no JSON form"):
        dumped(echo, object())


def starred(*notes: str) -> None: ...
def claiming(claims: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"), [(starred, r"\*notes"), (claiming, "'claims' belongs to the gate")]
)
def test_functions_that_cannot_be_shown_are_refused_where_they_are_decorated(function, words):
    """Not in the night of the first run."""
    with pytest.raises(MisusedGate, match=words):
        Body("x", function)


def results(value, function=echo):
    body = Body("x", function)
    told = body.dump_result(value)
    canonical_json(told)
    return body.load_result(told)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_every_json_result_is_recorded_and_read_back(value):
    """The action has run: a float or a foreign key in its result must not lose that."""
    try:
        assert results(value) == value
    except UnicodeError:
        pytest.fail("a result was lost")


def typed() -> Note: ...


def test_results_come_back_in_the_type_that_the_function_names():
    """On later passes as on the first."""
    assert results(NOTE, typed) == NOTE


def test_a_result_that_is_no_json_is_told_after_it_was_recorded():
    """What was done stays done; the author learns what to return instead."""
    with pytest.raises(MisusedGate, match="was done, but what it returned cannot be recorded"):
        results(object())


def test_calls_are_shown_short():
    """For messages: a long value is cut."""
    assert shown("send", {"to": "ops", "text": "x" * 100}) == f"send(to='ops', text='{'x' * 38}…)"
