"""The ERP port on Tryton 8.0: which model, which field, which wizard."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from integrations.erp.errors import ErpError, TrytonUserError, TrytonWarning
from integrations.erp.port import (
    BankAccount,
    Bill,
    BillLine,
    Entry,
    NewBill,
    NewPayment,
    PaymentStep,
    Supplier,
    SupplierPayment,
)
from integrations.erp.rpc import TrytonRpc
from integrations.erp.tryton_accounts import accounts_of, owners_of, replace

BILL_FIELDS = [
    "party", "party.rec_name", "reference", "number", "description", "state", "invoice_date",
    "currency.code", "untaxed_amount", "tax_amount", "total_amount", "amount_to_pay",
    "lines_to_pay", "move", "accounting_date",
]  # fmt: skip
PAYMENT_FIELDS = ["number", "reference", "party", "amount", "state", "line", "approved_by"]
PAYMENT_BUTTONS = {"submit": "submit", "approve": "approve", "succeed": "succeed",
                   "back_to_draft": "draft"}  # fmt: skip
SIMILAR = ".invoice_similar"  # how the ERP ends the key of its warning about a number seen before


class TrytonErp:
    """The verbs of `Erp` as the ERP user of `rpc`; what that user may not do, the ERP refuses."""

    def __init__(self, rpc: TrytonRpc) -> None:
        self._rpc = rpc
        self._tax_rates: dict[int, Decimal] | None = None
        self._currencies: dict[str, int] | None = None

    @classmethod
    def connect(
        cls, url: str, database: str, user: str, password_file: Path, **options: Any
    ) -> TrytonErp:
        """`options`: those of TrytonRpc. Nothing is sent before the first verb."""
        return cls(TrytonRpc.from_password_file(url, database, user, password_file, **options))

    def close(self) -> None:
        self._rpc.close()

    # What is in the books

    def find_supplier(self, key: str) -> Supplier | None:
        by_tax_id = [["identifiers.code", "=", key]]
        # By name only where there is no tax id: one supplier has one key, or an agent could
        # spread what it does to one supplier over several.
        by_name = [["name", "=", key], ["identifiers", "=", None]]
        for domain in (by_tax_id, by_name):
            found = self._search("party.party", domain, ["name", "active", "create_date"])
            if found:
                return self._supplier(found[0]) if len(found) == 1 else None
        return None

    def supplier(self, supplier_id: int) -> Supplier | None:
        domain = [["id", "=", supplier_id]]
        found = self._search("party.party", domain, ["name", "active", "create_date"])
        return self._supplier(found[0]) if found else None

    def bill(self, bill_id: int) -> Bill | None:
        found = self._bills([["id", "=", bill_id]])
        return found[0] if found else None

    def bills(
        self, *, supplier_id: int | None = None, number: str | None = None, key: str | None = None
    ) -> list[Bill]:
        wanted = (("party", supplier_id), ("reference", number), ("description", key))
        return self._bills([[field, "=", value] for field, value in wanted if value is not None])

    def bills_alike(self, supplier_id: int, number: str) -> list[Bill]:
        wanted = _bare(number)
        # Any characters may stand between those of the number; which ones is judged here.
        pattern = "%" + "%".join(wanted) + "%"
        found = self._bills([["party", "=", supplier_id], ["reference", "ilike", pattern]])
        return [bill for bill in found if _bare(bill.number) == wanted]

    def bill_lines(self, bill_id: int) -> list[BillLine]:
        fields = ["description", "quantity", "unit_price", "taxes"]
        domain = [["invoice", "=", bill_id], ["type", "=", "line"]]
        rates = self._rates()
        return [
            BillLine(
                description=row["description"] or "",
                quantity=Decimal(row["quantity"] or 0),
                unit_price=row["unit_price"],
                tax_rate=sum((rates[tax] for tax in row["taxes"]), Decimal()),
            )
            for row in self._search("account.invoice.line", domain, fields)
        ]

    def booked(self, bill: Bill) -> Entry:
        rows: list[dict[str, Any]] = []
        if bill.move_id is not None:
            domain = [["move", "=", bill.move_id]]
            rows = self._search("account.move.line", domain, ["debit", "credit", "move.date"])
        owed = [row["credit"] - row["debit"] for row in rows if row["id"] in bill.payable_lines]
        return Entry(
            debit=sum((row["debit"] for row in rows), Decimal()),
            credit=sum((row["credit"] for row in rows), Decimal()),
            payable=sum(owed, Decimal()),
            on=rows[0]["move."]["date"] if rows else None,
        )

    def payments(
        self, *, line_ids: tuple[int, ...] | None = None, key: str | None = None
    ) -> list[SupplierPayment]:
        domain: list[Any] = [["kind", "=", "payable"]]
        if line_ids is not None:
            domain.append(["line", "in", list(line_ids)])
        if key is not None:
            domain.append(["reference", "=", key])
        return [
            SupplierPayment(
                id=row["id"],
                number=row["number"],
                key=row["reference"] or "",
                supplier_id=row["party"],
                amount=row["amount"],
                state=row["state"],
                line_id=row["line"],
                approved=row["approved_by"] is not None,
            )
            for row in self._search("account.payment", domain, PAYMENT_FIELDS)
        ]

    def bank_accounts(self, supplier_id: int) -> list[BankAccount]:
        return accounts_of(self._rpc, supplier_id)

    def owners(self, iban: str) -> list[str]:
        return owners_of(self._rpc, iban)

    # What changes the books: one call, one transaction

    def create_bill(self, bill: NewBill) -> int:
        start = {
            "company": self._rpc.company,
            "currency": self._currency(bill.currency),
            "type": "in",
            "party": bill.supplier_id,
        }
        # The ERP fills in account, journal and address; without them it would not post.
        filled = self._rpc.call("model.account.invoice.on_change_type", start)
        values = {k: v for k, v in filled.items() if not k.endswith(".") and v is not None}
        account = self._expense_account()
        values |= {
            "reference": bill.number,
            "description": bill.key,
            "invoice_date": bill.invoice_date,
            "lines": [["create", [self._line(line, account) for line in bill.lines]]],
        }
        return int(self._rpc.call("model.account.invoice.create", [values])[0])

    def delete_bill(self, bill_id: int) -> None:
        self._rpc.call("model.account.invoice.delete", [bill_id])

    def date_bill(self, bill_id: int, on: date) -> None:
        self._rpc.call("model.account.invoice.write", [bill_id], {"accounting_date": on})

    def post_bill(self, bill_id: int, *, similar_is_known: bool) -> None:
        try:
            self._rpc.call("model.account.invoice.post", [bill_id])
        except TrytonWarning as warning:
            if not (similar_is_known and warning.key.endswith(SIMILAR)):
                raise
            never_again = False
            self._rpc.call("model.res.user.warning.skip", warning.key, never_again)
            self._rpc.call("model.account.invoice.post", [bill_id])

    def cancel_bill(self, bill_id: int) -> None:
        self._rpc.call("model.account.invoice.cancel", [bill_id])

    def replace_iban(self, account: BankAccount, iban: str) -> None:
        replace(self._rpc, account, iban)

    def create_payment(self, payment: NewPayment) -> int:
        values = {
            "kind": "payable",
            "journal": self._payment_journal(),
            "party": payment.supplier_id,
            "line": payment.line_id,
            "amount": payment.amount,
            "reference": payment.key,
        }
        return int(self._rpc.call("model.account.payment.create", [values])[0])

    def move_payment(self, payment_id: int, step: PaymentStep) -> None:
        if step == "process":
            self._rpc.wizard(
                "account.payment.process",
                "process",
                {},
                active_model="account.payment",
                active_id=payment_id,
                active_ids=[payment_id],
            )
        else:
            self._rpc.call(f"model.account.payment.{PAYMENT_BUTTONS[step]}", [payment_id])

    def delete_payment(self, payment_id: int) -> None:
        self._rpc.call("model.account.payment.delete", [payment_id])

    # How Tryton spells it

    def _search(self, model: str, domain: list[Any], fields: list[str]) -> list[dict[str, Any]]:
        order = [["id", "ASC"]]
        rows: list[dict[str, Any]] = self._rpc.call(
            f"model.{model}.search_read", domain, 0, None, order, fields
        )
        return rows

    def _supplier(self, party: dict[str, Any]) -> Supplier:
        domain = [["account.owners", "=", party["id"]], ["type", "=", "iban"]]
        fields = ["number", "create_date", "write_date"]
        numbers = self._search("bank.account.number", domain, fields)
        changed = [row["write_date"] or row["create_date"] for row in numbers]
        return Supplier(
            id=party["id"],
            name=party["name"],
            active=bool(party["active"]),
            since=_utc(party["create_date"]),
            ibans=tuple(sorted("".join(row["number"].split()) for row in numbers)),
            bank_account_since=_utc(max(changed)) if changed else None,
        )

    def _bills(self, domain: list[Any]) -> list[Bill]:
        rows = self._search("account.invoice", [["type", "=", "in"], *domain], BILL_FIELDS)
        return [
            Bill(
                id=row["id"],
                supplier_id=row["party"],
                supplier=row["party."]["rec_name"],
                number=row["reference"] or "",
                booked_as=row["number"] or "",
                key=row["description"] or "",
                state=row["state"],
                invoice_date=row["invoice_date"],
                currency=row["currency."]["code"],
                untaxed=row["untaxed_amount"],
                tax=row["tax_amount"],
                total=row["total_amount"],
                to_pay=row["amount_to_pay"],
                payable_lines=tuple(row["lines_to_pay"]),
                move_id=row["move"],
                accounting_date=row["accounting_date"],
            )
            for row in rows
        ]

    def _line(self, line: BillLine, account: int) -> dict[str, Any]:
        taxes = [["add", [self._tax(line.tax_rate)]]] if line.tax_rate else []
        return {
            "type": "line",
            "description": line.description,
            "quantity": float(line.quantity),  # the ERP's quantities are floats
            "unit_price": line.unit_price,
            "account": account,
            "taxes": taxes,
        }

    def _rates(self) -> dict[int, Decimal]:
        """Percentages of the ERP's taxes, by their ids."""
        if self._tax_rates is None:
            rows = self._search("account.tax", [["type", "=", "percentage"]], ["rate"])
            self._tax_rates = {row["id"]: row["rate"] * 100 for row in rows}
        return self._tax_rates

    def _tax(self, percent: Decimal) -> int:
        for tax, rate in self._rates().items():
            if rate == percent:
                return tax
        known = ", ".join(sorted(f"{rate:f}" for rate in self._rates().values())) or "none"
        raise TrytonUserError(
            f"The ERP has no purchase tax of {percent:f} percent (it has {known}): add the tax "
            "there or send the bill to accounting."
        )

    def _currency(self, code: str) -> int:
        if self._currencies is None:
            rows = self._search("currency.currency", [], ["code"])
            self._currencies = {row["code"]: row["id"] for row in rows}
        if code not in self._currencies:
            raise TrytonUserError(f"The ERP keeps no books in {code}: add the currency there.")
        return self._currencies[code]

    def _expense_account(self) -> int:
        field = "default_category_account_expense"
        account = self._rpc.call("model.account.configuration.read", [1], [field])[0][field]
        if account is None:
            raise TrytonUserError("The ERP's configuration names no default expense account.")
        return int(account)

    def _payment_journal(self) -> int:
        journals = self._search("account.payment.journal", [], ["name"])
        if not journals:
            raise ErpError("The ERP has no payment journal: create one.")
        return int(journals[0]["id"])


def _bare(number: str) -> str:
    return "".join(character for character in number.upper() if character.isalnum())


def _utc(stamp: datetime) -> datetime:
    return stamp.replace(tzinfo=UTC)
