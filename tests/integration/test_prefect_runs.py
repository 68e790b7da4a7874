"""What a real Prefect server says of runs, and what is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from pydantic import BaseModel

from gates.actions import Registry, action
from gates.core.errors import Unavailable
from gates.core.messages import Proposal
from gates.core.model import RunRef, Verdict
from gates.settings import ServerSettings
from integrations import wiring
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.requests import LONGEST, PrefectRunRequests
from integrations.prefect_runs.states import PrefectRunStates
from integrations.prefect_runs.stopper import PrefectRunStopper
from tests.support.policies import ROOT
from tests.support.ports import free_port
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
    api = PrefectApi(f"http://127.0.0.1:{free_port()}/api")
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


# -- what a run was asked to do ------------------------------------------------------------------

ASKED = {"request": "Mail bob@known.example\nthen stop", "more": {"n": 12345678901, "who": ["Lea"]}}


def test_a_run_was_asked_what_its_parameters_say(stack, api):
    """Each value on a line of its own, as it was typed."""
    text = PrefectRunRequests(api).text(ref(made(stack, "RUNNING", parameters=ASKED)))
    assert text == "Mail bob@known.example\nthen stop\nn\n12345678901\nwho\nLea"


def test_parameters_that_are_changed_later_do_not_count(stack, api):
    """Whoever reaches Prefect's API can change them; the first reading holds."""
    run = made(stack, "RUNNING", parameters=ASKED)
    requests = PrefectRunRequests(api)
    before = requests.text(ref(run))
    stack.prefect(
        "PATCH", f"/flow_runs/{run}", {"parameters": {"request": "Mail eve@evil.example"}}
    )
    assert requests.text(ref(run)) == before
    assert "eve" in PrefectRunRequests(api).text(ref(run))  # whoever reads late is deceived


def test_the_root_is_asked_and_not_the_sub_flow(stack, api):
    """What a flow hands to its sub-flows is its own word; a sub-flow does not pass for a root."""
    root = made(stack, "RUNNING", parameters=ASKED)
    task = {"flow_run_id": root, "task_key": "t", "dynamic_key": "0"}
    parent = stack.prefect("POST", "/task_runs/", task)["id"]
    told = {"request": "Mail eve@evil.example"}
    sub = made(stack, "RUNNING", parameters=told, parent_task_run_id=parent)
    requests = PrefectRunRequests(api)
    assert "bob" in requests.text(ref(sub, root))
    assert "eve" not in requests.text(ref(sub, root))
    assert requests.text(ref(sub)) == ""


@pytest.mark.parametrize(
    "run", ["script-1", "8fcf1b8c-e12e-4875-b0fc-bc56000b2ea1", "../../admin/settings"]
)
def test_of_a_run_that_prefect_does_not_know_nothing_is_known(api, run):
    """A script, one that is invented, an id that is none."""
    assert PrefectRunRequests(api).text(ref(run)) == ""


def test_of_a_run_without_parameters_or_with_endless_ones_nothing_is_known(stack, api):
    """Half a request would be worse than none."""
    requests = PrefectRunRequests(api)
    assert requests.text(ref(made(stack, "RUNNING"))) == ""
    endless = {"request": "a" * (LONGEST + 1)}
    assert requests.text(ref(made(stack, "RUNNING", parameters=endless))) == ""


def test_where_prefect_is_away_that_is_said():
    """And nothing is remembered of it."""
    requests = PrefectRunRequests(PrefectApi("http://127.0.0.1:1/api"))
    with pytest.raises(Unavailable):
        requests.text(ref(str(uuid4())))


class Line:
    """What the tool of this test works with."""


class Message(BaseModel):
    to: str


@action("tool.message")
def message(line: Line, arguments: Message, *, idempotency_key: str) -> None: ...


def test_a_server_compares_a_call_with_what_prefect_says_was_asked(stack, tmp_path):
    """Wired whole, with the shipped policy: as asked it runs; to somebody else people are asked."""
    settings = ServerSettings(
        database_url=f"sqlite:///{tmp_path / 'gates.sqlite'}",
        policy=ROOT / "policies" / "agents.yaml",
        people=ROOT / "policies" / "people.yaml",
        signing_keys=tmp_path / "keys",
        prefect_api_url=stack.api,
    )
    server = wiring.server(settings, Registry.of([message], {Line: Line}))
    key = server.access.key_holder(server.access.create_key("flow", "mail-agent", None, ("*",)))
    run = made(stack, "RUNNING", parameters=ASKED)

    def judged(to: str) -> Verdict:
        proposal = Proposal(
            name="tool.message", arguments={"to": to}, run=ref(run), key=to, attempt_id=uuid4().hex
        )
        return server.gates.propose(key, proposal).view.request.judgement.verdict

    assert judged("bob@known.example") is Verdict.ALLOW
    assert judged("eve@evil.example") is Verdict.REQUIRE_APPROVAL
