"""The shipped policy's answer to a payment, against its conditions as bare CEL."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from gates.core.model import Action, Money, Requester
from gates.core.people import load_people
from gates.core.policy import Policy, Question, load_policy
from gates.core.policy.conditions import bindings, joined
from tests.benchmarks.figures import Report, Row, say
from tests.support.policies import PEOPLE_FILE, ROOT

NUMBER = 5_000
ACTION = "erp.payment.submit"


def run() -> Report:
    say("policies: policies/erp.yaml")
    policy, question = shipped(), payment()
    assert policy.judge(question).verdict.value == "allow"
    rules = [rule for rule in policy.rules if ACTION in rule.on]
    expression, values = joined([rule.condition for rule in rules]), bindings(question)
    report = Report(f"Policy: {len(rules)} rules of policies/erp.yaml on a payment", upper=0.99)
    bare = timed(lambda: expression.eval(data=values).plain_value())
    report.rows = [
        Row("floor: the conditions as bare CEL", bare, floor=True),
        Row("the whole judgement", timed(lambda: policy.judge(question))),
    ]
    return report


def shipped() -> Policy:
    file = ROOT / "policies" / "erp.yaml"
    people = load_people(PEOPLE_FILE.read_text(), str(PEOPLE_FILE))
    return load_policy(file.read_text(), str(file), people)


def payment() -> Question:
    """A small payment to a known supplier, with all its facts."""
    return Question(
        action=Action(name=ACTION, arguments={"supplier": "DE123", "number": "R-7", "bill_id": 12}),
        amount=Money.of(Decimal("500.00"), "EUR"),
        claims={"confidence": "0.97"},
        facts={
            "supplier_known": True,
            "supplier_name": "Acme Steel",
            "bank_account_changed": False,
            "bill_known": True,
            "bill_is_named": True,
            "amount_matches": True,
            "bill_state": "posted",
            "stray_drafts": 0,
            "disagreements": [],
        },
        requester=Requester(agent="invoice-agent", on_behalf_of="sam"),
    )


def timed(call: Callable[[], object], number: int = NUMBER, warm: int = 200) -> list[float]:
    samples = []
    for index in range(-warm, number):
        began = time.perf_counter()
        call()
        if index >= 0:
            samples.append((time.perf_counter() - began) * 1e3)
    return samples
