"""Runs that need help, with a real Prefect server and both stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gates.core.errors import RequestClosed, Unavailable
from gates.core.model import OutcomeKind, Standing
from gates.store.database import Database
from gates.watching import Watch
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.keeper import PrefectRunKeeper
from integrations.prefect_runs.states import PrefectRunStates
from tests.integration.test_prefect_runs import made, put
from tests.support.ports import free_port
from tests.support.prefect import Stack
from tests.support.prefect import stack as started
from tests.support.world import Clock, World

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("stack"), worker=False) as running:
        yield running


@pytest.fixture
def api(stack) -> Iterator[PrefectApi]:
    client = PrefectApi(stack.api)
    yield client
    client.close()


@pytest.fixture
def real(database: Database) -> World:
    """A world at Prefect's own time."""
    return World(database, clock=Clock(datetime.now(UTC)))


@pytest.fixture
def watch(real, api) -> Watch:
    return Watch(real.gates, PrefectRunKeeper(api), silence=timedelta(seconds=60))


def deployed(stack: Stack, state: str) -> str:
    flow = stack.prefect("POST", "/flows/", {"name": "shapes"})["id"]
    body = {"name": "watched", "flow_id": flow}
    deployment = stack.prefect("POST", "/deployments/", body)["id"]
    return made(stack, state, deployment_id=deployment)


@pytest.mark.parametrize("state", ["CANCELLED", "FAILED", "COMPLETED"])
def test_what_an_ended_run_leaves_behind_is_withdrawn(stack, real, watch, state):
    """Open questions, unused approvals and work that nobody has begun, saying why; what was
    decided otherwise stands, and what an executor holds.
    """
    real.run = made(stack, "RUNNING")
    keys = ("open", "approved", "rejected", "used", "queued")
    sums = {key: f"500{number}.00" for number, key in enumerate(keys)}
    ids = {key: real.propose(sums[key], key=key).view.request.id for key in keys}
    for key in ("approved", "used", "queued"):
        real.decide(ids[key], "dana")
    real.decide(ids["rejected"], "dana", "reject")
    real.propose(sums["used"], key="used")
    assert real.lease() is not None
    real.propose(sums["queued"], key="queued")
    ids["allowed"] = real.propose("500.00", key="allowed").view.request.id
    watch.look()
    assert real.gates.view(ids["open"]).outcome is None
    put(stack, real.run, state)
    watch.look()
    for key in ("open", "approved", "queued", "allowed"):
        outcome = real.gates.view(ids[key]).outcome
        kind = OutcomeKind.CANCELLED if key == "open" else OutcomeKind.VOIDED
        assert (outcome.kind, outcome.by) == (kind, ("the end of the run",))
        assert "Run 'tidy-owl' " in outcome.reason
        assert real.gates.doorbell(ids[key]) is None
    assert real.gates.view(ids["rejected"]).outcome.kind is OutcomeKind.REJECTED
    assert real.gates.view(ids["used"]).outcome.kind is OutcomeKind.APPROVED
    assert real.lease() is None
    assert watch.look() == 0


def test_a_withdrawn_approval_is_used_by_nobody_and_asked_anew(stack, real, watch):
    """A run that an admin starts again asks people once more."""
    real.run = made(stack, "RUNNING")
    before = real.propose("5000.00").view.request.id
    real.decide(before, "dana")
    put(stack, real.run, "CANCELLED")
    watch.look()
    late = real.gates.claim(real.flow, before, real.proposal("5000.00"))
    assert late.standing is Standing.CANCELLED
    put(stack, real.run, "RUNNING")
    again = real.propose("5000.00")
    assert (again.standing, again.view.request.round) == (Standing.WAITING, 2)
    watch.look()
    assert real.gates.view(again.view.request.id).outcome is None


def test_a_claim_for_a_cancelled_run_is_refused(stack, real, api):
    """Also before the watch has seen it."""
    real.gates.runs = PrefectRunStates(api)
    real.run = made(stack, "RUNNING")
    request_id = real.propose("5000.00").view.request.id
    real.decide(request_id, "dana")
    put(stack, real.run, "CANCELLED")
    with pytest.raises(RequestClosed, match="was cancelled"):
        real.gates.claim(real.flow, request_id, real.proposal("5000.00"))


def test_a_run_that_prefect_does_not_know_is_looked_for_twice(real, watch):
    """And only once its flow is silent: it may be another Prefect."""
    real.run = "0dd1c0de-0000-4000-8000-000000000001"
    request_id = real.propose("5000.00").view.request.id
    watch.look()
    watch.look()
    assert real.gates.view(request_id).outcome is None
    real.clock.advance(seconds=61)
    watch.look()
    assert real.gates.view(request_id).outcome is None
    watch.look()
    assert "unknown to Prefect" in real.gates.view(request_id).outcome.reason


def test_a_crashed_run_with_something_unfinished_starts_again(stack, real, watch):
    """Once its process is silent: it may have outlived its worker. Nobody need have been asked."""
    real.run = deployed(stack, "RUNNING")
    real.propose("500.00")
    put(stack, real.run, "CRASHED")
    watch.look()
    assert stack.state(real.run)["type"] == "CRASHED"
    real.clock.advance(seconds=60)
    watch.look()
    state = stack.state(real.run)
    assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry")


def test_a_crashed_run_with_nothing_unfinished_stays(stack, real, watch):
    """What it was told is all there is."""
    real.run = deployed(stack, "RUNNING")
    real.propose("500.00")
    real.perform(real.lease())
    real.propose("500.00")
    put(stack, real.run, "CRASHED")
    real.clock.advance(seconds=60)
    watch.look()
    assert stack.state(real.run)["type"] == "CRASHED"


def test_a_running_run_that_says_nothing_while_its_answer_waits_is_brought_back(stack, real, watch):
    """Called crashed, then started again; not while it is heard of, nor for an open question."""
    real.run = deployed(stack, "RUNNING")
    request_id = real.propose("5000.00").view.request.id
    real.clock.advance(seconds=90)
    watch.look()
    assert stack.state(real.run)["type"] == "RUNNING"
    real.decide(request_id, "dana")
    real.gates.told(real.gates.standing(real.flow, request_id, "", 1))
    watch.look()
    assert stack.state(real.run)["type"] == "RUNNING"
    real.clock.advance(seconds=61)
    watch.look()
    state = stack.state(real.run)
    assert state["type"] == "CRASHED"
    assert state["message"].startswith("No word from its process for 6")
    real.clock.advance(seconds=60)
    watch.look()
    assert stack.state(real.run)["type"] == "SCHEDULED"


def test_scripts_and_an_absent_prefect_change_nothing(real, watch):
    """Nobody can tell: what is open stays open."""
    real.run = "script-1"
    request_id = real.propose("5000.00").view.request.id
    real.clock.advance(seconds=3_000)
    watch.look()
    watch.look()
    real.run = "0dd1c0de-0000-4000-8000-000000000002"
    other = real.propose("5000.00", key="other").view.request.id
    away = PrefectApi(f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(Unavailable):
        Watch(real.gates, PrefectRunKeeper(away)).look()
    away.close()
    assert real.gates.view(request_id).outcome is None
    assert real.gates.view(other).outcome is None


def test_a_moved_key_is_asked_anew_and_says_what_is_left(real):
    """The same under another key after a suspension: the approval is not taken over."""
    request_id = real.propose("5000.00", key="old").view.request.id
    real.passes.suspending(real.flow, [request_id])
    real.decide(request_id, "dana")
    moved = real.propose("5000.00", key="new")
    assert moved.standing is Standing.WAITING
    (left,) = moved.view.request.evidence["left_unused"]
    assert left == {"key": "old", "request": request_id, "outcome": "approved by Dana Okafor"}
    assert "left_unused" not in real.propose("6000.00", key="third").view.request.evidence
