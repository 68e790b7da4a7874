"""Calendars of a policy file: deadlines in working time, and rules that know the time."""

from datetime import UTC, datetime, timedelta

import pytest

from gates.core.asked import Ask
from gates.core.errors import InvalidPolicy
from gates.core.model import Judgement, RunRef, Verdict
from gates.core.policy import Policy, load_policy
from gates.wall_clock import WallClock
from tests.support.policies import demo_people, question

TOP = """\
version: 1
calendars:
  office:
    zone: Europe/Berlin
    hours: {mon-thu: ["09:00-12:00", "13:00-17:00"], fri: "09:00-13:00"}
    holidays: [2026-12-25]
  always: {zone: UTC, hours: {mon-sun: "00:00-24:00"}}
calendar: office
"""
REST = """\
defaults: {tier: ambiguous, ask: {who: [ap], deadline: 4h, calendar: office}}
rules:
  - {name: r, on: erp.*, when: 'facts.x == 1', verdict: forbid, because: x}
"""
FRIDAY = datetime(2026, 11, 27, 10, tzinfo=UTC)  # eleven in Berlin


def read(text: str) -> Policy:
    return load_policy(text, "p.yaml", demo_people())


def asked(policy: Policy, **facts: int) -> Ask:
    ask = policy.judge(question(facts=facts)).ask
    assert ask is not None
    return ask


def judged_at(policy: Policy, now: datetime) -> Judgement:
    run = RunRef(run_id="r", root_run_id="r")
    plain = question(facts={})
    found = dict(WallClock(lambda: policy).look(plain, run, now))
    return policy.judge(plain.model_copy(update={"circumstances": found}))


def test_a_deadline_counts_the_working_time_of_its_calendar():
    """Four hours from Friday eleven are two then, and two on Monday."""
    ask = asked(read(TOP + REST), x=0)
    assert ask.deadline(FRIDAY) == datetime(2026, 11, 30, 10, tzinfo=UTC)
    assert Ask.model_validate_json(ask.model_dump_json()) == ask


def test_deadlines_that_count_different_times_both_hold():
    """The first that comes ends it, and which one that is depends on when it is asked."""
    rules = """\
defaults: {tier: ambiguous, ask: {who: [ap], deadline: 4h, calendar: office}}
rules:
  - {name: a, on: erp.*, when: 'true', verdict: require_approval, because: a}
  - {name: b, on: erp.*, verdict: require_approval, ask: {deadline: 10h, calendar: always},
     because: b}
"""
    ask = asked(read(TOP + rules), x=0)
    assert ask.deadline(FRIDAY) == FRIDAY + timedelta(hours=10)
    tuesday = datetime(2026, 11, 24, 9, tzinfo=UTC)  # ten in Berlin: two hours, noon, two more
    assert ask.deadline(tuesday) == tuesday + timedelta(hours=5)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (FRIDAY, Verdict.REQUIRE_APPROVAL),
        (datetime(2026, 11, 27, 12, tzinfo=UTC), Verdict.FORBID),  # it closes at one
        (datetime(2026, 11, 28, 10, tzinfo=UTC), Verdict.FORBID),
        (datetime(2026, 12, 25, 10, tzinfo=UTC), Verdict.FORBID),
        (datetime(2026, 6, 1, 7, tzinfo=UTC), Verdict.REQUIRE_APPROVAL),  # nine, in summer
        (datetime(2026, 1, 5, 7, tzinfo=UTC), Verdict.FORBID),  # eight, in winter
    ],
)
def test_rules_know_whether_the_office_is_open(now, verdict):
    """`time.business_hours` is that of the policy's own calendar."""
    text = TOP + REST.replace("facts.x == 1", "!time.business_hours")
    assert judged_at(read(text), now).verdict is verdict


def test_rules_know_the_time_there():
    """Hour, weekday, date and zone are those of the calendar; without one, UTC's."""
    run, late = RunRef(run_id="r", root_run_id="r"), datetime(2026, 11, 29, 23, 30, tzinfo=UTC)
    there = WallClock(lambda: read(TOP + REST)).look(question(), run, late)["time"]
    assert there == {
        "hour": 0,
        "weekday": "mon",
        "date": "2026-11-30",
        "zone": "Europe/Berlin",
        "business_hours": False,
    }
    bare = read(TOP.replace("calendar: office\n", "") + REST)
    here = WallClock(lambda: bare).look(question(), run, late)["time"]
    assert here == {"hour": 23, "weekday": "sun", "date": "2026-11-29", "zone": "UTC"}


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ('"13:00-17:00"', '«"11:00-17:00"', "hours 11:00-17:00 overlap 09:00-12:00 on mon"),
        ('fri: "09', 'tue: «"09', "hours 09:00-13:00 overlap 09:00-12:00 on tue"),
        ("Europe/Berlin", "«Europe/Berln", "unknown zone 'Europe/Berln': did you mean"),
        ("Europe/Berlin", "«../etc/passwd", "unknown zone '../etc/passwd'"),
        ("fri:", "«fry:", "unknown day 'fry' in 'fry': did you mean 'fri'"),
        ("mon-thu", "«thu-mon", "'thu-mon' runs backwards"),
        ('"09:00-12:00"', '«"9-12"', "hours '9-12' is not a span"),
        ('"09:00-12:00"', '«"22:00-06:00"', "hours '22:00-06:00' does not end after"),
        ('"09:00-12:00"', '«"09:00-24:01"', "hours '09:00-24:01' does not end after"),
        ("2026-12-25", "«2026-02-30", "holiday '2026-02-30' is no date"),
        ("2026-12-25", "2026-12-25, «2026-12-25", "holiday '2026-12-25' stands twice"),
        ('{mon-sun: "00:00-24:00"}', "«{}", "calendar 'always' is never open"),
        ("calendar: office\n", "calendar: «offic\n", "unknown calendar 'offic': did you mean"),
        ("4h, calendar: office", "4h, calendar: «home", "unknown calendar 'home'"),
        ("deadline: 4h", "deadline: «366d", "a deadline of 366 days, 0:00:00 working time"),
        ("office:\n", "Office:\n", "a calendar cannot be named 'Office'"),
    ],
)
def test_a_mistake_in_a_calendar_is_shown_where_it_stands(right, wrong, words):
    """File, line and column of the text, what is wrong with it, and what to write."""
    text = (TOP + REST).replace(right, wrong, 1)
    before, mark, after = text.partition("«")
    start = "p.yaml:"
    if mark:
        start += f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: {words}"
    with pytest.raises(InvalidPolicy) as caught:
        read(before + after)
    found = caught.value.details["problems"]
    assert any(one.startswith(start) and words in one for one in found), found


def test_business_hours_need_a_calendar():
    """A rule that would never know its answer is refused where it is written."""
    text = TOP.replace("calendar: office\n", "") + REST.replace(
        "facts.x == 1", "!time.business_hours"
    )
    with pytest.raises(InvalidPolicy, match="only with a `calendar: NAME` at the top"):
        read(text)


def test_a_veto_window_counts_working_time_and_of_two_the_last_ends_it():
    """Time must not consent over a weekend, nor sooner because one more rule is worried."""
    rules = """\
defaults: {tier: ambiguous, ask: {who: [ap], deadline: 24h, calendar: office, remind: [90m, 4h]}}
rules:
  - {name: a, on: erp.*, when: 'true', verdict: veto_window, window: 4h, because: a}
  - name: b
    on: erp.*
    when: facts.x == 1
    verdict: veto_window
    window: 10h
    ask: {calendar: always}
    because: b
"""
    one, two = asked(read(TOP + rules), x=0), asked(read(TOP + rules), x=1)
    monday = datetime(2026, 11, 30, 10, tzinfo=UTC)
    assert one.window(FRIDAY) == monday
    assert one.remind == (90 * 60,)
    assert two.window(FRIDAY) == monday
    assert two.deadline(FRIDAY) == FRIDAY + timedelta(hours=10)
