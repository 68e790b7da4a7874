"""Judges beside the policy: the strictest counts, none lowers, and silence asks."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core.errors import InvalidPolicy
from gates.core.model import Level, Signal, Tier, Verdict
from gates.core.policy import Question
from gates.core.policy.judges import JudgeRule
from gates.core.signals import raised
from gates.core.unusual import deviation
from gates.panel import Panel
from tests.support.policies import HEAD, policy, question

RULES = """\
  - {name: small, on: a, when: amount.minor < 10000, verdict: allow, because: small}
  - name: big
    on: a
    when: amount.minor > 50000
    verdict: require_approval
    tier: high
    ask: {who: [controllers], quorum: 2}
    because: big
  - {name: never, on: a, when: amount.minor > 90000, verdict: forbid, because: never}
"""
JUDGED = "judges:\n  one: {on: a, timeout: 1s}\n  two: {on: a, timeout: 1s}\n" + HEAD
SIGNALS = st.lists(st.builds(Signal, judge=st.sampled_from("xyz"), level=st.sampled_from(Level)))
AMOUNTS = st.sampled_from(["50.00", "200.00", "600.00", "1000.00"])


@given(AMOUNTS, SIGNALS, st.randoms())
def test_judges_raise_and_never_lower(amount, signals, order):
    """Whatever they say, in whatever order: neither verdict nor tier goes down."""
    rules = policy(RULES)
    plain = rules.judge(question("a", amount))
    shuffled = order.sample(signals, len(signals))
    found = raised(plain, signals, rules.defaults)
    assert found.verdict.strictness >= plain.verdict.strictness
    assert found.tier.height >= plain.tier.height
    assert (found.verdict is Verdict.REQUIRE_APPROVAL) == (found.ask is not None)
    assert found.ask in (plain.ask, rules.defaults.ask, None)
    again = raised(plain, shuffled, rules.defaults)
    assert (again.verdict, again.tier, again.ask) == (found.verdict, found.tier, found.ask)


@given(AMOUNTS, SIGNALS, SIGNALS)
def test_one_more_judge_never_makes_it_milder(amount, signals, more):
    rules = policy(RULES)
    plain = rules.judge(question("a", amount))
    few = raised(plain, signals, rules.defaults)
    many = raised(plain, signals + more, rules.defaults)
    assert many.verdict.strictness >= few.verdict.strictness
    assert many.tier.height >= few.tier.height


@pytest.mark.parametrize(
    ("level", "verdict", "tier"),
    [
        (Level.NONE, Verdict.ALLOW, Tier.ROUTINE),
        (Level.UNKNOWN, Verdict.REQUIRE_APPROVAL, Tier.AMBIGUOUS),
        (Level.AMBIGUOUS, Verdict.REQUIRE_APPROVAL, Tier.AMBIGUOUS),
        (Level.HIGH, Verdict.REQUIRE_APPROVAL, Tier.HIGH),
        (Level.EXPERT, Verdict.REQUIRE_APPROVAL, Tier.EXPERT),
        (Level.FORBID, Verdict.FORBID, Tier.EXPERT),
    ],
)
def test_what_each_level_makes_of_an_action_that_is_allowed(level, verdict, tier):
    rules = policy(RULES)
    plain = rules.judge(question("a", "50.00"))
    found = raised(plain, [Signal(judge="x", level=level, reason="why")], rules.defaults)
    assert (found.verdict, found.tier) == (verdict, tier)


# -- the panel --------------------------------------------------------------------------------


class Says:
    def __init__(self, name: str, level: Level = Level.NONE) -> None:
        self.name = name
        self.level = level

    def judge(self, question: Question, told: JudgeRule) -> Signal:
        del question, told
        return Signal(judge=self.name, level=self.level, reason="r" * 9_999)


class Fails(Says):
    def judge(self, question: Question, told: JudgeRule) -> Signal:
        raise RuntimeError(f"{question}{told}")


class Hangs(Says):
    """Until the test is over."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.over = threading.Event()

    def judge(self, question: Question, told: JudgeRule) -> Signal:
        self.over.wait(60)
        return super().judge(question, told)


@pytest.fixture
def hangs() -> Iterator[Hangs]:
    made = Hangs("two")
    yield made
    made.over.set()


def levels(*judges: Says, name: str = "a", most: int = 4) -> dict[str, Level]:
    panel = Panel(judges, most)
    try:
        heard = panel(question(name), policy(RULES, JUDGED))
    finally:
        panel.close()
    assert all(len(one.reason) <= 500 for one in heard)
    return {one.judge: one.level for one in heard}


def test_all_are_heard_whom_the_policy_names(hangs: Hangs):
    """One that hangs, fails or is not there has said `unknown`; others are heard beside it."""
    assert levels(Says("one", Level.HIGH), hangs) == {"one": Level.HIGH, "two": Level.UNKNOWN}
    assert levels(Fails("one"), Says("two")) == {"one": Level.UNKNOWN, "two": Level.NONE}
    assert levels(Says("one")) == {"one": Level.NONE, "two": Level.UNKNOWN}
    assert levels(Says("one"), Says("two"), Says("three"), name="b") == {}


def test_one_that_hangs_takes_the_others_time_and_no_more(hangs: Hangs):
    """With one thread for all, whoever waits behind it has said `unknown` in time, too."""
    hangs.name = "one"
    assert levels(hangs, Says("two"), most=1) == {"one": Level.UNKNOWN, "two": Level.UNKNOWN}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("judges: {x: {timeout: 3s}}", "a judge has no 'on'"),
        ("judges: {x: {on: a, timeout: 5m}}", "timeout is more than 30s"),
        ("judges: {x: {on: a, factor: 1}}", "factor 1 is too small"),
        ("judges: {X!: {on: a}}", "cannot be named"),
        ("judges: {x: {on: 'a b'}}", "names no action"),
        ("judges: [x]", "a list is not judges"),
    ],
)
def test_mistakes_of_the_section_are_named(section, words):
    with pytest.raises(InvalidPolicy, match=words):
        policy(RULES, f"{section}\n{HEAD}")


# -- what is unusual --------------------------------------------------------------------------


def test_an_outlier_does_not_make_the_next_one_usual():
    """Median and its deviation: one huge amount among many leaves the measure where it was."""
    before = [100, 110, 90, 105, 95, 100_000]
    found = deviation(100_000, before)
    assert found is not None
    assert found > 100
    assert abs(deviation(104, before) or 0) < 1


def test_equal_amounts_leave_room_and_a_short_past_says_nothing():
    assert (deviation(102, [100] * 9) or 0) < 1
    assert (deviation(200, [100] * 9) or 0) > 10
    assert deviation(100, [100] * 4) is None
