from collections import OrderedDict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gates.core.asked import Ask
from gates.core.errors import InvalidPolicy
from gates.core.model import Judgement, Money, Tier, Verdict
from gates.core.policy import Policy, load_policies
from tests.support.policies import HEAD, demo_people, policy, question

ALLOW_SMALL = """\
  - {name: small, on: erp.*, when: amount.minor < 100000, verdict: allow, because: "{amount}"}
"""
ASK_NEW = """\
  - {name: new, on: erp.*, when: facts.new == true, verdict: require_approval, because: new}
"""
FORBID_TEST = """\
  - {name: test, on: '*.post', when: facts.test == true, verdict: forbid, because: never}
"""
FURTHER = "version: 1\nrules:\n"
KNOWN = {"new": False, "test": False}


def rules_of(judgement: Judgement) -> list[str]:
    return [reason.rule for reason in judgement.reasons]


@pytest.mark.parametrize(
    ("facts", "amount", "verdict", "rules"),
    [
        (KNOWN, "999.99", Verdict.ALLOW, ["small"]),
        (KNOWN, "1000.00", Verdict.REQUIRE_APPROVAL, ["default"]),
        (KNOWN | {"new": True}, "1.00", Verdict.REQUIRE_APPROVAL, ["new"]),
        (KNOWN | {"test": True}, "1.00", Verdict.FORBID, ["test"]),
        ({"new": True, "test": True}, "1.00", Verdict.FORBID, ["test"]),
    ],
)
def test_the_strictest_rule_that_matches_wins(facts, amount, verdict, rules):
    """Forbid goes before asking, asking before allowing; nothing that matches asks people."""
    judgement = policy(ALLOW_SMALL + ASK_NEW + FORBID_TEST).judge(
        question(amount=amount, facts=facts)
    )
    assert judgement.verdict is verdict
    assert rules_of(judgement) == rules


OFFICE = "calendars: {o: {zone: UTC, hours: {mon-sun: ['00:00-24:00']}}}\ncalendar: o\n"
ANY = "  - {{name: {}, on: '*', when: {}, verdict: {}, because: x{}}}\n"
REVIEW = ANY.format("later", "facts.a", "review_later", ", sample: 0.25, ask: {who: [security]}")
VETO = ANY.format("veto", "facts.b", "veto_window", ", window: 2h, ask: {who: [controllers]}")
ASK = ANY.format("ask", "facts.c", "require_approval", ", ask: {who: [ap]}")


@pytest.mark.parametrize(
    ("facts", "verdict", "rules", "whom", "seconds", "sample"),
    [
        ("", Verdict.ALLOW, ["small"], None, None, 0),
        ("a", Verdict.REVIEW_LATER, ["later"], ("security",), 86_400, 250),
        ("b", Verdict.VETO_WINDOW, ["veto"], ("controllers",), 7_200, 0),
        ("ab", Verdict.VETO_WINDOW, ["veto"], ("controllers",), 7_200, 0),
        ("c", Verdict.REQUIRE_APPROVAL, ["ask"], ("ap",), 86_400, 0),
        ("abc", Verdict.REQUIRE_APPROVAL, ["ask"], ("ap",), 86_400, 0),
    ],
)
def test_five_verdicts_from_the_mildest_to_the_strictest(
    facts, verdict, rules, whom, seconds, sample
):
    """Each with the people, the time and the share that its rule names."""
    told = {name: name in facts for name in "abc"}
    judgement = policy(ALLOW_SMALL + REVIEW + VETO + ASK).judge(question(facts=told))
    assert (judgement.verdict, rules_of(judgement)) == (verdict, rules)
    assert judgement.sample_permille == sample
    assert (judgement.ask.who if judgement.ask else None) == whom
    assert (judgement.ask.deadline_seconds if judgement.ask else None) == seconds


def test_of_two_veto_windows_the_longer_counts_and_of_samples_the_larger():
    """One more rule that is worried never makes time consent sooner, or fewer look."""
    window, sample = ", window: {}", ", sample: {}"
    vetoes = "".join(
        ANY.format(name, "'true'", "veto_window", window.format(time))
        for name, time in (("short", "1h"), ("long", "3h"))
    )
    judgement = policy(vetoes).judge(question())
    assert judgement.ask is not None
    assert (judgement.ask.deadline_seconds, judgement.ask.quorum) == (3 * 3600, 1)
    reviews = "".join(
        ANY.format(name, "'true'", "review_later", sample.format(share))
        for name, share in (("few", "1%"), ("many", "0.5"))
    )
    assert policy(reviews).judge(question()).sample_permille == 500


@pytest.mark.parametrize(
    ("head", "tier", "sample"),
    [
        (HEAD, "routine", 100),
        ("sampling: {high: 1, routine: 0.02}\n" + HEAD, "routine", 20),
        ("sampling: {high: 1, routine: 0.02}\n" + HEAD, "high", 1000),
        ("sampling: {high: 1, routine: 0.02}\n" + HEAD, "expert", 100),
    ],
)
def test_a_sample_that_no_rule_names_is_that_of_its_tier(head, tier, sample):
    """As the section says, else a tenth."""
    rule = ANY.format("later", "'true'", "review_later", f", tier: {tier}")
    assert policy(rule, head).judge(question()).sample_permille == sample


def test_an_objection_is_one_persons_whatever_the_defaults_want():
    """How many must agree says nothing about who may object."""
    head = HEAD.replace("[ap], quorum: 1", "[ap, controllers], quorum: 2, from_each: true")
    ask = policy(VETO.replace(", ask: {who: [controllers]}", ""), head).rules[0].ask
    assert ask is not None
    assert (ask.who, ask.quorum, ask.from_each) == (("ap", "controllers"), 1, ())


def test_a_window_that_rests_on_a_claim_never_stands_in_for_people():
    """Where no fact speaks, the defaults do, beside it."""
    rule = VETO.replace("facts.b", "claims.b == true")
    judgement = policy(rule).judge(question(claims={"b": True}))
    assert (judgement.verdict, rules_of(judgement)) == (Verdict.REQUIRE_APPROVAL, ["default"])


LIFTING = ALLOW_SMALL.replace("verdict: allow", "verdict: allow, lifts: [ask]")


@pytest.mark.parametrize(
    ("rules", "facts", "verdict", "lifted"),
    [
        (LIFTING + ASK, {"c": True}, Verdict.ALLOW, ("ask",)),
        (LIFTING + ASK, {"c": False}, Verdict.ALLOW, ()),
        (LIFTING + ASK, {}, Verdict.REQUIRE_APPROVAL, ()),  # an error is no voice to be lifted
        (LIFTING + ASK + VETO, {"b": True, "c": True}, Verdict.VETO_WINDOW, ("ask",)),
        (LIFTING + ASK + FORBID_TEST, {"c": True, "test": True}, Verdict.FORBID, ("ask",)),
        (LIFTING.replace("100000", "1") + ASK, {"c": True}, Verdict.REQUIRE_APPROVAL, ()),
    ],
)
def test_an_allowing_rule_lifts_the_rules_that_it_names_and_no_others(
    rules, facts, verdict, lifted
):
    """Only while it matches; never an error, never what forbids."""
    judgement = policy(rules).judge(question(facts=facts))
    assert (judgement.verdict, judgement.lifted) == (verdict, lifted)


def test_what_lifts_cannot_rest_on_a_claim():
    """An agent must not talk a rule away."""
    with pytest.raises(InvalidPolicy, match=r"'claims\.sure' is said by the requester"):
        policy(LIFTING.replace("amount.minor < 100000", "claims.sure == true") + ASK)


def test_what_forbids_cannot_be_lifted():
    """The file that tries is refused."""
    with pytest.raises(InvalidPolicy, match="lifts 'test', what forbids is never lifted: remove"):
        policy(LIFTING.replace("[ask]", "[test]") + FORBID_TEST)


STANDING = ASK.replace("because: x", "because: x, standing: true")


@pytest.mark.parametrize(
    ("rules", "facts", "lifted", "verdict", "gone"),
    [
        (STANDING, {"c": True}, {"ask"}, Verdict.ALLOW, ("ask",)),
        (STANDING, {"c": True}, set(), Verdict.REQUIRE_APPROVAL, ()),
        (STANDING, {}, {"ask"}, Verdict.REQUIRE_APPROVAL, ()),
        (ASK, {"c": True}, {"ask"}, Verdict.REQUIRE_APPROVAL, ()),
        (FORBID_TEST, {"test": True}, {"test"}, Verdict.FORBID, ()),
        (STANDING + VETO, {"b": True, "c": True}, {"ask"}, Verdict.VETO_WINDOW, ("ask",)),
    ],
)
def test_a_standing_approval_lifts_what_says_that_it_may(rules, facts, lifted, verdict, gone):
    """Where the rule says `standing: true`, asks, and could be evaluated."""
    judgement = policy(rules).judge(question(facts=facts), lifted)
    assert (judgement.verdict, judgement.lifted) == (verdict, gone)


RATES = 'currencies: {base: EUR, rates: {USD: "0.92", JPY: "0.0061", KWD: "3.01"}}\n'


@pytest.mark.parametrize(
    ("amount", "currency", "base"),
    [
        ("100.00", "EUR", 10_000),
        ("100.00", "USD", 9_200),
        ("0.01", "USD", 1),  # 0.92 of a cent: up, so that nothing slips in under a limit
        ("-0.01", "USD", -1),
        ("1000", "JPY", 610),
        ("1", "JPY", 1),
        ("1.001", "KWD", 302),  # 3.01301 EUR
    ],
)
def test_amounts_in_other_currencies_compare_in_the_base(amount, currency, base):
    """Exact, by the currencies' own minor units, and rounded away from zero."""
    rule = ANY.format("r", f"amount.base == {base} && amount.base_known", "forbid", "")
    asked = question(amount=amount, currency=currency)
    judgement = policy(rule.replace("x}", "'{amount.base}'}"), RATES + HEAD).judge(asked)
    assert judgement.verdict is Verdict.FORBID
    assert judgement.reasons[0].text == str(Money(minor=base, currency="EUR"))


def test_a_currency_without_a_rate_asks():
    """Its base has no value, and a rule can say what to do then."""
    rule = ANY.format("r", "amount.base < 100", "allow", "")
    judgement = policy(rule, RATES + HEAD).judge(question(currency="CHF"))
    assert judgement.verdict is Verdict.REQUIRE_APPROVAL
    assert "'amount.base' is missing" in " ".join(one.text for one in judgement.reasons)
    known = rule.replace("amount.base", "amount.base_known && amount.base")
    assert rules_of(policy(known, RATES + HEAD).judge(question(currency="CHF"))) == ["default"]


@pytest.mark.parametrize(
    ("condition", "circumstances", "verdict"),
    [
        ("history.first_use", {"history": {"first_use": True}}, Verdict.FORBID),
        ("history.first_use", {}, Verdict.REQUIRE_APPROVAL),
        ("has(history.median_minor)", {"history": {}}, Verdict.REQUIRE_APPROVAL),
        ("!has(history.median_minor)", {"history": {}}, Verdict.FORBID),
        ("exposure.week.minor > 5", {"exposure": {"week": {"minor": 6}}}, Verdict.FORBID),
        ("!time.business_hours", {"time": {"business_hours": False}}, Verdict.FORBID),
    ],
)
def test_a_rule_knows_the_circumstances_that_the_server_found(condition, circumstances, verdict):
    """As maps by their names; what is missing asks."""
    asked = question().model_copy(update={"circumstances": circumstances})
    rule = ANY.format("r", f'"{condition}"', "forbid", "")
    head = "exposure: {week: {by: counterparty, window: 7d}}\n" + HEAD
    head = 'calendars: {o: {zone: UTC, hours: {mon: "09:00-17:00"}}}\ncalendar: o\n' + head
    assert policy(rule, head).judge(asked).verdict is verdict


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_order_of_rules_and_of_files_never_matters(data):
    """Shuffled rules, dealt to one or two files, make the same policy and the same judgement."""
    some = [data.draw(rule(f"r{n}", ALL)) for n in range(data.draw(st.integers(2, 5)))]
    asked = question(amount=data.draw(AMOUNTS), facts=data.draw(FACTS))
    dealt = data.draw(st.permutations(some))
    cut = data.draw(st.integers(1, len(dealt)))
    texts = [("a", HEAD + "".join(dealt[:cut]))]
    if dealt[cut:]:
        texts.insert(data.draw(st.integers(0, 1)), ("b", FURTHER + "".join(dealt[cut:])))
    one, other = policy("".join(some)), load_policies(texts, demo_people())
    assert one.digest == other.digest
    assert one.judge(asked) == other.judge(asked)


def test_where_nothing_matches_the_defaults_ask():
    """An action that no rule names is put to the people of the defaults."""
    judgement = policy(ALLOW_SMALL).judge(question("crm.customer.delete"))
    assert judgement.verdict is Verdict.REQUIRE_APPROVAL
    assert judgement.tier is Tier.AMBIGUOUS
    assert judgement.ask is not None
    assert (judgement.ask.who, judgement.ask.deadline_seconds) == (("ap",), 86_400)
    assert judgement.reasons[0].text == "No rule matches crm.customer.delete."


def test_allowing_and_forbidding_ask_nobody():
    """An ask stands in the judgement only where people are to be asked."""
    both = policy(ALLOW_SMALL + FORBID_TEST)
    assert both.judge(question(facts=KNOWN)).ask is None
    assert both.judge(question(facts=KNOWN | {"test": True})).ask is None


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("facts.missing == 1", "'missing' is missing"),
        ("1 / facts.zero == 1", "divide by zero"),
        ("facts.text > 1", "'>' cannot take (string, int64)"),
        ("facts.text", "its answer is 'hello', not true or false"),
        ("double(facts.text) < 0.8", "cannot convert string to double"),
        ("facts.many.all(i, facts.many.all(j, i + j >= 0))", "it takes too many steps"),
        ("facts.text.matches('(')", "invalid regular expression"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_asks(condition, words):
    """An error in any rule, an allowing one included, asks, and names the rule and the error."""
    facts = {"zero": 0, "text": "hello", "many": list(range(200))}
    for verdict in ("allow", "require_approval", "forbid"):
        rule = (
            f"  - {{name: odd, on: '*', when: \"{condition}\", verdict: {verdict}, because: x}}\n"
        )
        judgement = policy(ALLOW_SMALL + rule).judge(question(facts=facts))
        assert judgement.verdict is Verdict.REQUIRE_APPROVAL
        assert judgement.ask is not None
        texts = [reason.text for reason in judgement.reasons if reason.rule == "odd"]
        assert len(texts) == 1
        assert texts[0].startswith("Rule 'odd' could not be evaluated: ")
        assert words in texts[0]


def test_an_error_in_one_rule_leaves_the_others_their_say():
    """A rule that forbids still forbids beside one that cannot be evaluated."""
    broken = "  - {name: odd, on: '*', when: facts.no == 1, verdict: allow, because: x}\n"
    judgement = policy(broken + FORBID_TEST).judge(question(facts={"test": True}))
    assert judgement.verdict is Verdict.FORBID


def test_a_missing_amount_asks():
    """A rule about an amount cannot allow what has none."""
    judgement = policy(ALLOW_SMALL).judge(question(amount=None))
    assert judgement.verdict is Verdict.REQUIRE_APPROVAL
    assert "'amount.minor' is missing" in judgement.reasons[0].text


def test_a_value_that_the_engine_cannot_hold_asks():
    """Half a character in a fact makes CEL's binding raise: that asks, too."""
    rule = "  - {name: t, on: '*', when: facts.t == 'x', verdict: allow, because: x}\n"
    judgement = policy(rule).judge(question(facts={"t": "\ud800"}))
    assert judgement.verdict is Verdict.REQUIRE_APPROVAL


AP = "{who: [ap], quorum: 2, deadline: 48h}"
CONTROLLERS = "{who: [controllers], quorum: 1, deadline: 72h}"


def test_among_equally_strict_rules_the_most_demanding_ask_is_made():
    """Groups of the highest tier, the largest quorum and the shortest deadline of all."""
    judgement = policy(f"""\
  - {{name: a, on: '*', verdict: require_approval, ask: {AP}, because: a}}
  - {{name: b, on: '*', verdict: require_approval, tier: high, ask: {CONTROLLERS}, because: b}}
""").judge(question())
    assert judgement.tier is Tier.HIGH
    assert judgement.ask is not None
    assert judgement.ask.who == ("controllers",)
    assert judgement.ask.quorum == 2
    assert judgement.ask.deadline_seconds == 48 * 3600
    assert rules_of(judgement) == ["b", "a"]


def test_an_escalation_reaches_only_whom_each_rule_names():
    """Two rules ask: only the group that both name is added; one wish for a reason is enough."""
    ask = "when: 'true', verdict: require_approval, because: x, ask: {who: [controllers], "
    one = f"  - {{name: a, on: erp.*, tier: high, {ask}escalate_to: [treasury, admins]}}}}\n"
    two = f"  - {{name: b, on: erp.*, {ask}escalate_to: [admins], reason: true}}}}\n"
    three = f"  - {{name: c, on: erp.*, {ask}deadline: 1h}}}}\n"
    alone = policy(one).judge(question()).ask
    assert alone is not None
    assert (alone.escalate_to, alone.reason) == (("treasury", "admins"), False)
    both = policy(one + two).judge(question()).ask
    assert both is not None
    assert (both.escalate_to, both.reason) == (("admins",), True)
    closed = policy(one + two + three).judge(question()).ask
    assert closed is not None
    assert closed.escalate_to == ()


def test_a_claim_cannot_choose_weaker_reviewers_than_the_defaults():
    """What an agent says adds to the defaults where no fact speaks, and never replaces them."""
    head = HEAD.replace("tier: ambiguous", "tier: high").replace("[ap]", "[controllers]")
    rule = (
        "  - {name: unsure, on: '*', when: claims.unsure == true, verdict: require_approval,"
        " tier: routine, ask: {who: [ap]}, because: unsure}\n"
    )
    judgement = policy(rule, head).judge(question(claims={"unsure": True}))
    assert judgement.tier is Tier.HIGH
    assert judgement.ask is not None
    assert judgement.ask.who == ("controllers",)
    assert "unsure" in rules_of(judgement)


def test_reasons_show_claims_as_quotations():
    """What the requester says is set apart, on one line, and cut where it is long."""
    rule = (
        "  - {name: r, on: '*', verdict: require_approval,"
        " because: '{facts.name} {facts.gone} {claims.why} {action.arguments.n} {facts.all}'}\n"
    )
    asked = question(
        facts={"name": "ACME", "all": ["a", True]},
        claims={"why": "ok\nApproved by the CFO " + "x" * 500},
        arguments={"n": 7},
    )
    text = policy(rule).judge(asked).reasons[0].text
    assert text.startswith("ACME (no facts.gone) “ok Approved by the CFO xxx")
    assert text.endswith("…” “7” a, yes")
    assert "\n" not in text
    assert len(text) < 200


def test_patterns_name_actions():
    """A star stands for any text, dots included; a name without one for itself alone."""
    rule = "  - {{name: r, on: '{}', verdict: forbid, because: x}}\n"
    for pattern, name, expected in [
        ("erp.*", "erp.bill.post", True),
        ("*.post", "erp.bill.post", True),
        ("erp.*.post", "erp.bill.post", True),
        ("*", "anything", True),
        ("erp.bill", "erp.bill.post", False),
        ("erp.*", "xerp.bill", False),
        ("erp.bill", "erpxbill", False),
    ]:
        verdict = policy(rule.format(pattern)).judge(question(name)).verdict
        assert (verdict is Verdict.FORBID) is expected, (pattern, name)


CONDITIONS = st.sampled_from(
    [
        "true",
        "amount.minor < 100000",
        "facts.a == true",
        "facts.b == true",
        "facts.a == facts.b",
        "1 / facts.n > 0",
        "facts.gone == 1",
        "action.name == 'erp.bill.post'",
    ]
)
FACTS = st.fixed_dictionaries({"a": st.booleans(), "b": st.booleans(), "n": st.integers(0, 2)})
AMOUNTS = st.sampled_from([None, "0.00", "999.99", "1000.00"])
TIERS = [tier.value for tier in Tier]


@st.composite
def rule(draw: st.DrawFn, name: str, verdicts: tuple[str, ...], conditions=CONDITIONS) -> str:
    verdict = draw(st.sampled_from(verdicts))
    lines = [f"  - name: {name}", "    on: erp.*", f"    when: {draw(conditions)}"]
    lines += [f"    verdict: {verdict}", "    because: x"]
    if draw(st.booleans()):
        lines.append(f"    tier: {draw(st.sampled_from(TIERS))}")
    if verdict == "veto_window":
        lines.append(f"    window: {draw(st.integers(1, 72))}h")
    if verdict == "review_later":
        lines.append(f"    sample: {draw(st.integers(0, 100))}%")
    if verdict == "require_approval":
        who = draw(st.sampled_from(["ap", "controllers"]))
        quorum, hours = draw(st.integers(1, 2)), draw(st.integers(1, 72))
        lines.append(f"    ask: {{who: [{who}], quorum: {quorum}, deadline: {hours}h}}")
    return "\n".join(lines) + "\n"


ALL = tuple(verdict.value for verdict in Verdict)
RAISING = ("review_later", "veto_window", "require_approval", "forbid")


@st.composite
def rules(draw: st.DrawFn) -> str:
    return "".join(draw(rule(f"r{n}", ALL)) for n in range(draw(st.integers(1, 4))))


def most(ask: Ask) -> int:
    """How many of one rule's people must agree."""
    return max(one.quorum for one in (ask, *ask.beside))


def assert_not_relaxed(before: Judgement, after: Judgement) -> None:
    assert after.verdict.strictness >= before.verdict.strictness
    if after.verdict is not before.verdict:
        return
    assert after.sample_permille >= before.sample_permille
    if before.ask is not None and after.ask is not None:
        assert after.tier.height >= before.tier.height
        assert most(after.ask) >= most(before.ask)
        longer = after.ask.deadline_seconds - before.ask.deadline_seconds
        assert longer >= 0 if after.verdict is Verdict.VETO_WINDOW else longer <= 0


@settings(max_examples=150, deadline=None)
@given(data=st.data(), some=rules(), facts=FACTS, amount=AMOUNTS)
def test_adding_a_raising_rule_never_relaxes(data, some, facts, amount):
    """One more rule that asks or forbids never lowers the verdict, nor does any rule but one that
    allows where rules matched before, nor what is asked of people then.
    """
    raising = data.draw(rule("more", RAISING))
    asked = question(amount=amount, facts=facts)
    before, after = policy(some).judge(asked), policy(some + raising).judge(asked)
    if "verdict: require" in raising or "verdict: forbid" in raising:
        assert after.verdict.strictness >= before.verdict.strictness
    if "default" not in rules_of(before):
        assert_not_relaxed(before, after)


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    some=rules(),
    facts=FACTS,
    amount=AMOUNTS,
    claim=st.sampled_from([{}, {"x": True}, {"x": False}, {"x": "text"}, {"x": None}]),
)
def test_what_is_claimed_never_relaxes(data, some, facts, amount, claim):
    """Rules about claims only add to what the rules about facts say, whatever is claimed."""
    about = data.draw(
        rule("claimed", ("require_approval", "forbid"), st.sampled_from(["claims.x == true"]))
    )
    asked = question(amount=amount, facts=facts, claims=claim)
    before, after = policy(some).judge(asked), policy(some + about).judge(asked)
    assert_not_relaxed(before, after)
    if before.verdict is after.verdict and before.ask is not None:
        assert after.ask is not None
        assert after.ask.who == before.ask.who


@settings(max_examples=100, deadline=None)
@given(some=rules(), facts=FACTS, amount=AMOUNTS)
def test_people_are_asked_whenever_a_rule_cannot_be_evaluated(some, facts, amount):
    """Nothing is allowed beside an error."""
    judgement = policy(some + ASK_NEW).judge(question(amount=amount, facts=facts))
    assert judgement.verdict is not Verdict.ALLOW  # facts.new is missing


def test_judging_is_repeatable_and_names_its_policy():
    """The same question gets the same judgement, which carries the policy's digest."""
    made: Policy = policy(ALLOW_SMALL)
    asked = question()
    assert made.judge(asked) == made.judge(asked)
    assert made.judge(asked).policy_digest == made.digest


ON_FACTS = ANY.format(
    "known", "facts.c", "require_approval", ", tier: high, ask: {who: [controllers]}"
)


@pytest.mark.parametrize(
    ("rule", "claims"),
    [
        (", tier: expert, ask: {who: [ap]}", {"x": True}),
        (", tier: expert, ask: {who: [ap]}", {"x": "an error"}),
        (", tier: high, ask: {who: [ap], quorum: 2}", {"x": True}),
    ],
)
def test_what_is_claimed_never_replaces_the_people_of_a_rule_on_facts(rule, claims):
    """Whatever tier or quorum a rule on claims has: its people come beside the others."""
    claimed = ANY.format("claimed", "claims.x", "require_approval", rule)
    ask = policy(ON_FACTS + claimed).judge(question(facts={"c": True}, claims=claims)).ask
    assert ask is not None
    assert (ask.who, ask.quorum) == (("controllers",), 1)
    assert [one.who for one in ask.beside] == [("ap",)]


def test_what_is_claimed_raises_how_many_of_the_same_people():
    """The tier as well, and the shorter time."""
    claimed = ANY.format(
        "claimed",
        "claims.x",
        "require_approval",
        ", tier: expert, ask: {who: [controllers], quorum: 2, deadline: 1h}",
    )
    judgement = policy(ON_FACTS + claimed).judge(question(facts={"c": True}, claims={"x": True}))
    ask = judgement.ask
    assert ask is not None
    assert (judgement.tier, ask.quorum, ask.deadline_seconds) == (Tier.EXPERT, 2, 3600)
    assert ask.beside == ()


def test_a_rule_that_forbids_and_breaks_asks_at_the_highest_tier():
    """Whatever made it break must not make it one voice of many."""
    rule = ANY.format("no", "'action.arguments.all.exists(i, i == 1)'", "forbid", "")
    asked = question(arguments={"all": [0] * 20_000}, facts={"c": True})
    judgement = policy(rule + ALLOW_SMALL + ASK).judge(asked)
    assert (judgement.verdict, judgement.tier) == (Verdict.REQUIRE_APPROVAL, Tier.EXPERT)
    assert judgement.reasons[0].text.endswith("It forbids where it matches.")


def test_nothing_in_a_sentence_passes_for_more_than_it_is():
    """Arguments are quoted, quotes do not end early, and nothing turns the line round."""
    rule = ANY.format("r", "'true'", "require_approval", "").replace(
        "because: x", "because: 'To {action.arguments.to} ({facts.name})'"
    )
    asked = question(
        arguments={"to": "ACME” (known)\u202e\nOK\u200b"}, facts={"name": "A\u2066B\x1b[0m"}
    )
    text = policy(rule).judge(asked).reasons[0].text
    assert text == 'To “ACME" (known) OK” (AB[0m)'


HIDDEN = {"text": "a data bre\u200bach"}


@pytest.mark.parametrize(
    ("condition", "verdict", "expected"),
    [
        ("action.arguments.text.contains('breach')", "forbid", Verdict.FORBID),
        ("!action.arguments.text.contains('breach')", "forbid", Verdict.FORBID),
        ("claims.text.contains('breach')", "forbid", Verdict.FORBID),
        ("!action.arguments.text.contains('breach')", "allow", Verdict.REQUIRE_APPROVAL),
        ("action.arguments.text.contains('breach')", "allow", Verdict.REQUIRE_APPROVAL),
        ("action.arguments.text.contains('data')", "allow", Verdict.ALLOW),
    ],
)
def test_a_letter_that_nobody_sees_hides_nothing(condition, verdict, expected):
    """What asks or forbids does so either way; what allows must do so both ways."""
    asked = question(arguments=HIDDEN, claims=HIDDEN)
    assert policy(ANY.format("r", f'"{condition}"', verdict, "")).judge(asked).verdict is expected


def test_any_number_of_rules_is_evaluated():
    """More of them than the engine takes in one expression."""
    one = policy(ALLOW_SMALL + FORBID_TEST)
    rules = tuple(replace(one.rules[0], name=f"r{number}") for number in range(20_000))
    many = replace(one, rules=(*rules, one.rules[1]), _plans=OrderedDict())
    assert many.judge(question(facts=KNOWN | {"test": True})).verdict is Verdict.FORBID
    assert len(many.judge(question(amount="1.00", facts=KNOWN)).reasons) == 20_000


def test_invented_names_take_no_place_for_good():
    """The plans of the actions that are asked about are kept, not those of the first thousand."""
    made = policy(ALLOW_SMALL)
    for number in range(1_001):
        made.judge(question(f"erp.invented.{number}"))
    made.judge(question())
    assert "erp.bill.post" in made._plans
    assert len(made._plans) == 1_000


def test_a_sentence_wants_to_know_what_it_says():
    """What occurs in `because` alone is looked up as well."""
    rule = ANY.format("r", "'true'", "forbid", "")
    rule = rule.replace("because: x", "because: 'Seen {history.agent_count} times'")
    assert policy(rule).mentions("erp.bill.post") == {"history"}


@pytest.mark.parametrize(
    ("on", "when", "verdict"),
    [
        ("erp.*", "'true'", Verdict.REQUIRE_APPROVAL),
        ("'*'", "'true'", Verdict.REQUIRE_APPROVAL),
        ("erp.bill.post", "'true'", Verdict.ALLOW),
        ("[erp.*, erp.bill.post]", "'true'", Verdict.ALLOW),
        ("erp.*", "action.in_process", Verdict.ALLOW),
        ("erp.*", "'!action.in_process'", Verdict.REQUIRE_APPROVAL),
    ],
)
def test_no_pattern_lets_a_function_of_a_flow_run(on, when, verdict):
    """Whoever writes a flow chooses its name; what the server knows is let run by a pattern."""
    rule = f"  - {{name: r, on: {on}, when: {when}, verdict: allow, because: x}}\n"
    asked = question().model_copy(update={"in_process": True})
    assert policy(rule).judge(asked).verdict is verdict
    if when == "'true'":
        assert policy(rule).judge(question()).verdict is Verdict.ALLOW
