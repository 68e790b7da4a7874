"""A supplier's e-invoice: read, enter, post, pay. Every step that changes the books is gated.

    python -m flows.vendor_invoice flows/samples/acme-steel-routine.xml

By hand like this it needs to know where the servers are: PREFECT_API_URL, GATES_URL and
GATES_API_KEY_FILE (docs/write-a-flow.md, "By hand").

The agent here is a careful parser; put yours in the place of `propose`. What it says of itself
(`claims`) can only make the policy stricter. Its habit of trying a failed payment again and
again is real agents' habit, and stopping it is the gate's business.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from prefect import flow, get_run_logger, task
from pydantic import JsonValue

from gates import ActionFailed, GatesError, gated
from gates.core.errors import InvalidInput
from integrations.booking import bill_of
from integrations.erp.actions import (
    CreateBill,
    FindBill,
    Payment,
    PaymentReceipt,
    PostBill,
    create_bill,
    find_bill,
    post_bill,
    submit_payment,
)
from integrations.invoices.model import Invoice
from integrations.invoices.ubl import InvoiceUnreadable, read_invoice

MOST_TRIES = 10


class AlreadyPaid(InvalidInput):
    """The document has come a second time."""

    code = "already_paid"


class Proposal(NamedTuple):
    """What the agent wants to enter into the books, and what it says of itself."""

    bill: CreateBill
    claims: dict[str, JsonValue]


@flow(name="vendor-invoice", persist_result=True)
def vendor_invoice(document: str) -> PaymentReceipt:
    """Enter, post and pay the invoice in the file `document`."""
    proposal = propose(document)
    bill, claims = proposal.bill, proposal.claims
    named = {"supplier": bill.supplier, "number": bill.number}

    entered = gated(find_bill)(FindBill(**named, total=bill.total)).bill
    if entered is None:
        entered = gated(create_bill)(bill, claims=claims)
    if entered.state == "paid":
        raise AlreadyPaid(f"{bill.number} of {bill.supplier_name} stands paid in the books.")
    same = named | {"bill_id": entered.bill_id, "currency": bill.currency}
    if entered.state == "draft":
        posting = PostBill(**same, total=bill.total, payee_iban=bill.payee_iban)
        gated(post_bill)(posting, claims=claims)
    return pay(Payment(**same, amount=bill.total, payee_iban=bill.payee_iban), claims)


@task
def propose(document: str) -> Proposal:
    """The agent: reads the document and says how sure it is."""
    invoice = read_invoice(Path(document))
    if invoice.is_credit:
        raise InvoiceUnreadable(
            f"{document} is a credit note ({invoice.totals.payable} {invoice.currency}): "
            "book it by hand."
        )
    return Proposal(
        bill_of(invoice), {"confidence": confidence(invoice), "read_from": Path(document).name}
    )


def confidence(invoice: Invoice) -> str:
    """How sure the agent is that it read the document right, between 0 and 1."""
    return "0.97" if invoice.supplier.tax_id and invoice.supplier.ibans else "0.60"


def pay(payment: Payment, claims: dict[str, JsonValue]) -> PaymentReceipt:
    """Tries again whenever it fails, as agents do; the gate stops it in time."""
    logger = get_run_logger()
    for number in range(1, MOST_TRIES):
        try:
            return gated(submit_payment, key="pay")(payment, claims=claims)
        except ActionFailed as error:
            logger.warning("Try %d failed (%s); the agent tries again.", number, error)
    return gated(submit_payment, key="pay")(payment, claims=claims)


def main() -> int:
    """Run the flow here, without a deployment. Exit code 1 where a gate or a document stops it,
    2 where none is named.
    """
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one document
        sys.stderr.write("Usage: python -m flows.vendor_invoice INVOICE.xml\n")
        return 2
    try:
        receipt = vendor_invoice(sys.argv[1])
    except GatesError as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 1
    sys.stdout.write(f"Paid {receipt.amount} {receipt.currency} as {receipt.payment_number}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
