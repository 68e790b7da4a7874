"""A payment run: every posted bill of these invoices is paid, and people look at them as one table.

    python -m flows.payment_run flows/samples/acme-steel-routine.xml flows/samples/...

One question for the whole run; whoever answers it may leave lines out, each with a reason. Every
line that may run is paid through a gate of its own, and read back. A bill that has changed since
people looked is asked about alone; one that is not posted, or is paid already, is not in the run.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from prefect import flow, get_run_logger, task

from gates import GatesError, batch, gated
from integrations.booking import bill_of
from integrations.erp.actions import (
    CreateBill,
    FindBill,
    Payment,
    PaymentReceipt,
    find_bill,
    submit_payment,
)
from integrations.invoices.ubl import read_invoice


class Paid(NamedTuple):
    """How the run ended, by the invoices' numbers."""

    paid: dict[str, PaymentReceipt]
    left: dict[str, str]  # why it was not paid


@flow(name="payment-run", persist_result=True)
def payment_run(documents: list[str]) -> Paid:
    """Pay the posted bills of these e-invoices. Raises what a gate raises where the whole run is
    not approved.
    """
    invoices = read_all(documents)
    due, left = posted(invoices)
    if not due:
        return Paid({}, left)
    paid: dict[str, PaymentReceipt] = {}
    for line in batch(submit_payment, due, key="run", claims={"invoices": len(invoices)}):
        number = line.arguments.number
        if line.state == "done":
            paid[number] = line.result()
        else:
            by = f" by {line.by}" if line.by else ""
            left[number] = f"{line.state}{by}: {line.reason}"
            get_run_logger().warning("Invoice %s is not paid, %s", number, left[number])
    return Paid(paid, left)


@task
def read_all(documents: list[str]) -> list[CreateBill]:
    """In the words of the ERP's actions."""
    return [bill_of(read_invoice(Path(one))) for one in documents]


def posted(invoices: list[CreateBill]) -> tuple[list[Payment], dict[str, str]]:
    """What is to be paid, as the books have it; and why the rest is not."""
    due, left = list[Payment](), dict[str, str]()
    for invoice in invoices:
        named = {"supplier": invoice.supplier, "number": invoice.number}
        look = gated(find_bill, key=f"find-{invoice.supplier}-{invoice.number}")
        bill = look(FindBill(**named, total=invoice.total)).bill
        if bill is None or bill.state != "posted":
            left[invoice.number] = "not entered" if bill is None else f"the bill is {bill.state}"
            continue
        due.append(
            Payment(
                **named,
                bill_id=bill.bill_id,
                currency=invoice.currency,
                amount=invoice.total,
                payee_iban=invoice.payee_iban,
            )
        )
    return due, left


def main() -> int:
    """Run the flow here, without a deployment. Exit code 1 where it is stopped or something is
    left unpaid, 2 where no document is named.
    """
    if len(sys.argv) < 2:  # noqa: PLR2004 - the program and a document
        sys.stderr.write("Usage: python -m flows.payment_run INVOICE.xml ...\n")
        return 2
    try:
        done = payment_run(sys.argv[1:])
    except GatesError as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 1
    for number, receipt in done.paid.items():
        sys.stdout.write(f"{number}: paid, {receipt.amount} {receipt.currency}.\n")
    for number, why in done.left.items():
        sys.stdout.write(f"{number}: {why}.\n")
    return 1 if done.left else 0


if __name__ == "__main__":
    sys.exit(main())
