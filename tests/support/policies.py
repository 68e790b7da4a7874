"""Small policies and questions for tests."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from gates.core.model import Action, Money, Requester
from gates.core.people import People, load_people
from gates.core.policy import Policy, Question, load_policy

ROOT = Path(__file__).parents[2]
PEOPLE_FILE = ROOT / "policies" / "people.yaml"
HEAD = """\
version: 1
defaults: {tier: ambiguous, ask: {who: [ap], quorum: 1, deadline: 24h}}
rules:
"""


def demo_people() -> People:
    return load_people(PEOPLE_FILE.read_text(), str(PEOPLE_FILE))


def policy(rules: str, head: str = HEAD) -> Policy:
    """`rules`: the entries of the list, as YAML."""
    return load_policy(head + rules, "policy.yaml", demo_people())


def question(
    name: str = "erp.bill.post",
    amount: str | None = "500.00",
    currency: str = "EUR",
    *,
    arguments: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
) -> Question:
    return Question(
        action=Action(name=name, arguments=arguments or {}),
        amount=None if amount is None else Money.of(Decimal(amount), currency),
        claims=claims or {},
        facts=facts or {},
        requester=Requester(agent="invoice-agent"),
    )
