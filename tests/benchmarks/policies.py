"""The shipped policy's answer to a payment, against its conditions as bare CEL."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import yaml

from gates.core.model import Action, Money, Requester
from gates.core.people import load_people
from gates.core.policy import Policy, Question, load_policy
from gates.core.policy.conditions import bindings, joined
from tests.benchmarks.figures import Report, Row, say
from tests.support.policies import PEOPLE_FILE, ROOT

NUMBER = 5_000
MANY = 200
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


def many() -> Report:
    """A policy of a large house: 200 rules that all name the action."""
    say("policies: 200 rules")
    names = [f"rule-{number}" for number in range(MANY - 1)]
    rules = [
        {
            "name": name,
            "on": ACTION,
            "when": f"facts.supplier_known && amount.minor > {10**6 + number} "
            f'&& action.arguments.supplier == "DE{number}"',
            "verdict": "require_approval",
            "because": "{amount}",
        }
        for number, name in enumerate(names)
    ]
    known = {"name": "known", "on": ACTION, "when": "facts.supplier_known == true"}
    rules.append(known | {"verdict": "allow", "because": "known"})
    people = load_people(PEOPLE_FILE.read_text(), str(PEOPLE_FILE))
    head = {"version": 1, "defaults": {"tier": "ambiguous", "ask": {"who": ["ap"]}}}
    policy = load_policy(yaml.safe_dump(head | {"rules": rules}), "many.yaml", people)
    question = payment()
    assert policy.judge(question).verdict.value == "allow"
    expression, values = joined([rule.condition for rule in policy.rules]), bindings(question)
    report = Report(f"Policy: {MANY} rules on a payment", upper=0.99)
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


def timed(call: Callable[[], object]) -> list[float]:
    samples = []
    for index in range(-200, NUMBER):
        began = time.perf_counter()
        call()
        if index >= 0:
            samples.append((time.perf_counter() - began) * 1e3)
    return samples
