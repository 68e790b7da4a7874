"""What docs/write-a-policy.md shows is loaded and run as it stands there."""

import contextlib
import io
import re

import pytest

from gates.core.errors import InvalidPolicy
from gates.core.model import Verdict
from gates.core.policy import Policy, load_policy
from gates.core.policy.checking import check
from tests.support.policies import ROOT, demo_people, question

DOCUMENT = (ROOT / "docs" / "write-a-policy.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


def policies() -> list[Policy]:
    texts = [text for text in blocks("yaml") if "rules:" in text]
    return [load_policy(text, "docs", demo_people()) for text in texts]


def test_the_examples_are_policies_that_do_what_they_say():
    """All load with the demo's people and pass the check; each verdict of the first comes about."""
    first, currencies, claimed = policies()
    assert [check(one) for one in policies()] == [[], [], []]
    assert len(currencies.rules[0].examples) == 3
    facts = {"supplier_known": True, "supplier_name": "Kopi & Co"}
    verdicts = {
        amount: first.judge(question("erp.payment.submit", amount, facts=facts)).verdict
        for amount in ("999.99", "1000.00", "10000.00", "0.00")
    }
    ask = Verdict.REQUIRE_APPROVAL
    assert list(verdicts.values()) == [Verdict.ALLOW, ask, ask, Verdict.FORBID]
    unsure = claimed.judge(question("erp.bill.create", claims={"confidence": "NaN"}))
    assert "low-confidence" in [one.rule for one in unsure.reasons]


def test_the_python_example_prints_what_the_document_says(monkeypatch):
    """Run from the project's folder, as a reader would."""
    (code,) = blocks("python")
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "write-a-policy.md", "exec"), {})  # noqa: S102 - our own document
    assert printed.getvalue() == blocks("text")[-1]


@pytest.mark.parametrize(
    ("written", "meant", "example"),
    [
        ("amuont.minor < 100000", "amount.minor < 100000", 0),
        ("quorum: 3", "quorum: 2", 1),
        ("requires_approval", "require_approval", 2),
    ],
)
def test_the_mistakes_are_worded_as_in_the_document(written, meant, example):
    """What the document quotes is what the server says."""
    text = blocks("yaml")[0].replace(meant, written, 1)
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(text, "policies/erp.yaml", demo_people())
    quoted = blocks("text")[0].splitlines()[example].split(": ", 1)[1]
    said = caught.value.details["problems"][0].split(": ", 1)[1]
    assert re.sub(r"`.*?`", "", said) == re.sub(r"`.*?`", "", quoted)
