"""The bill with a stray draft payment, put into the books before any flow runs."""

from pathlib import Path

from integrations.booking import bill_of
from integrations.erp.company import Company
from integrations.erp.stray import plant_posted_bill, plant_stray_draft
from integrations.erp.tryton import TrytonErp
from integrations.invoices.ubl import read_invoice

SAMPLES = Path("flows/samples")
TROUBLED = SAMPLES / "delta-freight-stray-draft.xml"


def plant_trouble(company: Company, url: str) -> None:
    erp = TrytonErp(company.connect(url, "executor"))
    try:
        plant_stray_draft(erp, plant_posted_bill(erp, bill_of(read_invoice(TROUBLED))))
    finally:
        erp.close()
