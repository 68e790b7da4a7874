"""Changing the bank account that a supplier is paid to: where invoice fraud begins.

Whoever may run this may redirect every later payment, so it has an ERP user of its own, which
can do nothing else. The ERP's state says whether it is done: a change has no key in the books,
and made twice it is the same change.
"""

from datetime import UTC, datetime
from decimal import Decimal

from gates.actions import Executed, Json, Reconciled, Undo, action
from gates.core.errors import ActionFailed
from integrations.erp.answers import failed
from integrations.erp.arguments import AccountReceipt, ChangeBankAccount
from integrations.erp.errors import ErpError
from integrations.erp.facts import minor
from integrations.erp.half_done import of_supplier
from integrations.erp.port import OPEN_PAYMENT, Erp, Supplier


def _facts(erp: Erp, change: ChangeBankAccount) -> Json:
    supplier = erp.find_supplier(change.supplier)
    if supplier is None:
        return {"supplier_known": False, "supplier_name": change.supplier}
    now, account_since = datetime.now(UTC), supplier.bank_account_since
    others = [name for name in erp.owners(change.new_iban) if name != supplier.name]
    return {
        "supplier_known": supplier.active,
        "supplier_name": supplier.name,
        "supplier_age_days": (now - supplier.since).days,
        "bank_account_age_days": (now - account_since).days if account_since else None,
        "supplier_ibans": list(supplier.ibans),
        "old_is_current": change.old_iban in supplier.ibans,
        "new_is_known": change.new_iban in supplier.ibans,
        "country_changes": change.old_iban[:2] != change.new_iban[:2],
        "same_account_of": list(others),
        **_would_go_there(erp, supplier),
    }


def _would_go_there(erp: Erp, supplier: Supplier) -> Json:
    """Bills that are not paid, and payments on the way: what the new account would get."""
    bills = [b for b in erp.bills(supplier_id=supplier.id) if b.state not in {"paid", "cancelled"}]
    lines = tuple(line for bill in bills for line in bill.payable_lines)
    payments = erp.payments(line_ids=lines) if lines else []
    owed = sum((b.to_pay if b.state == "posted" else b.total for b in bills), Decimal())
    return {
        "open_bills": len(bills),
        "open_bills_minor": minor(owed),
        "open_payments": sum(p.state in OPEN_PAYMENT for p in payments),
    }


def _state(erp: Erp, change: ChangeBankAccount) -> Json:
    supplier = erp.find_supplier(change.supplier)
    if supplier is None:
        return {"supplier": None}
    return {
        "supplier": {"id": supplier.id, "name": supplier.name, "active": supplier.active},
        "ibans": list(supplier.ibans),
        "same_account_of": [n for n in erp.owners(change.new_iban) if n != supplier.name],
    }


def _reconcile(erp: Erp, change: ChangeBankAccount, *, idempotency_key: str) -> Reconciled:
    del idempotency_key  # an account is changed or not, whoever did it
    supplier = erp.find_supplier(change.supplier)
    ibans = supplier.ibans if supplier else ()
    old, new = change.old_iban in ibans, change.new_iban in ibans
    if supplier is None or old is new:
        held = ", ".join(ibans) or "none"
        return Reconciled(state="unclear", note=f"{change.supplier} has the accounts: {held}.")
    if old:
        return Reconciled(state="absent")
    return Reconciled(state="done", result=_receipt(supplier).model_dump(mode="json"))


def _verify(erp: Erp, change: ChangeBankAccount, _result: Json) -> list[str]:
    supplier = erp.find_supplier(change.supplier)
    ibans = supplier.ibans if supplier else ()
    found = []
    if change.new_iban not in ibans:
        found.append(f"account: the ERP has {', '.join(ibans)}, approved was {change.new_iban}")
    if change.old_iban in ibans:
        found.append(f"the old account {change.old_iban} is still in use")
    return found


def _undo(done: Executed[ChangeBankAccount, AccountReceipt]) -> Undo | str:
    change = done.arguments
    if done.result is None:
        return "Which account is in use is not known: look it up in the ERP."
    swapped = {"old_iban": change.new_iban, "new_iban": change.old_iban}
    return Undo(
        change_bank_account, ChangeBankAccount.model_validate(change.model_dump() | swapped)
    )


@action(
    "erp.supplier.bank_account.change",
    title="Change a supplier's bank account",
    subject=ChangeBankAccount.subject,
    counterparty=lambda one: one.supplier,
    facts=_facts,
    precondition=_state,
    half_done=of_supplier,
    reconcile=_reconcile,
    verify=_verify,
    undo=_undo,
    summary=lambda change, done: (
        f"{done.supplier} is paid to {change.new_iban}, no longer to {change.old_iban}"
    ),
)
def change_bank_account(
    erp: Erp, change: ChangeBankAccount, *, idempotency_key: str
) -> AccountReceipt:
    """From the old account to the new one; where the old one is not in use, nothing."""
    del idempotency_key
    supplier = _supplier(erp, change)
    if change.new_iban in supplier.ibans and change.old_iban not in supplier.ibans:
        return _receipt(supplier)
    account = next((a for a in erp.bank_accounts(supplier.id) if a.iban == change.old_iban), None)
    if account is None or change.new_iban in supplier.ibans:
        raise ActionFailed(
            f"{supplier.name} is paid to {', '.join(supplier.ibans) or 'no account'} and not to "
            f"{change.old_iban} alone: look the accounts up again.",
            error_class="account_differs",
        )
    if others := [name for name in erp.owners(change.new_iban) if name != supplier.name]:
        raise ActionFailed(
            f"{change.new_iban} is the account of {', '.join(others)}: find out whose it is.",
            error_class="account_of_another",
        )
    try:
        erp.replace_iban(account, change.new_iban)
    except ErpError as error:
        failed(error, f"The account of {supplier.name} was not changed")
    return _receipt(_supplier(erp, change))


def _supplier(erp: Erp, change: ChangeBankAccount) -> Supplier:
    supplier = erp.find_supplier(change.supplier)
    if supplier is None or not supplier.active:
        raise ActionFailed(
            f"The ERP has no active supplier {change.supplier!r}: create the supplier there first.",
            error_class="supplier_unknown",
        )
    return supplier


def _receipt(supplier: Supplier) -> AccountReceipt:
    return AccountReceipt(supplier=supplier.name, ibans=supplier.ibans)
