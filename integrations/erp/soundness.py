"""Whether the books agree with themselves: a record's state is only worth what stands behind it.

The ERP's buttons keep these rules, but its own protocol lets every ERP user write a state
directly past them, hang a foreign entry under a bill, and on SQLite post an entry that is out
of balance. So nothing is built on a state alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.erp.port import Bill, Erp

BOOKED = frozenset({"posted", "paid"})
AGREED = frozenset({"approved", "processing", "succeeded"})


def disagreements(erp: Erp, bill: Bill) -> list[str]:
    """What contradicts itself about the bill, its entry and its payments, in words."""
    return [*_of_bill(erp, bill), *_of_entry(erp, bill), *_of_payments(erp, bill)]


def _of_bill(erp: Erp, bill: Bill) -> Iterator[str]:
    if bill.state in BOOKED:
        if not bill.booked_as:
            yield f"it is {bill.state} without a number"
        if bill.move_id is None:
            yield f"it is {bill.state} without a journal entry"
        if not erp.bill_lines(bill.id):
            yield f"it is {bill.state} without lines"
    elif bill.state == "draft" and bill.move_id is not None:
        yield "it is a draft and has a journal entry already"


def _of_entry(erp: Erp, bill: Bill) -> Iterator[str]:
    if bill.move_id is None:
        return
    entry = erp.booked(bill)
    if entry.debit != entry.credit:
        yield f"its journal entry is out of balance: debit {entry.debit}, credit {entry.credit}"
    if bill.state in BOOKED and entry.payable != bill.total:
        yield f"its journal entry owes the supplier {entry.payable}, the bill {bill.total}"


def _of_payments(erp: Erp, bill: Bill) -> Iterator[str]:
    found = erp.payments(line_ids=bill.payable_lines) if bill.payable_lines else []
    for payment in found:
        if payment.state in AGREED and not payment.approved:
            yield f"payment {payment.number} is {payment.state} and nobody approved it"
