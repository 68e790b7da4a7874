"""Deployed runs under a real worker: they linger, suspend, resume and end as people decide."""

import httpx
import pytest

from gates.core.model import DecisionKind
from tests.support.prefect import until

pytestmark = pytest.mark.prefect


def test_an_approved_payment_resumes_and_is_made_once(stack):
    """The run suspends, says what it waits for, and pays after the approval."""
    run = stack.run("one_payment", amount="5000.00")
    state = stack.reaches(run, "PAUSED")
    (view,) = stack.asked(run)
    assert state["name"] == "AwaitingApproval"
    assert state["message"].startswith(
        "Pay out 5,000.00 EUR: asks 1 of Dana Okafor, Mika Lindqvist until "
    )
    assert state["message"].endswith(view.url)
    assert view.suspended
    stack.decide(view)
    stack.reaches(run, "COMPLETED")
    assert stack.trace(run) == ["paid 5000.00"]
    assert stack.history(run).count("Running") == 2


def test_a_quick_answer_costs_no_restart(stack):
    """While it lingers the run stays Running and goes on in its process."""
    run = stack.run("lingering_payment", amount="5000.00")
    stack.decide(*stack.asked(run))
    stack.reaches(run, "COMPLETED")
    assert stack.history(run).count("Running") == 1
    assert "AwaitingApproval" not in stack.history(run)
    stack.says(run, "Pay out 5,000.00 EUR: asks 1 of Dana Okafor")


def test_a_rejection_ends_the_run_in_a_state_that_names_the_person_and_the_reason(stack):
    """Cancelled, not failed; no crash in its log."""
    run = stack.run("one_payment", amount="5000.00")
    stack.reaches(run, "PAUSED")
    stack.decide(*stack.asked(run), "reject", "not ours")
    state = stack.reaches(run, "CANCELLED")
    assert (state["name"], state["message"]) == ("Rejected", "Rejected by Dana Okafor: not ours")
    assert stack.trace(run) == []
    assert "Failed" not in stack.history(run)
    assert "Traceback" not in stack.says(run, "Finished in state Rejected(")


def test_two_gates_of_one_run_are_asked_one_after_the_other(stack):
    """Each pass collects what is decided; finished tasks and gates do not run again."""
    run = stack.run("two_gates")
    stack.reaches(run, "PAUSED")
    stack.decide(*stack.asked(run))
    stack.reaches(run, "COMPLETED")
    assert stack.trace(run) == ["read", "paid 5000.00", "memo second", "SECOND"]


def test_async_flows_suspend_and_go_on_alike(stack):
    """Awaited gates, and gates side by side."""
    run = stack.run("async_gates")
    stack.reaches(run, "PAUSED")
    stack.decide(*stack.asked(run))
    stack.reaches(run, "COMPLETED")
    lines = stack.trace(run)
    assert lines[0] == "agreed Dana Okafor"
    assert sorted(lines[1:3]) == ["memo a", "memo b"]
    assert lines[3:] == ["A B"]


def test_a_resume_without_a_decision_suspends_again_and_is_recorded(stack):
    """Prefect's resume is a doorbell, not a decision."""
    run = stack.run("one_payment", amount="5000.00")
    stack.reaches(run, "PAUSED")
    stack.prefect("POST", f"/flow_runs/{run}/resume")
    until(lambda: stack.history(run).count("Running") == 2)
    stack.reaches(run, "PAUSED")
    (view,) = stack.asked(run)
    assert view.woken == 1
    assert stack.trace(run) == []
    stack.decide(view)
    stack.reaches(run, "COMPLETED")
    assert stack.trace(run) == ["paid 5000.00"]


def test_flow_retries_are_refused_with_the_cure(stack):
    """Prefect never resumes such a run; better a clear error than a run stuck for ever."""
    run = stack.run("with_retries")
    state = stack.reaches(run, "FAILED", "RUNNING", "SCHEDULED")
    if state["type"] != "FAILED":
        state = stack.reaches(run, "FAILED")
    assert "has retries = 2" in state["message"]
    assert "give them to its tasks" in state["message"]


@pytest.mark.parametrize("flow", ["in_a_task", "in_a_sub_flow", "side_by_side"])
def test_what_cannot_be_suspended_waits_in_its_process(stack, flow):
    """In tasks and sub-flows; the log says so, and where to decide."""
    run = stack.run(flow)
    count = {"in_a_task": 1, "in_a_sub_flow": 1, "side_by_side": 2}[flow]
    first = stack.asked(run, count)
    for view in first:
        stack.decide(view)
    if flow == "in_a_sub_flow":
        stack.decide(*stack.asked(run))
    stack.reaches(run, "COMPLETED")
    expected = {
        "in_a_task": ["paid 5000"],
        "in_a_sub_flow": ["paid 5000", "paid 6000"],
        "side_by_side": ["paid ['5000', '6000']"],
    }
    assert stack.trace(run) == expected[flow]
    assert "AwaitingApproval" not in stack.history(run)
    where = "inside a sub-flow" if flow == "in_a_sub_flow" else "inside a task"
    stack.says(first[0].request.run.run_id, f"(waits in its process: {where})")


def test_a_body_whose_end_is_unknown_is_put_to_people(stack):
    """It is never blindly run again; whoever rejects ends the run."""
    run = stack.run("in_doubt")
    (view,) = stack.asked(run)
    assert view.request.purpose == "in_doubt"
    stack.decide(view, "reject", "it was sent")
    state = stack.reaches(run, "CANCELLED")
    half = "What stands: half done: note text x (nobody knows whether it took effect)."
    assert state["message"] == f"Rejected by Dana Okafor: it was sent. {half}"
    assert stack.trace(run) == ["memo x"]


def test_a_flow_that_goes_in_circles_is_stopped(stack):
    """The third failure of the same kind asks people instead of being raised."""
    run = stack.run("circles")
    (view,) = stack.asked(run)
    assert view.request.purpose == "loop"
    stack.decide(view, "reject", "repair the printer first")
    state = stack.reaches(run, "CANCELLED")
    assert state["message"] == "Rejected by Dana Okafor: repair the printer first"
    assert stack.trace(run).count("memo x") == 3


def test_a_resumed_run_counts_nothing_twice_and_climbs(stack):
    """It is suspended at the third failure, runs from its top with people's guidance, fails once
    more, and is put to people a level up; who replays is not trying.
    """
    run = stack.run("guided")
    (first,) = stack.asked(run)
    stack.reaches(run, "PAUSED")
    stack.decide(first, "send_back", "buy paper")
    second = until(
        lambda: next((v for v in stack.asked(run) if v.request.id != first.request.id), None)
    )
    assert (second.request.purpose, second.request.evidence["level"]) == ("loop", 2)
    assert len(second.request.evidence["attempts"]) == 4
    stack.reaches(run, "PAUSED")
    stack.person("tess").decide(second.request.id, DecisionKind.SKIP, "nobody reads it")
    stack.reaches(run, "COMPLETED")
    assert stack.trace(run).count("memo y") == 4
    assert stack.trace(run)[-1] == "skipped"
    assert "guided buy paper" in stack.trace(run)
    query = "SELECT count(*) FROM loop_call WHERE root_run_id = ?"
    assert stack.stored(query, run) == ["4"]


def test_a_cancelled_run_stays_cancelled(stack):
    """Its question is withdrawn, saying why; a resume does not bring it back."""
    run = stack.run("one_payment", amount="5000.00")
    stack.reaches(run, "PAUSED")
    (view,) = stack.asked(run)
    body = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    stack.prefect("POST", f"/flow_runs/{run}/set_state", body)
    stack.reaches(run, "CANCELLED")
    gone = until(lambda: stack.admin.view(view.request.id).outcome)
    assert (gone.kind, gone.by) == ("cancelled", ("the end of the run",))
    assert "was cancelled (Prefect says Cancelled" in gone.reason
    answer = httpx.post(f"{stack.api}/flow_runs/{run}/resume", trust_env=False, timeout=30)
    assert answer.json()["status"] == "ABORT"
    assert stack.trace(run) == []
