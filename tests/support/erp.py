"""A real ERP for tests: one database is built per machine, each test module gets a copy."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from integrations import booking
from integrations.erp.actions import CreateBill
from integrations.erp.company import DATABASE, RunningErp, prepare_company, start_erp
from integrations.erp.tryton import TrytonErp
from integrations.invoices.ubl import read_invoice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from integrations.invoices.model import Invoice

WHY_SKIPPED = "the reference ERP is not installed: pip install 'prefect-gates[erp]'"


@dataclass(frozen=True)
class ErpServer:
    """A running ERP with the demo company in it."""

    running: RunningErp

    @property
    def url(self) -> str:
        return self.running.url

    def erp(self, user: str, *, transport: httpx.BaseTransport | None = None) -> TrytonErp:
        """The port as `reader`, `executor` or `admin`."""
        return TrytonErp(self.running.company.connect(self.url, user, transport=transport))

    def password_file(self, user: str) -> Path:
        return self.running.company.password_file(user)

    @property
    def database(self) -> str:
        return DATABASE


@contextmanager
def erp_server(folder: Path) -> Iterator[ErpServer]:
    """The demo company, fresh, in `folder`, on a free port."""
    running = start_erp(prepare_company(folder))
    try:
        yield ErpServer(running)
    finally:
        running.stop()


def bill_of(invoice: Invoice, **changes: object) -> CreateBill:
    """What the vendor flow asks for, given a document; with `changes`."""
    return CreateBill.model_validate(booking.bill_of(invoice).model_dump() | changes)


def sample_bill(samples: Path, name: str, **changes: object) -> CreateBill:
    """The sample invoice `name`, as the arguments of erp.bill.create."""
    return bill_of(read_invoice(samples / f"{name}.xml"), **changes)


def simple_bill(number: str, **changes: object) -> CreateBill:
    """A bill of Acme Steel over 119.00 EUR under a number of its own."""
    fields: dict[str, object] = {
        "supplier": "DE999000017",
        "supplier_name": "Acme Steel AG",
        "number": number,
        "invoice_date": "2026-01-12",
        "currency": "EUR",
        "lines": [{"description": "Steel", "quantity": "2", "unit_price": "50", "tax_rate": "19"}],
        "total": Decimal("119.00"),
        "payee_iban": "DE66100000000000000101",
    }
    return CreateBill.model_validate(fields | changes)


__all__ = [
    "WHY_SKIPPED",
    "ErpServer",
    "bill_of",
    "erp_server",
    "sample_bill",
    "simple_bill",
]
