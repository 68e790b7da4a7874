"""The ERP's own holes: each is shown to be there, and to be closed by the gate before it.

The whole way on real parts: the shipped policy, the gates server, executors and the ERP. What
`raw` does is the ERP's own protocol, as anybody with an ERP user could speak it.
"""

import threading
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from gates.core.errors import GatesError
from gates.core.model import GateReply, OutcomeKind, Purpose, Standing
from integrations.erp.actions import (
    CreateBill,
    Payment,
    PostBill,
    create_bill,
    post_bill,
    submit_payment,
)
from integrations.erp.company import installed
from integrations.erp.errors import TrytonWarning
from integrations.erp.port import NewPayment
from integrations.erp.rpc import TrytonRpc
from integrations.erp.tryton import TrytonErp
from tests.support.erp import WHY_SKIPPED, simple_bill
from tests.support.erp_gates import ErpGates, erp_gates

pytestmark = [pytest.mark.erp, pytest.mark.skipif(not installed(), reason=WHY_SKIPPED)]

NUMBERS = count(1)
OTHER_IBAN = "DE75100000000000000909"
ACME, ACME_IBAN = "DE999000017", "DE66100000000000000101"
LARGE = {
    "lines": [{"description": "Press", "quantity": "1", "unit_price": "20000", "tax_rate": "19"}],
    "total": Decimal("23800.00"),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErpGates]:
    with erp_gates(tmp_path_factory.mktemp("holes")) as running:
        yield running


@pytest.fixture
def raw(house: ErpGates) -> TrytonRpc:
    return house.raw("executor")


@pytest.fixture
def port(house: ErpGates) -> TrytonErp:
    return house.erp.erp("executor")


def bill(**changes: Any) -> CreateBill:
    """One that no other test has."""
    return simple_bill(f"H-{next(NUMBERS)}", **changes)


def drafted(port: TrytonErp, wanted: CreateBill) -> PostBill:
    receipt = create_bill.execute(port, wanted, idempotency_key=f"key-{wanted.number}")
    return PostBill(
        supplier=wanted.supplier,
        number=wanted.number,
        bill_id=receipt.bill_id,
        currency=wanted.currency,
        total=wanted.total,
        payee_iban=wanted.payee_iban,
    )


def payable(port: TrytonErp, wanted: CreateBill) -> Payment:
    draft = drafted(port, wanted)
    post_bill.execute(port, draft, idempotency_key=f"post-{wanted.number}")
    return Payment(
        supplier=wanted.supplier,
        number=wanted.number,
        bill_id=draft.bill_id,
        currency=wanted.currency,
        amount=wanted.total,
        payee_iban=wanted.payee_iban,
    )


def entered_payment(port: TrytonErp, payment: Payment, key: str) -> int:
    """A payment as a draft, as any script could enter it."""
    found = port.bill(payment.bill_id)
    assert found is not None
    (line,) = found.payable_lines
    return port.create_payment(
        NewPayment(supplier_id=found.supplier_id, line_id=line, amount=payment.amount, key=key)
    )


def asked_again(reply: GateReply, house: ErpGates) -> str:
    """People are asked a second time; what changed, in words, as they are shown it."""
    request = reply.view.request
    assert (reply.standing, request.round) == (Standing.WAITING, 2)
    before = house.server.gates.rounds(request.id)[0].outcome
    assert before is not None
    assert before.kind is OutcomeKind.VOIDED
    return before.reason


def change_price(raw: TrytonRpc, bill_id: int) -> None:
    (line,) = raw.call("model.account.invoice.line.search", [["invoice", "=", bill_id]])
    raw.call("model.account.invoice.line.write", [line], {"unit_price": Decimal("99999.00")})


def test_a_price_that_changes_after_the_approval(
    house: ErpGates, raw: TrytonRpc, port: TrytonErp
) -> None:
    """The ERP posts a bill whose price was changed under its header; the gate asks again."""
    unguarded = drafted(port, bill())
    before = raw.call("model.account.invoice.read", [unguarded.bill_id], ["_timestamp"])
    change_price(raw, unguarded.bill_id)
    assert raw.call("model.account.invoice.read", [unguarded.bill_id], ["_timestamp"]) == before
    port.post_bill(unguarded.bill_id, similar_is_known=True)
    assert house.entry(unguarded.number).total > 200_000

    wanted, run = bill(payee_iban=OTHER_IBAN), house.run()
    draft = drafted(port, wanted)
    asked = run.propose(post_bill, draft)
    house.decide(asked, "dana", "mika")
    change_price(raw, draft.bill_id)
    said = asked_again(run.propose(post_bill, draft), house)
    assert "bill.lines[0][2]: 50 -> 99999" in said
    assert "bill.total_minor: 11900 -> " in said
    assert house.entry(wanted.number).state == "draft"


def test_an_account_that_changes_after_the_approval(house: ErpGates, port: TrytonErp) -> None:
    """The ERP pays to whatever account stands there when a payment is processed, and warns of
    nothing; the gate asks again, and shows both accounts."""
    admin = house.raw("admin")
    (number,) = admin.call(
        "model.bank.account.number.search", [["account.owners.name", "=", "Acme Steel AG"]]
    )

    def overwrite(iban: str) -> None:
        admin.call("model.bank.account.number.write", [number], {"number": iban})

    unguarded = payable(port, bill())
    approved = entered_payment(port, unguarded, f"raw-{unguarded.number}")
    port.move_payment(approved, "submit")
    port.move_payment(approved, "approve")
    run, payment = house.run(), payable(port, bill(**LARGE))
    asked = run.propose(submit_payment, payment)
    house.decide(asked, "dana")
    overwrite(OTHER_IBAN)
    try:
        port.move_payment(approved, "process")
        assert port.payments(key=f"raw-{unguarded.number}")[0].state == "processing"
        said = asked_again(run.propose(submit_payment, payment), house)
        assert f"supplier.ibans[0]: {ACME_IBAN} -> {OTHER_IBAN}" in said
        assert house.entry(payment.number).payments == ()
    finally:
        overwrite(ACME_IBAN)


def test_an_account_that_changes_after_the_claim(house: ErpGates, port: TrytonErp) -> None:
    """Between the claim and the bank nothing goes unseen: either nothing is paid, or what was
    paid elsewhere is an alarm on the request."""
    admin = house.raw("admin")
    (number,) = admin.call(
        "model.bank.account.number.search", [["account.owners.name", "=", "Acme Steel AG"]]
    )
    run, payment = house.run(), payable(port, bill())
    reply = run.propose(submit_payment, payment)
    assert reply.standing is Standing.EXECUTING
    admin.call("model.bank.account.number.write", [number], {"number": OTHER_IBAN})
    try:
        run.ended(submit_payment, payment)
        view = house.server.gates.view(reply.view.request.id)
        execution = view.execution
        assert execution is not None
        if house.entry(payment.number).payments:
            assert [one for one in execution.differences if OTHER_IBAN in one]
        else:
            rounds = house.server.gates.rounds(view.request.id)
            told = [*execution.differences, *(a.error for a in execution.attempts)]
            told += [one.outcome.reason for one in rounds if one.outcome]
            assert any("ibans" in one for one in told), told
    finally:
        admin.call("model.bank.account.number.write", [number], {"number": ACME_IBAN})


def test_a_second_payment_of_the_same_bill(
    house: ErpGates, raw: TrytonRpc, port: TrytonErp
) -> None:
    """The ERP pays a bill twice where two payments stand and a warning is clicked away; the
    gate pays once, whichever run asks again."""
    twice = payable(port, bill())
    payments = [entered_payment(port, twice, f"{twice.number}-{n}") for n in (1, 2)]
    for one in payments:
        port.move_payment(one, "submit")
        port.move_payment(one, "approve")
        with pytest.raises(TrytonWarning, match="overpays") as warned:
            port.move_payment(one, "process")
        raw.call("model.res.user.warning.skip", warned.value.key, False)  # noqa: FBT003 - the ERP's
        port.move_payment(one, "process")
    for one in payments:
        port.move_payment(one, "succeed")
    assert house.entry(twice.number).paid == 2 * twice.amount

    payment, first, second, third = payable(port, bill(**LARGE)), *(house.run() for _ in range(3))
    for run in (first, second):
        house.decide(run.propose(submit_payment, payment), "dana")
    assert first.propose(submit_payment, payment).standing is Standing.EXECUTING
    first.done(submit_payment, payment)
    late = second.propose(submit_payment, payment)
    assert (late.standing, late.view.request.round) == (Standing.FORBIDDEN, 2)
    assert "is paid already" in str(late.view.outcome)
    assert third.propose(submit_payment, payment).standing is Standing.FORBIDDEN
    assert [one.state for one in house.entry(payment.number).payments] == ["succeeded"]


def test_two_payments_at_the_bank_s_door(house: ErpGates, port: TrytonErp) -> None:
    """Both runs hold their grant before either pays: one payment leaves, and the other run is
    told that it is too late."""
    payment, runs = payable(port, bill()), [house.run(), house.run()]
    for run in runs:
        assert run.propose(submit_payment, payment).standing is Standing.EXECUTING
    together(house)
    standings = [run.ended(submit_payment, payment).standing for run in runs]
    assert sorted(standings) in (
        [Standing.FAILED, Standing.FAILED],  # each saw the other's, and took its own back
        [Standing.FAILED, Standing.SUCCEEDED],
        [Standing.FORBIDDEN, Standing.SUCCEEDED],
    )
    paid = payment.amount * standings.count(Standing.SUCCEEDED)
    assert house.entry(payment.number).paid == paid


def test_a_payment_that_was_written_approved(
    house: ErpGates, raw: TrytonRpc, port: TrytonErp
) -> None:
    """The ERP lets a state be written past its buttons, and pays; the gate builds nothing on a
    payment that nobody approved."""
    unguarded = payable(port, bill())
    written = entered_payment(port, unguarded, f"raw-{unguarded.number}")
    raw.call("model.account.payment.write", [written], {"state": "approved"})
    port.move_payment(written, "process")
    assert port.payments(key=f"raw-{unguarded.number}")[0].state == "processing"

    run, payment = house.run(), payable(port, bill())
    foreign = entered_payment(port, payment, f"foreign-{payment.number}")
    raw.call("model.account.payment.write", [foreign], {"state": "approved"})
    reply = run.propose(submit_payment, payment)
    assert reply.standing is Standing.FORBIDDEN
    assert "and nobody approved it" in str(reply.view.outcome)


def test_our_own_payment_that_somebody_wrote_approved(
    house: ErpGates, raw: TrytonRpc, port: TrytonErp
) -> None:
    """A payment under our own key is not taken further from a state that nobody gave it: people
    are asked what happened there."""
    run, payment = house.run(), payable(port, bill())
    run.propose(submit_payment, payment)
    client, wanted = house.executor.client, ["erp.payment.submit"]
    job = client.lease(uuid4().hex, wanted, lease_seconds=1, wait_seconds=5)
    assert job is not None  # and now this executor is never heard of again
    own = entered_payment(port, payment, job.idempotency_key)
    raw.call("model.account.payment.write", [own], {"state": "approved"})
    with pytest.raises(GatesError, match="nobody approved it there"):
        submit_payment.execute(port, payment, idempotency_key=job.idempotency_key)
    reply = run.ended(submit_payment, payment)
    assert (reply.standing, reply.view.request.purpose) == (Standing.WAITING, Purpose.IN_DOUBT)
    assert "nobody approved it there" in reply.view.request.judgement.reasons[0].text
    assert port.payments(key=job.idempotency_key)[0].state == "approved"


def test_a_bill_that_was_written_posted(house: ErpGates, raw: TrytonRpc, port: TrytonErp) -> None:
    """The ERP calls a bill posted that has no number and no journal entry; for the gate it is
    neither posted nor payable."""
    draft = drafted(port, bill())
    raw.call("model.account.invoice.write", [draft.bill_id], {"state": "posted"})
    entry = house.entry(draft.number)
    assert (entry.state, entry.booked_as) == ("posted", "")

    run = house.run()
    posting = run.propose(post_bill, draft)
    payment = Payment(
        supplier=draft.supplier,
        number=draft.number,
        bill_id=draft.bill_id,
        currency="EUR",
        amount=draft.total,
    )
    paying = run.propose(submit_payment, payment)
    for reply in (posting, paying):
        assert reply.standing is Standing.FORBIDDEN
        assert "it is posted without a journal entry" in str(reply.view.outcome)
        assert "it is posted without a number" in str(reply.view.outcome)


def test_a_bill_that_lost_its_lines(house: ErpGates, raw: TrytonRpc, port: TrytonErp) -> None:
    """The ERP posts a bill without lines, and uses up a number; the gate asks again when they
    are gone, and its action posts nothing even so."""

    def without_lines(bill_id: int) -> None:
        lines = raw.call("model.account.invoice.line.search", [["invoice", "=", bill_id]])
        raw.call("model.account.invoice.line.delete", lines)

    unguarded = drafted(port, bill())
    without_lines(unguarded.bill_id)
    port.post_bill(unguarded.bill_id, similar_is_known=True)
    assert house.entry(unguarded.number).booked_as

    run, draft = house.run(), drafted(port, bill(payee_iban=OTHER_IBAN))
    house.decide(run.propose(post_bill, draft), "dana", "mika")
    without_lines(draft.bill_id)
    reply = run.propose(post_bill, draft)
    assert "bill.lines" in asked_again(reply, house)
    house.decide(reply, "dana", "mika")  # and if people overlook it
    assert run.ended(post_bill, draft).failure is not None
    assert house.entry(draft.number).booked_as == ""


def unbalanced_entry(raw: TrytonRpc, supplier_id: int, total: Decimal) -> int:
    day = date(2026, 1, 12)
    (period,) = raw.call(
        "model.account.period.search", [["start_date", "<=", day], ["end_date", ">=", day]]
    )
    rows = raw.call("model.account.account.search_read", [], 0, None, None, ["code"])
    accounts = {row["code"]: row["id"] for row in rows}
    (journal,) = raw.call("model.account.journal.search", [["code", "=", "EXP"]])
    lines = [
        {"account": accounts["5.1.1"], "debit": Decimal("1.00"), "credit": Decimal()},
        {"account": accounts["2.1.1"], "debit": Decimal(), "credit": total, "party": supplier_id},
    ]
    entry = {"journal": journal, "period": period, "date": day, "lines": [["create", lines]]}
    return int(raw.call("model.account.move.create", [entry])[0])


def test_an_entry_that_is_out_of_balance(house: ErpGates, raw: TrytonRpc, port: TrytonErp) -> None:
    """On SQLite the ERP posts an entry of 1.00 against 119.00, and a bill with it; the gate asks
    again when a bill gets one, its action does not post it, and nothing is paid on it."""
    unguarded = drafted(port, bill())
    found = port.bill(unguarded.bill_id)
    assert found is not None
    foreign = unbalanced_entry(raw, found.supplier_id, found.total)
    raw.call("model.account.invoice.write", [found.id], {"move": foreign})
    port.post_bill(found.id, similar_is_known=True)
    posted = port.bill(found.id)
    assert posted is not None
    assert (posted.state, port.booked(posted).debit) == ("posted", Decimal("1.00"))
    payment = Payment(
        supplier=unguarded.supplier,
        number=unguarded.number,
        bill_id=found.id,
        currency="EUR",
        amount=found.total,
    )
    refused = house.run().propose(submit_payment, payment)
    assert refused.standing is Standing.FORBIDDEN
    assert "out of balance: debit 1.00, credit 119.00" in str(refused.view.outcome)
    read_back = post_bill.verify
    assert read_back is not None
    told = read_back(port, unguarded, {"bill_id": found.id})
    assert any("out of balance" in one for one in told)

    run, draft = house.run(), drafted(port, bill(payee_iban=OTHER_IBAN))
    house.decide(run.propose(post_bill, draft), "dana", "mika")
    supplier = port.find_supplier(ACME)
    assert supplier is not None
    foreign = unbalanced_entry(raw, supplier.id, draft.total)
    raw.call("model.account.invoice.write", [draft.bill_id], {"move": foreign})
    after = run.propose(post_bill, draft)
    assert (after.standing, after.view.request.round) == (Standing.FORBIDDEN, 2)
    with pytest.raises(GatesError, match="has a journal entry already"):
        post_bill.execute(port, draft, idempotency_key="past the gate")
    assert house.entry(draft.number).state == "draft"


def test_two_executors_on_one_bill(house: ErpGates, port: TrytonErp) -> None:
    """The ERP enters the same invoice twice without a word; two executors, let loose together on
    what two runs ask, leave one bill, entered, posted and paid once."""
    for key in ("one", "two"):
        create_bill.execute(port, simple_bill("H-TWICE"), idempotency_key=f"twice-{key}")
    assert len(port.bills(number="H-TWICE")) == 2

    draft = drafted(port, bill())
    runs = [house.run(), house.run()]
    for run in runs:
        assert run.propose(post_bill, draft).standing is Standing.EXECUTING
    together(house)
    assert [run.ended(post_bill, draft).standing for run in runs] == [Standing.SUCCEEDED] * 2
    entry = house.entry(draft.number)
    assert entry.state == "posted"

    one, payment = house.run(), payment_of(draft)
    assert one.propose(submit_payment, payment).standing is Standing.EXECUTING
    together(house)
    assert one.ended(submit_payment, payment).standing is Standing.SUCCEEDED
    assert [p.state for p in house.entry(draft.number).payments] == ["succeeded"]


def payment_of(draft: PostBill) -> Payment:
    values = draft.model_dump(exclude={"total", "accounting_date"})
    return Payment(**values, amount=draft.total)


def together(house: ErpGates) -> None:
    """Each executor one job at most, at once."""
    threads = [
        threading.Thread(target=one.step, kwargs={"wait_seconds": 2})
        for one in (house.executor, house.second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)


def test_a_run_s_steps_stand_in_the_books(house: ErpGates) -> None:
    """The whole way of a routine bill, so that what the holes are closed by lets it through."""
    run, wanted = house.run(), bill()
    entered = run.done(create_bill, wanted).result
    assert entered is not None
    draft = PostBill(
        supplier=wanted.supplier,
        number=wanted.number,
        bill_id=int(str(entered["bill_id"])),
        currency="EUR",
        total=wanted.total,
        payee_iban=ACME_IBAN,
    )
    run.done(post_bill, draft)
    run.done(submit_payment, payment_of(draft))
    assert house.entry(wanted.number).state == "paid"
    steps = house.flow.trail(run.propose(submit_payment, payment_of(draft)).view.request.id)
    assert [step.state for step in steps] == ["done"] * 3
