"""Booking a supplier's invoice: find, create the draft, post.

The idempotency key stands in the bill's description, beside the supplier's own number in its
reference: both can be searched, and people see them. Each action does at most one thing that
cannot be undone, and looks for its own traces before it starts.
"""

from decimal import Decimal

from gates.actions import Executed, Json, Reconciled, Undo, action
from gates.core.errors import ActionFailed
from integrations.erp.answers import differences, failed
from integrations.erp.arguments import (
    BillLookup,
    BillReceipt,
    CancelBill,
    CreateBill,
    DiscardBill,
    FindBill,
    PostBill,
)
from integrations.erp.errors import ErpError
from integrations.erp.facts import (
    booked_on,
    create_facts,
    create_state,
    post_facts,
    post_state,
)
from integrations.erp.half_done import of_invoice
from integrations.erp.port import Bill, BillLine, Erp, NewBill
from integrations.erp.soundness import disagreements
from integrations.erp.taking_back import cancel_bill, discard_bill

POSTED = frozenset({"posted", "paid"})


def receipt(bill: Bill) -> BillReceipt:
    return BillReceipt(
        bill_id=bill.id,
        number=bill.number,
        booked_as=bill.booked_as,
        state=bill.state,
        currency=bill.currency,
        total=bill.total,
        to_pay=bill.to_pay,
    )


def entry(bill: CreateBill, supplier_id: int, key: str) -> NewBill:
    """The draft as the books take it; what the document asks for is not among it."""
    return NewBill(
        supplier_id=supplier_id,
        number=bill.number,
        invoice_date=bill.invoice_date,
        currency=bill.currency,
        lines=tuple(BillLine(**line.model_dump()) for line in bill.lines),
        key=key,
    )


def _found(erp: Erp, arguments: FindBill) -> BillLookup:
    supplier = erp.find_supplier(arguments.supplier)
    if supplier is None:
        return BillLookup(bill=None)
    bills = erp.bills(supplier_id=supplier.id, number=arguments.number)
    fitting = [b for b in bills if b.state != "cancelled" and b.total == arguments.total]
    return BillLookup(bill=receipt(fitting[0]) if len(fitting) == 1 else None)


@action(
    "erp.bill.find",
    title="Look for a bill in the books",
    changes_nothing=True,
    effect="read",
    subject=FindBill.subject,
    counterparty=lambda one: one.supplier,
    reconcile=lambda _erp, _arguments, *, idempotency_key: Reconciled(  # noqa: ARG005 - the form
        state="absent", note="Looking changes nothing."
    ),
)
def find_bill(erp: Erp, wanted: FindBill, *, idempotency_key: str) -> BillLookup:
    """The one bill with this supplier, number and total; another total is another document."""
    del idempotency_key  # reading twice is reading
    return _found(erp, wanted)


def _reconcile_create(erp: Erp, arguments: CreateBill, *, idempotency_key: str) -> Reconciled:
    bills = erp.bills(key=idempotency_key)
    if not bills:
        return Reconciled(state="absent")
    bill = bills[0]
    if len(bills) > 1 or bill.total != arguments.total or bill.state == "cancelled":
        return Reconciled(
            state="unclear",
            note=f"{len(bills)} bill(s) carry this key; the first is {bill.state} "
            f"over {bill.total} {bill.currency}, approved were {arguments.total}.",
        )
    return Reconciled(state="done", result=receipt(bill).model_dump(mode="json"))


def _verify_create(erp: Erp, arguments: CreateBill, result: Json) -> list[str]:
    bill = _read_back(erp, result)
    if bill is None:
        return [f"The ERP has no bill {result.get('bill_id')}."]
    supplier = erp.find_supplier(arguments.supplier)
    lines = [(i.quantity, i.unit_price, i.tax_rate) for i in erp.bill_lines(bill.id)]
    approved = [(i.quantity, i.unit_price, i.tax_rate) for i in arguments.lines]
    checks = (
        ("total", bill.total, arguments.total),
        ("currency", bill.currency, arguments.currency),
        ("number", bill.number, arguments.number),
        ("date", bill.invoice_date, arguments.invoice_date),
        ("supplier", bill.supplier_id, supplier.id if supplier else None),
        ("lines", lines, approved),
    )
    return differences(checks)


def _undo_create(done: Executed[CreateBill, BillReceipt]) -> Undo | str:
    if done.result is None:
        return "Whether there is a draft is not known: look it up in the ERP."
    bill = done.arguments
    wanted = DiscardBill(supplier=bill.supplier, number=bill.number, bill_id=done.result.bill_id)
    return Undo(discard_bill, wanted)


@action(
    "erp.bill.create",
    title="Enter a supplier's invoice as a draft",
    subject=CreateBill.subject,
    counterparty=lambda one: one.supplier,
    amount=lambda bill: (bill.total, bill.currency),
    facts=create_facts,
    precondition=create_state,
    half_done=of_invoice,
    reconcile=_reconcile_create,
    verify=_verify_create,
    undo=_undo_create,
    summary=lambda bill, done: (
        f"Bill {bill.number} of {bill.supplier_name}, {done.total} "
        f"{done.currency}, entered as draft {done.bill_id}"
    ),
)
def create_bill(erp: Erp, bill: CreateBill, *, idempotency_key: str) -> BillReceipt:
    """A draft whose total is the document's to the cent; any other draft is deleted again."""
    drafts = erp.bills(key=idempotency_key)
    if not drafts:
        _enter(erp, bill, idempotency_key)
        drafts = erp.bills(key=idempotency_key)
    kept, *twins = drafts
    for twin in twins:  # another process with the same key was here: the older draft counts
        erp.delete_bill(twin.id)
    if kept.total != bill.total:
        erp.delete_bill(kept.id)
        raise ActionFailed(
            f"Invoice {bill.number}: its lines come to {kept.total} {kept.currency} in the ERP, "
            f"the document asks for {bill.total}; the draft was deleted, check the document.",
            error_class="total_mismatch",
        )
    return receipt(kept)


def _enter(erp: Erp, bill: CreateBill, key: str) -> None:
    what = f"Invoice {bill.number} was not entered"
    try:
        supplier = erp.find_supplier(bill.supplier)
        if supplier is None or not supplier.active:
            raise ActionFailed(
                f"{what}: the ERP has no active supplier {bill.supplier!r} "
                f"({bill.supplier_name}): create the supplier there first.",
                error_class="supplier_unknown",
            )
        erp.create_bill(entry(bill, supplier.id, key))
    except ErpError as error:
        failed(error, what)


def _reconcile_post(erp: Erp, arguments: PostBill, *, idempotency_key: str) -> Reconciled:
    del idempotency_key  # a bill is posted once, whoever did it
    bill = erp.bill(arguments.bill_id)
    if bill is None or bill.state == "cancelled":
        return Reconciled(state="unclear", note=f"Bill {arguments.bill_id} is gone from the books.")
    if bill.state not in POSTED:
        return Reconciled(state="absent")
    if wrong := disagreements(erp, bill):
        return Reconciled(state="unclear", note=_posted_wrongly(bill, wrong))
    return Reconciled(state="done", result=receipt(bill).model_dump(mode="json"))


def _verify_post(erp: Erp, arguments: PostBill, result: Json) -> list[str]:
    bill = _read_back(erp, result)
    if bill is None:
        return [f"The ERP has no bill {result.get('bill_id')}."]
    checks = (
        ("bill", bill.id, arguments.bill_id),
        ("total", bill.total, arguments.total),
        ("currency", bill.currency, arguments.currency),
        ("number", bill.number, arguments.number),
        ("posted", bill.state in POSTED, True),
        ("date", erp.booked(bill).on, booked_on(bill, arguments)),
    )
    return differences(checks) + disagreements(erp, bill)


def _undo_post(done: Executed[PostBill, BillReceipt]) -> Undo | str:
    bill = done.arguments
    return Undo(
        cancel_bill,
        CancelBill(
            supplier=bill.supplier,
            number=bill.number,
            bill_id=bill.bill_id,
            currency=bill.currency,
            total=bill.total,
        ),
    )


@action(
    "erp.bill.post",
    title="Post a supplier's bill",
    subject=PostBill.subject,
    counterparty=lambda one: one.supplier,
    amount=lambda bill: (bill.total, bill.currency),
    facts=post_facts,
    precondition=post_state,
    half_done=of_invoice,
    reconcile=_reconcile_post,
    verify=_verify_post,
    undo=_undo_post,
    summary=lambda bill, done: (
        f"Bill {bill.number}, {done.total} {done.currency}, posted as {done.booked_as}"
    ),
)
def post_bill(erp: Erp, bill: PostBill, *, idempotency_key: str) -> BillReceipt:
    """Posted once, by whichever attempt: the ERP's state says so, not our memory."""
    del idempotency_key
    found = _must_be_named(erp, bill)
    if found.state in POSTED:
        if wrong := disagreements(erp, found):  # whoever made it so: do not call it done
            raise ErpError(_posted_wrongly(found, wrong))
    else:
        _must_be_postable(erp, found, bill.total)
        try:
            if bill.accounting_date not in {None, found.accounting_date}:
                erp.date_bill(found.id, bill.accounting_date)
            # Bills with the same number are in the facts that were judged, and in the state
            # that is compared at the claim: confirming the ERP's own warning adds nothing new.
            erp.post_bill(found.id, similar_is_known=True)
        except ErpError as error:
            after = _again(erp, found.id, error)
            if after.state not in POSTED:
                failed(error, f"Bill {bill.number} was not posted")
        found = _again(erp, found.id)
    return receipt(found)


def _must_be_named(erp: Erp, arguments: PostBill) -> Bill:
    found = erp.bill(arguments.bill_id)
    supplier = erp.find_supplier(arguments.supplier)
    if (
        found is None
        or supplier is None
        or (found.supplier_id, found.number) != (supplier.id, arguments.number)
    ):
        raise ActionFailed(
            f"Bill {arguments.bill_id} is not invoice {arguments.number} of {arguments.supplier}: "
            "look the bill up again.",
            error_class="bill_unknown",
        )
    return found


def _must_be_postable(erp: Erp, bill: Bill, total: Decimal) -> None:
    """Raises ActionFailed."""
    if bill.state not in {"draft", "validated"}:
        raise ActionFailed(
            f"Bill {bill.number} is {bill.state} in the ERP and cannot be posted.",
            error_class="bill_state",
        )
    if bill.total != total:
        raise ActionFailed(
            f"Bill {bill.number} comes to {bill.total} {bill.currency} in the ERP, "
            f"{total} were approved: ask again.",
            error_class="total_mismatch",
        )
    if not erp.bill_lines(bill.id):  # the ERP would post it straight to paid
        raise ActionFailed(
            f"Bill {bill.number} has no lines: enter them first.", error_class="bill_without_lines"
        )
    if wrong := disagreements(erp, bill):
        raise ActionFailed(
            f"Bill {bill.number} was not posted: {'; '.join(wrong)}. Settle that in the ERP first.",
            error_class="books_disagree",
        )


def _posted_wrongly(bill: Bill, wrong: list[str]) -> str:
    return f"Bill {bill.number} stands {bill.state}, but {'; '.join(wrong)}."


def _again(erp: Erp, bill_id: int, cause: ErpError | None = None) -> Bill:
    bill = erp.bill(bill_id)
    if bill is None:
        raise ErpError(f"Bill {bill_id} is gone from the books.") from cause
    return bill


def _read_back(erp: Erp, result: Json) -> Bill | None:
    bill_id = result.get("bill_id")
    return erp.bill(bill_id) if isinstance(bill_id, int) else None
