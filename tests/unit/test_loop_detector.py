"""Which runs are circles, which are not, and what a person's answer does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gates.core.errors import InvalidInput, NotCanonical
from gates.core.loops import (
    Budget,
    Circle,
    Detector,
    End,
    Kind,
    Limits,
    Step,
    Thresholds,
    digest_of,
)
from tests.benchmarks.loops import size_of

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


def step(action: str = "erp.read", number: object = 1, **more) -> Step:
    return Step.of(action, {"number": number}, **more)


def answered(text: str = "booked", **more) -> End:
    return End(digest_of(text), text, **more)


def failed(text: str = "The period is closed", **more) -> End:
    return End(digest_of(text), text, failed=True, error_class="erp_refused", **more)


def fed(detector: Detector, *pairs: tuple[Step, End]) -> list[Circle | None]:
    return [detector.after(one, end) for one, end in pairs]


def first(*pairs: tuple[Step, End], detector: Detector | None = None) -> tuple[int, Circle]:
    """The number of the attempt that the detector fires at, and what it says."""
    watching = detector or Detector()
    for number, (one, end) in enumerate(pairs, start=1):
        circle = watching.after(one, end)
        if circle is not None:
            return number, circle
    raise AssertionError("nothing was found")


def silent(*pairs: tuple[Step, End]) -> bool:
    return not any(fed(Detector(), *pairs))


# -- circles ------------------------------------------------------------------------------------


def test_the_same_call_with_the_same_outcome_is_found_the_third_time():
    """And the evidence names it, with the attempts side by side."""
    at, circle = first(*[(step(at=START), answered(cost=5, tokens=100))] * 5)
    assert (at, circle.kind, circle.count) == (3, Kind.SAME_OUTCOME, 3)
    assert circle.words == "erp.read was called 3 times with the same outcome: booked"
    assert [one.number for one in circle.attempts] == [1, 2, 3]
    assert (circle.cost, circle.tokens, circle.seconds) == (15, 300, 0.0)
    assert circle.cycle == ('erp.read {"number":1}',)


@pytest.mark.parametrize("period", range(1, 9))
def test_a_cycle_is_found_in_its_third_lap_at_the_latest(period):
    """Of any length from one to eight calls, and drawn in order."""
    lap = [(step(number=one), answered(str(one))) for one in range(period)]
    at, circle = first(*lap * 3)
    assert period < at <= 3 * period
    if 1 < period <= 3:
        assert (at, circle.kind) == (3 * period, Kind.CYCLE)
    if 3 < period <= 6:  # sooner: that they bring nothing new is seen first
        assert (at, circle.kind) == (period + 6, Kind.NOTHING_NEW)
        assert f": {period} calls go round" in circle.words
    if period <= 6:
        assert circle.period == circle.drawn.count("→") == period
        assert len(circle.attempts) >= at - 1
        assert not circle.differences


def test_a_failing_call_retried_with_nothing_changed_is_found_the_third_time():
    """Reads in between, and other words in the error, do not hide it."""
    errors = [failed(f"Locked by draft {n}") for n in (17, 18, 19)]
    reads = [(step("erp.look", n), answered(str(n))) for n in (1, 2)]
    write = step("erp.pay", writes=True)
    pairs = [(write, errors[0]), reads[0], (write, errors[1]), reads[1], (write, errors[2])]
    at, circle = first(*pairs)
    assert (at, circle.kind) == (5, Kind.FAILING_RETRY)
    assert circle.differences == (
        "step 3: answer Locked by draft 17 -> Locked by draft 18",
        "step 5: answer Locked by draft 18 -> Locked by draft 19",
    )


def test_the_same_failure_whatever_it_is_given_is_found():
    """Guessing the arguments of a write: five are enough; of a read it takes fifteen."""
    writes = [(step("erp.post", n, writes=True), failed()) for n in range(20)]
    reads = [(step("erp.find", n), failed("not found")) for n in range(20)]
    assert first(*writes)[0] == 5
    assert first(*reads)[0] == 15
    assert first(*writes)[1].kind is first(*reads)[1].kind is Kind.SAME_FAILURE


def test_guessing_is_stopped_whatever_comes_next():
    """Not the last guess alone: the action, until a person answers; others go on."""
    detector = Detector()
    _, circle = first(
        *[(step("erp.post", n, writes=True), failed()) for n in range(5)], detector=detector
    )
    assert not circle.drawn
    for guess in (5, 6):
        refused = detector.before(step("erp.post", guess, writes=True))
        assert refused is not None
        assert (refused.key, refused.drawn) == (circle.key, "")
    assert detector.before(step("erp.read")) is None
    detector.allow(circle.key, 2)
    assert detector.before(step("erp.post", 7, writes=True)) is None
    assert fed(detector, (step("erp.post", 7, writes=True), failed())) == [None]
    assert fed(detector, (step("erp.post", 8, writes=True), failed())) != [None]


def test_errors_in_a_row_are_found_whatever_they_are():
    """Sixteen failures of different calls in different ways."""
    words = [chr(ord("a") + n) * 3 for n in range(20)]
    at, circle = first(*[(step(f"tool.{word}", word), failed(word)) for word in words])
    assert (at, circle.kind) == (16, Kind.ERRORS)
    assert (circle.drawn, circle.differences, len(circle.attempts)) == ("", (), 16)


def test_steps_that_bring_nothing_new_are_found():
    """Re-reading what is known, in whatever order."""
    known = [(step(number=n), answered(str(n))) for n in range(9)]
    again = [known[n] for n in (3, 1, 4, 8, 5, 2)]
    at, circle = first(*known, *again)
    assert (at, circle.kind) == (15, Kind.NOTHING_NEW)


def far(news: int, *laps: int) -> list[tuple[Step, End]]:
    """Of each lap so many steps bring news; then one repeats the first of them, and one fails."""
    pairs = []
    for lap in range(*laps):
        word = f"{chr(97 + lap % 26)}{chr(97 + lap // 26)}" * 3
        fresh = [(step(f"tool.{n}", lap), answered(word * (n + 1))) for n in range(news)]
        pairs += [*fresh, fresh[0], (step("tool.write", word), failed(word))]
    return pairs


def test_a_long_way_nowhere_is_found_though_there_is_news_now_and_then():
    """As soon as forty steps are known, at one that brings nothing; a steer begins anew."""
    detector = Detector()
    at, circle = first(*far(1, 30), detector=detector)
    assert (at, circle.kind) == (41, Kind.WASTED)
    assert str(circle) == "27 of the last 40 steps failed or repeated what was known"
    detector.steer(circle.key)
    assert first(*far(1, 30, 60), detector=detector)[0] == 41


def test_work_that_fails_now_and_then_is_no_long_way_nowhere():
    """Three steps of five bring news."""
    assert silent(*far(3, 100))


def test_a_veto_is_no_progress_and_a_refused_call_retried_is_a_circle():
    """The gate's own words may differ each time."""
    vetoes = [
        End(digest_of(n), f"Ask again {'later' * n}", failed=True, vetoed=True) for n in range(3)
    ]
    at, circle = first(*[(step("erp.pay", writes=True), veto) for veto in vetoes])
    assert at == 3
    assert circle.kind is Kind.SAME_OUTCOME


@pytest.mark.parametrize(
    "texts",
    [
        [f"done at 2026-03-01T10:0{n}:00Z" for n in range(3)],
        [f"trace 6f1c2a90-1111-2222-3333-44445555666{n}" for n in range(3)],
        [f"took {n}12 ms" for n in range(1, 4)],
        [f"About 12 results (0.{n}5 seconds)" for n in range(3)],
        [f"real 0m{n}.345s" for n in range(3)],
        [f'{{"ok": true, "now": 1772355{n}00.12345{n}}}' for n in range(3)],
    ],
)
def test_what_changes_by_itself_does_not_hide_a_circle(texts):
    """Times, ids and durations in an answer."""
    assert first(*[(step(), answered(text)) for text in texts])[0] == 3


@pytest.mark.parametrize(
    "ids",
    [
        [f"request_id=req_{letter}8Fk2x0Zq" for letter in "abcde"],
        [f'"correlation-id": "q{letter}7-Lw93"' for letter in "abcde"],
        [f"01ARZ3NDEKTSV4RRFFQ69G5FA{letter}" for letter in "ABCDE"],
    ],
)
def test_a_request_id_of_its_own_makes_no_other_failure(ids):
    """Guessing is found although each failure tells under which id it was logged."""
    ends = [failed(f"The period is closed ({one})") for one in ids]
    at, circle = first(*[(step("erp.post", n, writes=True), end) for n, end in enumerate(ends)])
    assert (at, circle.kind) == (5, Kind.SAME_FAILURE)


def test_what_a_failure_is_about_stays_part_of_it():
    """The name of a request is no id under which something was logged."""
    ends = [failed(f"request PR-{letter}1 is not approved") for letter in "abcdef"]
    assert silent(*[(step("erp.post", n, writes=True), end) for n, end in enumerate(ends)])


def test_a_fresh_opaque_id_is_learned_not_to_matter():
    """After two pairs that differ in nothing but the token behind the same word."""
    texts = [f"no payment found, request id: req{letter}8k2x" for letter in "abcdefg"]
    assert first(*[(step(), answered(text)) for text in texts])[0] <= 5


def test_long_answers_are_compared_whole():
    """A change in the middle of a long page is news; a clock in it is not, from the second on."""
    pages = ["x" * 3_000 + str(n) + "y" * 3_000 for n in range(9)]
    assert silent(*[(step(), answered(page)) for page in pages])
    clocks = ["x " * 3_000 + f"2026-03-01T10:00:0{n}Z" for n in range(6)]
    assert first(*[(step(), answered(page)) for page in clocks])[0] == 4


# -- no circles ---------------------------------------------------------------------------------


@given(st.integers(2, 60), st.booleans())
def test_enumeration_is_no_circle(number, repeated):
    """Each call with arguments of its own, even if every answer is the same."""
    ends = [answered("[]" if repeated else str(n)) for n in range(number)]
    assert silent(*[(step(number=n), end) for n, end in enumerate(ends)])


@given(st.integers(2, 60))
def test_polling_with_changing_answers_is_no_circle(number):
    """A plain number that moves is an answer that changes; so is a page that goes on."""
    assert silent(*[(step("job.status"), answered(f"{n} of {number} done")) for n in range(number)])


def test_progress_in_seconds_is_no_circle():
    """Fractions of a second, too, where nothing says that it is what something took."""
    ends = [answered(f"encoded {n}.34s of 60.00s") for n in range(9)]
    assert silent(*[(step("job.status"), end) for end in ends])


@given(st.integers(1, 20))
def test_reading_again_after_a_write_is_no_circle(number):
    """The write changed the world, and the answer says so."""
    pairs = []
    for n in range(number):
        pairs += [
            (step("erp.write", n, writes=True), answered(f"written {n}")),
            (step("erp.read"), answered(f"{n} lines")),
        ]
    assert silent(*pairs)


@given(st.integers(1, 10))
def test_fix_and_retest_is_no_circle(number):
    """Each retry after a change, and with another error."""
    pairs = []
    for n in range(number):
        pairs += [
            (step("run.tests"), failed(f"test {'x' * n} is red")),
            (step("edit", n), answered(f"edited {n}", changed=True)),
        ]
    assert silent(*pairs)


def test_an_error_that_only_tells_another_time_was_not_worked_on():
    """A change before each retry is no work on the cause if the error says the same."""
    pairs = []
    for n in range(3):
        trace = f"6f1c2a90-1111-2222-3333-44445555666{n}"
        pairs += [
            (step("edit", n), answered(f"edited {n}", changed=True)),
            (step("run.tests"), failed(f"2 failed, 7 passed in 0.3{n}s, trace {trace}")),
        ]
    at, circle = first(*pairs)
    assert (at, circle.kind) == (6, Kind.FAILING_RETRY)


def test_another_duration_that_was_set_was_work():
    """To raise a limit of whole seconds, and to run into it again."""
    pairs = []
    for n in range(1, 6):
        pairs += [
            (step("run.tests"), failed(f"timed out after {30 * n} s")),
            (step("edit", n), answered(f"limit {30 * n}", changed=True)),
        ]
    assert silent(*pairs)


def test_a_change_beyond_what_is_read_of_a_long_error_was_work():
    """Its digest tells."""
    pairs = []
    for n in range(6):
        pairs += [
            (step("run.tests"), failed("x " * 4_000 + "fine" * n + " so far" + " x" * 4_000)),
            (step("edit", n), answered(f"edited {n}", changed=True)),
        ]
    kinds = {circle.kind for circle in fed(Detector(), *pairs) if circle}
    assert Kind.FAILING_RETRY not in kinds


@given(st.integers(1, 19))
def test_waiting_between_polls_is_no_circle(number):
    """Each poll says something else; to wait is the same each time. Forty steps
    of it are weighed by another rule.
    """
    pairs = []
    for n in range(number):
        pairs += [
            (step("wait"), answered("waited")),
            (step("job.status"), answered(f"{n} of {number} done")),
        ]
    assert silent(*pairs)


@given(st.integers(1, 19))
def test_going_back_to_a_list_is_no_circle(number):
    """Each entry that is opened from it is another one. Forty steps
    of it are weighed by another rule.
    """
    pairs = []
    for n in range(number):
        pairs += [(step("open", n), answered(f"entry {n}")), (step("back"), answered("the list"))]
    assert silent(*pairs)


@pytest.mark.parametrize(
    ("numbers", "answers"),
    [
        (range(6), ["noted"] * 6),
        ([0] * 6, [f"it is 10:00:0{n}" for n in range(6)]),
        ([0] * 6, [f"{'menu ' * 30} {'x' * n}" for n in range(6)]),
    ],
)
def test_what_brings_no_news_does_not_hide_a_circle(numbers, answers):
    """Thoughts that are noted, the time, a page that begins as it always did."""
    pairs = []
    for number, answer in zip(numbers, answers, strict=True):
        pairs += [(step("look", number), answered(answer)), (step("find"), answered("nothing"))]
    assert first(*pairs)[0] <= 12


@given(st.integers(2, 12))
def test_the_same_call_side_by_side_counts_once(number):
    """A round of parallel duplicates is one attempt; the third round is a circle."""
    rounds = [[(step(round=str(n)), answered())] * number for n in range(3)]
    assert silent(*rounds[0], *rounds[1])
    assert first(*rounds[0], *rounds[1], *rounds[2])[0] == 2 * number + 1


def test_a_replayed_attempt_counts_once():
    """What a resume or a repeated report tells again."""
    assert silent(*[(step(attempt_id="a1"), answered())] * 9)


# -- before a call ------------------------------------------------------------------------------


@given(st.integers(0, 40), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_the_same_successful_write_is_stopped_before_its_second_execution(between, more):
    """Always: whatever happens in between, and again each time."""
    detector, write = Detector(), step("erp.pay", writes=True)
    assert detector.before(write) is None
    detector.after(write, answered())
    fed(detector, *[(step("erp.other", n, writes=True), answered(str(n))) for n in range(between)])
    for _ in range(more):
        circle = detector.before(write)
        assert circle is not None
        assert circle.kind is Kind.SAME_WRITE
    assert detector.before(step("erp.pay", 2, writes=True)) is None


def test_a_failed_write_may_be_tried_again():
    """It had no effect."""
    detector, write = Detector(), step("erp.pay", writes=True)
    detector.after(write, failed())
    assert detector.before(write) is None


def test_only_an_allowance_lets_a_write_run_again_and_for_once():
    """Guidance alone does not: with the same arguments it is the same write."""
    detector, write = Detector(), step("erp.pay", writes=True)
    detector.after(write, answered())
    circle = detector.before(write)
    assert circle is not None
    detector.steer(circle.key)
    assert detector.before(write) is not None
    detector.allow(circle.key, 1)
    assert detector.before(write) is None
    detector.after(write, answered())
    assert detector.before(write) is not None


@pytest.mark.parametrize("digest", ["-" + "a" * 63, "1_" * 32, "", "é", "\ud800"])
def test_what_is_no_digest_does_no_harm(digest):
    """A caller's outcomes and arguments may be named in any way."""
    pairs = [(Step("a", digest, writes=True), End(digest, digest, failed=True))] * 3
    assert first(*pairs)[0] == 3


def test_a_found_call_stays_stopped_until_a_person_answers():
    """Others go on; pushed three times, it goes to the next level."""
    detector = Detector()
    _, circle = first(*[(step(), answered())] * 3, detector=detector)
    assert detector.stopped == (circle.key,)
    assert detector.before(step(number=2)) is None
    pushes = [detector.before(step()) for _ in range(3)]
    assert [one.refused for one in pushes if one] == [1, 2, 3]
    assert [one.level for one in pushes if one] == [1, 1, 2]
    assert all(one.key == circle.key for one in pushes if one)


def test_the_same_call_told_twice_is_pushed_once():
    """A retried command is no second push; another call is, also across a resume."""
    detector = Detector()
    first(*[(step(), answered())] * 3, detector=detector)
    for _ in range(4):
        assert detector.before(step(attempt_id="one")).refused == 1
    detector = Detector.load(detector.dump())
    assert detector.before(step(attempt_id="one")).refused == 1
    pushes = [detector.before(step(attempt_id=name)) for name in ("two", "three", "three")]
    assert [(one.refused, one.level) for one in pushes if one] == [(2, 1), (3, 2), (3, 2)]


def test_flailing_stops_the_whole_run():
    """Where no single call is to blame, none may go on."""
    detector = Detector()
    pairs = [(step(f"tool.{chr(97 + n)}", n), failed(chr(97 + n) * 3)) for n in range(16)]
    first(*pairs, detector=detector)
    assert detector.before(step("anything.else")) is not None


# -- a person's answer --------------------------------------------------------------------------


@given(st.integers(1, 6))
def test_an_allowance_permits_so_many_more_and_asks_again(more):
    """It is used up, and the level stays."""
    detector = Detector()
    _, circle = first(*[(step(), answered())] * 3, detector=detector)
    detector.allow(circle.key, more)
    assert detector.before(step()) is None
    at, again = first(*[(step(), answered())] * 9, detector=detector)
    assert (at, again.key, again.level) == (more, circle.key, 1)


def test_a_circle_that_comes_back_after_a_steer_is_on_the_next_level():
    """It counts anew first: the guidance deserves a try."""
    detector = Detector()
    _, circle = first(*[(step(), answered())] * 3, detector=detector)
    detector.steer(circle.key)
    assert detector.before(step()) is None
    at, again = first(*[(step(), answered())] * 9, detector=detector)
    assert (at, again.key, again.level) == (3, circle.key, 2)


def test_budgets_never_refill_by_themselves():
    """Neither success nor a steer gives anything back; an allowance gives what it says."""
    detector = Detector(Thresholds(run=Budget(attempts=4)))
    pairs = [(step(number=n), answered(str(n))) for n in range(20)]
    at, circle = first(*pairs, detector=detector)
    assert (at, circle.kind, circle.words) == (4, Kind.BUDGET, "this run has used 4 of 4 attempts")
    detector.steer(circle.key)
    assert first(*pairs[4:], detector=detector)[0] == 1
    detector.allow(circle.key, 3)
    at, again = first(*pairs[5:], detector=detector)
    assert (at, again.level) == (3, 2)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"business_key": Budget(attempts=3)}, "bill-7 has used 3 of 3 attempts"),
        ({"agent": Budget(tokens=300)}, "agent clerk has used 300 of 300 tokens"),
        ({"run": Budget(cost=15)}, "this run has used 0.15 of 0.15 in money"),
        ({"run": Budget(seconds=120)}, "this run has used 120 of 120 seconds"),
    ],
)
def test_budgets_count_attempts_time_money_and_tokens(budget, words):
    """Per run, per business key and per agent."""
    pairs = [
        (
            step(number=n, at=START + timedelta(minutes=n), business_key="bill-7", agent="clerk"),
            answered(str(n), cost=5, tokens=100),
        )
        for n in range(9)
    ]
    at, circle = first(*pairs, detector=Detector(Thresholds(**budget)))
    assert (at, circle.words) == (3, words)


# -- thresholds ---------------------------------------------------------------------------------


def test_an_action_has_thresholds_of_its_own():
    """A poller may be given more patience, by name or pattern."""
    thresholds = Thresholds(actions={"job.*": Limits(same_outcome=6, repeats=6)})
    polls = [(step("job.status"), answered())] * 9
    reads = [(step("erp.read"), answered())] * 9
    assert first(*polls, detector=Detector(thresholds))[0] == 6
    assert first(*reads, detector=Detector(thresholds))[0] == 3


def test_what_an_action_leaves_out_is_as_in_the_general_limits():
    """Patience with one rule makes no other rule milder; and a stored value reads back the same."""
    strict = {"same_failing_call": 2, "same_outcome": 2}
    made = Thresholds.of({"limits": strict, "actions": {"t.poll": {"same_outcome": 5}}})
    mine = made.of_action("t.poll")
    assert (mine.same_failing_call, mine.same_outcome) == (2, 5)
    assert made.of_action("t.other") == made.limits
    assert Thresholds.of(made.model_dump()) == made
    usual = Thresholds(actions={"t.*": Limits(same_outcome=3)}, limits=Limits(same_outcome=6))
    assert usual.of_action("t.poll").same_outcome == 3


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"limits": {"same_outcome": 1_000}}, "loops.limits.same_outcome = 1000"),
        ({"actions": {"a": {"laps": 0}}}, "loops.actions.a.laps = 0"),
        ({"wasted": 61}, "loops.wasted = 61"),
        ({"nothing_new": 99}, "loops.nothing_new = 99"),
        ({"errors": None}, "loops.errors = None"),
        ({"limits": {"same_write": 5}}, "loops.limits.same_write = 5"),
    ],
)
def test_configuration_cannot_switch_a_rule_off(values, field):
    """Each threshold has an upper bound; the rule about writes has no threshold at all."""
    with pytest.raises(InvalidInput, match=field.replace(".", r"\.")):
        Thresholds.of(values)


# -- memory -------------------------------------------------------------------------------------

ENDS = st.sampled_from(
    [answered("a"), answered("b 12:30:01"), failed("x"), failed("y 17"), failed("z", vetoed=True)]
)
STEPS = st.builds(
    lambda action, number, writes, side: step(action, number, writes=writes, round=side, at=START),
    st.sampled_from(["one", "two"]),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from(["", "r1", "r2"]),
)


@given(st.lists(st.tuples(STEPS, ENDS), max_size=60), st.integers(0, 60))
@settings(deadline=None)
def test_a_resume_changes_nothing(pairs, cut):
    """Written down and read back at any point, it finds the same."""
    whole, part = Detector(), Detector()
    expected = fed(whole, *pairs)
    found = fed(part, *pairs[:cut])
    back = Detector.load(part.dump())
    assert [*found, *fed(back, *pairs[cut:])] == expected
    assert back.dump() == whole.dump()


@given(
    st.lists(st.tuples(st.text(max_size=300), st.text(max_size=2_000)), max_size=40),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_its_memory_is_bounded_whatever_an_agent_sends(texts, failing):
    """At most 64 KB a run."""
    detector = Detector()
    wide = "\N{MATHEMATICAL SCRIPT CAPITAL X}" * 240
    for n, (name, text) in enumerate([*texts, *[(wide, wide)] * 80]):
        one = Step(f"{name}{n % 7}", digest_of(n), text, writes=True, attempt_id=f"{name}{n}")
        detector.before(one)
        detector.after(one, End(str(n), f"{text}{n}", failed=failing, error_class=name))
    assert size_of(vars(detector), set()) <= 64 * 1024
    Detector.load(detector.dump())


@pytest.mark.parametrize("state", [b"", b"[]", b"[2,{}]", b"[1,{}]", b"[1,[]]", b"{}", b"\xff"])
def test_a_state_of_another_version_is_refused(state):
    """Rather than misread."""
    with pytest.raises(InvalidInput, match="begin a new one"):
        Detector.load(state)


def test_arguments_that_are_no_json_are_refused():
    """What cannot be written cannot be compared."""
    with pytest.raises(NotCanonical):
        Step.of("a", {"x": object()})


def test_the_order_of_keys_does_not_matter():
    """Two spellings of the same arguments are the same call."""
    assert digest_of({"a": 1, "b": [2.5]}) == digest_of({"b": [2.5], "a": 1})
