"""What a real Prefect server says of runs, and what is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from gates.core.errors import Unavailable
from gates.core.model import RunRef
from integrations.demo.processes import free_port
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.states import PrefectRunStates
from integrations.prefect_runs.stopper import PrefectRunStopper
from tests.support.prefect import Stack
from tests.support.prefect import stack as started

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("stack"), worker=False) as made:
        yield made


@pytest.fixture
def api(stack) -> Iterator[PrefectApi]:
    made = PrefectApi(stack.api)
    yield made
    made.close()


def made(stack: Stack, *states: str, name: str = "tidy-owl", **more: object) -> str:
    """A run that went through these states, without a deployment."""
    flow = stack.prefect("POST", "/flows/", {"name": "shapes"})["id"]
    body = {"flow_id": flow, "name": name, "state": {"type": "PENDING"}, **more}
    run = str(stack.prefect("POST", "/flow_runs/", body)["id"])
    for state in states:
        put(stack, run, state)
    return run


def put(stack: Stack, run: str, state: str, message: str = "") -> None:
    wanted = {"type": state, "message": message}
    body = {"state": wanted, "force": True}
    assert stack.prefect("POST", f"/flow_runs/{run}/set_state", body)["status"] == "ACCEPT"


def ref(run: str, root: str = "") -> RunRef:
    return RunRef(run_id=run, root_run_id=root or run)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("COMPLETED", "has completed (Prefect says Completed)"),
        ("FAILED", "has failed (Prefect says Failed)"),
        ("CANCELLED", "was cancelled (Prefect says Cancelled)"),
        ("CANCELLING", "is being cancelled (Prefect says Cancelling)"),
        ("CRASHED", "has crashed, and no deployment could start it again (Prefect says Crashed)"),
    ],
)
def test_a_run_that_is_over_can_use_no_approval(stack, api, state, words):
    """The words name the run, and what Prefect says of it."""
    run = made(stack, "RUNNING", state)
    assert PrefectRunStates(api).ended(ref(run)) == f"Run 'tidy-owl' {words}"


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "PAUSED", "SCHEDULED"])
def test_a_run_that_may_go_on_can(stack, api, state):
    """Also one that is suspended, or on its way back."""
    assert PrefectRunStates(api).ended(ref(made(stack, state))) is None


def test_a_run_that_prefect_does_not_know_can_use_no_approval(api):
    """Deleted, or invented by its flow; an id that is none is not asked for."""
    unknown = "The run is unknown to Prefect: it was deleted, or never was there"
    assert PrefectRunStates(api).ended(ref(str(uuid4()))) == unknown
    assert PrefectRunStates(api).ended(ref("../../admin/settings")) == unknown


def test_a_sub_flow_ends_with_its_root_and_by_itself(stack, api):
    """A cancelled root has no living sub-flows; a cancelled sub-flow may live in a living root."""
    states = PrefectRunStates(api)
    root, sub = made(stack, "RUNNING", name="root"), made(stack, "RUNNING", name="sub")
    assert states.ended(ref(sub, root)) is None
    put(stack, sub, "CANCELLED")
    assert str(states.ended(ref(sub, root))).startswith("Run 'sub' was cancelled")
    put(stack, root, "CANCELLED", "by ops")
    words = "Run 'root' was cancelled (Prefect says Cancelled: by ops)"
    assert states.ended(ref(sub, root)) == words


def test_a_script_is_known_to_nobody_but_itself(api):
    """Runs outside Prefect are not asked after."""
    assert PrefectRunStates(api).ended(ref("script-1")) is None


def test_nobody_guesses_while_prefect_is_away():
    """The caller hears that nobody can tell."""
    api = PrefectApi(f"http://127.0.0.1:{free_port(0, 'nobody')}/api")
    with pytest.raises(Unavailable, match="Prefect does not answer"):
        PrefectRunStates(api).ended(ref(str(uuid4())))
    api.close()


# -- stopping -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "ends"),
    [("RUNNING", "CANCELLING"), ("SCHEDULED", "CANCELLED"), ("PAUSED", "CANCELL")],
)
def test_a_run_is_stopped_wherever_it_stands(
    api: PrefectApi, stack: Stack, state: str, ends: str
) -> None:
    """CANCELLING ends a process; where there is none Prefect ends the run by itself."""
    run = made(stack, state)
    stopper = PrefectRunStopper(api)
    assert not stopper.stop(run, "Stopped by Tess Laurent: wrong supplier")
    assert stopper.stop(run, "Stopped by Tess Laurent: wrong supplier")
    found = stack.prefect("GET", f"/flow_runs/{run}")["state"]
    assert found["type"].startswith(ends)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"])
def test_a_run_that_has_ended_is_left_alone(api: PrefectApi, stack: Stack, state: str) -> None:
    """So is one that Prefect does not know, and a script, which only ends itself."""
    run = made(stack, state)
    stopper = PrefectRunStopper(api)
    assert stopper.stop(run, "x")
    assert stack.prefect("GET", f"/flow_runs/{run}")["state"]["type"] == state
    assert stopper.stop(str(uuid4()), "x")
    assert stopper.stop("script-1", "x")


def test_a_prefect_that_is_away_is_told_later() -> None:
    """The outbox tries again."""
    api = PrefectApi("http://127.0.0.1:9/api")
    with pytest.raises(Unavailable):
        PrefectRunStopper(api).stop(str(uuid4()), "x")
    api.close()
