"""Deployed runs that wait for an objection, and runs that ask about many things at once."""

import pytest

from gates.core.model import DecisionKind
from tests.support.prefect import until

pytestmark = pytest.mark.prefect


def test_a_run_suspends_for_its_window_and_goes_on_by_itself(stack):
    """It holds no machine meanwhile, says when it runs, and pays once nobody has objected."""
    run = stack.run("one_payment", amount="888.00")
    state = stack.reaches(run, "PAUSED")
    assert state["message"].startswith("Pay out 888.00 EUR: runs at ")
    assert "unless somebody objects (Dana Okafor, Mika Lindqvist may)" in state["message"]
    stack.reaches(run, "COMPLETED")
    assert stack.trace(run) == ["paid 888.00"]
    (outcome,) = stack.stored(
        "SELECT json_extract(outcome_body, '$.by') FROM request WHERE root_run_id = ?", run
    )
    assert outcome == '["time"]'


def test_an_objection_ends_a_run_that_would_have_gone_on(stack):
    """With the person and the reason, as a rejection does."""
    run = stack.run("one_payment", amount="888.00")
    stack.decide(*stack.asked(run), "reject", "paid by card")
    state = stack.reaches(run, "CANCELLED")
    assert state["message"] == "Rejected by Dana Okafor: paid by card"
    assert stack.trace(run) == []


def test_a_run_pays_the_lines_that_people_leave_in(stack):
    """One question, one suspension; each line that stays is paid once, the others are told."""
    run = stack.run("pay_all", amounts=["5000.00", "5001.00", "5002.00"])
    stack.reaches(run, "PAUSED")
    (view,) = stack.asked(run)
    assert [line.number for line in view.request.lines] == [1, 2, 3]
    person = stack.person("dana")
    person.decide(view.request.id, DecisionKind.APPROVE, refused={"2": "not ours"})
    stack.reaches(run, "COMPLETED")
    until(lambda: len(stack.trace(run)) == 3)
    assert stack.trace(run) == [
        "1 done 5000.00",
        "2 refused Dana Okafor: not ours",
        "3 done 5002.00",
    ]
