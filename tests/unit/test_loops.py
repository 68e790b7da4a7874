from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core.asked import Ask
from gates.core.loops import Allowance, Call, Finding, failure_signature, look
from gates.core.policy import LoopPolicy

POLICY = LoopPolicy(same_failure=3, allow_more=2, ask=Ask(who=("ap",)))
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
OVERPAYS = 'The payment "17" overpays line 5 of 505.75 EUR'


def call(
    minute: int,
    *,
    error: str = OVERPAYS,
    error_class: str = "erp_refused",
    failed: bool = True,
    action: str = "erp.payment.submit",
    arguments: str = "a1",
    request: str = "r1",
    run: str = "run1",
    about: str = "",
) -> Call:
    return Call(
        request_id=request,
        attempt_id=f"attempt-{minute}",
        action=action,
        arguments_digest=arguments,
        error_class=error_class if failed else "",
        error=error if failed else "",
        failed=failed,
        at=START + timedelta(minutes=minute),
        arguments={"amount": "505.75"},
        root_run_id=run,
        business_key=about,
    )


def found(calls: list[Call], *allowances: Allowance) -> Finding:
    finding = look(calls, allowances, POLICY)
    assert finding is not None
    return finding


def allowed(finding: Finding, minute: float, more: int = 2) -> Allowance:
    return finding.allowance(more, START + timedelta(minutes=minute))


def test_the_third_failure_of_the_same_kind_is_found():
    """Two are not a circle yet; the third shows all of them side by side."""
    assert look([], [], POLICY) is None
    assert look([call(1), call(2)], [], POLICY) is None
    finding = found([call(1), call(2), call(3)])
    assert (finding.count, finding.total) == (3, 3)
    assert [one.number for one in finding.attempts] == [1, 2, 3]
    assert str(finding) == f"erp.payment.submit failed 3 times in the same way: {OVERPAYS}"


def test_ids_in_the_message_do_not_hide_a_circle():
    """Each retry names another draft; it is the same failure."""
    calls = [call(n, error=OVERPAYS.replace("17", str(20 + n))) for n in (1, 2, 3)]
    assert found(calls).differences == (
        f"attempt 2: error {calls[0].error} -> {calls[1].error}",
        f"attempt 3: error {calls[1].error} -> {calls[2].error}",
    )


def test_failures_are_counted_across_requests():
    """A fresh run or round does not start from zero."""
    assert found([call(1, request="r1"), call(2, request="r2"), call(3, request="r3")]).count == 3


@pytest.mark.parametrize(
    "other",
    [
        call(3, arguments="a2"),
        call(3, action="erp.bill.post"),
        call(3, error_class="unavailable"),
        call(3, error="The period is closed"),
        call(3, failed=False),
    ],
)
def test_another_call_or_failure_is_no_circle(other):
    """Other arguments, another action, another error, or success at last."""
    assert look([call(1), call(2), other], [], POLICY) is None


def test_what_happens_in_between_resets_nothing():
    """A success, or another failure, between the failures does not start the count anew."""
    between = [call(2, failed=False), call(4, error="The period is closed")]
    assert found([call(1), between[0], call(3), between[1], call(5)]).count == 3


def retest(minute: int, count: int, run: str = "run1") -> Call:
    return call(minute, error=f"{count} tests failed in 0.{count} s", run=run)


def wrote(minute: int, action: str = "code.edit", run: str = "run1") -> Call:
    return call(minute, failed=False, action=action, run=run)


def test_work_on_the_cause_starts_the_count_anew():
    """Fix and retest: another write has succeeded, and the error says something else now."""
    fixing = [retest(1, 12), wrote(2), retest(3, 11), wrote(4), retest(5, 10)]
    assert look(fixing, [], POLICY) is None
    stuck = found([*fixing, retest(6, 10), retest(7, 10)])
    assert (stuck.count, stuck.total) == (3, 5)


@pytest.mark.parametrize(
    "between",
    [
        [],
        [wrote(2, action="erp.payment.submit")],
        [wrote(2).model_copy(update={"writes": False})],
        [wrote(2).model_copy(update={"failed": True})],
        [wrote(2, run="run2")],
    ],
    ids=["nothing", "the same call", "a look", "a write that failed", "another run's write"],
)
def test_what_is_no_work_on_the_cause_resets_nothing(between):
    """However the error changes, this run has changed nothing that could have been its cause."""
    assert found([retest(0, 12), retest(1, 11), *between, retest(3, 10)])


def test_work_that_leaves_the_error_as_it_was_resets_nothing():
    """Another write, and the very same words but for the time: it was no cure."""
    took = [call(n, error=f"12 tests failed in 3.{n} s") for n in (1, 3, 5)]
    assert found([took[0], wrote(2), took[1], wrote(4), took[2]]).count == 3


def test_work_of_one_run_takes_nothing_from_the_failures_of_others():
    """They go on counting: it failed there too, whatever was done here."""
    others = [retest(n, 12, run=f"run{n}") for n in (2, 3)]
    fixing = [retest(4, 12), wrote(5), retest(6, 11)]
    assert found([*others, *fixing]).count == 3
    assert look([others[0], *fixing], [], POLICY) is None


def of_bill(minute: int, memo: str, run: str, bill: str = "bill:1") -> Call:
    return call(minute, arguments=memo, run=run, about=bill)


def test_what_is_about_the_same_counts_over_runs_whatever_else_it_says():
    """Each run writes another memo; it is the same bill that fails in the same way."""
    runs = [of_bill(n, f"memo {n}", f"run{n}") for n in (1, 2, 3)]
    assert look(runs[:2], [], POLICY) is None
    assert found(runs).count == 3
    assert look([*runs[:2], of_bill(3, "memo 3", "run3", "bill:2")], [], POLICY) is None


def test_lines_of_one_bill_count_once_a_run():
    """A run that fails at each of them is one that failed about it; word for word each counts."""
    lines = [of_bill(n, f"line {n}", "run1") for n in range(1, 6)]
    assert look(lines, [], POLICY) is None
    assert look([*lines, of_bill(6, "line 1", "run2")], [], POLICY) is None
    assert found([*lines, of_bill(6, "line 9", "run2"), of_bill(7, "line 9", "run3")])
    assert found([*lines, of_bill(6, "line 5", "run1"), of_bill(7, "line 5", "run1")])


def test_an_allowance_holds_for_what_is_about_the_same():
    """Two more tries are two more, with whatever memo."""
    runs = [of_bill(n, f"memo {n}", f"run{n}") for n in (1, 2, 3)]
    given = allowed(found(runs), 3.5, more=2)
    fourth, fifth = of_bill(4, "memo 4", "run4"), of_bill(5, "memo 5", "run4")
    assert look([*runs, fourth], [given], POLICY) is None
    assert found([*runs, fourth, fifth], given).count == 2


def test_an_attempt_reported_twice_counts_once():
    """A repeated report is not another failure."""
    assert look([call(1), call(2), call(2)], [], POLICY) is None


def test_an_allowance_permits_so_many_more_and_asks_again():
    """The count starts anew after the person's word, and its budget is used up."""
    calls = [call(1), call(2), call(3)]
    first = allowed(found(calls), 3.5, more=2)
    assert look([*calls, call(4)], [first], POLICY) is None
    again = found([*calls, call(4), call(5)], first)
    assert (again.count, again.total) == (2, 5)
    second = allowed(again, 5.5, more=1)
    assert found([*calls, call(4), call(5), call(6)], first, second).count == 1


def test_an_allowance_holds_for_its_failure_alone():
    """Leave to overpay is no leave to fail in another way, or with other arguments."""
    closed = [call(n, error="The period is closed") for n in (5, 6, 7)]
    given_for = allowed(found([call(1), call(2), call(3)]), 4, more=50)
    assert found([call(1), call(2), call(3), *closed], given_for).count == 3
    others = [call(n, arguments="a2") for n in (5, 6, 7)]
    assert found([call(1), call(2), call(3), *others], given_for).count == 3


def test_an_allowance_without_a_signature_holds_for_every_failure_of_the_call():
    """Who allows a call to fail, however it fails, need not name the failure."""
    any_failure = Allowance(
        action="erp.payment.submit", arguments_digest="a1", more=9, at=START + timedelta(minutes=4)
    )
    assert look([call(n) for n in (1, 2, 3, 5, 6, 7)], [any_failure], POLICY) is None


def test_only_the_last_ten_attempts_are_shown():
    """A card stays readable; the numbers tell how many there were."""
    finding = found([call(n) for n in range(1, 31)])
    assert [one.number for one in finding.attempts] == list(range(21, 31))
    assert finding.total == 30


def test_differences_between_arguments_are_named_by_path():
    """Arguments that differ although their digest is the same were left out of it on purpose."""
    calls = [call(n) for n in (1, 2, 3)]
    calls[1] = calls[1].model_copy(update={"arguments": {"amount": "505.75", "note": ["x"]}})
    assert found(calls).differences == (
        "attempt 2: arguments.note[0] nothing -> x",
        "attempt 3: arguments.note[0] x -> nothing",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Payment 17 overpays line 5", "Payment 1234 overpays line 6"),
        ("too late at 2026-01-02T10:11:12Z", "too late at 2026-01-03 10:11"),
        ("timed out after 30.2 s", "timed out after 31 s"),
        ("busy at 10:11:12.345", "busy at 9:05"),
        (
            "id 6f1c2a90-1111-2222-3333-444455556666 is locked",
            "id 7F1C2A90-1111-2222-3333-444455556666 is locked",
        ),
        ("<Bill at 0x7f12ab>", "<Bill at 0x99>"),
        ("digest 0123456789abcdef", "digest fedcba9876543210"),
        ("see #A1", "see #B22"),
        ("Line\n  one", "line one"),
        ("payment 1234 overpays line 17", "payment 404 overpays line 500"),
        ("order=404 is locked", "order=500 is locked"),
        ("status of bill 404 is unknown", "status of bill 500 is unknown"),
        ("returned 12 rows too many", "returned 13 rows too many"),
        ("error: 1040 records skipped", "error: 2055 records skipped"),
    ],
)
def test_what_changes_by_itself_is_left_out(one, other):
    """Ids, times, durations, addresses, digests, and the layout of the message."""
    assert failure_signature("E", one) == failure_signature("E", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 503 from the ERP", "HTTP 404 from the ERP"),
        ("status: 503", "status: 429"),
        ("upstream answered status=404", "upstream answered status=500"),
        ("upstream answered status=404", "upstream answered status=409"),
        ("error: 404", "error: 500"),
        ("returned 404", "returned 500"),
        ("HTTP/1.1 500", "HTTP/1.1 404"),
        ("HTTP/2 500 from the ERP", "HTTP/2 404 from the ERP"),
        ('{"status": 404}', '{"status": 500}'),
        ("status_code=404", "status_code=500"),
        ("HTTPError: 404 for url", "HTTPError: 500 for url"),
        ("overpays by 505.75", "overpays by 505.76"),
        ("1,000.00 EUR is too much", "2,000.00 EUR is too much"),
        ("the period is closed", "the journal is closed"),
    ],
)
def test_what_means_something_is_kept(one, other):
    """Codes, money and words tell failures apart; and so does the class of the error."""
    assert failure_signature("E", one) != failure_signature("E", other)
    assert failure_signature("E", one) != failure_signature("F", one)


@given(st.text(st.characters(), max_size=200), st.text(st.characters(), max_size=20))
def test_every_message_has_a_signature(error, error_class):
    """Whatever an agent's tool says, half characters included, and always the same one."""
    first = failure_signature(error_class, error)
    assert len(first) == 64
    assert first == failure_signature(error_class, f"  {error} ")


@given(
    kinds=st.lists(st.sampled_from(["same", "other", "success"]), max_size=25),
    same_failure=st.integers(2, 5),
)
def test_a_circle_is_found_exactly_from_its_nth_failure_on(kinds, same_failure):
    """Counted against the plainest possible way to count."""
    policy = LoopPolicy(same_failure=same_failure, ask=Ask(who=("ap",)))
    calls: list[Call] = []
    count = 0
    for minute, kind in enumerate([*kinds, "same"]):
        error = "other" if kind == "other" else OVERPAYS
        calls.append(call(minute, error=error, failed=kind != "success"))
        count += kind == "same"
        if kind == "same":
            assert (look(calls, [], policy) is not None) is (count >= same_failure)


def test_the_time_is_that_of_each_run_by_itself():
    """Neither what lies between two runs nor the time in which people were asked is a cost."""
    calls = [call(0), call(4), call(100, run="run2"), call(110, run="run2")]
    asked = {"run2": [(START + timedelta(minutes=101), START + timedelta(minutes=109))]}
    finding = look(calls, [], POLICY, lambda run: asked.get(run, []))
    assert finding is not None
    assert finding.spent == {"seconds": 360}
