"""What the actions need of an ERP, in words that are not any vendor's.

Every write is one transaction of the ERP: it is in the books whole or not at all. None of
them is idempotent by itself; the actions make them so by the key that each record carries.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

BillState = Literal["draft", "validated", "posted", "paid", "cancelled"]
PaymentState = Literal["draft", "submitted", "approved", "processing", "succeeded", "failed"]
PaymentStep = Literal["submit", "approve", "process", "succeed", "back_to_draft"]
OPEN_PAYMENT: frozenset[str] = frozenset({"draft", "submitted", "approved"})  # no money moved yet


class Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Supplier(Record):
    """`ibans`: those that a payment would go to now, sorted, without spaces."""

    id: int
    name: str
    active: bool
    since: datetime
    ibans: tuple[str, ...]
    bank_account_since: datetime | None


class BankAccount(Record):
    """One IBAN of a supplier. `version`: the ERP's own stamp of its last change."""

    account_id: int
    number_id: int
    iban: str
    version: str


class BillLine(Record):
    """`tax_rate` in percent; `unit_price` before tax."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    tax_rate: Decimal


class NewBill(Record):
    """`number` is the supplier's own; `key` ours, kept in the bill's description."""

    supplier_id: int
    number: str
    invoice_date: date
    currency: str
    lines: tuple[BillLine, ...]
    key: str


class Bill(Record):
    """`number`: the supplier's; `booked_as`: the ERP's, once posted; `payable_lines`: ids;
    `accounting_date`: the day it is booked on, where that is not the invoice's own.
    """

    id: int
    supplier_id: int
    supplier: str
    number: str
    booked_as: str
    key: str
    state: BillState
    invoice_date: date | None
    currency: str
    untaxed: Decimal
    tax: Decimal
    total: Decimal
    to_pay: Decimal
    payable_lines: tuple[int, ...]
    move_id: int | None
    accounting_date: date | None = None


class Entry(Record):
    """A bill's journal entry. `payable`: what it owes the supplier; `on`: its day."""

    debit: Decimal
    credit: Decimal
    payable: Decimal
    on: date | None = None


class NewPayment(Record):
    supplier_id: int
    line_id: int
    amount: Decimal
    key: str


class SupplierPayment(Record):
    """`key` is ours, kept in the payment's reference. `approved`: somebody pressed the ERP's
    own button; its state alone can be written by hand.
    """

    id: int
    number: str
    key: str
    supplier_id: int
    amount: Decimal
    state: PaymentState
    line_id: int | None
    approved: bool = False


class Erp(Protocol):
    """Bills, payments and bank accounts of one company. Raises ErpError and its kinds."""

    def find_supplier(self, key: str) -> Supplier | None:
        """By tax id; by exact name only those without one. None unless exactly one fits."""

    def supplier(self, supplier_id: int) -> Supplier | None: ...

    def bill(self, bill_id: int) -> Bill | None: ...

    def bills(
        self, *, supplier_id: int | None = None, number: str | None = None, key: str | None = None
    ) -> list[Bill]:
        """All that fit, oldest first."""

    def bills_alike(self, supplier_id: int, number: str) -> list[Bill]:
        """Whose number looks the same: letter case, spaces and punctuation aside."""

    def bill_lines(self, bill_id: int) -> list[BillLine]: ...

    def booked(self, bill: Bill) -> Entry:
        """The bill's journal entry as it stands; all zero where there is none."""

    def payments(
        self, *, line_ids: tuple[int, ...] | None = None, key: str | None = None
    ) -> list[SupplierPayment]:
        """All that fit, oldest first."""

    def bank_accounts(self, supplier_id: int) -> list[BankAccount]:
        """Those in use, oldest first."""

    def owners(self, iban: str) -> list[str]:
        """Names of all suppliers whom a payment to this IBAN would reach."""

    def create_bill(self, bill: NewBill) -> int: ...

    def delete_bill(self, bill_id: int) -> None:
        """A draft only."""

    def date_bill(self, bill_id: int, on: date) -> None:
        """The day that a draft will be booked on."""

    def post_bill(self, bill_id: int, *, similar_is_known: bool) -> None:
        """`similar_is_known`: people have seen that the supplier's number is in the books."""

    def cancel_bill(self, bill_id: int) -> None:
        """A posted one: the opposite entry is booked."""

    def replace_iban(self, account: BankAccount, iban: str) -> None:
        """The old number is kept, out of use. Raises ErpRefused where `account` is not as read."""

    def create_payment(self, payment: NewPayment) -> int: ...

    def move_payment(self, payment_id: int, step: PaymentStep) -> None: ...

    def delete_payment(self, payment_id: int) -> None:
        """A draft only."""
