"""A supplier's e-invoice: read, enter, post, pay. Every step that changes the books is gated.

    python -m flows.vendor_invoice flows/samples/acme-steel-routine.xml

By hand like this it needs to know where the servers are: PREFECT_API_URL, GATES_URL and
GATES_API_KEY_FILE (docs/write-a-flow.md, "By hand").

The agent here is a careful parser; put yours in the place of `propose`. What it says of itself
(`claims`) can only make the policy stricter. Its habit of trying a failed payment again and
again is real agents' habit, and stopping it is the gate's business. Where people refuse a later
step, the flow takes back what it has done before, through gates like any other.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from prefect import flow, get_run_logger, task
from pydantic import JsonValue

from gates import ActionFailed, GatesError, GateStopped, Rejected, gated, undo
from integrations.booking import bill_of
from integrations.erp.actions import (
    BillReceipt,
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


class Proposal(NamedTuple):
    """What the agent wants to enter into the books, and what it says of itself."""

    bill: CreateBill
    claims: dict[str, JsonValue]


@flow(name="vendor-invoice", persist_result=True)
def vendor_invoice(document: str) -> PaymentReceipt | BillReceipt:
    """Enter, post and pay the invoice in the file `document`; the bill where it is paid already."""
    proposal = propose(document)
    bill, claims = proposal.bill, proposal.claims
    named = {"supplier": bill.supplier, "number": bill.number}

    entered = gated(find_bill)(FindBill(**named, total=bill.total)).bill
    if entered is not None and entered.state == "paid":
        return entered  # the document has come a second time
    try:
        if entered is None:
            entered = gated(create_bill)(bill, claims=claims)
        same = named | {"bill_id": entered.bill_id, "currency": bill.currency}
        if entered.state == "draft":
            posting = PostBill(**same, total=bill.total, payee_iban=bill.payee_iban)
            gated(post_bill)(posting, claims=claims)
        return pay(Payment(**same, amount=bill.total, payee_iban=bill.payee_iban), claims)
    except Rejected as no:
        take_back(no)
        raise


def take_back(no: Rejected) -> None:
    """The latest step first. What people want to keep stays; the run's last word says so."""
    for step in reversed(no.done):
        if step.undoable:
            try:
                undo(step)
            except (GateStopped, ActionFailed) as kept:
                get_run_logger().warning("%s stays: %s", step.summary, kept)


@task
def propose(document: str) -> Proposal:
    """The agent: reads the document and says how sure it is."""
    invoice = read_invoice(Path(document))
    if invoice.is_credit:
        raise InvoiceUnreadable(f"{document} is a credit note: book it by hand.")
    claims = {"confidence": confidence(invoice), "read_from": Path(document).name}
    return Proposal(bill_of(invoice), dict(claims))


def confidence(invoice: Invoice) -> str:
    """How sure the agent is that it read the document right, between 0 and 1."""
    return "0.97" if invoice.supplier.tax_id and invoice.supplier.ibans else "0.60"


def pay(payment: Payment, claims: dict[str, JsonValue]) -> PaymentReceipt:
    """Tries again whenever it fails, as agents do; the gate stops it in time."""
    for number in range(1, MOST_TRIES):
        try:
            return gated(submit_payment, key="pay")(payment, claims=claims)
        except ActionFailed as error:
            get_run_logger().warning("Try %d failed (%s); once more.", number, error)
    return gated(submit_payment, key="pay")(payment, claims=claims)


def main() -> int:
    """Run the flow here, without a deployment. Exit code 1 where a gate or a document stops it,
    2 where none is named.
    """
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one document
        sys.stderr.write("Usage: python -m flows.vendor_invoice INVOICE.xml\n")
        return 2
    try:
        done = vendor_invoice(sys.argv[1])
    except GatesError as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 1
    when = "" if isinstance(done, PaymentReceipt) else " already"
    sys.stdout.write(f"Bill {done.booked_as} is paid{when}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
