"""Bills whose period is closed, and an agent that posts them again and again.

    python -m flows.stuck_posting postings.json

The ERP refuses each attempt in the same words, and no later one can help. The third goes to people.
They may answer with another date, as an argument (`gates approve ID --set
accounting_date='"2026-02-02"'`) or as guidance ("book it on 2026-02-02"); the policy puts a date
that is not the invoice's own to accounts payable. The file holds one posting or a list.
"""

import re
import sys
from contextlib import suppress
from datetime import date

from prefect import flow, get_run_logger

from flows.stubborn import insist, read_all
from gates import GatesError
from integrations.erp.actions import BillReceipt, PostBill, post_bill


@flow(name="stuck-posting", persist_result=True)
def stuck_posting(document: str) -> list[BillReceipt]:
    """Post the drafts of the file `document`; the receipts of those that people do not skip."""
    return insist(post_bill, read_all(PostBill, document), follow, key="post")


def follow(posting: PostBill, guidance: str) -> PostBill:
    """With the date that people advise; as before where the agent reads none."""
    day = advised(guidance)
    if day is None:
        return posting
    get_run_logger().info("Posting %s on %s, as advised.", posting.number, day)
    return posting.model_copy(update={"accounting_date": day})


def advised(guidance: str) -> date | None:
    """The first day that is written as 2026-02-28."""
    for written in re.findall(r"\b\d{4}-\d\d-\d\d\b", guidance):
        with suppress(ValueError):
            return date.fromisoformat(written)
    return None


def main() -> int:
    """Run the flow here, without a deployment. Exit code 1 where a gate or the file stops it, 2
    where none is named.
    """
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one document
        sys.stderr.write("Usage: python -m flows.stuck_posting POSTINGS.json\n")
        return 2
    try:
        done = stuck_posting(sys.argv[1])
    except GatesError as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 1
    for one in done:
        sys.stdout.write(f"Bill {one.number} is posted as {one.booked_as}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
