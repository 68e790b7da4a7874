"""Gates side by side in flows without a deployment, with real servers."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings

from gates import (
    ActionFailed,
    Cancelled,
    MisusedGate,
    Rejected,
    Undecided,
    gated,
    require_approval,
    together,
)
from gates.core.errors import InvalidArguments
from gates.flow.awaiting import ForgottenAwait
from tests.integration.test_flow import Beside, Patience
from tests.support.prefect import Stack, until
from tests.support.prefect import stack as started
from tests.support.world import pay

pytestmark = [
    pytest.mark.prefect,
    # Prefect leaves sockets of its own to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
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


def payout(amount: str) -> dict[str, str]:
    return {"payee": "acme", "amount": amount}


@gated("note")
def note(text: str) -> str:
    DONE.append(text)
    return text.upper()


@gated("note")
async def async_note(text: str) -> str:
    await asyncio.sleep(0)
    DONE.append(text)
    return text.upper()


@gated("letter")
def letter(text: str) -> str:
    DONE.append(text)
    return text.upper()


def test_all_are_asked_at_once_and_told_as_they_are_decided(stack):
    """Three cards are out before anybody decides; what needs nobody is told first."""
    run = Beside(telling)
    views = stack.asked(run.id, 3)
    assert run.thread.is_alive()
    for number, view in enumerate((views[2], views[0]), start=1):
        until(lambda number=number: len(DONE) >= number)
        stack.decide(view)
    until(lambda: len(DONE) >= 3)
    stack.decide(views[1], "reject", "not ours")
    run.end()
    assert DONE == ["500", "7000", "5000", "Rejected by Dana Okafor: not ours"]


@flow
def telling() -> None:
    asks = [gated(pay).ask(payout(one)) for one in ("5000", "6000", "7000", "500")]
    for one in together(asks):
        try:
            DONE.append(one.result()["paid"])
        except Rejected as no:
            DONE.append(str(no))


def test_actions_functions_and_questions_side_by_side(stack):
    """Results come in the order given, each of its own type."""

    @flow
    def mixed() -> Any:
        return together(
            gated(pay).ask(payout("500")), note.ask("a"), require_approval.ask("Close it?")
        ).results()

    run = Beside(mixed)
    stack.decide(*stack.asked(run.id))
    paid, noted, outcome = run.end()
    assert (paid, noted, outcome.by) == ({"paid": "500"}, "A", ("Dana Okafor",))


def test_a_rejection_does_not_lose_the_others_results(stack):
    """All are waited for; then the first that was stopped is raised; each keeps its own."""
    kept: list[Any] = []

    @flow
    def loses_nothing() -> None:
        asks = [gated(pay).ask(payout("5000")), gated(pay).ask(payout("500"))]
        kept.extend(asks)
        together(asks).results()

    run = Beside(loses_nothing)
    stack.decide(*stack.asked(run.id), "reject", "not ours")
    with pytest.raises(Rejected, match="not ours"):
        run.end()
    assert kept[1].result() == {"paid": "500"}
    assert isinstance(kept[0].error, Rejected)
    assert stack.state(run.id)["name"] == "Rejected"


def test_async_gates_side_by_side(stack):
    """`async for`, `await` of all, and `await` of one."""

    @flow
    async def side_by_side() -> Any:
        asks = [gated(pay).ask(payout("5000")), async_note.ask("a"), note.ask("b")]
        told = [str(one.result()) async for one in together(asks)]
        both = await together(async_note.ask("c"), note.ask("d"))
        return told, both, await gated(pay).ask(payout("600"))

    run = Beside(side_by_side)
    stack.decide(*stack.asked(run.id))
    told, both, alone = run.end()
    assert sorted(told[:2]) == ["A", "B"]
    assert told[2:] == ["{'paid': '5000'}"]
    assert (both, alone) == (["C", "D"], {"paid": "600"})


def test_bodies_run_one_after_another_each_under_a_grant_of_its_own(stack):
    """None is claimed before its turn, so that a death leaves one in doubt and not all."""
    states: list[list[str]] = []

    @gated("note")
    def looks(text: str) -> str:
        states.append(stack.stored("SELECT state FROM execution WHERE state = 'running'"))
        return text

    @flow
    def bodies() -> Any:
        return together(looks.ask("a"), looks.ask("b")).results()

    assert bodies() == ["a", "b"]
    assert states == [["running"], ["running"]]


def test_a_body_that_fails_is_told_by_its_own_ask():
    """Its neighbours run all the same."""

    @gated("note")
    def fails(text: str) -> str:
        raise ActionFailed(f"no paper for {text}", error_class="NoPaper")

    @flow
    def some_fail() -> Any:
        return [type(one.error).__name__ for one in together(fails.ask("a"), note.ask("b"))]

    assert sorted(some_fail()) == ["ActionFailed", "NoneType"]
    assert DONE == ["b"]


def test_what_cannot_be_proposed_is_told_by_its_own_ask():
    """Arguments are refused where the ask is made; the server's refusals come with the others."""

    @flow
    def refused() -> Any:
        other = type(pay)(**{**vars(pay), "name": "till.unknown"})
        asks = [gated(other).ask(payout("5")), gated(pay).ask(payout("5"))]
        return [type(one.error).__name__ for one in together(asks)]

    @flow
    def wrong() -> None:
        gated(pay).ask({"payee": "acme"})

    assert refused() == ["UnknownAction", "NoneType"]
    with pytest.raises(InvalidArguments, match="amount"):
        wrong()


@pytest.mark.parametrize(("left", "error"), [("open", Undecided), ("withdrawn", Cancelled)])
def test_an_author_need_not_wait_for_ever(stack, left, error):
    """After `within` the undecided ones are left open or withdrawn, and told as such."""

    @flow
    def impatient() -> Any:
        asks = [gated(pay).ask(payout("5000")), gated(pay).ask(payout("500"))]
        found = [one.error for one in together(asks, within=timedelta(seconds=4), left=left)]
        return [type(one).__name__ for one in found]

    run = Beside(impatient)
    assert run.end() == ["NoneType", error.__name__]
    query = "SELECT id FROM request WHERE root_run_id = ? AND asks_people"
    (asked,) = stack.stored(query, run.id)
    outcome = stack.admin.view(asked).outcome
    if left == "withdrawn":
        words = "cancelled by invoice-agent: the flow waits no longer than 0:00:04"
        assert str(outcome) == words
    else:  # open as long as the run lives, which ends here
        assert outcome is None or outcome.by == ("the end of the run",)


def test_what_is_called_for_one_of_them_does_not_depend_on_the_order(stack):
    """Keys of gates in the loop's body are named after the ask that they are for."""

    @flow
    def nested(order: list[str]) -> None:
        sums = {"a": "500", "b": "501"}
        asks = {one: gated(pay, key=f"pay-{one}").ask(payout(sums[one])) for one in order}
        for one in together(asks.values()):
            note(one.key)
        note("after")

    def keys(order: list[str]) -> dict[str, str]:
        state = nested(order, return_state=True)
        query = "SELECT body FROM request WHERE action = 'note' AND root_run_id = ?"
        found = stack.stored(query, str(state.state_details.flow_run_id))
        bodies = [json.loads(body) for body in found]
        return {body["action"]["arguments"]["text"]: body["gate_key"] for body in bodies}

    first, second = keys(["a", "b"]), keys(["b", "a"])
    assert first == second
    assert first["after"] == "note-1"
    assert len(set(first.values())) == 3


def test_an_ask_that_nobody_sees_to_fails_the_run():
    """It would be a gate that asks nobody."""

    @task
    def writes() -> None:
        DONE.append("after")

    @flow
    def forgets() -> None:
        note.ask("x")
        gc.collect()
        writes()

    state = forgets(return_state=True)
    assert state.type.value == "FAILED"
    assert "note(text='x') was not given to together(), so nobody was asked" in state.message
    assert DONE == []


def test_an_ask_may_be_kept_for_a_while():
    """Over tasks, until its time comes."""

    @task
    def writes() -> None:
        DONE.append("between")

    @flow
    def keeps() -> Any:
        ask = note.ask("x")
        writes()
        return together(ask).results()

    assert keeps() == ["X"]
    assert DONE == ["between", "x"]


def test_misuse_is_named():
    """Sync loops in async code; one ask twice; a result before there is one."""

    @flow
    async def blocks() -> None:
        ask = note.ask("x")
        ask.taken()  # or it would be said in a later test's run that nobody was asked
        for _ in together(ask):
            pass

    with pytest.raises(MisusedGate, match="async for"):
        asyncio.run(blocks())
    ask = note.ask("x")
    with pytest.raises(MisusedGate, match="twice"):
        together(ask, ask)
    with pytest.raises(Undecided, match="loop over together"):
        ask.result()
    ask.taken()
    assert together([]).results() == []
    assert issubclass(ForgottenAwait, MisusedGate)


def test_a_group_that_is_given_up_starts_nothing(stack):
    """A timeout of the author's ends the wait; later approvals run nothing."""

    patience = Patience()

    @flow
    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with patience.timeout():
                await together(letter.ask("a"), letter.ask("b"))
        await patience.rest()

    run = Beside(impatient)
    views = stack.asked(run.id, 2)
    with patience.ended():
        for view in views:
            stack.decide(view)
    run.end()
    until(lambda: all(stack.admin.view(view.request.id).outcome for view in views))
    assert [stack.admin.view(view.request.id).execution for view in views] == [None, None]
    assert DONE == []


def test_a_thread_of_the_flow_may_wait_for_a_group_too(stack):
    """Two groups in two tasks, each with its own wait."""

    @task
    def two(*amounts: str) -> list[dict[str, str]]:
        return together(*(gated(pay).ask(payout(one)) for one in amounts)).results()

    @flow
    def groups() -> Any:
        futures = [two.submit("5000", "500"), two.submit("6000", "600")]
        return [future.result() for future in futures]

    run = Beside(groups)
    for view in stack.asked(run.id, 2):
        stack.decide(view)
    paid = [[one["paid"] for one in pair] for pair in run.end()]
    assert paid == [["5000", "500"], ["6000", "600"]]
    assert threading.active_count() < 50
