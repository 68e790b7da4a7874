"""Taking back what was booked: a draft bill, a posted bill, a payment that has not left.

These are actions like any others: the policy judges them, people may be asked. Each asks the
ERP how things stand and says so where it is too late: what was paid does not come back.
"""

from gates.actions import Json, Reconciled, action
from gates.core.errors import ActionFailed
from integrations.erp.answers import differences, failed
from integrations.erp.arguments import (
    BillTakenBack,
    CancelBill,
    DiscardBill,
    OfSupplier,
    PaymentTakenBack,
    WithdrawPayment,
)
from integrations.erp.errors import ErpError
from integrations.erp.facts import (
    cancel_facts,
    cancel_state,
    discard_facts,
    discard_state,
    withdraw_facts,
    withdraw_state,
)
from integrations.erp.half_done import of_invoice
from integrations.erp.port import OPEN_PAYMENT, Bill, Erp, SupplierPayment

ABSENT = "absent"


def _taken_back(arguments: DiscardBill | CancelBill, bill: Bill | None) -> BillTakenBack:
    state = bill.state if bill else ABSENT
    return BillTakenBack(bill_id=arguments.bill_id, number=arguments.number, state=state)


def _named(erp: Erp, arguments: OfSupplier, bill_id: int) -> Bill | None:
    """Raises ActionFailed where the id belongs to another bill."""
    bill = erp.bill(bill_id)
    supplier = erp.find_supplier(arguments.supplier)
    if bill is not None and (
        supplier is None or (bill.supplier_id, bill.number) != (supplier.id, arguments.number)
    ):
        raise ActionFailed(
            f"Bill {bill_id} is not invoice {arguments.number} of {arguments.supplier}: "
            "look the bill up again.",
            error_class="bill_unknown",
        )
    return bill


def _reconcile_discard(erp: Erp, arguments: DiscardBill, *, idempotency_key: str) -> Reconciled:
    del idempotency_key  # a draft is there or not, whoever took it away
    bill = erp.bill(arguments.bill_id)
    if bill is not None and bill.state != "cancelled":
        return Reconciled(state="absent")
    return Reconciled(state="done", result=_taken_back(arguments, bill).model_dump(mode="json"))


def _verify_discard(erp: Erp, arguments: DiscardBill, _result: Json) -> list[str]:
    bill = erp.bill(arguments.bill_id)
    if bill is None or bill.state == "cancelled":
        return []
    return [f"The ERP still has bill {arguments.bill_id}, {bill.state}."]


@action(
    "erp.bill.discard",
    title="Delete a draft bill",
    subject=DiscardBill.subject,
    counterparty=lambda one: one.supplier,
    facts=discard_facts,
    precondition=discard_state,
    half_done=of_invoice,
    reconcile=_reconcile_discard,
    verify=_verify_discard,
    undo=lambda _done: "A deleted draft is entered anew, from its document.",
)
def discard_bill(erp: Erp, draft: DiscardBill, *, idempotency_key: str) -> BillTakenBack:
    """The draft is gone. A bill that was cancelled needs no more: its number stays in the books."""
    del idempotency_key
    bill = _named(erp, draft, draft.bill_id)
    if bill is not None and bill.state != "cancelled":
        if bill.state != "draft":
            raise ActionFailed(
                f"Bill {draft.number} is {bill.state} in the ERP: only a draft can be deleted; "
                "cancel it instead.",
                error_class="bill_state",
            )
        try:
            erp.delete_bill(bill.id)
        except ErpError as error:
            failed(error, f"Draft {draft.bill_id} was not deleted")
    return _taken_back(draft, erp.bill(draft.bill_id))


def _reconcile_cancel(erp: Erp, arguments: CancelBill, *, idempotency_key: str) -> Reconciled:
    del idempotency_key  # a bill is cancelled once, whoever did it
    bill = erp.bill(arguments.bill_id)
    if bill is None:
        return Reconciled(state="unclear", note=f"Bill {arguments.bill_id} is gone from the books.")
    if bill.state != "cancelled":
        return Reconciled(state="absent")
    return Reconciled(state="done", result=_taken_back(arguments, bill).model_dump(mode="json"))


def _verify_cancel(erp: Erp, arguments: CancelBill, _result: Json) -> list[str]:
    bill = erp.bill(arguments.bill_id)
    if bill is None:
        return [f"The ERP has no bill {arguments.bill_id}."]
    checks = (("state", bill.state, "cancelled"), ("still to pay", bill.to_pay, 0))
    return differences(checks)


@action(
    "erp.bill.cancel",
    title="Cancel a posted bill",
    subject=CancelBill.subject,
    counterparty=lambda one: one.supplier,
    amount=lambda bill: (bill.total, bill.currency),
    facts=cancel_facts,
    precondition=cancel_state,
    half_done=of_invoice,
    reconcile=_reconcile_cancel,
    verify=_verify_cancel,
    undo=lambda _done: "A cancelled bill is entered anew, from its document.",
)
def cancel_bill(erp: Erp, posted: CancelBill, *, idempotency_key: str) -> BillTakenBack:
    """The opposite entry is booked, and nothing is left to pay. Never beside a payment: the ERP
    would cancel the bill and leave the payment standing.
    """
    del idempotency_key
    bill = _named(erp, posted, posted.bill_id)
    if bill is None or bill.state not in {"posted", "cancelled"}:
        stands = bill.state if bill else "not there"
        raise ActionFailed(
            f"Bill {posted.number} is {stands} in the ERP: only a posted bill that is not paid "
            "can be cancelled.",
            error_class="bill_state",
        )
    if bill.state == "posted":
        _must_be_unpaid(erp, bill)
        try:
            erp.cancel_bill(bill.id)
        except ErpError as error:
            failed(error, f"Bill {posted.number} was not cancelled")
    return _taken_back(posted, erp.bill(posted.bill_id))


def _must_be_unpaid(erp: Erp, bill: Bill) -> None:
    payments = erp.payments(line_ids=bill.payable_lines) if bill.payable_lines else []
    standing = [payment for payment in payments if payment.state != "failed"]
    if standing:
        listed = ", ".join(f"{p.key or p.number} ({p.state}, {p.amount})" for p in standing)
        raise ActionFailed(
            f"Bill {bill.number} was not cancelled: on it stands {listed}. Take that back first.",
            error_class="bill_has_payments",
        )


def own_payment(erp: Erp, reference: str) -> SupplierPayment | None:
    found = erp.payments(key=reference)
    return found[0] if found else None


def _reconcile_withdraw(
    erp: Erp, arguments: WithdrawPayment, *, idempotency_key: str
) -> Reconciled:
    del idempotency_key
    if own_payment(erp, arguments.reference) is not None:
        return Reconciled(state="absent")
    done = PaymentTakenBack(reference=arguments.reference, found=ABSENT)
    return Reconciled(state="done", result=done.model_dump(mode="json"))


def _verify_withdraw(erp: Erp, arguments: WithdrawPayment, _result: Json) -> list[str]:
    left = own_payment(erp, arguments.reference)
    return [f"The ERP still has payment {left.number}, {left.state}."] if left else []


@action(
    "erp.payment.withdraw",
    title="Take back a payment that has not left",
    subject=WithdrawPayment.subject,
    counterparty=lambda one: one.supplier,
    amount=lambda payment: (payment.amount, payment.currency),
    facts=withdraw_facts,
    precondition=withdraw_state,
    half_done=of_invoice,
    reconcile=_reconcile_withdraw,
    verify=_verify_withdraw,
    undo=lambda _done: "Nothing was paid: propose the payment again.",
)
def withdraw_payment(
    erp: Erp, payment: WithdrawPayment, *, idempotency_key: str
) -> PaymentTakenBack:
    """Back to draft, then deleted; from `processing` on the bank has it, and it is too late."""
    del idempotency_key
    own = own_payment(erp, payment.reference)
    if own is None:
        return PaymentTakenBack(reference=payment.reference, found=ABSENT)
    if own.state not in OPEN_PAYMENT:
        raise ActionFailed(
            f"Payment {own.number} of bill {payment.number} is {own.state} in the ERP: it has "
            "left and cannot be taken back; ask the supplier or the bank.",
            error_class="payment_left",
        )
    try:
        if own.state != "draft":
            erp.move_payment(own.id, "back_to_draft")
        erp.delete_payment(own.id)
    except ErpError as error:
        if own_payment(erp, payment.reference) is not None:
            failed(error, f"Payment {own.number} was not taken back")
    return PaymentTakenBack(reference=payment.reference, found=own.state)
