"""Approve with changes in Slack: fields by the action's schema, and what comes back."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from integrations.erp.arguments import CreateBill, Payment
from integrations.slack.forms import BLOCK, FIELD, at_blocks, changes_view, fields, read
from integrations.slack.modals import REASON_BLOCK
from tests.support.slack_server import check_view
from tests.support.slack_server.methods_views import states
from tests.unit.test_slack_blocks import Action, make_view


class Speed(StrEnum):
    SLOW = "slow"
    FAST = "fast"


class Everything(BaseModel):
    text: str
    whole: int
    sum: Decimal
    day: date
    speed: Speed
    sure: bool
    names: list[str]
    numbers: list[int]
    iban: str | None
    lines: list[dict[str, str]]


ASKED: dict[str, Any] = {
    "text": "as it is",
    "whole": 3,
    "sum": "505.750",
    "day": "2026-03-02",
    "speed": "slow",
    "sure": True,
    "names": ["a", "b"],
    "numbers": [1, 2],
    "iban": None,
    "lines": [{"sku": "x"}],
}
SCHEMA = Everything.model_json_schema()


def sent(values: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Fill the modal as Slack's client lets one, by the argument's name."""
    view = changes_view(make_view(action=Action(name="x", arguments=ASKED)), SCHEMA, "t", "C")
    keys = list(ASKED)
    given = {f"{FIELD}{keys.index(key)}": text for key, text in values.items()}
    return read(ASKED, SCHEMA, states(view["blocks"], given | {"gates_reason_text": "x"}))


def test_each_type_has_its_field() -> None:
    """Text, number, date, choice, one a line; what no field can hold leads to the inbox."""
    kinds = [one.kind for one in fields(ASKED, SCHEMA)]
    assert kinds == [
        *("text", "whole", "decimal", "date", "choice", "choice", "list", "list", "text", "fixed"),
    ]
    view = changes_view(make_view(action=Action(name="x", arguments=ASKED)), SCHEMA, "t", "C")
    assert check_view(view) == []
    assert "Not to be changed here: Lines; <http://gates.test/requests/1/change|" in str(view)


def test_what_nobody_touched_comes_back_as_it_was() -> None:
    """To the last character: no number is spelled anew."""
    assert sent({}) == (ASKED, {})
    assert sent({"sum": "505.75"}) == (ASKED, {})


def test_what_was_changed_comes_back_in_its_own_type() -> None:
    """Each as JSON has it; an empty field that may be empty is nothing."""
    changed, errors = sent(
        {
            "text": "two",
            "whole": "4",
            "sum": "12.5",
            "day": "2026-04-01",
            "speed": "fast",
            "sure": "no",
            "names": "a\n\n c ",
            "numbers": "7",
            "iban": "DE1",
        }
    )
    assert errors == {}
    assert changed == {
        "text": "two",
        "whole": 4,
        "sum": "12.5",
        "day": "2026-04-01",
        "speed": "fast",
        "sure": False,
        "names": ["a", "c"],
        "numbers": [7],
        "iban": "DE1",
        "lines": [{"sku": "x"}],
    }


def test_what_does_not_fit_is_told_at_its_field() -> None:
    """By the block that holds it; what has no field stands at the reason."""
    assert sent({"numbers": "seven"})[1] == {f"{BLOCK}7": "Write one whole number a line."}
    told = at_blocks(ASKED, SCHEMA, {"sum": "too much", "lines": "too few"})
    assert told == {f"{BLOCK}2": "too much", REASON_BLOCK: "Lines: too few"}


def test_a_text_that_does_not_show_is_not_edited() -> None:
    """It could not be told from what it looks like; nor is one that is too long for a field."""
    asked = {"hidden": "DE1\u202e2", "long": "x" * 3_001}
    assert [one.kind for one in fields(asked, {})] == ["fixed", "fixed"]


def test_a_schema_of_two_hundred_is_cut_to_what_fits() -> None:
    """The first ninety have fields; the others are named and left to the inbox."""
    asked = {f"value_{number}": "x" for number in range(200)}
    view = changes_view(make_view(action=Action(name="x", arguments=asked)), {}, "t", "C")
    assert check_view(view) == []
    assert len(view["blocks"]) == 93
    assert "and 90 more" in str(view["blocks"][-2])


def test_the_actions_of_the_erp_have_fields() -> None:
    """Every argument of a payment; of a bill all but its lines."""
    payment = Payment(
        supplier="A", number="1", bill_id=7, currency="EUR", amount=Decimal(5), payee_iban=None
    )
    asked = payment.model_dump(mode="json")
    kinds = {one.key: one.kind for one in fields(asked, Payment.model_json_schema())}
    assert kinds["amount"] == "decimal"
    assert kinds["bill_id"] == "whole"
    assert "fixed" not in kinds.values()
    bill = {"invoice_date": "2026-03-02", "lines": [{"sku": "x"}], "total": "1.00"}
    found = {one.key: one.kind for one in fields(bill, CreateBill.model_json_schema())}
    assert found == {"invoice_date": "date", "lines": "fixed", "total": "decimal"}
