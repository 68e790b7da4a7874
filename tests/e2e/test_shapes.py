"""Deployed runs of every shape: side by side, in tasks, sub-flows and loops, under a worker."""

import signal
from pathlib import Path

import pytest

from gates.core.model import Outcome
from tests.support.house import flow_processes_of
from tests.support.prefect import until

pytestmark = pytest.mark.prefect


def test_gates_side_by_side_suspend_once_and_any_decision_wakes_the_run(stack):
    """It tells what is decided and suspends again for the rest; nobody resumed it by hand."""
    run = stack.run("three_payments")
    state = stack.reaches(run, "PAUSED")
    views = stack.asked(run, 3)
    assert state["message"].startswith("3 decisions: Pay out 5,000.00 EUR: asks 1 of ")
    assert all(view.suspended for view in views)
    stack.decide(views[1])
    until(lambda: "paid 6000" in stack.trace(run))
    until(lambda: stack.state(run)["type"] == "PAUSED")
    assert [view.woken for view in stack.asked(run, 2)] == [0, 0]
    stack.decide(views[0], "reject", "not ours")
    stack.decide(views[2])
    stack.reaches(run, "COMPLETED")
    keys = [view.request.gate_key for view in views]
    lines = list(dict.fromkeys(stack.trace(run)))
    assert [line for line in lines if line.startswith("memo")] == [
        f"memo {keys[1]}",
        f"memo {keys[0]}",
        f"memo {keys[2]}",
    ]
    assert "not paid: Rejected by Dana Okafor: not ours" in lines
    memos = [line for line in stack.trace(run) if line.startswith("memo")]
    assert len(memos) == 3


def test_an_async_group_suspends_and_goes_on_alike(stack):
    """What needs nobody is done before the run suspends."""
    run = stack.run("three_payments_async")
    stack.reaches(run, "PAUSED")
    stack.decide(*stack.asked(run))
    stack.reaches(run, "COMPLETED")
    assert stack.trace(run).count("memo x") == 1
    assert stack.trace(run)[-1] == "{'paid': '5000'}"


def test_a_suspended_run_is_woken_when_its_author_waits_no_longer(stack):
    """Although nobody has decided; the withdrawn ones are told as such."""
    run = stack.run("waits_no_longer", seconds=12, left="withdrawn")
    stack.reaches(run, "PAUSED")
    stack.reaches(run, "COMPLETED")
    assert sorted(stack.trace(run)) == ["till.pay-1 Cancelled", "till.pay-2 Cancelled"]


def test_a_gate_in_a_task_suspends_with_the_flows_own_line(stack):
    """One key for both, whoever asked first; the decision of either wakes the run."""
    run = stack.run("line_and_task")
    stack.reaches(run, "PAUSED")
    views = {view.request.amount.minor: view for view in stack.asked(run, 2)}
    stack.decide(views[600000])
    until(lambda: stack.history(run).count("Running") >= 2)
    stack.decide(views[500000])
    stack.reaches(run, "COMPLETED")
    assert stack.trace(run) == ["line 5000", "task 6000"]
    assert len(stack.paid(run)) == 2


def test_mapped_tasks_and_loops_find_their_gates_again(stack):
    """Each payment is made once, over all passes."""
    loop, mapped = stack.run("looped"), stack.run("mapped")
    for amount in ("5000", "6000"):
        stack.reaches(loop, "PAUSED", "RUNNING", "SCHEDULED", "PENDING")
        (view,) = stack.asked(loop)
        assert view.request.gate_key == f"pay-{amount}"
        stack.decide(view)
        until(lambda view=view: stack.admin.view(view.request.id).execution)
        until(lambda amount=amount: f"paid {amount}" in stack.trace(loop))
    stack.decide(*stack.asked(mapped))
    stack.reaches(loop, "COMPLETED")
    stack.reaches(mapped, "COMPLETED")
    assert stack.trace(mapped) == ["paid ['500', '5000', '600']"]
    assert len(stack.paid(loop)) == 2
    assert len(stack.paid(mapped)) == 3


@pytest.mark.parametrize("flow", ["in_a_task", "in_a_sub_flow"])
def test_a_run_that_dies_while_it_waits_in_its_process_is_started_again(stack, flow):
    """It is the root that is started; nothing is asked or paid twice."""
    run = stack.run(flow)
    (view,) = stack.asked(run)
    for process in flow_processes_of(run):
        process.send_signal(signal.SIGKILL)
    until(lambda: stack.state(run)["type"] == "CRASHED")
    stack.decide(view)
    if flow == "in_a_sub_flow":
        until(lambda: "paid 5000" in stack.trace(run))
        stack.decide(*stack.asked(run))
    stack.reaches(run, "COMPLETED", "CRASHED")
    until(lambda: stack.state(run)["type"] == "COMPLETED")
    wanted = ["paid 5000"] if flow == "in_a_task" else ["paid 5000", "paid 6000"]
    assert stack.trace(run) == wanted
    assert len(stack.paid(run)) == len(wanted)


def test_a_rejected_run_that_is_retried_is_told_so_at_once(stack):
    """The rejection stands: who, why, and what to do to ask anew."""
    run = stack.run("one_payment", amount="5000.00")
    stack.reaches(run, "PAUSED")
    stack.decide(*stack.asked(run), "reject", "not ours")
    stack.reaches(run, "CANCELLED")
    again = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    stack.prefect("POST", f"/flow_runs/{run}/set_state", {"state": again})
    until(lambda: stack.state(run)["type"] != "CANCELLED")
    state = until(lambda: s if (s := stack.state(run))["type"] == "CANCELLED" else None)
    assert state["name"] == "Rejected"
    assert state["message"].startswith("Rejected by Dana Okafor: not ours")
    stack.says(run, "what was decided stands for this run; start a new run to ask anew")
    assert [one for one in stack.admin.requests() if one.request.run.root_run_id == run] == []


def test_a_gate_whose_key_has_moved_is_asked_again_and_nothing_is_guessed(stack):
    """The flow's code changed while it was suspended: the new question names the old one, and
    what is left is withdrawn when the run has ended.
    """
    Path(stack.folder / "key").write_text("old")
    run = stack.run("changed")
    stack.reaches(run, "PAUSED")
    (old,) = stack.asked(run)
    Path(stack.folder / "key").write_text("new")
    stack.decide(old)
    (new,) = stack.asked(run)
    assert new.request.gate_key == "new"
    left = new.request.evidence["left_unused"]
    assert [one["key"] for one in left] == ["old"]
    stack.says(run, "approved by Dana Okafor under the key 'old', and nobody has used that")
    stack.decide(new)
    stack.reaches(run, "COMPLETED")
    assert len(stack.paid(run)) == 1

    def withdrawn() -> Outcome | None:
        found = stack.admin.view(old.request.id).outcome
        return found if found is not None and found.kind != "approved" else None

    gone = until(withdrawn)
    assert (gone.kind, gone.by) == ("voided", ("the end of the run",))
    assert "has completed" in gone.reason
