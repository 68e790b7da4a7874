"""The trouble that the demo shows: a bill that no payment can ever get through to.

Some script entered this bill, posted it, drafted its payment and died; nobody tidied up. The
draft counts against the bill, so the ERP answers every later payment with "overpays line",
the legitimate one included, and only deleting the draft cures it. The flow finds the bill in
the books (`erp.bill.find`), goes on to pay it, and runs in circles.

It is planted before any flow runs, as a third party would have left it: with records of its
own, not under any key of the gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integrations.erp.bills import entry
from integrations.erp.port import NewPayment

if TYPE_CHECKING:
    from integrations.erp.arguments import CreateBill
    from integrations.erp.port import Bill, Erp

SCRIPT = "payment-script"


def plant_posted_bill(erp: Erp, bill: CreateBill) -> Bill:
    """The bill of `bill`, posted in the books by somebody else; repeated, the same one."""
    key = f"{SCRIPT}:{bill.number}"
    found = erp.bills(key=key)
    if not found:
        supplier = erp.find_supplier(bill.supplier)
        if supplier is None:
            raise LookupError(f"The demo company has no supplier {bill.supplier!r}.")
        erp.create_bill(entry(bill, supplier.id, key))
        found = erp.bills(key=key)
    if found[0].state == "draft":
        erp.post_bill(found[0].id, similar_is_known=False)
    return erp.bills(key=key)[0]


def plant_stray_draft(erp: Erp, bill: Bill) -> None:
    """A draft payment over the whole of the posted `bill`; repeated, still one."""
    key = f"{SCRIPT}:{bill.number}"
    if not erp.payments(key=key):
        (line,) = bill.payable_lines
        payment = NewPayment(supplier_id=bill.supplier_id, line_id=line, amount=bill.total, key=key)
        erp.create_payment(payment)
