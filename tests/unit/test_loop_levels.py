"""Levels of a loop: how far up it goes, who is asked there, and how its cost is told."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from gates.core.errors import InvalidPolicy
from gates.core.loops import Guidance, climbed, guidance, level_of, reported, rows, spent, why_up
from gates.core.model import Decision, DecisionKind, Outcome, OutcomeKind
from gates.core.people import load_people
from gates.core.policy import Policy, load_policy
from tests.support.policies import ROOT
from tests.support.world import PEOPLE, POLICY

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def said(kind: DecisionKind, reason: str = "open the period") -> Decision:
    return Decision(
        person="dana", name="Dana", kind=kind, reason=reason, at=AT, channel="test", assurance="s"
    )


def ended(kind: OutcomeKind) -> Outcome:
    return Outcome(kind=kind, by=("Dana",), reason="", at=AT)


@pytest.mark.parametrize(
    ("decision", "outcome", "found"),
    [
        (DecisionKind.SEND_BACK, OutcomeKind.SENT_BACK, "open the period"),
        (DecisionKind.APPROVE_WITH_CHANGES, OutcomeKind.VOIDED, "open the period"),
        (DecisionKind.APPROVE, OutcomeKind.APPROVED, None),
        (DecisionKind.APPROVE, OutcomeKind.VOIDED, None),
        (DecisionKind.REJECT, OutcomeKind.REJECTED, None),
    ],
)
def test_guidance_is_what_people_said_to_do_instead(decision, outcome, found):
    """Neither yes nor no, and nothing that a changed world has voided."""
    given = guidance([said(decision)], ended(outcome))
    assert (given.said if given else None) == found
    assert guidance([said(decision)], None) is None


def test_each_guidance_is_a_level():
    """The evidence names the last of those who gave it; the first level is not spoken of."""
    given = [Guidance(by=who, said=f"by {who}", at=AT) for who in ("Ann", "Bob", "Cid", "Dan")]
    up = climbed(given)
    assert (level_of(up), len(up["guidance"])) == (5, 3)
    words = "Level 5: it came back after guidance by Bob and Cid and Dan: by Dan"
    assert why_up(up) == words
    assert why_up(climbed([])) == ""
    assert why_up(climbed([], 2)).startswith("Level 2: it was tried again and again")
    assert level_of({"level": "3"}) == level_of({"level": True}) == level_of({}) == 1


def test_long_guidance_is_cut():
    """The whole of it stands with the question that it answered."""
    up = climbed([Guidance(by="Ann", said="x" * 1_000, at=AT)])
    assert len(why_up(up)) < 400


def levels(text: str) -> Policy:
    kept = [line for line in POLICY.splitlines() if not line.startswith("loops:")]
    whole = "\n".join([*kept, "loops:", "  ask: {who: [controllers]}", f"  levels: {text}"])
    return load_policy(whole, "policy.yaml", load_people(PEOPLE, "people.yaml"))


def test_the_last_level_holds_for_all_above():
    """Each level inherits from the one below what it leaves out."""
    policy = levels("[{ask: {who: [treasury], deadline: 10m}}, {ask: {who: [clerks]}}]")
    asked = [(policy.loop_level(n).ask.who, policy.loop_level(n).allow_more) for n in (1, 2, 3, 9)]
    assert asked == [(("controllers",), 3), (("treasury",), 1), (("clerks",), 1), (("clerks",), 1)]
    assert policy.loop_level(9).ask.deadline_seconds == 600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "'levels' is empty"),
        ("{ask: {who: [treasury]}}", "'levels' is not a list"),
        ("[{allow_more: 1}]", "a level has no 'ask'"),
        ("[{ask: {who: [treasurers]}}]", "treasurers"),
        ("[{ask: {who: [treasury], quorum: 2}}]", "quorum 2 of treasury can never be reached"),
        ("[{ask: {who: [treasury]}, allow_more: -1}]", "allow_more -1"),
        ("[{ask: {who: [treasury]}, allow_more: 21}]", "allow_more 21 is too much: write 20"),
        ("[{ask: {who: [treasury]}, more: 1}]", "more"),
        ("[{ask: {who: [controllers]}}]", "level 2 asks controllers, whom the level below asks"),
        (
            "[{ask: {who: [treasury]}}, {ask: {who: [treasury]}}]",
            "level 3 asks treasury, whom the level below asks",
        ),
    ],
)
def test_a_level_that_is_none_is_refused(text, words):
    """Where it is written, with its place."""
    with pytest.raises(InvalidPolicy) as refused:
        levels(text)
    assert words in str(refused.value)
    assert "policy.yaml:" in str(refused.value)


def test_without_levels_and_commanders_the_same_people_are_asked():
    """One more try at a time all the same."""
    policy = load_policy(POLICY, "policy.yaml", load_people(PEOPLE, "people.yaml"))
    assert policy.loop_level(2).ask == policy.loops.ask
    assert policy.loop_level(2).allow_more == 1


def test_the_price_is_told_as_the_agents_word():
    """Time is the server's; what is nothing is not spoken of."""
    times = [AT, AT + timedelta(minutes=4)]
    told = spent(times, 1_234, 56_789)
    words = "4 min, 12.34 in money and 56,789 tokens by the agent's own count"
    assert rows({"cycle": "a → b → a"} | told | {"half_done": ["a draft"]}) == [
        ("Goes round", "a → b → a"),
        ("Has cost", words),
        ("Half done", "a draft"),
    ]
    assert rows(spent([AT], 0, 0)) == []
    assert rows(spent([AT, AT + timedelta(hours=3)], 0, 0)) == [("Has cost", "3 h 0 min")]


@pytest.mark.parametrize("value", [True, "seven", -1, float("inf"), "-7", None])
def test_what_is_no_number_costs_nothing(value):
    """Claims are whatever an agent writes."""
    assert reported({"tokens": value}, "tokens") == 0


def test_the_sections_of_the_page_are_a_policy():
    """What docs/loops.md shows is read as it stands there."""
    page = (ROOT / "docs" / "loops.md").read_text()
    written = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(written) == 4
    shipped = (ROOT / "policies" / "erp.yaml").read_text()
    rest = re.sub(r"^loops:.*?^(?=\S)", "", shipped, flags=re.DOTALL | re.MULTILINE)
    people = load_people((ROOT / "policies" / "people.yaml").read_text(), "people.yaml")
    made = [load_policy(f"{rest}\n{one}", "loops.md", people) for one in written]
    told, asked, spent, shared = made
    assert told.loops.thresholds.of_action("job.status").volatile == ("checked_at", "position")
    assert told.loops.thresholds.of_action("queue.next").exact
    assert [asked.loop_level(n).ask.who[0] for n in (1, 2, 3)] == ["ap", "controllers", "admins"]
    assert spent.loops.thresholds.agent.tokens == 1_000_000
    assert shared.loops.over_runs.agent.per == 86_400
    assert shared.loops.over_runs.business_key.attempts == 30
