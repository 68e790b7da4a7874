"""Northwind Tools GmbH, the demo company, set up over the ERP's own protocol.

Everything here is what an accountant would click once: company, chart of accounts, fiscal
years, taxes, journals, suppliers with bank accounts, and four ERP users. `reader` may look
at the books and change nothing, by the ERP's own access rules; `executor` may book and pay
bills, and touch neither suppliers nor bank accounts; `banker` may change the numbers of bank
accounts that there are, and nothing else; `admin` set it all up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from integrations.erp.errors import ErpError
from integrations.erp.rpc import TrytonRpc

COMPANY = "Northwind Tools GmbH"
BANKER_CHANGES = {"bank.account": ("write",), "bank.account.number": ("write", "create")}
READABLE = ("account.", "bank", "company.", "currency.", "party.", "product.")
MASTER_DATA = ("bank", "company.", "party.")
EXECUTOR_GROUPS = ("Accounting", "Payment", "Payment Approval")
ADMIN_GROUPS = (
    "Administration",
    "Accounting Administration",
    "Accounting",
    "Account Product Administration",
    "Bank Administration",
    "Company Administration",
    "Currency Administration",
    "Employee Administration",
    "Party Administration",
    "Payment",
    "Payment Approval",
)
FIRST_YEAR = 2026  # of the sample invoices
VAT_RATES = (Decimal("0.19"), Decimal("0.07"))


@dataclass(frozen=True)
class DemoSupplier:
    name: str
    tax_id: str
    iban: str
    street: str
    postal_code: str
    city: str


SUPPLIERS = (
    DemoSupplier(
        "Acme Steel AG", "DE999000017", "DE66100000000000000101", "Werkstr. 12", "45127", "Essen"
    ),
    DemoSupplier(
        "Bolt Brothers Ltd", "DE999000025", "DE55100000000000000202", "Am Kai 7", "20457", "Hamburg"
    ),
    DemoSupplier(
        "Carla Consulting",
        "DE999000033",
        "DE44100000000000000303",
        "Lindenallee 3",
        "60325",
        "Frankfurt am Main",
    ),
    DemoSupplier(
        "Delta Freight SE",
        "DE999000041",
        "DE33100000000000000404",
        "Hafenstr. 40",
        "28217",
        "Bremen",
    ),
)


def bootstrap(admin: TrytonRpc, passwords: dict[str, str], today: date) -> None:
    """Set up the whole company in an empty database.

    `passwords`: for `reader`, `executor` and `banker`. Fiscal years: from that of the sample
    invoices, or the one before `today`, to the one after `today`.
    """
    euro = _create(admin, "currency.currency", name="Euro", code="EUR", symbol="€", digits=2,
                   rounding=Decimal("0.01"), numeric_code="978")  # fmt: skip
    company = _company(admin, euro)
    accounts = _chart(admin, company)
    for year in range(min(FIRST_YEAR, today.year - 1), today.year + 2):
        _fiscal_year(admin, company, year)
    _taxes(admin, company, accounts["2.2.3"])
    _payment_journal(admin, company, euro, accounts["1.1.1"])
    for supplier in SUPPLIERS:
        _supplier(admin, supplier, euro)
    _executor(admin, company, passwords["executor"])
    _reader(admin, company, passwords["reader"])
    _banker(admin, company, passwords["banker"])


def _create(erp: TrytonRpc, model: str, **values: Any) -> int:
    return int(erp.call(f"model.{model}.create", [values])[0])


def _find(erp: TrytonRpc, model: str, *domain: Any) -> int:
    """Raises ErpError unless exactly one record fits."""
    found = erp.call(f"model.{model}.search", list(domain), 0, 2, None)
    if len(found) != 1:
        raise ErpError(f"The ERP has {len(found)} records of {model} for {domain}: expected one.")
    return int(found[0])


def _address(street: str, postal_code: str, city: str) -> list[Any]:
    return [["create", [{"street": street, "postal_code": postal_code, "city": city}]]]


def _company(erp: TrytonRpc, euro: int) -> int:
    party = _create(erp, "party.party", name=COMPANY,
                    addresses=_address("Nordring 1", "10115", "Berlin"))  # fmt: skip
    company = _create(erp, "company.company", party=party, currency=euro,
                      timezone="Europe/Berlin")  # fmt: skip
    _work_for(erp, _find(erp, "res.user", ["login", "=", erp.user]), company, ADMIN_GROUPS)
    erp.forget_context()
    return company


def _work_for(erp: TrytonRpc, user: int, company: int, groups: tuple[str, ...]) -> None:
    found = erp.call("model.res.group.search", [["name", "in", list(groups)]], 0, None, None)
    name = erp.call("model.res.user.read", [user], ["name"])[0]["name"]
    party = _create(erp, "party.party", name=name)
    employee = _create(erp, "company.employee", party=party, company=company)
    values = {
        "companies": [["add", [company]]],
        "company": company,
        "employees": [["add", [employee]]],
        "groups": [["add", found]],
    }
    erp.call("model.res.user.write", [user], values)
    erp.call("model.res.user.write", [user], {"employee": employee})


def _chart(erp: TrytonRpc, company: int) -> dict[str, int]:
    """Create the chart of accounts; gives the ids of its accounts by code."""
    template = _find(erp, "account.account.template", ["parent", "=", None])
    session, _, _ = erp.call("wizard.account.create_chart.create")
    account = {"account": {"company": company, "account_template": template}}
    erp.call("wizard.account.create_chart.execute", session, account, "create_account")
    found = erp.call("model.account.account.search_read", [], 0, None, None, ["code"])
    codes = {row["code"]: int(row["id"]) for row in found if row["code"]}
    properties = {
        "company": company,
        "account_receivable": codes["1.2.1"],
        "account_payable": codes["2.1.1"],
        "category_account_expense": codes["5.1.1"],
        "category_account_revenue": codes["4.1.1"],
    }
    data = account | {"properties": properties}
    erp.call("wizard.account.create_chart.execute", session, data, "create_properties")
    erp.call("wizard.account.create_chart.delete", session)
    # European e-invoices round the tax of each rate once for the whole document (EN 16931).
    erp.call("model.account.configuration.write", [1], {"tax_rounding": "document"})
    return codes


def _fiscal_year(erp: TrytonRpc, company: int, year: int) -> None:
    move_type = _find(erp, "ir.sequence.type", ["name", "=", "Account Move"])
    invoice_type = _find(erp, "ir.sequence.type", ["name", "=", "Invoice"])
    moves = _create(erp, "ir.sequence.strict", name=f"Moves {year}", sequence_type=move_type,
                    company=company, prefix=f"M{year}/", padding=5)  # fmt: skip
    strict: dict[str, int] = {}
    for field, prefix in (
        ("in_invoice_sequence", "BILL"),
        ("in_credit_note_sequence", "BCN"),
        ("out_invoice_sequence", "INV"),
        ("out_credit_note_sequence", "ICN"),
    ):
        strict[field] = _create(
            erp, "ir.sequence.strict", name=f"{prefix} {year}", sequence_type=invoice_type,
            company=company, prefix=f"{prefix}{year}/", padding=5,
        )  # fmt: skip
    fiscal_year = _create(
        erp,
        "account.fiscalyear",
        name=str(year),
        company=company,
        start_date=date(year, 1, 1),
        end_date=date(year, 12, 31),
        move_sequence=moves,
        invoice_sequences=[["create", [strict | {"company": company}]]],
    )
    erp.call("model.account.fiscalyear.create_period", [fiscal_year])


def _taxes(erp: TrytonRpc, company: int, account: int) -> None:
    for rate in VAT_RATES:
        name = f"VAT {(rate * 100).normalize():f}%"
        _create(erp, "account.tax", name=name, description=name, type="percentage", rate=rate,
                company=company, invoice_account=account, credit_note_account=account)  # fmt: skip


def _payment_journal(erp: TrytonRpc, company: int, euro: int, clearing: int) -> None:
    _create(
        erp,
        "account.payment.journal",
        name="Bank transfer",
        company=company,
        currency=euro,
        process_method="manual",
        clearing_account=clearing,
        clearing_journal=_find(erp, "account.journal", ["code", "=", "CASH"]),
    )


def _supplier(erp: TrytonRpc, supplier: DemoSupplier, euro: int) -> None:
    party = _create(
        erp,
        "party.party",
        name=supplier.name,
        addresses=_address(supplier.street, supplier.postal_code, supplier.city),
        identifiers=[["create", [{"type": "eu_vat", "code": supplier.tax_id}]]],
    )
    _create(
        erp,
        "bank.account",
        currency=euro,
        owners=[["add", [party]]],
        numbers=[["create", [{"type": "iban", "number": supplier.iban}]]],
    )


def _executor(erp: TrytonRpc, company: int, password: str) -> None:
    """A user who books and pays. The ERP lets everybody change suppliers and who owns which
    bank account, as no rule speaks about them: one of ours does.
    """
    models = [name for name in _models(erp) if name.startswith(MASTER_DATA)]
    _restricted_group(erp, "Book and pay", models, readable=MASTER_DATA)
    user = _create(erp, "res.user", name="Gates executor", login="executor", password=password)
    _work_for(erp, user, company, (*EXECUTOR_GROUPS, "Book and pay"))


def _reader(erp: TrytonRpc, company: int, password: str) -> None:
    """A user whose one group grants reading alone, with a rule for every model there is."""
    _restricted_group(erp, "Read the books", _models(erp), readable=READABLE)
    user = _create(erp, "res.user", name="Gates reader", login="reader", password=password)
    _work_for(erp, user, company, ("Read the books",))


def _banker(erp: TrytonRpc, company: int, password: str) -> None:
    """A user for the one thing that the executor must not do: who redirects money does not pay."""
    name = "Change bank accounts"
    group = _restricted_group(erp, name, _models(erp), readable=READABLE, changes=BANKER_CHANGES)
    owners = {"model": "bank.account", "field": "owners", "perm_read": True, "perm_write": False}
    erp.call("model.ir.model.field.access.create", [owners | {"group": group}])
    user = _create(erp, "res.user", name="Gates banker", login="banker", password=password)
    _work_for(erp, user, company, (name,))


def _models(erp: TrytonRpc) -> list[str]:
    rows = erp.call("model.ir.model.search_read", [], 0, None, None, ["name"])
    return [row["name"] for row in rows]


def _restricted_group(
    erp: TrytonRpc,
    name: str,
    models: list[str],
    readable: tuple[str, ...],
    changes: Mapping[str, tuple[str, ...]] | None = None,
) -> int:
    """The ERP allows everything where no rule speaks, so there is a rule for each model."""
    allowed = changes or {}
    rules = [
        {"model": model, "perm_read": model.startswith(readable)}
        | {f"perm_{what}": what in allowed.get(model, ()) for what in ("write", "create", "delete")}
        for model in models
    ]
    return _create(erp, "res.group", name=name, model_access=[["create", rules]])
