"""Payments that never get through, and an agent that tries them again and again.

    python -m flows.stuck_payment payments.json

Somebody's script has left a draft payment on the bill, so the ERP answers "overpays line" to every
later one, the right ones too. The third attempt that fails the same way goes to people: they see
the attempts side by side, and the stray draft among what the server found. They may allow more
tries, stop the run, skip the payment, or send the agent guidance such as "withdraw SCRIPT-7, then
pay".

The file holds one payment or a list: a bill may be paid in parts. Of two equal parts the second
looks like the first once more, so people are asked about it.
"""

import re
import sys

from prefect import flow, get_run_logger

from flows.stubborn import by_hand, insist, read_all
from gates import gated
from integrations.erp.actions import (
    Payment,
    PaymentReceipt,
    WithdrawPayment,
    submit_payment,
    withdraw_payment,
)


@flow(name="stuck-payment", persist_result=True)
def stuck_payment(document: str) -> list[PaymentReceipt]:
    """Make the payments of the file `document`; the receipts of those that people do not skip."""
    return insist(submit_payment, read_all(Payment, document), follow, key="pay")


def follow(payment: Payment, guidance: str) -> Payment:
    """Do what people advise, as far as the agent understands it; then the same payment again."""
    for reference in advised(guidance):
        get_run_logger().info("Withdrawing %s, as advised: %s", reference, guidance)
        gated(withdraw_payment, key=f"withdraw-{reference}")(
            WithdrawPayment(
                supplier=payment.supplier,
                number=payment.number,
                bill_id=payment.bill_id,
                currency=payment.currency,
                amount=payment.amount,
                reference=reference,
            )
        )
    return payment


def advised(guidance: str) -> list[str]:
    """The references of the payments that are to be withdrawn first."""
    return re.findall(r"withdraw (?:payment )?([\w:./-]*\w)", guidance, re.IGNORECASE)


def main() -> int:
    """Run the flow here; see `by_hand` for the exit codes."""
    return by_hand("stuck_payment PAYMENTS.json", paid)


def paid(document: str) -> list[str]:
    """What came of it, a line each."""
    return [
        f"Bill {one.booked_as}: {one.amount} {one.currency} are paid."
        for one in stuck_payment(document)
    ]


if __name__ == "__main__":
    sys.exit(main())
