"""A supplier asks to be paid to another account: invoice fraud begins like this.

    python -m flows.supplier_bank_change flows/samples/bolt-brothers-new-account.json

Three gates: somebody calls the supplier back, on the number that we knew before; a controller and
somebody of treasury agree to the change; the supplier confirms it at its old contact. Where the
last is refused, the old account is put back, through a gate like any other.
"""

import sys
from pathlib import Path

from prefect import flow, get_run_logger, task
from pydantic import BaseModel, ConfigDict, ValidationError

from gates import Expired, GatesError, Rejected, gated, require_approval, undo
from gates.actions import describe
from gates.core.errors import InvalidInput
from integrations.erp.actions import AccountReceipt, ChangeBankAccount, change_bank_account


class ChangeRequest(BaseModel):
    """What the supplier's letter says. `received_by`: letter, portal or mail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    change: ChangeBankAccount
    supplier_name: str
    received_by: str
    contact_on_file: str


@flow(name="supplier-bank-change", persist_result=True)
def supplier_bank_change(document: str) -> AccountReceipt:
    """Change the account as the file `document` asks for. Raises what the gates raise."""
    asked = read_request(document)
    change = asked.change
    require_approval(
        "Has the supplier confirmed the new account, called back on the number on file?",
        key="call-back",
        supplier=asked.supplier_name,
        number_on_file=asked.contact_on_file,
        new_account=change.new_iban,
        document=change.document,
    )
    claims = {"received_by": asked.received_by, "read_from": Path(document).name}
    receipt = gated(change_bank_account)(change, claims=dict(claims))
    try:
        require_approval(
            "Has the supplier answered our letter to its old address?",
            key="confirmed",
            supplier=asked.supplier_name,
            new_account=change.new_iban,
        )
    except (Rejected, Expired) as no:
        put_back(no)
        raise
    return receipt


def put_back(no: Rejected | Expired) -> None:
    """Nobody stands behind the new account: the old one again, before anything is paid to it."""
    for step in reversed(no.done):
        if step.undoable:
            get_run_logger().warning("%s: to be taken back, %s", step.summary, no)
            undo(step)


@task
def read_request(document: str) -> ChangeRequest:
    """Raises InvalidInput naming the file and each field that is off."""
    try:
        return ChangeRequest.model_validate_json(Path(document).read_text(encoding="utf-8"))
    except ValidationError as error:
        raise InvalidInput(f"{document}: {describe(error)}") from error
    except OSError as error:
        raise InvalidInput(f"{document} cannot be read: {error.strerror}.") from error


def main() -> int:
    """Run the flow here, without a deployment. Exit code 1 where a gate or the document stops it,
    2 where none is named.
    """
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one document
        sys.stderr.write("Usage: python -m flows.supplier_bank_change REQUEST.json\n")
        return 2
    try:
        receipt = supplier_bank_change(sys.argv[1])
    except GatesError as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 1
    sys.stdout.write(f"{receipt.supplier} is paid to {', '.join(receipt.ibans)}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
