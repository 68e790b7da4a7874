"""What stands half done in the ERP around an invoice, for people who are asked about a loop.

A draft bill of the same number, a payment that nobody has sent: often the very thing that an agent
stumbles over, left by an attempt that crashed or by somebody else. Read where an agent goes in
circles, whichever of the actions it is stuck at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from integrations.erp.port import OPEN_PAYMENT, Bill, Erp, SupplierPayment

if TYPE_CHECKING:
    from integrations.erp.arguments import ChangeBankAccount, OfSupplier

UNPOSTED = frozenset({"draft", "validated"})
SETTLED = frozenset({"paid", "cancelled"})
MOST = 20  # objects that are told one by one


def of_invoice(erp: Erp, arguments: OfSupplier) -> list[str]:
    """By supplier and number, and by the id of a bill where the arguments name one: an agent that
    is stuck may have named the wrong one.
    """
    supplier = erp.find_supplier(arguments.supplier)
    bills = (
        {bill.id: bill for bill in erp.bills_alike(supplier.id, arguments.number)}
        if supplier
        else {}
    )
    named = getattr(arguments, "bill_id", None)
    if named is not None and named not in bills and (bill := erp.bill(named)) is not None:
        bills[named] = bill
    return _told(erp, [bills[number] for number in sorted(bills)])


def of_supplier(erp: Erp, arguments: ChangeBankAccount) -> list[str]:
    """All that waits for its money: what is on its way goes to one account or the other."""
    supplier = erp.find_supplier(arguments.supplier)
    if supplier is None:
        return []
    return _told(
        erp, [one for one in erp.bills(supplier_id=supplier.id) if one.state not in SETTLED]
    )


def _told(erp: Erp, bills: Sequence[Bill]) -> list[str]:
    lines = {line: bill for bill in bills for line in bill.payable_lines}
    payments = erp.payments(line_ids=tuple(lines)) if lines else []
    found = [
        *_drafts(bills),
        *_payments([one for one in payments if one.state in OPEN_PAYMENT], lines),
    ]
    more = len(found) - MOST
    return [*found[:MOST], f"and {more} more"] if more > 0 else found


def _drafts(bills: Sequence[Bill]) -> Iterator[str]:
    for bill in bills:
        if bill.state in UNPOSTED:
            yield (
                f"bill {bill.number} (id {bill.id}) of {bill.supplier}, {bill.total:,.2f} "
                f"{bill.currency}, is {bill.state} and not posted"
            )


def _payments(open_: Sequence[SupplierPayment], lines: dict[int, Bill]) -> Iterator[str]:
    for one in open_:
        bill = lines.get(one.line_id) if one.line_id is not None else None
        on = f" on bill {bill.number}" if bill else ""
        currency = f" {bill.currency}" if bill else ""
        name = one.key or one.number or "without a reference"
        yield f"payment {name}{on}, {one.amount:,.2f}{currency}, is {one.state}: no money has left"
