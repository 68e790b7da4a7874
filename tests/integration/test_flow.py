"""Gates in flows without a deployment, with a real Prefect server and a real gates server."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any, ClassVar

import pytest
from prefect import flow, task
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from gates import (
    ActionFailed,
    Forbidden,
    MisusedGate,
    Rejected,
    SentBack,
    gated,
    require_approval,
    retriable,
)
from gates.core.errors import UnknownAction
from gates.core.model import DecisionKind, Purpose
from gates.flow.awaiting import ForgottenAwait
from gates.flow.places import here
from gates.flow.session import current
from tests.support.prefect import Stack, until
from tests.support.prefect import stack as started
from tests.support.world import burn, pay

pytestmark = [
    pytest.mark.prefect,
    # Prefect leaves sockets of its own to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
BIG = {"payee": "acme", "amount": "5000.00"}
SMALL = {"payee": "acme", "amount": "500.00"}
DONE: list[str] = []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("stack"), worker=False) as made:
        yield made


@pytest.fixture(autouse=True)
def around(stack, monkeypatch):
    DONE.clear()
    for name, value in stack.environment.items():
        if name.startswith("GATES_"):
            monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_API_URL: stack.api}):
        yield
    Beside.end_all(stack)


@gated("note")
async def note(text: str) -> str:
    await asyncio.sleep(0)
    DONE.append(text)
    return text


@task
async def write(text: str) -> None:
    DONE.append(text)


def run_id() -> str:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    return str(context.flow_run.id)


class Beside:
    """A flow in a thread of its own, while the test decides."""

    begun: ClassVar[list[Beside]] = []

    def __init__(self, call: Any) -> None:
        self.id, self.result, self.error = "", None, None
        ids: list[str] = []
        noted = call.with_options(on_running=[lambda _f, run, _s: ids.append(str(run.id))])

        def work() -> None:
            try:
                with temporary_settings({PREFECT_API_URL: api}):
                    result = noted()
                    self.result = asyncio.run(result) if asyncio.iscoroutine(result) else result
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.error = error

        api = PREFECT_API_URL.value()
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        self.begun.append(self)
        self.id = until(lambda: ids[0] if ids else None)

    def end(self) -> Any:
        self.thread.join(timeout=90)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result

    @classmethod
    def end_all(cls, stack: Stack) -> None:
        """What a test that failed has left waiting would fail the next ones too: a process with a
        flow in it refuses gates in threads that know of none.
        """

        def ended(run: Beside) -> bool:
            if run.thread.is_alive():
                for view in stack.admin.requests():
                    if view.request.run.root_run_id == run.id:
                        stack.admin.withdraw(view.request.id, "its test has ended")
                run.thread.join(timeout=0.2)
            return not run.thread.is_alive()

        while cls.begun:
            run = cls.begun.pop()
            until(lambda run=run: ended(run))


class Patience:
    """A timeout of the author's that is over when the test says so; the run then lives on until
    the test has decided, for with its end its questions are withdrawn.
    """

    def __init__(self) -> None:
        self._over, self._rested = threading.Event(), threading.Event()

    @asynccontextmanager
    async def timeout(self) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as self._limit:
            yield

    async def rest(self) -> None:
        self._over.set()
        await asyncio.to_thread(self._rested.wait, 90)

    @contextmanager
    def ended(self) -> Iterator[None]:
        """For the test, once the flow waits."""
        self._loop.call_soon_threadsafe(lambda: self._limit.reschedule(self._loop.time()))
        assert self._over.wait(90)
        try:
            yield
        finally:
            self._rested.set()


def test_a_flow_without_a_deployment_waits_in_its_process(stack):
    """It says so, stays Running, and goes on when somebody decides."""

    @flow
    def pays() -> Any:
        return gated(pay)(BIG)

    run = Beside(pays)
    (view,) = stack.asked(run.id)
    stack.says(run.id, f"{view.url} (waits in its process: without a deployment)")
    assert stack.state(run.id)["type"] == "RUNNING"
    stack.decide(view)
    assert run.end() == {"paid": "5000.00"}


def test_a_report_that_comes_too_late_leads_to_people_and_on(stack):
    """The lease lapses under a body that runs on: people are asked, and what they allow runs."""
    passes: list[str] = []
    asked = threading.Event()

    @gated("note")
    def slow(text: str) -> str:
        passes.append(text)
        if len(passes) == 1:
            lapse(stack)
            assert asked.wait(90)
        return text

    @flow
    def notes() -> str:
        return slow("hello")

    run = Beside(notes)
    (view,) = stack.asked(run.id)
    assert view.request.purpose is Purpose.IN_DOUBT
    asked.set()
    stack.decide(view)
    assert run.end() == "hello"
    assert passes == ["hello", "hello"]


def lapse(stack: Stack) -> None:
    """The lease of the open attempt runs out; the server's timers will see it."""
    with closing(sqlite3.connect(stack.folder / "gates.sqlite")) as store, store:
        store.execute(
            "UPDATE attempt SET lease_until = '2026-01-01 00:00:00.000000' WHERE ended_at IS NULL"
        )


def test_a_direct_caller_gets_the_error_and_the_run_its_name(stack):
    """The author's own try/except sees Rejected; Prefect shows who and why."""

    @flow
    def pays() -> Any:
        return gated(pay)(BIG)

    run = Beside(pays)
    stack.decide(*stack.asked(run.id), "reject", "too much")
    with pytest.raises(Rejected, match=r"^Rejected by Dana Okafor: too much$"):
        run.end()
    state = stack.state(run.id)
    assert (state["type"], state["name"]) == ("CANCELLED", "Rejected")


def test_a_rejection_that_the_author_handles_ends_nothing(stack):
    """Authors catch Rejected and go on."""

    @flow
    def pays() -> str:
        try:
            gated(pay)(BIG)
        except Rejected as no:
            return f"no: {no.details['action']}"
        return "yes"

    run = Beside(pays)
    stack.decide(*stack.asked(run.id), "reject", "too much")
    assert run.end() == "no: till.pay"
    assert stack.state(run.id)["name"] == "Completed"


def test_guidance_reaches_the_author_and_the_next_call_is_the_next_round(stack):
    """An agent revises what it proposed; the same gate asks again and says what came before."""

    @flow
    def pays() -> Any:
        amount = "8000.00"
        while True:
            try:
                return gated(pay)({"payee": "acme", "amount": amount})
            except SentBack as back:
                amount = back.guidance

    run = Beside(pays)
    (first,) = stack.asked(run.id)
    stack.decide(first, "send_back", "5000.00")
    (second,) = until(lambda: [one for one in stack.asked(run.id) if one.request.round == 2])
    assert second.request.gate_id == first.request.gate_id
    assert second.request.before == (
        "Round 1: sent back by Dana Okafor: 5000.00",
        "amount: 8000.00 -> 5000.00",
    )
    stack.says(run.id, "Pay out 8,000.00 EUR: Sent back by Dana Okafor: 5000.00")
    stack.decide(second)
    assert run.end() == {"paid": "5000.00"}


def test_guidance_that_nobody_handles_ends_the_run_under_its_name(stack):
    """The state names the person and the guidance, and is no crash."""

    @flow
    def pays() -> Any:
        return gated(pay)(BIG)

    run = Beside(pays)
    stack.decide(*stack.asked(run.id), "send_back", "half of it")
    with pytest.raises(SentBack) as back:
        run.end()
    assert back.value.guidance == "half of it"
    state = stack.state(run.id)
    assert (state["type"], state["name"]) == ("CANCELLED", "SentBack")
    assert state["message"].startswith("Sent back by Dana Okafor: half of it")


def test_what_the_policy_forbids_ends_the_run_at_once():
    """Nobody is asked; the state gives the policy's reason."""

    @flow
    def burns() -> None:
        gated(burn)(SMALL)

    state = burns(return_state=True)
    assert (state.type.value, state.name) == ("CANCELLED", "Forbidden")
    assert "money is not burned" in state.message


def test_an_unknown_action_is_an_error_of_the_flow():
    """Not a decision: the run fails."""

    @flow
    def unknown() -> None:
        other = type(pay)(**{**vars(pay), "name": "till.unknown"})
        gated(other)(SMALL)

    state = unknown(return_state=True)
    assert state.type.value == "FAILED"
    with pytest.raises(UnknownAction, match=r"till\.unknown"):
        state.result()


@flow
async def bare() -> None:
    require_approval("x")
    await write("after")


@flow
async def assigned() -> None:
    gate = require_approval("x")
    await write("after")
    del gate


@flow
async def last() -> None:
    await asyncio.sleep(0)
    require_approval("x")


@flow
async def returned() -> Any:
    return require_approval("x")


@flow
async def swallowed() -> None:
    try:
        require_approval("x")
        await write("after")
    except ValueError:
        DONE.append("handled")


@flow
async def as_condition() -> None:
    if require_approval("x"):
        DONE.append("after")


@flow
def from_sync_code() -> None:
    note("x")
    DONE.append("reached")


@pytest.mark.parametrize("forgetful", [bare, assigned, last, returned, swallowed, as_condition])
def test_a_forgotten_await_fails_the_run_before_its_next_task(forgetful):
    """A gate that nobody awaits asks nobody: nothing may come after it."""
    state = asyncio.run(forgetful(return_state=True))
    assert state.type.value == "FAILED"
    assert "was not awaited, so nobody was asked: write `await x()`" in state.message
    assert DONE == []


def test_an_async_function_called_from_sync_code_fails_the_run():
    """Nothing could await it there."""
    state = from_sync_code(return_state=True)
    assert state.type.value == "FAILED"
    assert "was not awaited" in state.message


@flow
async def gathered() -> Any:
    return await asyncio.gather(note("a"), write("b"), note("c"))


@flow
async def timed() -> Any:
    return [await asyncio.wait_for(note("a"), 20)]


@flow
async def grouped() -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(note("a")), group.create_task(note("c"))]
        await write("b")
    return [one.result() for one in tasks]


@pytest.mark.parametrize(
    ("good", "result"), [(gathered, ["a", None, "c"]), (timed, ["a"]), (grouped, ["a", "c"])]
)
def test_every_way_of_awaiting_works(good, result):
    """gather, wait_for and task groups take a gate like a coroutine."""
    assert asyncio.run(good()) == result


def test_a_flow_that_fails_beside_an_unawaited_gate_keeps_its_own_error():
    """The author's error is not hidden by ours, and the run gets its final state."""

    @flow
    async def broken() -> None:
        gate = require_approval("x")
        raise KeyError("author")
        del gate

    state = asyncio.run(broken(return_state=True))
    assert state.type.value == "FAILED"
    assert "KeyError" in state.message


def test_two_calls_with_one_key_fail_the_run():
    """Both are named, with their lines."""

    @flow
    def twice() -> None:
        gated(pay, key="k")(SMALL)
        gated(pay, key="k")(SMALL)

    with pytest.raises(MisusedGate, match=r"'k': till.pay\(.*test_flow.py:\d+ and till.pay\("):
        twice()


@pytest.mark.parametrize("key", [None, "burn"], ids=["default key", "one key"])
def test_an_agent_that_takes_no_no_is_brought_to_people(stack, key):
    """It is told why twice; the third time people are asked, and what they say reaches the agent as
    data. What it then proposes again goes a level up, to whom is in command.
    """
    told: list[str] = []

    @flow
    def stubborn() -> list[str]:
        for _ in range(4):
            try:
                gated(burn, key=key)(SMALL)
            except Forbidden as error:
                told.append(f"forbidden: {error}")
            except SentBack as back:
                told.append(f"guided: {back.guidance}")
            except Rejected as error:
                told.append(f"stopped: {error}")
        return told

    run = Beside(stubborn)
    asked = stack.asked(run.id)[0]
    assert asked.request.purpose is Purpose.LOOP
    assert len(told) == 2
    assert "money is not burned" in told[0]
    stack.decide(asked, "send_back", "book it instead")
    again = until(
        lambda: next((v for v in stack.asked(run.id) if v.request.id != asked.request.id), None)
    )
    assert again.request.evidence["level"] == 2
    stack.person("tess").decide(again.request.id, DecisionKind.REJECT, "enough")
    assert run.end()[2:] == ["guided: book it instead", told[3]]
    assert told[3].startswith("stopped: Rejected by Tess Laurent: enough")


def test_sub_flows_share_their_runs_circles(stack):
    """The same write in two sub-flows of one run is the same write twice."""

    @gated("note")
    def write_note(text: str) -> str:
        DONE.append(text)
        return text

    @flow
    def part() -> str:
        return write_note("the same words")

    @flow
    def whole() -> list[str]:
        return [part(), part()]

    run = Beside(whole)
    (asked,) = stack.asked(run.id)
    assert asked.request.judgement.reasons[0].rule == "loop.same_write"
    assert asked.request.run.root_run_id == run.id != asked.request.run.run_id
    assert DONE == ["the same words"]
    stack.decide(asked, "reject", "once is enough")
    with pytest.raises(Rejected):
        run.end()
    assert DONE == ["the same words"]


def test_a_task_that_is_tried_again_after_its_gate_pays_once(stack):
    """Prefect's task retries repeat the call; the gate returns what it recorded."""
    tries: list[dict[str, str]] = []

    @task(retries=2)
    def pays() -> Any:
        tries.append(gated(pay)(SMALL))
        if len(tries) < 3:
            raise OSError("after the payment")
        return tries[0]

    @flow
    def flow_of_it() -> str:
        pays()
        return run_id()

    run = flow_of_it()
    assert len(tries) == 3
    done = [one for one in stack.admin.requests("settled") if one.request.run.run_id == run]
    assert len({one.request.id for one in done}) <= 1


def test_a_task_retries_an_action_that_failed():
    """ActionFailed raised out of a task is answered by a new try of the same gate."""
    tries: list[int] = []

    @gated("note")
    def flaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ActionFailed("no paper")
        return "printed"

    @task(retries=1)
    def prints() -> str:
        return flaky()

    @flow
    def flow_of_it() -> str:
        return prints()

    assert flow_of_it() == "printed"
    assert len(tries) == 2


def test_a_task_is_not_tried_again_against_peoples_word():
    """What failed is tried again, what was refused is not: the answer would be the same."""
    tries: list[str] = []

    @gated("note")
    def flaky() -> str:
        tries.append("print")
        raise ActionFailed(f"no paper, try {len(tries)} of this test")

    @task(retries=1, retry_condition_fn=retriable)
    def prints() -> str:
        return flaky()

    @task(retries=5, retry_condition_fn=retriable)
    def burns() -> None:
        tries.append("burn")
        gated(burn)(SMALL)

    @flow
    def flow_of_it(which: str) -> None:
        prints() if which == "print" else burns()

    with pytest.raises(ActionFailed):
        flow_of_it("print")
    with pytest.raises(Forbidden):
        flow_of_it("burn")
    assert tries == ["print", "print", "burn"]


def test_a_thread_that_does_not_know_its_run_is_refused():
    """Its gates would be asked again on every pass."""

    @flow
    def threads() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: gated(pay)(SMALL)).result()

    with pytest.raises(MisusedGate, match=r"task.submit"):
        threads()


def test_outside_any_flow_a_gate_works_too():
    """A plain script waits in its process."""
    assert gated(pay)(SMALL) == {"paid": "500.00"}
    assert asyncio.run(_script()) == "x"


async def _script() -> str:
    return await note("x")


def test_a_gate_that_is_given_up_starts_nothing(stack):
    """A timeout of the author's ends the wait; a later approval runs nothing."""
    ran: list[str] = []
    patience = Patience()

    @gated("slow")
    async def slow() -> None:
        ran.append("ran")

    @flow
    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with patience.timeout():
                await slow()
        await patience.rest()

    run = Beside(impatient)
    (view,) = stack.asked(run.id)
    with patience.ended():
        stack.decide(view)
    run.end()
    found = until(lambda: stack.admin.view(view.request.id).outcome)
    assert found.kind == "approved"
    assert stack.admin.view(view.request.id).execution is None
    assert ran == []


def test_the_approved_copy_is_what_runs(stack):
    """What a flow changes in its own objects while people decide is not run."""
    payout = {"payee": "acme", "amount": "5000.00"}
    got: list[dict[str, str]] = []

    @gated("slow")
    def pays(what: dict[str, str]) -> None:
        got.append(what)

    @flow
    def changes() -> None:
        pays(payout)

    run = Beside(changes)
    (view,) = stack.asked(run.id)
    payout["amount"] = "9999.00"
    stack.decide(view)
    run.end()
    assert got == [{"payee": "acme", "amount": "5000.00"}]


def test_forgotten_await_is_a_misused_gate():
    """One class to catch in reviews of a flow."""
    assert issubclass(ForgottenAwait, MisusedGate)


@flow
def two_reports() -> None:
    here(current()).show("pay.well", succeeded=True, message="approved by policy")
    here(current()).show("pay.badly", succeeded=False, message="no funds")


def test_what_an_executor_did_shows_in_prefect_as_a_task_that_has_ended(stack):
    """None stays Running there: Prefect drops an end whose time lies before the start."""
    run = two_reports(return_state=True).state_details.flow_run_id
    asked = {"flow_runs": {"id": {"any_": [str(run)]}}}

    def look() -> dict[str, tuple[str, str]] | None:
        found = stack.prefect("POST", "/task_runs/filter", asked)
        states = {one["name"][:-4]: one["state"] for one in found if one["state"]}
        ended = {k: (v["type"], v["message"]) for k, v in states.items() if v["type"] != "RUNNING"}
        return ended if len(ended) == 2 else None

    assert until(look) == {
        "pay.well": ("COMPLETED", "approved by policy"),
        "pay.badly": ("FAILED", "no funds"),
    }


def frozen(stack: Stack, **scope: object) -> str:
    """An admin freezes; the freeze's id."""
    body = {"scope": scope, "reason": "odd amounts"}
    return str(stack.admin.command("POST", "/v1/freezes", body)["id"])


def thaw(stack: Stack, freeze_id: str) -> None:
    stack.person("tess").command("POST", f"/v1/freezes/{freeze_id}/thaw", {"reason": "looked into"})


def test_what_is_frozen_ends_the_run_at_once(stack):
    """Nobody is asked; the state names who, why, and what the run had done before."""

    @flow
    def pays() -> None:
        gated(pay, key="first")(SMALL)
        nonlocal freeze_id
        freeze_id = frozen(stack, action="till.*")
        gated(pay, key="second")(SMALL | {"amount": "501.00"})

    freeze_id = ""
    state = pays(return_state=True)
    thaw(stack, freeze_id)
    assert (state.type.value, state.name) == ("CANCELLED", "Frozen")
    assert "Frozen by admin at" in state.message
    assert "(action till.*): odd amounts" in state.message
    assert "What stands: Pay out" in state.message


def test_an_approval_waits_for_the_thaw(stack):
    """The run goes on waiting in its process, and uses what was approved meanwhile."""

    @flow
    def pays() -> Any:
        return gated(pay)(BIG)

    run = Beside(pays)
    asked = stack.asked(run.id)
    freeze_id = frozen(stack, run=run.id)
    stack.decide(*asked)
    view = stack.admin.view(asked[0].request.id)
    assert view.outcome is not None
    assert "Frozen by admin" in view.frozen
    assert stack.paid(run.id) == []
    thaw(stack, freeze_id)
    assert run.end() == {"paid": "5000.00"}
