"""The ERP actions against the real ERP: what they find out, book, refuse and report."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from gates import executor as executors
from gates.actions import ActionDefinition
from gates.core.canonical import canonical_json
from gates.core.errors import ActionFailed, InvalidArguments
from gates.core.model import Action, Grant, Job, Json
from integrations.erp.actions import (
    ACTIONS,
    BillReceipt,
    CreateBill,
    FindBill,
    Payment,
    PostBill,
    create_bill,
    find_bill,
    post_bill,
    submit_payment,
)
from integrations.erp.books import books
from integrations.erp.company import installed
from integrations.erp.stray import plant_posted_bill, plant_stray_draft
from integrations.erp.tryton import TrytonErp
from tests.support.erp import WHY_SKIPPED, ErpServer, erp_server, sample_bill, simple_bill

pytestmark = [pytest.mark.erp, pytest.mark.skipif(not installed(), reason=WHY_SKIPPED)]

SAMPLES = Path(__file__).parents[2] / "flows" / "samples"
NUMBERS = count(1)
OTHER_IBAN = "DE75100000000000000909"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ErpServer]:
    with erp_server(tmp_path_factory.mktemp("erp")) as running:
        yield running


@pytest.fixture(scope="module")
def erp(server: ErpServer) -> TrytonErp:
    return server.erp("executor")


@pytest.fixture(scope="module")
def reader(server: ErpServer) -> TrytonErp:
    return server.erp("reader")


@pytest.fixture
def bill() -> CreateBill:
    """A bill that no other test has."""
    return simple_bill(f"T-{next(NUMBERS)}")


def created(erp: TrytonErp, bill: CreateBill) -> PostBill:
    receipt = create_bill.execute(erp, bill, idempotency_key=f"create-{bill.number}")
    return PostBill(
        supplier=bill.supplier,
        number=bill.number,
        bill_id=receipt.bill_id,
        currency=bill.currency,
        total=bill.total,
        payee_iban=bill.payee_iban,
    )


def posted(erp: TrytonErp, bill: CreateBill) -> Payment:
    draft = created(erp, bill)
    post_bill.execute(erp, draft, idempotency_key=f"post-{bill.number}")
    return payment_of(draft)


def payment_of(bill: PostBill) -> Payment:
    return Payment(
        supplier=bill.supplier,
        number=bill.number,
        bill_id=bill.bill_id,
        currency=bill.currency,
        amount=bill.total,
        payee_iban=bill.payee_iban,
    )


def job_of(payment: Payment, state: Json) -> Job:
    action = Action(name="erp.payment.submit", arguments=payment.model_dump(mode="json"))
    grant = Grant(
        request_id="r",
        fingerprint=action.fingerprint,
        policy_digest="p",
        attempt_id="a",
        fence=1,
        lease_until=datetime.now(UTC),
    )
    return Job(kind="execute", action=action, grant=grant, idempotency_key="k", precondition=state)


def verified(definition: ActionDefinition, reader, arguments, result) -> list[str]:
    assert definition.verify is not None
    return definition.verify(reader, arguments, result.model_dump(mode="json"))


def entry(erp: TrytonErp, number: str):
    (found,) = [e for e in books(erp) if e.number == number]
    return found


@pytest.mark.parametrize(
    "name", ["acme-steel-routine", "carla-consulting-routine", "acme-steel-large"]
)
def test_an_invoice_goes_all_the_way(erp: TrytonErp, reader: TrytonErp, name: str) -> None:
    """Draft, post, pay: the books show the document's total, one bill and one payment."""
    bill = sample_bill(SAMPLES, name)
    entered = create_bill.execute(erp, bill, idempotency_key=f"create-{bill.number}")
    assert verified(create_bill, reader, bill, entered) == []
    draft = created(erp, bill)  # the same key: the same draft
    assert draft.bill_id == entered.bill_id
    receipt = post_bill.execute(erp, draft, idempotency_key="p")
    assert verified(post_bill, reader, draft, receipt) == []
    payment = payment_of(draft)
    paid = submit_payment.execute(erp, payment, idempotency_key=f"pay-{name}")
    assert verified(submit_payment, reader, payment, paid) == []
    booked = entry(reader, bill.number)
    assert (booked.state, booked.total, booked.to_pay) == ("paid", bill.total, 0)
    assert (booked.key, booked.booked_as[:4]) == (f"create-{bill.number}", "BILL")
    assert [(p.key, p.amount, p.state) for p in booked.payments] == [
        (f"pay-{name}", bill.total, "succeeded")
    ]


def test_the_server_can_do_its_part_with_the_reader(
    reader: TrytonErp, erp: TrytonErp, bill
) -> None:
    """Facts and preconditions need no write access, and are canonical JSON without floats."""
    draft = created(erp, bill)
    payment = payment_of(draft)
    find = FindBill(supplier=bill.supplier, number=bill.number, total=bill.total)
    for definition, arguments in (
        (find_bill, find),
        (create_bill, bill),
        (post_bill, draft),
        (submit_payment, payment),
    ):
        assert canonical_json(definition.facts(reader, arguments))
        assert canonical_json(definition.precondition(reader, arguments))
        assert canonical_json(arguments.model_dump(mode="json"))


def test_facts_of_a_routine_bill(reader: TrytonErp) -> None:
    """A known supplier with its known account and a new number."""
    facts = create_bill.facts(reader, simple_bill("NEVER-SEEN"))
    assert facts["amount_minor"] == 11900
    assert facts["supplier_known"] is True
    assert facts["supplier_name"] == "Acme Steel AG"
    assert facts["bank_account_changed"] is False
    assert facts["duplicate_number"] == []


def test_facts_of_a_suspicious_bill(reader: TrytonErp, erp: TrytonErp, bill: CreateBill) -> None:
    """A number seen before and another bank account are both found."""
    posted(erp, bill)
    again = bill.model_copy(update={"payee_iban": OTHER_IBAN})
    facts = create_bill.facts(reader, again)
    assert facts["bank_account_changed"] is True
    (duplicate,) = facts["duplicate_number"]
    assert "posted, 119.00 EUR" in duplicate
    assert facts["open_exposure_minor"] >= 11900


def test_a_bill_that_is_booked_on_another_day_is_said(
    reader: TrytonErp, erp: TrytonErp, bill: CreateBill
) -> None:
    """Asked for, or standing in the draft: both are in the facts and in what must not change."""
    draft = created(erp, bill)
    day = date(2026, 2, 2)
    named = draft.model_copy(update={"accounting_date": day})
    assert post_bill.facts(reader, draft)["other_date"] is False
    assert post_bill.facts(reader, named)["booked_on"] == day.isoformat()
    before = post_bill.precondition(reader, draft)
    erp.date_bill(draft.bill_id, day)
    assert post_bill.precondition(reader, draft) != before
    put_aside = draft.model_copy(update={"accounting_date": bill.invoice_date})
    for one in (draft, named, put_aside):
        assert post_bill.facts(reader, one)["other_date"] is True
    receipt = post_bill.execute(erp, named, idempotency_key="p")
    assert verified(post_bill, reader, named, receipt) == []
    (wrong,) = verified(
        post_bill, reader, draft.model_copy(update={"accounting_date": date(2026, 3, 1)}), receipt
    )
    assert wrong == "date: the ERP has 2026-02-02, approved was 2026-03-01"


def test_a_number_in_another_spelling_is_the_same_number(
    reader: TrytonErp, erp: TrytonErp, bill: CreateBill
) -> None:
    """Case, spaces and punctuation do not make a duplicate a new invoice; other digits do."""
    created(erp, bill)
    for spelling in (bill.number.lower(), bill.number.replace("-", " / ")):
        again = bill.model_copy(update={"number": spelling})
        assert len(create_bill.facts(reader, again)["duplicate_number"]) == 1
    longer = bill.model_copy(update={"number": f"{bill.number}5"})
    assert create_bill.facts(reader, longer)["duplicate_number"] == []


def test_an_unknown_supplier_is_a_fact_and_a_refusal(erp: TrytonErp, reader: TrytonErp) -> None:
    """People can see that the supplier is unknown; nothing is entered for it."""
    bill = simple_bill("UNKNOWN-1", supplier="DE111111111", supplier_name="Nobody")
    facts = create_bill.facts(reader, bill)
    assert (facts["supplier_known"], facts["supplier_name"]) == (False, "Nobody")
    with pytest.raises(ActionFailed, match="no active supplier") as caught:
        create_bill.execute(erp, bill, idempotency_key="unknown")
    assert caught.value.error_class == "supplier_unknown"
    assert reader.bills(number="UNKNOWN-1") == []


def test_lines_that_do_not_come_to_the_total_leave_nothing(
    erp: TrytonErp, reader: TrytonErp, bill: CreateBill
) -> None:
    """The draft whose total is not the document's is deleted before the failure is reported."""
    wrong = bill.model_copy(update={"total": Decimal("119.01")})
    with pytest.raises(ActionFailed, match=r"119\.00 EUR in the ERP") as caught:
        create_bill.execute(erp, wrong, idempotency_key="wrong-total")
    assert caught.value.error_class == "total_mismatch"
    assert reader.bills(number=bill.number) == []


def test_a_tax_that_the_erp_does_not_know_is_refused(erp: TrytonErp, reader: TrytonErp) -> None:
    """The failure names the rate and those that there are."""
    bill = simple_bill(
        "TAX-1",
        lines=[{"description": "x", "quantity": "1", "unit_price": "1", "tax_rate": "16"}],
    )
    with pytest.raises(ActionFailed, match="no purchase tax of 16 percent"):
        create_bill.execute(erp, bill, idempotency_key="tax")
    assert reader.bills(number="TAX-1") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lines": []}, "lines"),
        ({"total": "0"}, "total"),
        ({"total": "1.001"}, "total"),
        ({"currency": "euro"}, "currency"),
        ({"approved": True}, "approved"),
        ({"number": ""}, "number"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(bill: CreateBill, change, said: str) -> None:
    """A bill without lines, without an amount or with more than asked for is no bill."""
    with pytest.raises(InvalidArguments, match=said):
        create_bill.parse(bill.model_dump(mode="json") | change)


def test_one_amount_has_one_fingerprint(bill: CreateBill) -> None:
    """Spellings of the same numbers and accounts are the same arguments."""
    other = bill.model_dump(mode="json") | {
        "total": "119",
        "payee_iban": "de66 10000000 0000000101",
    }
    other["lines"] = [dict(other["lines"][0], quantity="2.000", unit_price="50.0")]
    assert create_bill.parse(other) == bill
    assert create_bill.parse(other).model_dump_json() == bill.model_dump_json()
    assert bill.model_dump(mode="json")["total"] == "119.00"


def test_a_number_seen_before_can_be_booked_once_people_agreed(
    erp: TrytonErp, reader: TrytonErp
) -> None:
    """The ERP's own warning about the number is confirmed; both bills stand in the books."""
    first = sample_bill(SAMPLES, "bolt-brothers-routine")
    second = sample_bill(SAMPLES, "bolt-brothers-number-seen-before")
    posted(erp, first)
    receipt = create_bill.execute(erp, second, idempotency_key="again")
    draft = PostBill(**created_args(second, receipt))
    assert len(post_bill.facts(reader, draft)["duplicate_number"]) == 1
    post_bill.execute(erp, draft, idempotency_key="again-post")
    states = [(b.total, b.state) for b in reader.bills(number="RE-1187")]
    assert states == [(first.total, "posted"), (second.total, "posted")]


def created_args(bill: CreateBill, receipt: BillReceipt) -> dict[str, object]:
    return {
        "supplier": bill.supplier,
        "number": bill.number,
        "bill_id": receipt.bill_id,
        "currency": bill.currency,
        "total": bill.total,
    }


def test_a_changed_line_drifts_though_the_header_stands(
    server: ErpServer, erp: TrytonErp, reader: TrytonErp, bill: CreateBill
) -> None:
    """The ERP lets a price change silently; the precondition sees it, and so does the action."""
    draft = created(erp, bill)
    before = post_bill.precondition(reader, draft)
    assert post_bill.precondition(reader, draft) == before
    raw = server.running.company.connect(server.url, "executor")
    (line,) = raw.call("model.account.invoice.line.search", [["invoice", "=", draft.bill_id]])
    raw.call("model.account.invoice.line.write", [line], {"unit_price": Decimal("99999.00")})
    assert post_bill.precondition(reader, draft) != before
    with pytest.raises(ActionFailed, match=r"119\.00 were approved"):
        post_bill.execute(erp, draft, idempotency_key="drift")
    assert entry(reader, bill.number).state == "draft"


def test_a_changed_bank_account_drifts(
    server: ErpServer, erp: TrytonErp, reader: TrytonErp
) -> None:
    """The payee's account in the ERP is part of what must not change; the executor, which looks
    with its own user right before it pays, sees what the reader sees.
    """
    bill = sample_bill(SAMPLES, "delta-freight-stray-draft", number="DF-IBAN")
    payment = posted(erp, bill)
    before = submit_payment.precondition(reader, payment)
    job = job_of(payment, before)
    assert executors.drift(submit_payment, erp, job) is None
    admin = server.running.company.connect(server.url, "admin")
    (number,) = admin.call(
        "model.bank.account.number.search", [["account.owners.name", "=", "Delta Freight SE"]]
    )
    admin.call("model.bank.account.number.write", [number], {"number": OTHER_IBAN})
    try:
        assert submit_payment.precondition(reader, payment) != before
        assert submit_payment.facts(reader, payment)["bank_account_changed"] is True
        report = executors.drift(submit_payment, erp, job)
        assert report is not None
        assert (report.state, OTHER_IBAN in report.error) == ("drifted", True)
    finally:
        admin.call("model.bank.account.number.write", [number], {"number": bill.payee_iban})
    assert submit_payment.precondition(reader, payment) == before


def test_a_bill_without_lines_is_not_posted(
    server: ErpServer, erp: TrytonErp, bill: CreateBill
) -> None:
    """The ERP would post it straight to paid and use up a number."""
    draft = created(erp, bill)
    raw = server.running.company.connect(server.url, "executor")
    lines = raw.call("model.account.invoice.line.search", [["invoice", "=", draft.bill_id]])
    raw.call("model.account.invoice.line.delete", lines)
    with pytest.raises(ActionFailed):
        post_bill.execute(erp, draft, idempotency_key="empty")
    assert entry(erp, bill.number).state == "draft"


def test_somebody_elses_bill_is_not_touched(erp: TrytonErp, bill: CreateBill) -> None:
    """An id that does not belong to the supplier and number that people saw is refused."""
    payment = posted(erp, bill)
    for wrong in ({"supplier": "DE999000025"}, {"number": "OTHER"}, {"bill_id": 99999}):
        with pytest.raises(ActionFailed) as caught:
            submit_payment.execute(erp, payment.model_copy(update=wrong), idempotency_key="else")
        assert caught.value.error_class == "bill_unknown"
    assert entry(erp, bill.number).payments == ()


def test_a_paid_bill_is_not_paid_again(erp: TrytonErp, reader: TrytonErp, bill) -> None:
    """A second payment under another key is refused; the same key gives the same receipt."""
    payment = posted(erp, bill)
    first = submit_payment.execute(erp, payment, idempotency_key="once")
    assert submit_payment.execute(erp, payment, idempotency_key="once") == first
    with pytest.raises(ActionFailed, match="is paid in the ERP"):
        submit_payment.execute(erp, payment, idempotency_key="twice")
    assert entry(reader, bill.number).paid == bill.total


def test_a_stray_draft_fails_every_time_and_leaves_nothing(
    erp: TrytonErp, reader: TrytonErp
) -> None:
    """Each try fails with the same words and class, and undoes what it did; the cure cures."""
    bill = sample_bill(SAMPLES, "delta-freight-stray-draft")
    planted = plant_posted_bill(erp, bill)
    plant_stray_draft(erp, planted)
    plant_stray_draft(erp, plant_posted_bill(erp, bill))
    wanted = FindBill(supplier=bill.supplier, number=bill.number, total=bill.total)
    found = find_bill.execute(erp, wanted, idempotency_key="find").bill
    assert found is not None
    payment = payment_of(PostBill(**created_args(bill, found)))
    assert submit_payment.facts(reader, payment)["stray_drafts"] == 1
    before = submit_payment.precondition(reader, payment)
    failures = []
    for attempt in range(3):
        with pytest.raises(ActionFailed, match="payment-script") as caught:
            submit_payment.execute(erp, payment, idempotency_key=f"stuck-{attempt}")
        failures.append((caught.value.error_class, str(caught.value)))
        assert submit_payment.precondition(reader, payment) == before
    assert set(failures) == {("erp_warning.overpay", failures[0][1])}
    (stray,) = entry(reader, bill.number).payments
    assert stray.state == "draft"
    erp.delete_payment(reader.payments(key=stray.key)[0].id)
    submit_payment.execute(erp, payment, idempotency_key="stuck-3")
    assert entry(reader, bill.number).state == "paid"


def test_finding_tells_a_document_from_a_duplicate_number(erp: TrytonErp, bill) -> None:
    """The same number with another total is another document, and is not found."""
    created(erp, bill)
    same = FindBill(supplier=bill.supplier, number=bill.number, total=bill.total)
    other = same.model_copy(update={"total": Decimal("1.00")})
    nobody = same.model_copy(update={"supplier": "Nobody"})
    found = find_bill.execute(erp, same, idempotency_key="f").bill
    assert found is not None
    assert found.state == "draft"
    assert find_bill.execute(erp, other, idempotency_key="f").bill is None
    assert find_bill.execute(erp, nobody, idempotency_key="f").bill is None


def test_read_back_says_what_differs(erp: TrytonErp, reader: TrytonErp, bill: CreateBill) -> None:
    """A total other than the approved one is told in words, on the bill and on the payment."""
    payment = posted(erp, bill)
    paid = submit_payment.execute(erp, payment, idempotency_key=f"pay-{bill.number}")
    less = payment.model_copy(update={"amount": Decimal("100.00")})
    assert verified(submit_payment, reader, less, paid) == [
        "amount: the ERP has 119.00, approved was 100.00"
    ]
    elsewhere = payment.model_copy(update={"payee_iban": OTHER_IBAN})
    (difference,) = verified(submit_payment, reader, elsewhere, paid)
    assert "payee's account" in difference


def test_names_and_subjects_are_stable(bill: CreateBill) -> None:
    """Policies and loop counts hang on these words."""
    assert [definition.name for definition in ACTIONS] == [
        "erp.bill.find",
        "erp.bill.create",
        "erp.bill.post",
        "erp.payment.submit",
        "erp.bill.discard",
        "erp.bill.cancel",
        "erp.payment.withdraw",
        "erp.supplier.bank_account.change",
    ]
    assert create_bill.subject(bill) == [
        "supplier:DE999000017",
        f"invoice:DE999000017/{bill.number}",
    ]
    assert create_bill.amount(bill) == (Decimal("119.00"), "EUR")
