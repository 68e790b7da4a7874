"""Paying a supplier: one payment, taken through the ERP's five steps.

    draft --submit--> submitted --approve--> approved --process--> processing --succeed--> succeeded

Each step is a transaction of the ERP, and the process that takes them may die between any two.
The idempotency key stands in the payment's reference: a repeat finds the payment and goes on
from the state that the ERP says it has. Until `process` no money has moved, so a refusal there
is undone (back to draft, deleted) and reported as a failure that left nothing. From `process`
on nothing is undone: a trouble there is in doubt until somebody has looked.
"""

from typing import NoReturn

from gates.actions import Executed, Json, Reconciled, Undo, action
from gates.core.errors import ActionFailed
from integrations.erp.answers import differences, error_class, failed
from integrations.erp.arguments import Payment, PaymentReceipt, WithdrawPayment
from integrations.erp.errors import ErpError, ErpRefused
from integrations.erp.facts import payment_facts, payment_state
from integrations.erp.half_done import of_invoice
from integrations.erp.port import (
    OPEN_PAYMENT,
    Bill,
    Erp,
    NewPayment,
    PaymentStep,
    SupplierPayment,
)
from integrations.erp.soundness import AGREED, disagreements
from integrations.erp.taking_back import withdraw_payment

NEXT_STEP: dict[str, PaymentStep] = {
    "draft": "submit",
    "submitted": "approve",
    "approved": "process",
    "processing": "succeed",
}
PROGRESS = ("failed", "draft", "submitted", "approved", "processing", "succeeded")


def _reconcile(erp: Erp, arguments: Payment, *, idempotency_key: str) -> Reconciled:
    """`absent` while no money has moved: a repeat with the same key takes up what stands."""
    own = _own(erp, idempotency_key)
    if own is None:
        return Reconciled(state="absent")
    stands = f"Payment {own.number} over {own.amount} stands {own.state} in the ERP"
    if own.state in AGREED and not own.approved:
        return Reconciled(state="unclear", note=f"{stands}, and nobody approved it there.")
    if own.state in OPEN_PAYMENT:
        return Reconciled(state="absent", note=f"{stands}; a repeat goes on from there.")
    bill = erp.bill(arguments.bill_id)
    if own.state != "succeeded" or bill is None or own.amount != arguments.amount:
        return Reconciled(state="unclear", note=f"{stands}; approved were {arguments.amount}.")
    return Reconciled(state="done", result=_receipt(own, bill).model_dump(mode="json"))


def _verify(erp: Erp, arguments: Payment, result: Json) -> list[str]:
    bill = erp.bill(arguments.bill_id)
    if bill is None:
        return [f"The ERP has no bill {arguments.bill_id}."]
    booked = [p for p in erp.payments(line_ids=bill.payable_lines) if p.state == "succeeded"]
    payment = next((p for p in booked if p.id == result.get("payment_id")), None)
    if payment is None:
        return [f"No payment that succeeded is booked on bill {bill.booked_as}."]
    supplier = erp.find_supplier(arguments.supplier)
    ibans = supplier.ibans if supplier else ()
    payee = arguments.payee_iban if arguments.payee_iban in ibans else ", ".join(ibans)
    checks = (
        ("amount", payment.amount, arguments.amount),
        ("payee", payment.supplier_id, supplier.id if supplier else None),
        ("payee's account", payee, arguments.payee_iban or payee),
        ("currency", bill.currency, arguments.currency),
        # Twice paid is the one difference that no later look at this payment alone would show.
        ("paid in all, at most", max(sum(p.amount for p in booked), bill.total), bill.total),
    )
    return differences(checks)


def _undo(done: Executed[Payment, PaymentReceipt]) -> Undo | str:
    if done.result is not None:
        return "Money that has left does not come back by itself: ask the supplier for it."
    payment = done.arguments
    return Undo(
        withdraw_payment,
        WithdrawPayment(
            supplier=payment.supplier,
            number=payment.number,
            bill_id=payment.bill_id,
            currency=payment.currency,
            amount=payment.amount,
            reference=done.idempotency_key,
        ),
    )


@action(
    "erp.payment.submit",
    title="Pay a supplier",
    subject=Payment.subject,
    counterparty=lambda one: one.supplier,
    amount=lambda payment: (payment.amount, payment.currency),
    facts=payment_facts,
    precondition=payment_state,
    half_done=of_invoice,
    reconcile=_reconcile,
    verify=_verify,
    undo=_undo,
    summary=lambda payment, done: (
        f"Bill {payment.number} paid, {done.amount} {done.currency}, payment {done.payment_number}"
    ),
)
def submit_payment(erp: Erp, payment: Payment, *, idempotency_key: str) -> PaymentReceipt:
    """Exactly one payment that succeeded, however often and wherever this was broken off."""
    own = _own(erp, idempotency_key)
    if own is None:
        bill = _must_be_payable(erp, payment)
        own = _start(erp, bill, payment, idempotency_key)
    _must_be_genuine(own, payment)
    while own.state in NEXT_STEP:
        own = _advance(erp, own, payment, idempotency_key)
        _must_be_genuine(own, payment)
    if own.state != "succeeded":
        raise ErpError(
            f"Payment {own.number} of bill {payment.number} stands {own.state} in the ERP: "
            "find out with the bank what became of it."
        )
    bill_after = erp.bill(payment.bill_id)
    if bill_after is None:
        raise ErpError(f"Bill {payment.bill_id} is gone from the books.")
    return _receipt(own, bill_after)


def _own(erp: Erp, key: str) -> SupplierPayment | None:
    """The payment that carries `key`: of twins the one that is furthest, then the oldest."""
    found = erp.payments(key=key)
    return max(found, key=lambda p: (PROGRESS.index(p.state), -p.id), default=None)


def _must_be_payable(erp: Erp, payment: Payment) -> Bill:
    bill = erp.bill(payment.bill_id)
    supplier = erp.find_supplier(payment.supplier)
    if (
        bill is None
        or supplier is None
        or (bill.supplier_id, bill.number) != (supplier.id, payment.number)
    ):
        raise ActionFailed(
            f"Bill {payment.bill_id} is not invoice {payment.number} of {payment.supplier}: "
            "look the bill up again.",
            error_class="bill_unknown",
        )
    if bill.state != "posted":
        raise ActionFailed(
            f"Bill {bill.number} is {bill.state} in the ERP: only a posted bill can be paid.",
            error_class="bill_state",
        )
    if wrong := disagreements(erp, bill):
        raise ActionFailed(
            f"Bill {bill.number} was not paid: {'; '.join(wrong)}. Settle that in the ERP first.",
            error_class="books_disagree",
        )
    if bill.currency != payment.currency or len(bill.payable_lines) != 1:
        raise ActionFailed(
            f"Bill {bill.number} is due in {len(bill.payable_lines)} part(s) in {bill.currency}: "
            f"one part in {payment.currency} was expected; pay it in the ERP.",
            error_class="bill_in_parts",
        )
    return bill


def _must_be_genuine(own: SupplierPayment, payment: Payment) -> None:
    """A state that was written past the ERP's buttons is nothing to build on."""
    if own.state in AGREED and not own.approved:
        raise ErpError(
            f"Payment {own.number} of bill {payment.number} stands {own.state} in the ERP, and "
            "nobody approved it there: find out who wrote that."
        )


def _start(erp: Erp, bill: Bill, payment: Payment, key: str) -> SupplierPayment:
    (line,) = bill.payable_lines
    new = NewPayment(supplier_id=bill.supplier_id, line_id=line, amount=payment.amount, key=key)
    try:
        created = erp.create_payment(new)
    except ErpError as error:
        failed(error, f"Bill {bill.number} was not paid")
    own = _own(erp, key)
    if own is None:
        raise ErpError(f"Payment {key} was created and is gone from the books.")
    if own.id != created:  # another process with the same key was faster
        erp.delete_payment(created)
    return own


def _advance(erp: Erp, own: SupplierPayment, payment: Payment, key: str) -> SupplierPayment:
    """One step; what the ERP says afterwards counts, whoever took it there."""
    try:
        erp.move_payment(own.id, NEXT_STEP[own.state])
    except ErpRefused as error:
        after = _own(erp, key)
        if after is None or (after.id, after.state) == (own.id, own.state):
            _give_up(erp, own, payment, error)
        return after
    after = _own(erp, key)
    if after is None or after.state == own.state:
        raise ErpError(f"Payment {own.number} did not move on from {own.state} in the ERP.")
    return after


def _give_up(erp: Erp, own: SupplierPayment, payment: Payment, error: ErpRefused) -> NoReturn:
    """Undo what this key left, then say so; where that is not possible it stays in doubt."""
    if own.state not in OPEN_PAYMENT:
        raise error
    if own.state != "draft":
        erp.move_payment(own.id, "back_to_draft")
    erp.delete_payment(own.id)
    raise ActionFailed(
        f"The ERP refuses to pay bill {payment.number}: {_why(erp, own, payment, error)}",
        error_class=error_class(error),
    ) from error


def _why(erp: Erp, own: SupplierPayment, payment: Payment, error: ErpRefused) -> str:
    """The ERP's own words without the payment's number, which is another one at each try."""
    words = error.message.replace(f'"{own.number} [{own.key}]"', "this payment").rstrip(".")
    bill = erp.bill(payment.bill_id)
    others = erp.payments(line_ids=bill.payable_lines) if bill and bill.payable_lines else []
    if not others:
        return f"{words}."
    listed = ", ".join(f"{p.key or p.number} ({p.state}, {p.amount})" for p in others)
    return (
        f"{words}. On the same bill stands: {listed}. A repeat cannot help; somebody has to "
        "settle that in the ERP."
    )


def _receipt(own: SupplierPayment, bill: Bill) -> PaymentReceipt:
    return PaymentReceipt(
        payment_id=own.id,
        payment_number=own.number,
        bill_id=bill.id,
        booked_as=bill.booked_as,
        state=own.state,
        bill_state=bill.state,
        currency=bill.currency,
        amount=own.amount,
    )
