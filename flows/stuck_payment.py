"""A payment that never gets through, and an agent that tries it again and again.

    python -m flows.stuck_payment payment.json

Somebody's script has left a draft payment on the bill, so the ERP answers "overpays line" to every
later one, the right one too. The third attempt that fails the same way goes to people: they see the
attempts side by side, and the stray draft among what the server found. They may allow more tries,
stop the run, skip the payment, or send the agent guidance such as "withdraw SCRIPT-7, then pay".

Guidance is data: the agent reads it, and what it then proposes goes through gates like anything
else. Put your own agent in the place of `advised`.
"""

import re
import sys
from pathlib import Path

from prefect import flow, get_run_logger
from pydantic import ValidationError

from gates import ActionFailed, GatesError, SentBack, Skipped, gated
from gates.actions import describe
from gates.core.errors import InvalidInput
from integrations.erp.actions import (
    Payment,
    PaymentReceipt,
    WithdrawPayment,
    submit_payment,
    withdraw_payment,
)

MOST_TRIES = 20


@flow(name="stuck-payment", persist_result=True)
def stuck_payment(document: str) -> PaymentReceipt | None:
    """Pay the posted bill that the file `document` names; nothing where people skip it."""
    payment = read_payment(document)
    for number in range(1, MOST_TRIES):
        try:
            return gated(submit_payment, key="pay")(payment)
        except ActionFailed as error:
            get_run_logger().warning("Try %d failed (%s); once more.", number, error)
        except SentBack as back:
            follow(payment, back.guidance)
        except Skipped as left_out:
            get_run_logger().warning("%s", left_out)
            return None
    return gated(submit_payment, key="pay")(payment)


def follow(payment: Payment, guidance: str) -> None:
    """Do what people advise, as far as the agent understands it."""
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


def advised(guidance: str) -> list[str]:
    """The references of the payments that are to be withdrawn first."""
    return re.findall(r"withdraw (?:payment )?([\w:./-]*\w)", guidance, re.IGNORECASE)


def read_payment(document: str) -> Payment:
    """Raises InvalidInput naming the file and the field."""
    try:
        return Payment.model_validate_json(Path(document).read_text())
    except OSError as error:
        raise InvalidInput(f"{document} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise InvalidInput(f"{document}: {describe(error)}") from error


def main() -> int:
    """Run the flow here, without a deployment. Exit code 1 where a gate or the file stops it, 2
    where none is named.
    """
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one document
        sys.stderr.write("Usage: python -m flows.stuck_payment PAYMENT.json\n")
        return 2
    try:
        done = stuck_payment(sys.argv[1])
    except GatesError as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 1
    sys.stdout.write(f"Bill {done.booked_as} is paid.\n" if done else "The payment was skipped.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
