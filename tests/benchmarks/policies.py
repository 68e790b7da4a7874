"""What judging costs beside bare CEL: the shipped policy, and policies of 12 and of 200 rules."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from gates.core.model import Action, Money, Requester
from gates.core.people import load_people
from gates.core.policy import Policy, Question, load_policy
from gates.core.policy.conditions import bindings, joined
from gates.core.policy.patterns import matches
from tests.benchmarks.figures import Report, Row, say
from tests.support.policies import HEAD, PEOPLE_FILE, ROOT

NUMBER = 5_000
ACTION = "erp.payment.submit"
SIZES = (12, 200)


def run() -> Report:
    say("policies: policies/erp.yaml, and 12 and 200 rules")
    made, question = shipped(), payment()
    assert made.judge(question).verdict.value == "allow"
    number = len([rule for rule in made.rules if ACTION in rule.on])
    report = Report(f"Policy: {number} rules of policies/erp.yaml on a payment", upper=0.99)
    report.rows = rows(made, question)
    for size in SIZES:
        report.rows += rows(many(size), question, f", {size} rules")
    return report


def rows(policy: Policy, question: Question, words: str = "") -> list[Row]:
    """Bare CEL over the conditions that are about the action, and the whole judgement."""
    rules = [rule for rule in policy.rules if matches(rule.on, question.action.name)]
    expression, values = joined([rule.condition for rule in rules]), bindings(question)
    bare = timed(lambda: expression.eval(data=values).plain_value())
    return [
        Row(f"floor: the conditions as bare CEL{words}", bare, floor=True),
        Row(f"the whole judgement{words}", timed(lambda: policy.judge(question))),
    ]


def shipped() -> Policy:
    file = ROOT / "policies" / "erp.yaml"
    people = load_people(PEOPLE_FILE.read_text(), str(PEOPLE_FILE))
    return load_policy(file.read_text(), str(file), people)


def many(size: int) -> Policy:
    """Rules for one action, of which the first allows and the others look at facts and amounts."""
    people = load_people(PEOPLE_FILE.read_text(), str(PEOPLE_FILE))
    allow = f"""\
  - name: small
    on: {ACTION}
    when: facts.supplier_known == true && amount.currency == "EUR" && amount.minor < 1000000
    verdict: allow
    because: "{{amount}} to {{facts.supplier_name}}"
"""
    others = "".join(
        f"""\
  - name: rule-{number}
    on: [{ACTION}, erp.bill.*]
    when: amount.minor >= {1_000_000 + number} || facts.bill_state == "state {number}"
    verdict: require_approval
    because: "{{amount}}"
"""
        for number in range(1, size)
    )
    return load_policy(HEAD + allow + others, "policy.yaml", people)


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
