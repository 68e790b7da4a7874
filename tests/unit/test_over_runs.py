"""Budgets over runs: how a policy says them, when one is used up, and how that is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gates.circling import looked_at
from gates.core.errors import InvalidPolicy
from gates.core.gate_keys import UNDO
from gates.core.loops import Call, Guidance, over_runs, tried
from gates.core.loops.over_runs import Answer, OverRuns, Scope, Used, WindowBudget
from gates.core.model import (
    Covered,
    Decision,
    DecisionKind,
    LoopAnswer,
    Outcome,
    OutcomeKind,
    Purpose,
    Verdict,
)
from gates.core.people import load_people
from gates.core.policy import Policy, load_policy
from gates.core.policy.checking import check
from gates.core.policy.comparing import compare
from tests.support.world import PEOPLE, POLICY
from tests.unit.test_loop_surfaces import looping

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
AGENT = Scope("agent", "clerk")
DAY = WindowBudget(attempts=3, per=86_400)


def policy(budgets: str) -> Policy:
    kept = [line for line in POLICY.splitlines() if not line.startswith("loops:")]
    text = "\n".join([*kept, "loops:", f"  over_runs: {budgets}", ""])
    return load_policy(text, "policy.yaml", load_people(PEOPLE, "people.yaml"))


def test_a_policy_says_what_all_runs_share():
    """Each part may be left out, the window too: then all counts that is kept."""
    agent = "{attempts: 500, cost: 2000, tokens: 5000000, per: 1d12h}"
    made = policy(f"{{agent: {agent}, business_key: {{attempts: 30}}}}")
    assert made.loops.over_runs == OverRuns(
        agent=WindowBudget(attempts=500, cost=2_000, tokens=5_000_000, per=129_600),
        business_key=WindowBudget(attempts=30),
    )
    assert policy("{agent: {tokens: 1}}").loops.over_runs.business_key is None
    without = load_policy(POLICY, "policy.yaml", load_people(PEOPLE, "people.yaml"))
    assert without.loops.over_runs is None
    assert [one.what for one in compare(without, made).sections] == ["loops"]
    assert check(made) == check(without)


@pytest.mark.parametrize(
    ("budgets", "column", "words"),
    [
        ("500", 14, "'500' is not over_runs: write keys, such as agent, business_key"),
        ("{}", 14, "over_runs is empty: write agent or business_key"),
        ("{run: {attempts: 5}}", 15, "unknown key 'run' in over_runs: write one of agent, bus"),
        ("{agent: 500}", 22, "'500' is not over_runs.agent: write keys, such as attempts, cost"),
        ("{agent: {}}", 22, "over_runs.agent counts nothing: add attempts, cost or tokens"),
        ("{agent: {per: 24h}}", 22, "over_runs.agent counts nothing"),
        ("{agent: {seconds: 5}}", 23, "unknown key 'seconds' in over_runs.agent: write one of att"),
        ("{agent: {attempts: 0}}", 33, "attempts 0 is too small: write 1 or more"),
        ("{agent: {attempts: 1000001}}", 33, "attempts 1000001 is too much: write 1000000 or l"),
        ("{agent: {attempts: many}}", 33, "attempts 'many' is not a whole number"),
        ("{agent: {cost: -5}}", 29, "cost -5 is too small: write 1 or more"),
        ("{agent: {tokens: 1.5}}", 31, "tokens '1.5' is not a whole number"),
        ("{agent: {cost: 5, per: day}}", 37, "per 'day' is not a duration: write 30m, 24h or"),
        ("{agent: {cost: 5, per: 59s}}", 37, "per '59s' is not between 1m and 90d: choose"),
        ("{agent: {cost: 5, per: 91d}}", 37, "per '91d' is not between 1m and 90d: choose"),
    ],
)
def test_a_budget_that_is_none_is_refused_where_it_is_written(budgets, column, words):
    """With its field, what stands there, and what to write instead."""
    with pytest.raises(InvalidPolicy) as refused:
        policy(budgets)
    line = len(POLICY.splitlines()) + 1
    told = refused.value.details["problems"]
    assert any(one.startswith(f"policy.yaml:{line}:{column}: {words}") for one in told), told


@pytest.mark.parametrize(
    ("used", "found"),
    [
        (Used(2, 0, 0, 0), None),
        (Used(2, 0, 0, 1), (3, 3, "attempts")),
        (Used(0, 99, 0, 2), None),
        (Used(0, 100, 9, 0), (100, 100, "money")),
        (Used(0, 0, 12, 0), (12, 10, "tokens")),
    ],
)
def test_the_first_part_that_is_used_up_is_named(used, found):
    """What is under way is an attempt, and has no price yet."""
    budget = WindowBudget(attempts=3, cost=100, tokens=10)
    assert over_runs.used_up(used, budget) == found


def test_a_window_ends_now():
    """Without one it begins before anything that is kept."""
    assert DAY.since(AT) == AT - timedelta(days=1)
    assert WindowBudget(cost=1).since(AT).year == 1970


def proposal(subject: tuple[str, ...] = ("bill:1", "line:2"), **evidence: Any):
    request = looping(**evidence).request
    return request.model_copy(
        update={"action": request.action.model_copy(update={"subject": subject})}
    )


def test_what_a_proposal_counts_for():
    """Its agent, and what it is about where it is about something; as far as there are budgets."""
    both, request = OverRuns(agent=DAY, business_key=DAY), proposal()
    agent = Scope("agent", request.requester.agent)
    assert list(over_runs.scopes(request, both)) == [
        (agent, DAY),
        (Scope("business_key", "bill:1 line:2"), DAY),
    ]
    assert list(over_runs.scopes(proposal(()), both)) == [(agent, DAY)]
    assert list(over_runs.scopes(request, OverRuns())) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": Purpose.LOOP},
        {"gate_key": f"{UNDO}pay"},
        {"covered": Covered(request_id="b", line=1, by=("Dana",))},
    ],
)
def test_what_is_looked_at_is_new_and_might_run(changes):
    """Neither a question about something else, nor an undo, nor a line that was agreed to."""
    new = proposal().model_copy(update={"purpose": Purpose.ACTION})
    assert looked_at(new, [])
    assert not looked_at(new.model_copy(update=changes), [])
    forbidden = new.judgement.model_copy(update={"verdict": Verdict.FORBID})
    assert not looked_at(new.model_copy(update={"judgement": forbidden}), [])


def test_a_key_names_its_scope_and_fits_an_index():
    """However much a subject says; and it is no run's own circle."""
    assert AGENT.key == "over_runs:agent:clerk"
    assert Scope("business_key", "clerk").key == "over_runs:key:clerk"
    long = [Scope("business_key", "x" * 5_000 + end).key for end in "ab"]
    assert long[0] != long[1]
    assert len(long[0]) < 300
    assert over_runs.key_of({"circle": AGENT.key}) == AGENT.key
    for circle in ("agent:clerk", "", None, 5, ["over_runs:agent:clerk"]):
        assert over_runs.key_of({"circle": circle}) == ""
    assert over_runs.key_of({}) == ""


def said(kind: DecisionKind, more: int | None = None) -> Decision:
    return Decision(
        person="dana",
        name="Dana",
        kind=kind,
        reason="by the week",
        at=AT,
        channel="test",
        assurance="s",
        loop=LoopAnswer(more=more) if more else None,
    )


@pytest.mark.parametrize(
    ("kind", "more", "outcome", "passes"),
    [
        (DecisionKind.APPROVE, None, OutcomeKind.APPROVED, 2),
        (DecisionKind.APPROVE, 5, OutcomeKind.APPROVED, 5),
        (DecisionKind.APPROVE, 5, OutcomeKind.VOIDED, None),
        (DecisionKind.SEND_BACK, None, OutcomeKind.SENT_BACK, 1),
        (DecisionKind.APPROVE_WITH_CHANGES, None, OutcomeKind.VOIDED, 1),
        (DecisionKind.REJECT, None, OutcomeKind.REJECTED, None),
    ],
)
def test_what_an_answer_lets_pass(kind, more, outcome, passes):
    """A yes what it says, or the policy; guidance one, to be followed; a no nothing."""
    ended = Outcome(kind=outcome, by=("Dana",), at=AT)
    asked = proposal(allow_more=2, level=1)
    found = over_runs.answered_with(asked, [said(kind, more)], ended, AT)
    assert (found.more if found else None) == passes


def test_the_latest_answer_holds():
    """Whatever an earlier one has left."""
    early, late = Answer(AT, 1, 20), Answer(AT + timedelta(hours=1), 1, 2)
    assert over_runs.latest([late, early]) == late
    assert over_runs.latest([]) is None


def call(number: int, **changes: Any) -> Call:
    values: dict[str, Any] = {
        "request_id": f"q{number}",
        "attempt_id": f"a{number}",
        "action": "till.pay",
        "arguments": {"n": number},
        "arguments_digest": "d",
        "failed": False,
        "answer": '"paid"',
        "at": AT,
    }
    return Call(**values | changes)


def evidence(budget: WindowBudget = DAY, answers: list[Answer] | None = None) -> Any:
    used = Used(12, 500, 9_000, 1)
    over = over_runs.used_up(used, budget)
    assert over is not None
    calls = [call(1), call(2, failed=True, error="closed", answer="")]
    return over_runs.evidence(
        AGENT, budget, used, over, runs=1, calls=calls, answers=answers or [], now=AT
    )


def test_people_are_shown_the_last_attempts_and_the_price_of_all():
    """As of any other circle."""
    told = evidence()
    assert told["words"] == "agent clerk has used 13 of 3 attempts in 24 h, in 1 run"
    assert [(one.number, one.call, one.error) for one in tried(told)] == [
        ("11", 'till.pay {"n":1}', '"paid"'),
        ("12", 'till.pay {"n":2}', "closed"),
    ]
    assert told["spent"] == {"cost_minor": 500, "tokens": 9_000}
    assert (told["count"], told["total"], told["level"], told["guidance"]) == (13, 12, 1, [])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (60, "in 1 min"),
        (3_600, "in 1 h"),
        (5_400, "in 90 min"),
        (86_400, "in 24 h"),
        (90, "in 90 s"),
        (604_800, "in 7 days"),
        (None, "attempts, in 1 run"),
    ],
)
def test_a_window_is_told_in_its_largest_unit(seconds, words):
    """And is not spoken of where there is none."""
    assert words in evidence(WindowBudget(attempts=1, per=seconds))["words"]


def test_each_level_that_was_guided_is_one_up():
    """Questions side by side go up together; what was said more than a week ago is forgotten."""

    def guided(level: int, by: str, days: int = 0) -> Answer:
        at = AT - timedelta(days=days)
        return Answer(at, level, 1, Guidance(by=by, said="weekly", at=at))

    side_by_side = [guided(1, "Ann"), guided(1, "Bob", 1), Answer(AT, 1, 3)]
    told = evidence(answers=side_by_side)
    assert (told["level"], [one["by"] for one in told["guidance"]]) == (2, ["Ann"])
    assert evidence(answers=[*side_by_side, guided(2, "Cid")])["level"] == 3
    assert evidence(answers=[guided(1, "Ann", 8)])["level"] == 1
