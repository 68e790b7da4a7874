"""Who is asked when nobody answers: rungs in their order, each once, none after the deadline."""

from datetime import timedelta

import pytest

from gates.core import lifecycle
from gates.core.asked import Climb
from gates.core.errors import InvalidPolicy, NotEntitled
from gates.core.events import Climbed, DeadlinePassed, Decided
from gates.core.ladder import due
from gates.core.model import ApprovalRequest, OutcomeKind
from gates.core.policy import load_policy
from tests.support.policies import HEAD, demo_people, policy, question
from tests.support.rounds import DEADLINE, OPENED, decision, request

HOUR = timedelta(hours=1)
LADDER = (
    Climb(at=OPENED + 4 * HOUR, step="widen", people={"lee": "Lee"}),
    Climb(at=OPENED + 8 * HOUR, step="replace", people={"kim": "Kim", "lee": "Lee"}),
)


def asked(quorum: int = 1) -> ApprovalRequest:
    plain = request(quorum)
    assert plain.requirement is not None
    requirement = plain.requirement.model_copy(update={"ladder": LADDER})
    return plain.model_copy(update={"requirement": requirement})


def people(hour: float) -> set[str]:
    found = lifecycle.widened(asked(), lifecycle.expire(asked(), [], OPENED + hour * HOUR))
    assert found.requirement is not None
    return set(found.requirement.people)


@pytest.mark.parametrize(
    ("hour", "who"),
    [
        (3.9, {"dana", "mika", "sam"}),
        (4, {"dana", "mika", "sam", "lee"}),
        (7.9, {"dana", "mika", "sam", "lee"}),
        (8, {"kim", "lee"}),
    ],
)
def test_each_rung_changes_who_is_asked(hour, who):
    """`widen` adds people, `replace` asks others instead."""
    assert people(hour) == who


def test_what_an_outage_missed_is_climbed_in_order_and_once():
    """Both rungs at once, with the time at which they were climbed; then nothing more."""
    now = OPENED + 9 * HOUR
    events = lifecycle.expire(asked(), [], now)
    assert [(one.number, one.at) for one in events if isinstance(one, Climbed)] == [
        (1, now),
        (2, now),
    ]
    assert lifecycle.expire(asked(), events, now + HOUR) == []


def test_past_the_deadline_nobody_is_asked_any_more():
    """The deadline alone counts, however many rungs were missed."""
    events = lifecycle.expire(asked(), [], DEADLINE + HOUR)
    assert events == [DeadlinePassed(at=DEADLINE)]


def test_what_is_due_next():
    """The first rung, the second, and then the deadline."""
    requirement = asked().requirement
    assert requirement is not None
    events = lifecycle.expire(asked(), [], OPENED + 4 * HOUR)
    assert due(requirement, []) == OPENED + 4 * HOUR
    assert due(requirement, events) == OPENED + 8 * HOUR
    more = lifecycle.expire(asked(), events, OPENED + 8 * HOUR)
    assert due(requirement, [*events, *more]) == DEADLINE


def test_who_was_replaced_neither_decides_nor_counts():
    """An approval from before does not count towards the quorum of those who came instead."""
    first = Decided(decision=decision("dana"))
    events = [first, *lifecycle.expire(asked(2), [first], OPENED + 8 * HOUR)]
    with pytest.raises(NotEntitled):
        lifecycle.decide(asked(2), events, decision("mika", hour=9))
    events += lifecycle.decide(asked(2), events, decision("kim", hour=9))
    assert lifecycle.outcome(asked(2), events) is None
    events += lifecycle.decide(asked(2), events, decision("lee", hour=10))
    found = lifecycle.outcome(asked(2), events)
    assert found is not None
    assert (found.kind, found.by) == (OutcomeKind.APPROVED, ("kim", "lee"))


ASK = "ask: {who: [ap], quorum: 2, deadline: 12h, ladder: [%s]}"
RULE = "  - {name: r, on: erp.*, verdict: require_approval, because: x, %s}\n"


@pytest.mark.parametrize(
    ("rungs", "words"),
    [
        ("{after: 4h, widen: [nobody]}", "There is no group 'nobody'"),
        ("{after: 4h, widen: []}", "'widen' of a rung is empty"),
        ("{after: 4h}", "a rung has one of widen, replace and page"),
        ("{after: 4h, widen: [ap], replace: [ap]}", "a rung has one of widen, replace and page"),
        ("{after: 4h, page: [ap], widen: [ap]}", "a rung has one of widen, replace and page"),
        ("{widen: [controllers]}", "a rung has no 'after'"),
        ("{after: 4h, widen: [ap]}, {after: 4h, widen: [ap]}", "this rung is not after the one"),
        ("{after: 12h, widen: [controllers]}", "this rung comes when the deadline has passed"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused_where_it_stands(rungs, words):
    """Unknown and empty groups, rungs out of order and after the deadline."""
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(HEAD + RULE % (ASK % rungs), "p.yaml", demo_people())
    found = caught.value.details["problems"]
    assert any(words in one and one.startswith("p.yaml:4:") for one in found), found


def test_people_who_could_never_agree_do_not_replace_others():
    """A quorum of three is not put to two."""
    ask = "ask: {who: [ap, controllers], quorum: 3, ladder: [{after: 4h, replace: [ap]}]}"
    with pytest.raises(InvalidPolicy, match="replace ap: 3 are needed, and 2 people are there"):
        policy(RULE % ask)


def test_a_ladder_of_two_rules_is_climbed_only_where_it_is_the_same():
    """More people to choose from would make the stricter rule's approval easier."""
    ladder = ASK % "{after: 4h, widen: [controllers]}"
    other = RULE.replace("name: r", "name: s") % "ask: {who: [ap]}"
    alone, both = policy(RULE % ladder), policy(RULE % ladder + other)
    mine, ours = alone.judge(question()).ask, both.judge(question()).ask
    assert mine is not None
    assert ours is not None
    assert [one.who for one in mine.ladder] == [("controllers",)]
    assert ours.ladder == ()


def test_a_ladder_of_the_defaults_is_taken_over_as_far_as_the_deadline_goes():
    """A shorter deadline leaves the rungs after it out, and an empty ladder leaves out all."""
    rungs = "[{after: 4h, widen: [controllers]}, {after: 8h, widen: [ap]}]"
    head = HEAD.replace("deadline: 24h", f"deadline: 24h, ladder: {rungs}")
    short, none = "ask: {deadline: 6h}", "ask: {ladder: []}"
    found = [policy(RULE % one, head).judge(question()).ask for one in (short, none)]
    assert [[one.seconds for one in ask.ladder] for ask in found if ask] == [[4 * 3600], []]
