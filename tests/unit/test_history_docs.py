"""What the pages about history, standing approvals, judges and backtests show is run."""

from __future__ import annotations

import re

import pytest

from gates.core.model import Level, Verdict
from gates.core.policy import Policy, load_policy
from gates.core.policy.circumstances import EXPOSURE, HISTORY
from gates.core.policy.judges import JudgeRule
from tests.support.policies import ROOT, demo_people, question

DOCS = ROOT / "docs"
PAYMENT = "erp.payment.submit"


def block(page: str, language: str) -> str:
    text = (DOCS / page).read_text()
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(found)


def policy(page: str) -> Policy:
    return load_policy(block(page, "yaml"), page, demo_people())


@pytest.mark.parametrize(
    ("history", "week", "verdict", "rule"),
    [
        ({"max_minor": 30_000}, 50_000, Verdict.ALLOW, "usual-payment"),
        ({"max_minor": 20_000}, 50_000, Verdict.REQUIRE_APPROVAL, "default"),
        ({"duplicates": 1, "max_minor": 30_000}, 50_000, Verdict.REQUIRE_APPROVAL, "default"),
        ({}, 50_000, Verdict.REQUIRE_APPROVAL, "usual-payment"),
        ({"max_minor": 30_000}, 1_000_000, Verdict.REQUIRE_APPROVAL, "adds-up"),
    ],
)
def test_the_policy_of_history_and_exposure_does_what_the_page_says(history, week, verdict, rule):
    """Usual runs; unusual, the same again, without a past, or too much in a week asks."""
    given = {
        "history": {"counterparty_known": True, "duplicates": 0} | history,
        "exposure": {
            "supplier_week": {"minor": week, "currencies_mixed": False, "total": "x"},
            "agent_day": {"count": 3},
        },
    }
    asked = question(PAYMENT, "500.00").model_copy(update={"circumstances": given})
    judged = policy("history-and-exposure.md").judge(asked)
    assert judged.verdict is verdict
    assert rule in [one.rule for one in judged.reasons]


def test_the_page_names_every_value():
    """What a rule may read is in the tables, and nothing else is."""
    text = (DOCS / "history-and-exposure.md").read_text()
    tables = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"history\.(\w+)", tables)) == set(HISTORY)
    assert set(re.findall(r"exposure\.W\.(\w+)", tables)) == set(EXPOSURE)


def test_the_rule_of_standing_approvals_can_be_lifted():
    """As the page's command would."""
    rules = policy("standing-approvals.md")
    asked = question(PAYMENT, "2500.00")
    assert rules.judge(asked).verdict is Verdict.REQUIRE_APPROVAL
    assert [one.name for one in rules.liftable(["any-payment"])] == ["any-payment"]
    assert rules.judge(asked, {"any-payment"}).verdict is Verdict.ALLOW


def test_the_judges_of_the_page_are_read_and_its_own_judge_judges():
    judges = policy("judges.md").judges
    assert (judges["statistics"].factor, judges["llm"].timeout) == (5, 3)
    names: dict[str, type] = {}
    exec(compile(block("judges.md", "python"), "judges.md", "exec"), names)  # noqa: S102 - our own
    judge, told = names["NightJudge"](), JudgeRule(name="night", on=("*",))
    assert judge.judge(question(facts={"hour": 23}), told).level is Level.HIGH
    assert judge.judge(question(), told).level is Level.NONE
