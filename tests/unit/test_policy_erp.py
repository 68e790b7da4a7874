"""The shipped policy, rule by rule: an action with its facts, and what comes of it."""

from typing import Any

import pytest

from gates.core.model import Tier, Verdict
from gates.core.policy import Policy, load_policy
from integrations.erp.actions import ACTIONS
from tests.support.policies import ROOT, demo_people, question

CREATE, POST, PAY = "erp.bill.create", "erp.bill.post", "erp.payment.submit"
ALLOW, ASK, FORBID = Verdict.ALLOW, Verdict.REQUIRE_APPROVAL, Verdict.FORBID
AP, CONTROLLERS = ("ap",), ("controllers",)

KNOWN = {"supplier_known": True, "supplier_name": "Kopi & Co", "bank_account_changed": False}
NEW: dict[str, Any] = {"duplicate_number": []}
TWICE = ["R-7: 2026/12 (posted, 500.00 EUR)"]
MEANT = {
    "bill_known": True,
    "bill_is_named": True,
    "amount_matches": True,
    "bill_state": "draft",
    "stray_drafts": 0,
    "disagreements": [],
}
LATER = {"other_date": True, "booked_on": "2026-02-02", "invoice_date": "2026-01-12"}
DISCARD, CANCEL, WITHDRAW = "erp.bill.discard", "erp.bill.cancel", "erp.payment.withdraw"
ACCOUNT = "erp.supplier.bank_account.change"
NAMED = {"bill_known": True, "bill_is_named": True, "supplier_name": "Kopi & Co"}
FACTS: dict[str, dict[str, Any]] = {
    CREATE: KNOWN | NEW,
    POST: KNOWN | NEW | MEANT | {"other_date": False},
    PAY: KNOWN | MEANT,
    DISCARD: NAMED | {"bill_state": "draft"},
    CANCEL: NAMED | {"bill_state": "posted", "booked_as": "2026/12", "disagreements": []},
    WITHDRAW: NAMED | {"bill_state": "posted", "payments": [], "has_left": False},
    ACCOUNT: {
        "supplier_known": True,
        "supplier_name": "Kopi & Co",
        "old_is_current": True,
        "country_changes": False,
        "same_account_of": [],
        "open_bills": 2,
    },
}
ARGUMENTS = {"supplier": "DE123", "number": "R-7", "bill_id": 12, "lines": [{"quantity": "1"}]}
ARGUMENTS |= {"old_iban": "DE01", "new_iban": "DE02"}
WRONG = ["it is posted without a number"]
SURE = {"confidence": "0.93"}


@pytest.fixture(scope="module")
def erp() -> Policy:
    file = ROOT / "policies" / "erp.yaml"
    return load_policy(file.read_text(), "policies/erp.yaml", demo_people())


def judged(policy: Policy, name: str, amount="500.00", *, currency="EUR", **change: Any):
    claims = change.pop("claims", SURE)
    arguments = ARGUMENTS | change.pop("arguments", {})
    facts = FACTS[name] | change
    return policy.judge(
        question(name, amount, currency, arguments=arguments, claims=claims, facts=facts)
    )


@pytest.mark.parametrize(
    ("name", "amount", "change", "verdict", "rules"),
    [
        (CREATE, "500.00", {}, ALLOW, ["small-known-supplier"]),
        (CREATE, "9999.99", {}, ALLOW, ["small-known-supplier"]),
        (CREATE, "10000.00", {}, ASK, ["large"]),
        (CREATE, "500.00", {"currency": "USD"}, ASK, ["large"]),
        (CREATE, "500.00", {"duplicate_number": TWICE}, ASK, ["duplicate-number"]),
        (CREATE, "500.00", {"claims": {"confidence": "0.79"}}, ASK, ["low-confidence"]),
        (CREATE, "500.00", {"claims": {}}, ASK, ["low-confidence"]),
        (CREATE, "500.00", {"claims": {"confidence": "NaN"}}, ASK, ["low-confidence"]),
        (CREATE, "500.00", {"claims": {"confidence": "99"}}, ASK, ["low-confidence"]),
        (CREATE, "500.00", {"claims": {"confidence": "sure!"}}, ASK, ["low-confidence"]),
        (CREATE, "500.00", {"supplier_known": False}, ASK, ["unknown-supplier"]),
        (CREATE, "12000.00", {"duplicate_number": TWICE}, ASK, ["large", "duplicate-number"]),
        (CREATE, "500.00", {"arguments": {"lines": []}}, FORBID, ["no-lines"]),
        (CREATE, "0.00", {}, FORBID, ["nothing-to-pay"]),
        (CREATE, "-500.00", {"duplicate_number": TWICE}, FORBID, ["nothing-to-pay"]),
        (POST, "500.00", {}, ALLOW, ["draft-as-meant"]),
        (POST, "50000.00", {"claims": {}}, ALLOW, ["draft-as-meant"]),
        (POST, "500.00", {"bill_state": "validated"}, ASK, ["default"]),
        (POST, "500.00", {"amount_matches": False}, ASK, ["amount-differs"]),
        (POST, "500.00", LATER, ASK, ["other-date"]),
        (POST, "500.00", {"bill_is_named": False}, FORBID, ["wrong-bill"]),
        (POST, "500.00", {"supplier_known": False}, ASK, ["unknown-supplier"]),
        (POST, "500.00", {"bank_account_changed": True}, ASK, ["changed-bank-account"]),
        (PAY, "500.00", {}, ALLOW, ["small-known-supplier"]),
        (PAY, "10000.00", {}, ASK, ["large"]),
        (PAY, "500.00", {"bank_account_changed": True}, ASK, ["changed-bank-account"]),
        (PAY, "500.00", {"stray_drafts": 1}, ALLOW, ["small-known-supplier"]),
        (PAY, "500.00", {"amount_matches": False}, ASK, ["amount-differs"]),
        (PAY, "500.00", {"bill_is_named": False}, FORBID, ["wrong-bill"]),
        (PAY, "-1.00", {}, FORBID, ["nothing-to-pay"]),
        (PAY, "500.00", {"disagreements": WRONG}, FORBID, ["books-disagree"]),
        (PAY, "500.00", {"bill_state": "paid"}, FORBID, ["paid-already"]),
        (POST, "500.00", {"disagreements": WRONG}, FORBID, ["books-disagree"]),
        (DISCARD, "500.00", {}, ALLOW, ["own-draft"]),
        (DISCARD, "500.00", {"bill_state": "cancelled"}, ALLOW, ["own-draft"]),
        (DISCARD, "500.00", {"bill_state": "posted", "booked_as": "1"}, FORBID, ["not-a-draft"]),
        (DISCARD, "500.00", {"bill_is_named": False}, FORBID, ["wrong-bill"]),
        (CANCEL, "500.00", {}, ASK, ["cancel"]),
        (CANCEL, "500.00", {"bill_state": "paid"}, FORBID, ["paid-already"]),
        (CANCEL, "500.00", {"disagreements": WRONG}, FORBID, ["books-disagree"]),
        (WITHDRAW, "500.00", {}, ALLOW, ["payment-not-left"]),
        (WITHDRAW, "500.00", {"has_left": True}, FORBID, ["payment-has-left"]),
        (ACCOUNT, None, {}, ASK, ["bank-account"]),
        (ACCOUNT, None, {"country_changes": True}, ASK, ["other-country", "bank-account"]),
        (ACCOUNT, None, {"same_account_of": ["Other"]}, FORBID, ["account-of-another"]),
        (ACCOUNT, None, {"old_is_current": False}, FORBID, ["old-account-differs"]),
        (ACCOUNT, None, {"supplier_known": False}, FORBID, ["old-account-differs"]),
    ],
)
def test_shipped_policy(erp, name, amount, change, verdict, rules):
    """Each trigger of the file leads to its verdict, for its own reason and no other."""
    judgement = judged(erp, name, amount, **change)
    assert (judgement.verdict, [one.rule for one in judgement.reasons]) == (verdict, rules)
    assert (judgement.ask is not None) is (verdict is ASK)


def test_who_is_asked(erp):
    """Clerks for what is unclear, a controller for much money, two for another account."""
    clerks = judged(erp, CREATE, duplicate_number=TWICE)
    large = judged(erp, PAY, "10000.00")
    account = judged(erp, PAY, bank_account_changed=True)
    assert (clerks.tier, clerks.ask.who, clerks.ask.quorum) == (Tier.AMBIGUOUS, AP, 1)
    assert (large.tier, large.ask.who, large.ask.quorum) == (Tier.HIGH, CONTROLLERS, 1)
    assert (account.tier, account.ask.who, account.ask.quorum) == (Tier.HIGH, CONTROLLERS, 2)
    both = judged(erp, PAY, "10000.00", bank_account_changed=True)
    assert both.ask.quorum == 2


def test_reasons_are_sentences_for_people(erp):
    """The reason names the money, the supplier and the number."""
    assert judged(erp, CREATE, "12000.00", duplicate_number=TWICE).reasons[0].text == (
        "12,000.00 EUR is 10,000.00 EUR or more, or in another currency"
    )
    assert judged(erp, CREATE, duplicate_number=TWICE).reasons[0].text == (
        "Kopi & Co has sent this number before: R-7: 2026/12 (posted, 500.00 EUR)"
    )


@pytest.mark.parametrize("name", [CREATE, POST, PAY, DISCARD, WITHDRAW, ACCOUNT])
def test_no_action_is_allowed_when_a_fact_is_missing(erp, name):
    """Take away any one fact that a rule rests on: the rest is not allowed by itself."""
    rested_on = {
        CREATE: ["supplier_known", "duplicate_number"],
        POST: [*MEANT.keys() - {"stray_drafts"}, "supplier_known", "other_date"],
        PAY: ["supplier_known", "bank_account_changed", "bill_is_named", "amount_matches"],
        DISCARD: ["bill_known", "bill_is_named", "bill_state"],
        WITHDRAW: ["bill_known", "bill_is_named", "has_left"],
        ACCOUNT: ["old_is_current", "same_account_of", "country_changes"],
    }[name]
    for fact in rested_on:
        facts = {key: value for key, value in FACTS[name].items() if key != fact}
        asked = question(name, arguments=ARGUMENTS, claims=SURE, facts=facts)
        assert erp.judge(asked).verdict is not ALLOW, fact


@pytest.mark.parametrize("wrong", ["x", 1, None, {"a": 1}, ["a"], "true", "false"])
@pytest.mark.parametrize("name", [CREATE, POST, PAY])
def test_no_action_is_allowed_when_a_fact_comes_in_another_form(erp, name, wrong):
    """A fact that a rule rests on becomes a text, a number, a list or nothing: people are asked."""
    unread = {"supplier_name", "stray_drafts"}
    unread |= {PAY: {"bill_state"}, POST: {"duplicate_number"}}.get(name, {"bank_account_changed"})
    for fact in FACTS[name].keys() - unread:
        assert judged(erp, name, **{fact: wrong}).verdict is not ALLOW, fact


def test_every_action_of_the_erp_is_named_by_a_rule(erp):
    """An action that is added to the registry is noticed here before it is asked about."""
    for action in ACTIONS:
        names = [one.rule for one in erp.judge(question(action.name)).reasons]
        assert names != ["default"], action.name
