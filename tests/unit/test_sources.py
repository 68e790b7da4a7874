"""Several sources for one fact: they agree, or people are told who says what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core.sources import compared


def of(*said: Any, **more: Any) -> dict[str, Any]:
    return compared({f"s{n}": (lambda one=one: one) for n, one in enumerate(said)}, **more)


def away() -> str:
    raise ConnectionError("it does not answer")


@pytest.mark.parametrize(
    "said",
    [
        ("DE12 3456", "de123456"),
        ("10.00", "10"),
        ("10.00", 10),
        (10, 10.0),
        (True, True),
        ([1, "a"], [1, "a"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_the_same_in_other_words_is_agreement(said):
    """Blanks, capitals, zeros behind the point and the order of keys mean nothing."""
    found = of(*said)
    assert (found["agree"], found["value"], found["disagreements"]) == (True, said[0], [])


@pytest.mark.parametrize(
    "said",
    [
        ("DE12", "DE13"),
        ("007", "7"),
        ("1e3", "1000"),
        ("10.00", "10.01"),
        (True, 1),
        (True, "true"),
        (["a"], "a"),
        (["a", "b"], ["b", "a"]),
        ("NaN", "na"),
        ("a", "a", "b"),
    ],
)
def test_anything_else_is_a_disagreement(said):
    """All sides are named, and no value is given that a rule could rest on."""
    found = of(*said)
    assert (found["agree"], found["value"]) == (False, None)
    assert len(found["disagreements"]) == 2


def test_the_words_say_who_says_what():
    """Those who agree stand together."""
    found = compared({"books": lambda: "DE1", "bank": lambda: "DE2", "register": lambda: "DE1"})
    assert found["disagreements"] == ["books, register: DE1", "bank: DE2"]


def test_silence_is_no_agreement():
    """A source that fails, or has nothing; all the others may say the same."""
    found = compared({"books": lambda: 1, "bank": lambda: 1, "register": away, "old": lambda: None})
    assert found == {
        "agree": False,
        "value": None,
        "answered": 2,
        "silent": ["register: it does not answer", "old: nothing"],
        "disagreements": [],
    }


@pytest.mark.parametrize("said", [(), ("DE1",), (None, None)])
def test_too_few_agree_with_nobody(said):
    """One source is no second opinion; where one is enough that is said."""
    assert of(*said)["agree"] is False
    assert of("DE1", least=1)["agree"] is True


def test_what_cannot_be_compared_has_not_agreed():
    """A fraction within a list has no exact form."""
    assert of([0.1], [0.1])["agree"] is False


def test_who_knows_better_says_what_is_alike():
    """Names may be compared by their first word."""
    found = of("Acme Steel", "ACME Ltd", alike=lambda name: str(name).split()[0].lower())
    assert found["agree"] is True


ANSWERS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(["a"])


@given(said=st.lists(ANSWERS, max_size=5), more=ANSWERS)
def test_a_further_source_never_turns_disagreement_into_agreement(said, more):
    """Two that differ go on differing, whoever joins them; nothing raises."""
    before, after = of(*said, least=1), of(*said, more, least=1)
    if said and not before["agree"]:
        assert not after["agree"]
    assert after["agree"] is (after["value"] is not None)
