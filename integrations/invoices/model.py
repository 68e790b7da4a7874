"""An e-invoice as data: what EN 16931 requires of it and a bookkeeper needs."""

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

CENT = Decimal("0.01")
FOUR_PLACES = Decimal("0.0001")


class Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class SupplierParty(Part):
    """`tax_id`: the VAT id without spaces, else the local tax number, else None."""

    name: str
    tax_id: str | None
    ibans: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells this supplier from all others: the tax id, else the name."""
        return self.tax_id or self.name


class InvoiceLine(Part):
    """`amount` is the line's net amount as the document says; `tax_rate` in percent."""

    id: str
    description: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    amount: Decimal
    tax_category: str
    tax_rate: Decimal


class DocumentCharge(Part):
    """A charge (positive) or an allowance (negative) on the whole document, before tax."""

    reason: str
    amount: Decimal
    tax_rate: Decimal


class TaxSubtotal(Part):
    category: str
    rate: Decimal
    base: Decimal
    amount: Decimal


class Totals(Part):
    """As the document says: `net` before tax, `gross` with tax, `payable` what is to be paid."""

    lines: Decimal
    net: Decimal
    tax: Decimal
    gross: Decimal
    prepaid: Decimal
    rounding: Decimal
    third_party: Decimal
    payable: Decimal


class BookingLine(Part):
    """What is booked for a line: quantity times unit price is its net amount to the cent."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    tax_rate: Decimal


class Invoice(Part):
    """`kind` is the code of UNTDID 1001: 380 invoice, 381 credit note, 384 correction."""

    number: str
    kind: str
    issued: date
    due: date | None
    supplier: SupplierParty
    buyer: str
    buyer_reference: str | None
    currency: str
    lines: tuple[InvoiceLine, ...]
    charges: tuple[DocumentCharge, ...]
    taxes: tuple[TaxSubtotal, ...]
    totals: Totals

    @property
    def is_credit(self) -> bool:
        """Money comes back: booked as a bill it would pay the supplier instead."""
        return self.kind == "381" or self.totals.payable < 0

    def booking_lines(self) -> tuple[BookingLine, ...]:
        """Lines and document charges, such that their net amounts are the document's.

        A price with a base quantity or a discount within the line does not survive as
        quantity times price; such a line is booked as one piece at its amount.
        """
        lines = [_booking_line(line) for line in self.lines]
        charges = [
            BookingLine(
                description=charge.reason,
                quantity=Decimal(1),
                unit_price=charge.amount,
                tax_rate=charge.tax_rate,
            )
            for charge in self.charges
        ]
        return (*lines, *charges)


def _booking_line(line: InvoiceLine) -> BookingLine:
    exact = (
        (line.quantity * line.unit_price).quantize(CENT) == line.amount
        and line.quantity == line.quantity.quantize(FOUR_PLACES)
        and line.unit_price == line.unit_price.quantize(FOUR_PLACES)
    )
    return BookingLine(
        description=line.description,
        quantity=line.quantity if exact else Decimal(1),
        unit_price=line.unit_price if exact else line.amount,
        tax_rate=line.tax_rate,
    )
