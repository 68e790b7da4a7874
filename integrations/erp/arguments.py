"""What the ERP actions are asked with, and what they answer.

Suppliers go by their tax id (or, where a document has none, by their exact name): that is
what a document says, what people recognize, and what the same supplier's other requests are
counted under. Amounts are decimals with two places, as strings in JSON.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

CENT = Decimal("0.01")


def _two_places(amount: Decimal) -> Decimal:
    return amount.quantize(CENT)


def _plain(number: Decimal) -> Decimal:
    """One spelling for one number, so that it has one fingerprint: 2.50 and 2.5 are 2.5."""
    return Decimal(f"{number.normalize():f}")


def _compact(iban: str) -> str:
    return "".join(iban.split()).upper()


Money = Annotated[Decimal, Field(max_digits=14, decimal_places=2), AfterValidator(_two_places)]
Number = Annotated[Decimal, Field(max_digits=14, decimal_places=4), AfterValidator(_plain)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Iban = Annotated[str, Field(min_length=5, max_length=42), AfterValidator(_compact)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OfSupplier(Arguments):
    """`supplier`: tax id or exact name; `number`: the supplier's own number of the invoice."""

    supplier: Text
    number: Text

    def subject(self) -> list[str]:
        """Suppliers number their invoices each for themselves: the pair is the key."""
        return [f"supplier:{self.supplier}", f"invoice:{self.supplier}/{self.number}"]


class Line(Arguments):
    """`unit_price` before tax; `tax_rate` in percent."""

    description: Annotated[str, Field(max_length=500)]
    quantity: Number
    unit_price: Number
    tax_rate: Annotated[Number, Field(ge=0, le=100)]


class FindBill(OfSupplier):
    """Look for a bill that is in the books already. `total`: what the document asks for."""

    total: Money


class CreateBill(OfSupplier):
    """`total`: what the document asks for, tax included; the draft must come to the same."""

    supplier_name: Text
    invoice_date: date
    currency: Currency
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]
    total: Annotated[Money, Field(gt=0)]
    payee_iban: Iban | None = None


class PostBill(OfSupplier):
    """`payee_iban`: where the document wants the money to go."""

    bill_id: int
    currency: Currency
    total: Annotated[Money, Field(gt=0)]
    payee_iban: Iban | None = None


class Payment(OfSupplier):
    """`payee_iban`: where the document wants the money to go."""

    bill_id: int
    currency: Currency
    amount: Annotated[Money, Field(gt=0)]
    payee_iban: Iban | None = None


class BillReceipt(BaseModel):
    """`booked_as`: the ERP's own number, empty on a draft; `to_pay`: what is still open."""

    model_config = ConfigDict(frozen=True)
    bill_id: int
    number: str
    booked_as: str
    state: str
    currency: str
    total: Money
    to_pay: Money


class BillLookup(BaseModel):
    """`bill` is None where the books have none with this number and total."""

    model_config = ConfigDict(frozen=True)
    bill: BillReceipt | None


class PaymentReceipt(BaseModel):
    model_config = ConfigDict(frozen=True)
    payment_id: int
    payment_number: str
    bill_id: int
    booked_as: str
    state: str
    bill_state: str
    currency: str
    amount: Money
