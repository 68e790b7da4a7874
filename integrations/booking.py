"""From an e-invoice to what the ERP is asked to enter: where the two integrations meet."""

from integrations.erp.actions import CreateBill, Line
from integrations.invoices.model import Invoice


def bill_of(invoice: Invoice) -> CreateBill:
    """The invoice in the words of the ERP's actions."""
    return CreateBill(
        supplier=invoice.supplier.key,
        supplier_name=invoice.supplier.name,
        number=invoice.number,
        invoice_date=invoice.issued,
        currency=invoice.currency,
        lines=tuple(Line(**line.model_dump()) for line in invoice.booking_lines()),
        total=invoice.totals.payable,
        payee_iban=next(iter(invoice.supplier.ibans), None),
    )
