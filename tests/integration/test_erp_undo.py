"""Taking back what was booked, and changing a supplier's account, through gates in the real ERP."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from gates.core.errors import ActionFailed, InvalidArguments
from gates.core.gate_keys import undo_key
from gates.core.messages import Proposal
from gates.core.model import GateReply, RunRef, Standing, Step
from integrations.erp.actions import (
    ChangeBankAccount,
    CreateBill,
    Payment,
    PostBill,
    WithdrawPayment,
    cancel_bill,
    change_bank_account,
    create_bill,
    discard_bill,
    post_bill,
    submit_payment,
    withdraw_payment,
)
from integrations.erp.arguments import CancelBill, DiscardBill
from integrations.erp.company import installed
from integrations.erp.port import NewPayment
from integrations.erp.tryton import TrytonErp
from tests.support.erp import WHY_SKIPPED, simple_bill
from tests.support.erp_gates import ErpGates, Run, erp_gates

pytestmark = [pytest.mark.erp, pytest.mark.skipif(not installed(), reason=WHY_SKIPPED)]

NUMBERS = count(1)
LARGE = {
    "lines": [{"description": "Press", "quantity": "1", "unit_price": "20000", "tax_rate": "19"}],
    "total": Decimal("23800.00"),
}
BOLT, BOLT_IBAN, NEW_IBAN = "DE999000025", "DE55100000000000000202", "DE52200000000000000606"
CHANGE = ChangeBankAccount(
    supplier=BOLT, old_iban=BOLT_IBAN, new_iban=NEW_IBAN, document="letter of 2026-01-15"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErpGates]:
    with erp_gates(tmp_path_factory.mktemp("undo")) as running:
        yield running


@pytest.fixture
def port(house: ErpGates) -> TrytonErp:
    return house.erp.erp("executor")


def bill(**changes: Any) -> CreateBill:
    return simple_bill(f"U-{next(NUMBERS)}", **changes)


def posted(port: TrytonErp, wanted: CreateBill) -> Payment:
    receipt = create_bill.execute(port, wanted, idempotency_key=f"key-{wanted.number}")
    same = {"supplier": wanted.supplier, "number": wanted.number, "currency": wanted.currency}
    post = PostBill(**same, bill_id=receipt.bill_id, total=wanted.total)
    post_bill.execute(port, post, idempotency_key="p")
    return Payment(**same, bill_id=receipt.bill_id, amount=wanted.total)


def cancelling(payment: Payment) -> CancelBill:
    values = payment.model_dump(exclude={"amount", "payee_iban"})
    return CancelBill(**values, total=payment.amount)


def undone(run: Run, step: Step) -> GateReply:
    """What a flow's `undo` proposes; run by the executor once it may."""
    assert step.undo is not None
    proposal = Proposal(
        name=step.undo.name,
        arguments=step.undo.arguments,
        run=RunRef(run_id=run.id, root_run_id=run.id),
        key=undo_key(step.gate_key),
        attempt_id="undo-" + step.request_id,
    )
    reply = run.house.flow.propose(proposal)
    for _ in range(20):
        if reply.standing is not Standing.EXECUTING:
            break
        run.house.executor.step(wait_seconds=1)
        reply = run.house.flow.propose(proposal)
    return reply


def test_a_rejected_payment_and_what_stands_before_it(house: ErpGates) -> None:
    """The bill was entered and posted; after the rejection both are taken back, with a clerk's
    word for the posting; the rejected request's page says what remains at each point."""
    gates, run, wanted = house.server.gates, house.run(), bill(**LARGE)
    house.decide(run.propose(create_bill, wanted), "dana")
    entered = run.done(create_bill, wanted).result
    assert entered is not None
    same = {"supplier": wanted.supplier, "number": wanted.number, "currency": wanted.currency}
    bill_id = int(str(entered["bill_id"]))
    run.done(post_bill, PostBill(**same, bill_id=bill_id, total=wanted.total))
    payment = Payment(**same, bill_id=bill_id, amount=wanted.total)
    asked = run.propose(submit_payment, payment)
    waiting = gates.view(asked.view.request.id)
    assert [step.state for step in waiting.stands] == ["done", "done"]
    house.decide(asked, "dana", reject="not ours")
    request = asked.view.request.id

    enter, post = house.flow.trail(request)
    assert [enter.undo and enter.undo.name, post.undo and post.undo.name] == [
        "erp.bill.discard",
        "erp.bill.cancel",
    ]
    reply = undone(run, post)
    assert reply.standing is Standing.WAITING
    assert "people are asked" in house.flow.trail(request)[1].note
    before = gates.view(request).revision
    house.decide(reply, "ines")
    assert undone(run, post).standing is Standing.SUCCEEDED
    assert undone(run, enter).standing is Standing.SUCCEEDED
    shown = gates.view(request)
    assert [step.state for step in shown.stands] == ["undone", "undone"]
    assert shown.revision > before  # so its cards are drawn again
    entry = house.entry(wanted.number)
    assert (entry.state, entry.to_pay, entry.payments) == ("cancelled", 0, ())


def test_a_refused_undo_stays_and_says_who(house: ErpGates) -> None:
    """Whoever wants to keep the posting says no; the step stands, with their name and reason."""
    run, wanted = house.run(), bill()
    entered = run.done(create_bill, wanted).result
    assert entered is not None
    same = {"supplier": wanted.supplier, "number": wanted.number, "currency": wanted.currency}
    post = PostBill(**same, bill_id=int(str(entered["bill_id"])), total=wanted.total)
    last = run.done(post_bill, post).view.request.id
    reply = undone(run, house.flow.trail(last)[1])
    house.decide(reply, "ines", reject="it was delivered")
    step = house.flow.trail(last)[1]
    assert step.state == "done"
    assert step.note == "taking it back was rejected by Ines Duarte: it was delivered"


def test_what_was_paid_is_not_taken_back(house: ErpGates, port: TrytonErp) -> None:
    """A payment that succeeded has no way back and says so; its bill is not cancelled either."""
    run, payment = house.run(), posted(port, bill())
    request = run.done(submit_payment, payment).view.request.id
    (step,) = house.flow.trail(request)
    assert not step.undoable
    assert "does not come back" in step.cannot_undo
    assert run.propose(cancel_bill, cancelling(payment)).standing is Standing.FORBIDDEN
    with pytest.raises(ActionFailed, match="only a posted bill"):
        cancel_bill.execute(port, cancelling(payment), idempotency_key="c")


@pytest.mark.parametrize("steps", [[], ["submit"], ["submit", "approve"]])
def test_a_payment_that_has_not_left_is_taken_back(port: TrytonErp, steps: list[str]) -> None:
    """From each state before the bank it is gone afterwards, and its bill can be cancelled."""
    payment = posted(port, bill())
    found = port.bill(payment.bill_id)
    assert found is not None
    key = f"left-{payment.number}"
    own = port.create_payment(
        NewPayment(
            supplier_id=found.supplier_id,
            line_id=found.payable_lines[0],
            amount=payment.amount,
            key=key,
        )
    )
    for one in steps:
        port.move_payment(own, one)  # type: ignore[arg-type] # of the port's own words
    with pytest.raises(ActionFailed, match="Take that back first"):
        cancel_bill.execute(port, cancelling(payment), idempotency_key="c")
    wanted = WithdrawPayment(**payment.model_dump(exclude={"payee_iban"}), reference=key)
    assert withdraw_payment.execute(port, wanted, idempotency_key="w").found in (
        "draft",
        "submitted",
        "approved",
    )
    assert port.payments(key=key) == []
    again = withdraw_payment.execute(port, wanted, idempotency_key="w")
    assert again.found == "absent"
    assert cancel_bill.execute(port, cancelling(payment), idempotency_key="c").state == "cancelled"


def test_a_payment_that_has_left_is_not_taken_back(port: TrytonErp) -> None:
    """From `processing` on the bank has it."""
    payment = posted(port, bill())
    submit_payment.execute(port, payment, idempotency_key=f"gone-{payment.number}")
    wanted = WithdrawPayment(
        **payment.model_dump(exclude={"payee_iban"}), reference=f"gone-{payment.number}"
    )
    with pytest.raises(ActionFailed, match="cannot be taken back") as caught:
        withdraw_payment.execute(port, wanted, idempotency_key="w")
    assert caught.value.error_class == "payment_left"


def test_only_a_draft_is_deleted(port: TrytonErp) -> None:
    """A posted bill is not; a draft is, once and again without harm."""
    payment = posted(port, bill())
    named = {"supplier": payment.supplier, "number": payment.number, "bill_id": payment.bill_id}
    with pytest.raises(ActionFailed, match="cancel it instead"):
        discard_bill.execute(port, DiscardBill(**named), idempotency_key="d")
    wanted = bill()
    draft = create_bill.execute(port, wanted, idempotency_key=f"key-{wanted.number}")
    gone = DiscardBill(supplier=wanted.supplier, number=wanted.number, bill_id=draft.bill_id)
    for _ in range(2):
        assert discard_bill.execute(port, gone, idempotency_key="d").state == "absent"
    assert port.bills(number=wanted.number) == []


# -- a supplier's bank account ----------------------------------------------------------------


def test_an_account_is_changed_by_two_people_of_two_groups(house: ErpGates) -> None:
    """Two controllers are not enough; with treasury the banker changes it, and nobody else may;
    then it is put back through the gate."""
    run, reader = house.run(), house.erp.erp("reader")
    reply = run.propose(change_bank_account, CHANGE)
    facts = reply.view.request.facts
    assert (facts["old_is_current"], facts["country_changes"]) == (True, False)
    house.decide(reply, "dana", "mika")
    assert run.propose(change_bank_account, CHANGE).standing is Standing.WAITING
    house.decide(reply, "tomas")
    assert run.propose(change_bank_account, CHANGE).standing is Standing.EXECUTING
    assert not house.executor.step(wait_seconds=0)  # not its business
    request = run.done(change_bank_account, CHANGE).view.request.id
    supplier = reader.find_supplier(BOLT)
    assert supplier is not None
    assert supplier.ibans == (NEW_IBAN,)
    assert house.server.gates.view(request).execution.differences == ()  # type: ignore[union-attr]

    (step,) = house.flow.trail(request)
    assert step.summary == f"Bolt Brothers Ltd is paid to {NEW_IBAN}, no longer to {BOLT_IBAN}"
    assert step.undo is not None
    back = ChangeBankAccount.model_validate(step.undo.arguments)
    key = {"key": undo_key(step.gate_key)}
    house.decide(run.propose(change_bank_account, back, **key), "mika", "tomas")
    assert run.ended(change_bank_account, back, **key).standing is Standing.SUCCEEDED
    assert [one.state for one in house.flow.trail(request)] == ["undone"]


def test_an_account_that_changed_meanwhile_is_asked_again(house: ErpGates) -> None:
    """Between approval and change somebody else changed it: nothing is done."""
    run, banker = house.run(), house.erp.erp("banker")
    reply = run.propose(change_bank_account, CHANGE)
    house.decide(reply, "dana", "tomas")
    supplier = banker.find_supplier(BOLT)
    assert supplier is not None
    (account,) = banker.bank_accounts(supplier.id)
    banker.replace_iban(account, "DE22100000000000000505")
    try:
        after = run.propose(change_bank_account, CHANGE)
        assert (after.standing, after.view.request.round) == (Standing.FORBIDDEN, 2)
        with pytest.raises(ActionFailed, match="look the accounts up again"):
            change_bank_account.execute(banker, CHANGE, idempotency_key="x")
    finally:
        (account,) = banker.bank_accounts(supplier.id)
        banker.replace_iban(account, BOLT_IBAN)


def test_another_suppliers_account_is_never_taken(house: ErpGates) -> None:
    """One account for two suppliers is how a diverted payment looks."""
    stolen = CHANGE.model_copy(update={"new_iban": "DE66100000000000000101"})
    reply = house.run().propose(change_bank_account, stolen)
    assert reply.standing is Standing.FORBIDDEN
    assert "Acme Steel AG" in str(reply.view.outcome)
    with pytest.raises(ActionFailed, match="is the account of Acme Steel AG"):
        change_bank_account.execute(house.erp.erp("banker"), stolen, idempotency_key="x")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("new_iban", "DE52200000000000000607", "is no IBAN"),
        ("new_iban", "DE5220000000000000060", "is no IBAN"),
        ("new_iban", "XX52200000000000000606", "is no IBAN"),
        ("new_iban", BOLT_IBAN, "nothing to change"),
        ("document", "", "document"),
    ],
)
def test_an_account_that_cannot_be_is_refused(field: str, value: str, said: str) -> None:
    """Check digits, length and country are held before anybody is asked."""
    with pytest.raises(InvalidArguments, match=said):
        change_bank_account.parse(CHANGE.model_dump(mode="json") | {field: value})


def test_a_change_that_broke_off_is_found_out(house: ErpGates) -> None:
    """Whether the change has landed stands in the ERP: once is once, whoever asks."""
    banker = house.erp.erp("banker")
    find = change_bank_account.reconcile
    assert find is not None
    assert find(banker, CHANGE, idempotency_key="x").state == "absent"
    first = change_bank_account.execute(banker, CHANGE, idempotency_key="x")
    assert find(banker, CHANGE, idempotency_key="x").state == "done"
    assert change_bank_account.execute(banker, CHANGE, idempotency_key="x") == first
    back = CHANGE.model_copy(update={"old_iban": NEW_IBAN, "new_iban": BOLT_IBAN})
    assert change_bank_account.execute(banker, back, idempotency_key="y").ibans == (BOLT_IBAN,)
