"""The words that every surface shares: who still has to agree, how it ended, what was changed."""

from __future__ import annotations

from typing import Any

import pytest

from gates.core.asked import Requirement
from gates.core.model import DecisionKind, Outcome, OutcomeKind, RequestView
from gates.core.quorum import missing
from gates.core.wording import MOST, approvers, asks, changed, ended, left_unused, places
from gates.web.rendering import request_page
from integrations.terminal import details
from tests.support.rounds import DEADLINE, OPENED, decision, request, view

PEOPLE = {"dana": "Dana", "mika": "Mika", "tess": "Tess"}
BOTH = {"controllers": ("dana", "mika"), "treasury": ("tess",)}
TWO_ROLES = {"controllers": ("dana", "mika"), "treasury": ("dana", "tess")}


def required(quorum: int = 1, **changes: Any) -> Requirement:
    values: dict[str, Any] = {"people": PEOPLE, "quorum": quorum, "deadline_at": DEADLINE}
    return Requirement(**(values | changes))


@pytest.mark.parametrize(
    ("quorum", "agreed", "words"),
    [
        (1, (), "1 of Dana, Mika, Tess"),
        (2, (), "2 of Dana, Mika, Tess"),
        (2, ("mika",), "1 of Dana, Tess"),
        (3, ("mika", "dana"), "Tess"),
    ],
)
def test_a_number_of_people_is_told_with_those_who_are_left(
    quorum: int, agreed: tuple[str, ...], words: str
) -> None:
    """Who has agreed is not asked any more; where one is left, it is that one."""
    assert asks(required(quorum), agreed) == words


@pytest.mark.parametrize(
    ("groups", "agreed", "words"),
    [
        (BOTH, (), "one of each: controllers (Dana, Mika), treasury (Tess)"),
        (BOTH, ("dana",), "1 of treasury (Tess)"),
        (BOTH, ("tess",), "1 of controllers (Dana, Mika)"),
        (BOTH, ("dana", "mika"), "1 of treasury (Tess)"),
        (TWO_ROLES, ("dana",), "1 of controllers (Mika) or treasury (Tess)"),
    ],
)
def test_one_of_each_group_is_told_by_group(
    groups: dict[str, tuple[str, ...]], agreed: tuple[str, ...], words: str
) -> None:
    """Groups that somebody stands for are left out; who could stand for either leaves it open."""
    assert asks(required(2, groups=groups), agreed) == words


def test_whoever_is_named_as_missing_does_help() -> None:
    """Each person named for an open place brings the question nearer to its answer."""
    needed = required(2, groups=TWO_ROLES)
    named = {name for place in places(needed, ["dana"]) if place.open for name in place.could}
    assert named == {"Mika", "Tess"}
    ids = {name: one for one, name in PEOPLE.items()}
    assert all(missing(needed, ["dana", ids[name]]) == 0 for name in named)


def test_more_people_than_groups_are_told_too() -> None:
    """Three must agree, and two groups are named: both are said."""
    words = asks(required(3, groups=BOTH))
    assert words == (
        "3 of Dana, Mika, Tess, among them one of each: controllers (Dana, Mika), treasury (Tess)"
    )


def test_a_crowd_is_cut_and_counted() -> None:
    """Names are not dropped silently."""
    crowd = {str(number): f"Person {number}" for number in range(MOST + 3)}
    assert asks(required(people=crowd)).endswith(f"Person {MOST - 1} and 3 more")


def voided(by: str, reason: str) -> RequestView:
    outcome = Outcome(kind=OutcomeKind.VOIDED, by=(by,), reason=reason, at=OPENED)
    return view(request()).model_copy(update={"outcome": outcome})


def test_a_voided_round_says_why() -> None:
    """Not whose hand it was in the program, but what no longer held."""
    assert ended(voided("time", "the approval has lapsed: approved at 9:00")) == (
        "voided: the approval has lapsed: approved at 9:00"
    )


def test_a_changed_round_names_who_changed_it_and_to_what() -> None:
    """The decision has the changes, value by value."""
    asked = request(arguments={"amount": "20000.00", "lines": [{"n": 1}, {"n": 2}]})
    changes = {"amount": "12000.00", "lines": [{"n": 1}, {"n": 3}]}
    one = decision("dana", DecisionKind.APPROVE_WITH_CHANGES, reason="partial", changes=changes)
    shown = view(asked, one)
    assert ended(shown) == "changed by Dana: partial"
    assert changed(shown, one) == ["amount: 20000.00 -> 12000.00", "lines[1].n: 2 -> 3"]
    assert approvers(shown) == []


def test_an_open_round_has_not_ended() -> None:
    """Nothing is said of an end that has not come."""
    assert ended(view(request(quorum=2), decision("dana"))) == ""
    assert ended(view(request(), decision("dana"))) == "approved by Dana"


def test_what_a_run_left_under_another_key_is_told_alike_everywhere() -> None:
    """With its answer, if it has one; on the page and on the command line."""
    left = [
        {"key": "old", "request": "r1", "outcome": "approved by Dana"},
        {"key": "older", "request": "r2", "outcome": "None"},
    ]
    shown = view(request().model_copy(update={"evidence": {"left_unused": left}}))
    lines = [
        "the same was approved by Dana under the key 'old', and that is not used",
        "the same was asked under the key 'older', and that is not used",
    ]
    assert left_unused(shown) == lines
    assert left_unused(view(request())) == []
    page = request_page(shown, [], "dana", OPENED)
    assert page.left_unused == tuple(lines)
    assert page.evidence.fields == ()
    assert [text for name, text in details(shown) if text in [f"in this run {x}" for x in lines]]
