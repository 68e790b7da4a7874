"""What docs/write-a-flow.md shows is run as it stands there."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

import gates as gates_package
from gates import Rejected
from gates.core.errors import GateStopped
from gates.settings import ClientSettings
from gates.testing import Answer, gates
from integrations.erp.actions import Payment

DOCUMENT = (Path(__file__).parents[2] / "docs" / "write-a-flow.md").read_text()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """All Python of the page, from top to bottom, as one module."""
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    file = tmp_path_factory.mktemp("docs") / "shown.py"
    file.write_text("\n\n".join(blocks))
    spec = importlib.util.spec_from_file_location("shown", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _payment(number: str) -> Payment:
    return Payment(
        supplier="acme",
        number=number,
        bill_id=1,
        currency="EUR",
        amount=Decimal("505.75"),
        payee_iban=None,
    )


def test_the_first_flow_pays(shown):
    """An action of the registry, run against the ERP of a test."""
    payment = _payment("1")
    with gates("reject") as asked, pytest.raises(Rejected):
        shown.pay_supplier.fn(payment)
    assert asked[0].name == "erp.payment.submit"
    assert asked[0].arguments["amount"] == "505.75"
    assert asked[0].claims == {"confidence": "0.97"}


def test_the_functions_run_as_they_are_described(shown):
    """Approved, refused, failed and tried again."""
    with gates() as asked:
        assert shown.remind.fn("ops@example.com") == "sent to ops@example.com"
        assert shown.close_month.fn("May") == "May closed, agreed by Test Approver"
        assert shown.insist.fn(["upstairs", "downstairs"]) == "printed downstairs"
        assert shown.remind_all.fn(["a", "b"]) == ["reminded a", "reminded b"]
        assert asyncio.run(shown.announce.fn()) == ["posted in finance", "posted in sales"]
    assert [one.key for one in asked if one.name == "notes.send"] == [
        "notes.send-1",
        "reminder-a",
        "reminder-b",
    ]
    assert [one.key for one in asked if one.name == "notes.print"] == ["print", "print~2"]


def test_gates_side_by_side_run_as_they_are_described(shown):
    """Results, rejections, and what nobody answered."""

    def decide(proposal):
        return Answer("withdraw") if proposal.arguments.get("to") == "late" else "approve"

    with gates(decide) as asked:
        assert shown.month_end.fn("May") == ("sent to ops@example.com; approved by Test Approver")
        told = shown.ask_around.fn(["a@b", "late"])
        assert sorted(told) == ["no answer in time", "sent to a@b"]
    assert [one.key for one in asked if one.name == "notes.send"] == [
        "notes.send-1",
        "notes.send-2",
        "notes.send-3",
    ]
    payments = [_payment("1"), _payment("2")]
    with gates("reject") as asked:
        assert shown.pay_due.fn(payments) == ["Rejected by Test Approver"] * 2
    assert sorted(one.key for one in asked) == ["pay-1", "pay-2"]


def test_the_agent_of_the_page_is_sent_back_and_approved_next(shown):
    """It proposes again with the guidance, at the same gate, and gives up after three rounds."""

    def advise(proposal):
        done = "shorter" in proposal.arguments["text"]
        return Answer("approve") if done else Answer("send_back", "shorter")

    with gates(advise) as asked:
        assert shown.publish_with_advice.fn("News") == "published: News (shorter)"
    assert [(one.key, one.call) for one in asked] == [
        ("notes.publish-1", 1),
        ("notes.publish-1", 2),
    ]
    with gates(Answer("send_back", "no")) as asked:
        assert shown.publish_with_advice.fn("News") == "given up"
    assert len(asked) == 3


def test_the_test_on_the_page_passes(shown):
    """Readers copy it."""
    shown.test_a_rejected_reminder_is_reported()


def test_the_table_of_errors_is_complete():
    """Each error that ends a flow is in it, and no other; all are there to be imported."""
    named = set(re.findall(r"^\| `([A-Z][a-z]\w+)` \|", DOCUMENT, re.MULTILINE)) - {"ActionFailed"}
    kinds = GateStopped.__subclasses__()
    kinds += [below for kind in kinds for below in kind.__subclasses__()]
    assert named == {kind.__name__ for kind in kinds}
    assert named <= set(gates_package.__all__)


def test_the_table_of_settings_gives_the_real_defaults():
    """Name and default as the settings have them."""
    rows = re.findall(r"^\| `GATES_(\w+)` \|.*\| `?([^`|]+?)`? \|$", DOCUMENT, re.MULTILINE)
    fields = ClientSettings.model_fields
    told = {name.lower(): value.strip() for name, value in rows if value.strip()}
    for name, value in told.items():
        assert fields[name].default == type(fields[name].default)(value)
    assert told.keys() == {"url", "linger", "lease", "patience"}


def test_a_flow_takes_back_what_can_be(shown):
    """What has no way back stays; the flow ends as it would have ended."""
    payment = Payment(supplier="acme", number="1", bill_id=1, currency="EUR", amount=Decimal(5))
    with gates("reject") as asked, pytest.raises(Rejected) as no:
        shown.pay_and_remind.fn(payment, "ops@example.com")
    assert [one.name for one in asked] == ["erp.payment.submit"]
    assert no.value.done == ()
