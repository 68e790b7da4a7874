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

from flows.stubborn import by_hand, insist, read_all
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
    """Run the flow here; see `by_hand` for the exit codes."""
    return by_hand("stuck_posting POSTINGS.json", posted)


def posted(document: str) -> list[str]:
    """What came of it, a line each."""
    return [f"Bill {one.number} is posted as {one.booked_as}." for one in stuck_posting(document)]


if __name__ == "__main__":
    sys.exit(main())
