"""What lifting a rule can do to a policy's answer, and what it never does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gates.core.model import Tier, Verdict
from tests.support.policies import policy, question

RULES = """\
  - {name: allow, on: a, when: amount.minor < 10000, verdict: allow, because: allow}
  - {name: rent, on: a, when: amount.minor > 5000, verdict: require_approval, standing: true,
     because: rent}
  - {name: firm, on: a, when: amount.minor > 50000, verdict: require_approval, tier: high,
     because: firm}
  - {name: never, on: a, when: amount.minor > 90000, verdict: forbid, because: never}
  - {name: broken, on: a, when: facts.missing > 1, verdict: require_approval, standing: true,
     because: broken}
"""
NAMES = st.sets(st.sampled_from(["allow", "rent", "firm", "never", "broken", "default", "x"]))
AMOUNTS = st.integers(1, 1_000).map(lambda euros: f"{euros}.00")
WHOLE = {"missing": 0}


@settings(deadline=None)  # the first one compiles the policy
@given(AMOUNTS, NAMES, NAMES)
def test_only_rules_that_may_be_lifted_are(amount, lifted, more):
    """A forbid, a rule that does not say so, and the default stay; lifting more is never
    stricter.
    """
    rules, asked = policy(RULES), question("a", amount, facts=WHOLE)
    plain, found = rules.judge(asked), rules.judge(asked, lifted)
    assert found.verdict.strictness <= plain.verdict.strictness
    assert rules.judge(asked, lifted | more).verdict.strictness <= found.verdict.strictness
    if plain.verdict is Verdict.FORBID:
        assert found.model_copy(update={"lifted": ()}) == plain
    if "firm" in [one.rule for one in plain.reasons]:
        assert found.verdict is Verdict.REQUIRE_APPROVAL
        assert found.tier is Tier.HIGH


@given(AMOUNTS, NAMES)
def test_a_rule_that_cannot_be_evaluated_is_never_lifted(amount, lifted):
    """Nobody knows what it would have said."""
    found = policy(RULES).judge(question("a", amount), lifted)
    assert found.verdict in (Verdict.REQUIRE_APPROVAL, Verdict.FORBID)
