"""The pages about veto windows, samples and batches: their code runs and says what they say."""

import contextlib
import io
import re

import pytest

from gates.core.model import Verdict
from gates.core.policy import load_policy
from tests.support.policies import ROOT, demo_people, question

KNOWN = {"supplier_known": True, "bank_account_changed": False, "supplier_name": "Acme"}


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["veto-and-review", "batches"])
def test_the_code_of_the_page_prints_what_the_page_says(page: str) -> None:
    """All blocks in their order, as one program."""
    code, printed = "\n".join(blocks(page, "python")), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, page, "exec"), {"__name__": page})  # noqa: S102 - our own page
    assert printed.getvalue() == blocks(page, "text")[-1]


def test_the_policies_of_the_pages_say_what_the_pages_say() -> None:
    """Window, sample and the sum of a batch."""
    (text,) = blocks("veto-and-review", "yaml")
    rules = load_policy(text, "veto-and-review.md", demo_people())
    usual = rules.judge(question("erp.payment.submit", "4760.00", facts=KNOWN))
    assert (usual.verdict, usual.ask.deadline_seconds) == (Verdict.VETO_WINDOW, 7200)
    small = rules.judge(question("erp.payment.submit", "47.60", facts=KNOWN))
    assert (small.verdict, small.sample_permille) == (Verdict.REVIEW_LATER, 50)

    (text,) = blocks("batches", "yaml")
    rules = load_policy(text, "batches.md", demo_people())
    one = question("erp.payment.submit", "900.00", facts=KNOWN)
    assert rules.judge(one).verdict is Verdict.ALLOW
    total = one.amount.model_copy(update={"minor": 1_800_000})
    line = one.model_copy(update={"batch_count": 20, "batch_total": total})
    judgement = rules.judge(line)
    assert judgement.verdict is Verdict.REQUIRE_APPROVAL
    assert judgement.reasons[0].text == "20 lines add up to 10,000.00 or more"
    assert rules.sections["batch"].most_total == {"EUR": 10_000_000}
