"""What the server finds out in the ERP by itself before a policy or a person judges.

Money is in integer minor units under keys that end in `_minor`. Nothing here trusts the
arguments beyond looking up what they name. A *state* is what must not have changed between
asking and executing; it leaves out what the execution itself changes.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from integrations.erp.port import OPEN_PAYMENT, Bill, Erp, Supplier, SupplierPayment
from integrations.erp.soundness import disagreements

if TYPE_CHECKING:
    from pydantic import JsonValue

    from gates.actions import Json
    from integrations.erp.arguments import (
        CancelBill,
        CreateBill,
        DiscardBill,
        OfSupplier,
        Payment,
        PostBill,
        WithdrawPayment,
    )


def create_facts(erp: Erp, arguments: CreateBill) -> Json:
    supplier = erp.find_supplier(arguments.supplier)
    return {
        "amount_minor": minor(arguments.total),
        "currency": arguments.currency,
        **_supplier_facts(erp, supplier, arguments.supplier_name, arguments.payee_iban),
        **_duplicate_facts(_same_number(erp, supplier, arguments)),
    }


def create_state(erp: Erp, arguments: CreateBill) -> Json:
    supplier = erp.find_supplier(arguments.supplier)
    return {
        "supplier": _supplier_state(supplier),
        "duplicates": [_bill_brief(bill) for bill in _same_number(erp, supplier, arguments)],
    }


def post_facts(erp: Erp, arguments: PostBill) -> Json:
    bill = erp.bill(arguments.bill_id)
    supplier = erp.supplier(bill.supplier_id) if bill else None
    return {
        "amount_minor": minor(bill.total) if bill else minor(arguments.total),
        "currency": bill.currency if bill else arguments.currency,
        **_bill_facts(erp, bill, arguments, arguments.total),
        **_date_facts(bill, arguments),
        **_supplier_facts(erp, supplier, arguments.supplier, arguments.payee_iban),
        **_duplicate_facts(_same_number(erp, supplier, arguments, but=arguments.bill_id)),
    }


def post_state(erp: Erp, arguments: PostBill) -> Json:
    bill = erp.bill(arguments.bill_id)
    supplier = erp.supplier(bill.supplier_id) if bill else None
    others = _same_number(erp, supplier, arguments, but=arguments.bill_id)
    return {
        "bill": _bill_state(erp, bill),
        "booked_on": _day(booked_on(bill, arguments)),
        "supplier": _supplier_state(supplier),
        "duplicates": [_bill_brief(other) for other in others],
    }


def payment_facts(erp: Erp, arguments: Payment) -> Json:
    bill = erp.bill(arguments.bill_id)
    supplier = erp.supplier(bill.supplier_id) if bill else None
    payments = erp.payments(line_ids=bill.payable_lines) if bill and bill.payable_lines else []
    return {
        "amount_minor": minor(arguments.amount),
        "currency": arguments.currency,
        "to_pay_minor": minor(bill.to_pay) if bill else 0,
        **_bill_facts(erp, bill, arguments, arguments.amount),
        **_supplier_facts(erp, supplier, arguments.supplier, arguments.payee_iban),
        "payments": [_payment_brief(payment) for payment in payments],
        "stray_drafts": sum(payment.state in OPEN_PAYMENT for payment in payments),
    }


def payment_state(erp: Erp, arguments: Payment) -> Json:
    """Payments on the bill are left out: the own one is among them after a lost attempt."""
    bill = erp.bill(arguments.bill_id)
    supplier = erp.supplier(bill.supplier_id) if bill else None
    return {"bill": _bill_state(erp, bill), "supplier": _supplier_state(supplier)}


def discard_facts(erp: Erp, arguments: DiscardBill) -> Json:
    return _named_facts(erp, arguments, arguments.bill_id)


def discard_state(erp: Erp, arguments: DiscardBill) -> Json:
    return {"bill": _bill_state(erp, erp.bill(arguments.bill_id))}


def cancel_facts(erp: Erp, arguments: CancelBill) -> Json:
    bill = erp.bill(arguments.bill_id)
    payments = erp.payments(line_ids=bill.payable_lines) if bill and bill.payable_lines else []
    return {
        **_named_facts(erp, arguments, arguments.bill_id),
        "amount_matches": bill is not None and bill.total == arguments.total,
        "disagreements": _disagreements(erp, bill),
        "payments": [_payment_brief(payment) for payment in payments],
    }


def cancel_state(erp: Erp, arguments: CancelBill) -> Json:
    return {"bill": _bill_state(erp, erp.bill(arguments.bill_id))}


def withdraw_facts(erp: Erp, arguments: WithdrawPayment) -> Json:
    found = erp.payments(key=arguments.reference)
    return {
        **_named_facts(erp, arguments, arguments.bill_id),
        "payments": [_payment_brief(payment) for payment in found],
        "has_left": any(payment.state not in OPEN_PAYMENT for payment in found),
    }


def withdraw_state(erp: Erp, arguments: WithdrawPayment) -> Json:
    return {"bill": _bill_state(erp, erp.bill(arguments.bill_id))}


def booked_on(bill: Bill | None, arguments: PostBill) -> date | None:
    """What the ERP goes by: what is asked for, else what stands in the draft, else the invoice."""
    standing = (bill.accounting_date or bill.invoice_date) if bill else None
    return arguments.accounting_date or standing


def minor(amount: Decimal) -> int:
    """Cents. The currencies of the reference company all have two places."""
    return int((amount * 100).to_integral_value())


def _same_number(
    erp: Erp, supplier: Supplier | None, arguments: OfSupplier, but: int | None = None
) -> list[Bill]:
    if supplier is None:
        return []
    found = erp.bills_alike(supplier.id, arguments.number)
    return [bill for bill in found if bill.id != but and bill.state != "cancelled"]


def _supplier_facts(
    erp: Erp, supplier: Supplier | None, named: str, payee_iban: str | None
) -> Json:
    """`named`: what the arguments call the supplier, for one that the ERP does not know."""
    if supplier is None:
        return {
            "supplier_known": False,
            "supplier_name": named,
            "bank_account_changed": payee_iban is not None,
        }
    now = datetime.now(UTC)
    account_since = supplier.bank_account_since
    unpaid = [b for b in erp.bills(supplier_id=supplier.id) if b.state not in {"paid", "cancelled"}]
    exposure = sum((b.to_pay if b.state == "posted" else b.total for b in unpaid), Decimal())
    facts: Json = {
        "supplier_known": supplier.active,
        "supplier_id": supplier.id,
        "supplier_name": supplier.name,
        "supplier_age_days": (now - supplier.since).days,
        "bank_account_age_days": (now - account_since).days if account_since else None,
        "bank_account_changed": payee_iban is not None and payee_iban not in supplier.ibans,
        "supplier_ibans": list(supplier.ibans),
        "open_exposure_minor": minor(exposure),
        "open_bills": len(unpaid),
    }
    if payee_iban is not None:
        facts["document_iban"] = payee_iban
    return facts


def _duplicate_facts(duplicates: list[Bill]) -> Json:
    """Bills of the same supplier with the same number, in words for a card."""
    return {
        "duplicate_number": [
            f"{bill.number}: {bill.booked_as or 'no number'} "
            f"({bill.state}, {bill.total} {bill.currency})"
            for bill in duplicates
        ]
    }


def _bill_facts(erp: Erp, bill: Bill | None, arguments: OfSupplier, amount: Decimal) -> Json:
    if bill is None:
        return {"bill_known": False, "disagreements": []}
    return {
        **_naming(erp, bill, arguments),
        "bill_total_minor": minor(bill.total),
        "amount_matches": amount == bill.total,
        "disagreements": _disagreements(erp, bill),
    }


def _date_facts(bill: Bill | None, arguments: PostBill) -> Json:
    """`other_date` also where a day that somebody put into the draft would be put aside."""
    on, own = booked_on(bill, arguments), bill.invoice_date if bill else None
    other = on != own or (bill is not None and bill.accounting_date not in {None, own})
    return {"booked_on": _day(on), "invoice_date": _day(own), "other_date": other}


def _named_facts(erp: Erp, arguments: OfSupplier, bill_id: int) -> Json:
    bill = erp.bill(bill_id)
    return _naming(erp, bill, arguments) if bill else {"bill_known": False}


def _naming(erp: Erp, bill: Bill, arguments: OfSupplier) -> Json:
    named = erp.find_supplier(arguments.supplier)
    return {
        "bill_known": True,
        "bill_state": bill.state,
        "booked_as": bill.booked_as,
        "supplier_name": bill.supplier,
        # An agent that names one supplier's number and another one's bill is caught here.
        "bill_is_named": bill.number == arguments.number
        and named is not None
        and named.id == bill.supplier_id,
    }


def _disagreements(erp: Erp, bill: Bill | None) -> list[JsonValue]:
    return list(disagreements(erp, bill)) if bill else []


def _bill_state(erp: Erp, bill: Bill | None) -> JsonValue:
    """Header and lines: the ERP lets a line's price change without touching the header."""
    if bill is None:
        return None
    return {
        **_bill_brief(bill),
        "supplier_id": bill.supplier_id,
        "number": bill.number,
        "date": _day(bill.invoice_date),
        "currency": bill.currency,
        "entry": _entry_state(erp, bill),
        "lines": [
            [line.description, *(_text(n) for n in (line.quantity, line.unit_price, line.tax_rate))]
            for line in erp.bill_lines(bill.id)
        ],
    }


def _entry_state(erp: Erp, bill: Bill) -> JsonValue:
    """The journal entry behind the state: which one, and its two sides."""
    if bill.move_id is None:
        return None
    entry = erp.booked(bill)
    return {"id": bill.move_id, "debit": _text(entry.debit), "credit": _text(entry.credit)}


def _supplier_state(supplier: Supplier | None) -> JsonValue:
    if supplier is None:
        return None
    return {
        "id": supplier.id,
        "name": supplier.name,
        "active": supplier.active,
        "ibans": list(supplier.ibans),
    }


def _bill_brief(bill: Bill) -> dict[str, JsonValue]:
    return {
        "bill_id": bill.id,
        "booked_as": bill.booked_as,
        "state": bill.state,
        "total_minor": minor(bill.total),
    }


def _payment_brief(payment: SupplierPayment) -> dict[str, JsonValue]:
    return {
        "reference": payment.key,
        "state": payment.state,
        "amount_minor": minor(payment.amount),
    }


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _text(number: Decimal) -> str:
    return f"{number.normalize():f}"
