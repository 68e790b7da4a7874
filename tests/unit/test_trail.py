"""What a run has done, and what stands of it: from requests and executions alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from gates.actions import Executed, Registry, Undo, action
from gates.core.asked import Ask, Requirement
from gates.core.gate_keys import undo_key
from gates.core.model import (
    ApprovalRequest,
    Attempt,
    Execution,
    ExecutionState,
    Judgement,
    Outcome,
    OutcomeKind,
    Reason,
    Requester,
    RequestView,
    RunRef,
    Step,
    Tier,
    Verdict,
)
from gates.flow.words import ended
from gates.trail import trail

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
DONE, DOUBT, FAILED = ExecutionState.SUCCEEDED, ExecutionState.IN_DOUBT, ExecutionState.FAILED


class Move(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    thing: str
    to: str


class Things:
    """Nothing is executed here."""


def _undo_put(done: Executed[Move, dict[str, str]]) -> Undo | str:
    if done.result is None:
        return "nobody knows where it is"
    return Undo(take, done.arguments)


@action("take", title="Take it away")
def take(things: Things, move: Move, *, idempotency_key: str) -> dict[str, str]:
    raise NotImplementedError


@action("put", title="Put", undo=_undo_put, summary=lambda move, _done: f"{move.thing} is there")
def put(things: Things, move: Move, *, idempotency_key: str) -> dict[str, str]:
    raise NotImplementedError


@action("look", changes_nothing=True)
def look(things: Things, move: Move, *, idempotency_key: str) -> dict[str, str]:
    raise NotImplementedError


@action(
    "swap", undo=lambda done: Undo(swap, Move(thing=done.arguments.to, to=done.arguments.thing))
)
def swap(things: Things, move: Move, *, idempotency_key: str) -> dict[str, str]:
    raise NotImplementedError


REGISTRY = Registry.of([put, take, look, swap])


def step(
    name: str,
    state: ExecutionState | None = DONE,
    *,
    at: int,
    key: str = "",
    outcome: OutcomeKind = OutcomeKind.APPROVED,
    thing: str = "vase",
    to: str = "shelf",
    in_process: bool = False,
    result: dict[str, Any] | None = None,
) -> RequestView:
    """One gate `at` minutes after the start; without a state nothing was executed."""
    moment = START + timedelta(minutes=at)
    asks = outcome is not OutcomeKind.APPROVED
    request = ApprovalRequest(
        id=f"r{at}",
        gate_key=key or f"{name}-{at}",
        round=1,
        run=RunRef(run_id="run", root_run_id="run"),
        requester=Requester(agent="mover"),
        action={"name": name, "title": name.title(), "arguments": {"thing": thing, "to": to}},
        in_process=in_process,
        judgement=Judgement(
            verdict=Verdict.REQUIRE_APPROVAL if asks else Verdict.ALLOW,
            tier=Tier.HIGH,
            reasons=(Reason(rule="r", text="t"),),
            policy_digest="d",
            ask=Ask(who=("g",)) if asks else None,
        ),
        requirement=Requirement(people={"d": "Dana"}, quorum=1, deadline_at=moment)
        if asks
        else None,
        opened_at=moment,
    )
    execution = None
    if state is not None:
        attempt = Attempt(
            id=f"attempt-{at}", number=1, holder="e", fence=1, lease_until=moment,
            started_at=moment, ended_at=moment, state=state,
            error="broken" if state is FAILED else "",
        )  # fmt: skip
        told = ({"at": to} if result is None else result) if state is DONE else None
        execution = Execution(request_id=request.id, state=state, attempts=(attempt,), result=told)
    found = Outcome(kind=outcome, by=("Dana",), reason="not now", at=moment)
    return RequestView(request=request, outcome=found, execution=execution)


def told(*views: RequestView) -> list[tuple[str, str, str]]:
    return [(one.summary, one.state, one.note) for one in trail(REGISTRY, views)]


def test_what_stands_is_what_executions_left() -> None:
    """Done, half done; a failure that left nothing, a look and an answered question are none."""
    found = trail(
        REGISTRY,
        [
            step("look", at=1),
            step("put", at=2),
            step("put", FAILED, at=3, thing="cup"),
            step("Close the books?", at=4, in_process=True, result={}),
            step("note", at=5, in_process=True, result={"value": None}),
            step("put", DOUBT, at=6, thing="lamp"),
            step("put", None, at=7, outcome=OutcomeKind.REJECTED, thing="desk"),
        ],
    )
    assert [(one.summary, one.state) for one in found] == [
        ("vase is there", "done"),
        ("Note thing vase, to shelf", "done"),
        ("Put thing lamp, to shelf", "half_done"),
    ]
    vase, note, lamp = found
    assert vase.undoable
    assert vase.undo is not None
    assert (vase.undo.name, vase.undo.arguments) == ("take", {"thing": "vase", "to": "shelf"})
    assert not note.undoable
    assert "no way" in note.cannot_undo
    assert (lamp.note, lamp.cannot_undo) == (
        "nobody knows whether it took effect",
        "nobody knows where it is",
    )


def test_steps_of_one_action_can_be_told_apart_and_a_flows_own_look_is_none() -> None:
    """By subject, else by arguments, briefly."""
    look, write = step("t.poll", at=1, in_process=True), step("t.write", at=2, in_process=True)
    about = write.request.action.model_copy(update={"subject": ("doc:1",)})
    long = write.request.action.model_copy(update={"arguments": {"text": "x" * 500}})
    views = [
        look.model_copy(
            update={"request": look.request.model_copy(update={"changes_nothing": True})}
        ),
        *(
            view.model_copy(update={"request": view.request.model_copy(update={"action": action})})
            for view, action in ((write, about), (step("t.write", at=3, in_process=True), long))
        ),
    ]
    first, second = [one.summary for one in trail(REGISTRY, views)]
    assert first == "T.Write doc:1"
    assert second.startswith("T.Write text xxx")
    assert len(second) < 80


@pytest.mark.parametrize(
    ("state", "outcome", "stands", "note"),
    [
        (DONE, OutcomeKind.APPROVED, "undone", "taken back"),
        (FAILED, OutcomeKind.APPROVED, "done", "taking it back failed: broken"),
        (
            DOUBT,
            OutcomeKind.APPROVED,
            "done",
            "to be taken back: nobody knows whether it took effect",
        ),
        (None, OutcomeKind.REJECTED, "done", "taking it back was rejected by Dana: not now"),
    ],
)
def test_how_far_an_undo_has_come(state, outcome, stands, note) -> None:
    """Only the very action that the registry names takes a step back, and only once it is done."""
    assert told(step("put", at=1), step("take", state, at=2, outcome=outcome)) == [
        ("vase is there", stands, note)
    ]


def test_a_key_takes_nothing_back() -> None:
    """A flow that calls something else `undo-...` has undone nothing."""
    cheat = step("take", at=2, key=undo_key("put-1"), thing="cup")
    assert told(step("put", at=1), cheat) == [
        ("vase is there", "done", ""),
        ("Take thing cup, to shelf", "done", ""),
    ]


def test_what_is_done_again_stands_again() -> None:
    """There, back, there: an action that is its own opposite is read in the order of time."""
    there = {"thing": "old", "to": "new"}
    back = {"thing": "new", "to": "old"}
    first, second = step("swap", at=1, **there), step("swap", at=2, **back)
    assert [state for _, state, _ in told(second, first)] == ["undone"]
    third = step("swap", at=3, **there)
    assert [state for _, state, _ in told(third, second, first)] == ["undone", "done"]


def test_the_last_word_of_a_run() -> None:
    """What stands, half stands and was taken back; nothing where there is nothing to say."""
    steps = trail(
        REGISTRY,
        [
            step("put", at=1),
            step("take", at=2),
            step("put", at=3, thing="cup"),
            step("put", DOUBT, at=4),
        ],
    )
    assert ended("Rejected by Dana: no", steps) == (
        "Rejected by Dana: no. What stands: cup is there; half done: Put thing vase, "
        "to shelf (nobody knows whether it took effect). Taken back: vase is there."
    )
    assert ended("Rejected by Dana: no", []) == "Rejected by Dana: no"


def test_an_undo_key_is_a_key() -> None:
    """Long keys stay within their limit, and apart."""
    one, two = undo_key("x" * 200), undo_key("x" * 199 + "y")
    assert len(one) == len(two) == 200
    assert one != two


def test_an_action_that_the_registry_has_lost_still_stands() -> None:
    """With the words that were stored, and no way back."""
    (found,) = trail(Registry(), [step("put", at=1)])
    assert isinstance(found, Step)
    assert (found.summary, found.undoable) == ("Put thing vase, to shelf", False)
