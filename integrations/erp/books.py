"""The ERP's books as a list: what a demo, a crash test or an auditor compares with the log."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from integrations.erp.port import Bill, Erp, SupplierPayment


class BookedPayment(BaseModel):
    """`key`: the idempotency key that the payment carries as its reference."""

    model_config = ConfigDict(frozen=True)
    number: str
    key: str
    amount: Decimal
    state: str


class BookEntry(BaseModel):
    """`number`: the supplier's; `booked_as`: the ERP's; `key`: our idempotency key."""

    model_config = ConfigDict(frozen=True)
    bill_id: int
    supplier: str
    number: str
    booked_as: str
    key: str
    state: str
    currency: str
    total: Decimal
    to_pay: Decimal
    payments: tuple[BookedPayment, ...]

    @property
    def paid(self) -> Decimal:
        """What succeeded, in all."""
        return sum((p.amount for p in self.payments if p.state == "succeeded"), Decimal())


def books(erp: Erp, number: str | None = None) -> list[BookEntry]:
    """Every supplier bill (under this number of its supplier) with every payment on it, oldest
    first.
    """
    bills = erp.bills(number=number)
    lines = tuple(line for bill in bills for line in bill.payable_lines)
    payments = erp.payments(line_ids=lines) if lines else []
    return [
        _entry(bill, [p for p in payments if p.line_id in bill.payable_lines]) for bill in bills
    ]


def _entry(bill: Bill, payments: list[SupplierPayment]) -> BookEntry:
    return BookEntry(
        bill_id=bill.id,
        supplier=bill.supplier,
        number=bill.number,
        booked_as=bill.booked_as,
        key=bill.key,
        state=bill.state,
        currency=bill.currency,
        total=bill.total,
        to_pay=bill.to_pay,
        payments=tuple(
            BookedPayment(number=p.number, key=p.key, amount=p.amount, state=p.state)
            for p in payments
        ),
    )
