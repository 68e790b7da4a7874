"""What the ERP actions are asked with, and what they answer.

Suppliers go by their tax id (or, where a document has none, by their exact name): that is
what a document says, what people recognize, and what the same supplier's other requests are
counted under. Amounts are decimals with two places, as strings in JSON.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from stdnum import iban as iban_rules
from stdnum.exceptions import ValidationError as NotAnIban

CENT = Decimal("0.01")


def _two_places(amount: Decimal) -> Decimal:
    return amount.quantize(CENT)


def _plain(number: Decimal) -> Decimal:
    """One spelling for one number, so that it has one fingerprint: 2.50 and 2.5 are 2.5."""
    return Decimal(f"{number.normalize():f}")


def _compact(iban: str) -> str:
    return "".join(iban.split()).upper()


def _valid(iban: str) -> str:
    """Length and form by country, and the check digits (ISO 13616, mod 97-10)."""
    try:
        return str(iban_rules.validate(iban))
    except NotAnIban as error:
        raise ValueError(f"is no IBAN ({error}): compare it with the document") from error


Money = Annotated[Decimal, Field(max_digits=14, decimal_places=2), AfterValidator(_two_places)]
Number = Annotated[Decimal, Field(max_digits=14, decimal_places=4), AfterValidator(_plain)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Iban = Annotated[str, Field(min_length=5, max_length=42), AfterValidator(_compact)]
ValidIban = Annotated[Iban, AfterValidator(_valid)]
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
    """`payee_iban`: where the document wants the money to go. `accounting_date`: the day it is
    booked on, where that is not the invoice's own.
    """

    bill_id: int
    currency: Currency
    total: Annotated[Money, Field(gt=0)]
    payee_iban: Iban | None = None
    accounting_date: date | None = None


class Payment(OfSupplier):
    """`payee_iban`: where the document wants the money to go."""

    bill_id: int
    currency: Currency
    amount: Annotated[Money, Field(gt=0)]
    payee_iban: Iban | None = None


class DiscardBill(OfSupplier):
    """Take back a draft."""

    bill_id: int


class CancelBill(OfSupplier):
    """Take back a posted bill: the ERP books the opposite entry."""

    bill_id: int
    currency: Currency
    total: Annotated[Money, Field(gt=0)]


class WithdrawPayment(OfSupplier):
    """Take back a payment that has not left. `reference`: what it carries in the ERP."""

    bill_id: int
    currency: Currency
    amount: Annotated[Money, Field(gt=0)]
    reference: Text


class ChangeBankAccount(Arguments):
    """`document`: what asks for the change, as people can find it again."""

    supplier: Text
    old_iban: Iban
    new_iban: ValidIban
    document: Text

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.old_iban == self.new_iban:
            raise ValueError("new_iban is the old one: there is nothing to change")
        return self

    def subject(self) -> list[str]:
        return [f"supplier:{self.supplier}", f"iban:{self.new_iban}"]


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


class BillTakenBack(BaseModel):
    """`state`: as the ERP has it now; `absent` where the draft was deleted."""

    model_config = ConfigDict(frozen=True)
    bill_id: int
    number: str
    state: str


class PaymentTakenBack(BaseModel):
    """`found`: how the payment stood before; `absent` where there was none."""

    model_config = ConfigDict(frozen=True)
    reference: str
    found: str


class AccountReceipt(BaseModel):
    """`ibans`: those that payments go to from now on."""

    model_config = ConfigDict(frozen=True)
    supplier: str
    ibans: tuple[str, ...]
