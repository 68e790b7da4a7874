"""What a run has done so far: which of its gates stand done, half done, or taken back.

Read where somebody is told of an end, and where people look; never on the way of an action
that just runs. Rules:
1. A step is what an execution left, not what a flow says: a failure that is proven to have left
   nothing is none, and neither is an action that only looks.
2. A step is taken back where the very action that its `undo` names has succeeded later in the
   same run: the registry says so, not a key that a flow may choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gates.actions import ActionDefinition, Executed, Registry, Undo
from gates.core.errors import GatesError, UnknownAction
from gates.core.execution import idempotency_key
from gates.core.model import (
    Action,
    Execution,
    ExecutionState,
    OutcomeKind,
    RequestView,
    Step,
    UndoOffer,
)

UNDER_WAY = {
    ExecutionState.QUEUED: "waits for an executor",
    ExecutionState.RUNNING: "is being executed",
    ExecutionState.IN_DOUBT: "nobody knows whether it took effect",
}
LONGEST_WHICH = 60
LEFT_NOTHING = (ExecutionState.FAILED, ExecutionState.WITHDRAWN)
NO = {
    OutcomeKind.REJECTED: "rejected",
    OutcomeKind.EXPIRED: "not decided in time",
    OutcomeKind.CANCELLED: "withdrawn",
}


def trail(registry: Registry, rounds: Iterable[RequestView]) -> tuple[Step, ...]:
    """All rounds of all gates of a run; the steps come back in the order they were done in."""
    gates: dict[str, list[RequestView]] = {}
    for view in rounds:
        gates.setdefault(view.request.gate_key, []).append(view)
    found = [_Found(registry, sorted(one, key=lambda v: v.request.round)) for one in gates.values()]
    steps: list[_Found] = []
    for one in sorted(found, key=lambda f: f.at):
        undone = one.undoes(steps)
        if undone is not None:
            undone.note_undo(one)
        elif one.stands:
            steps.append(one)
    return tuple(one.step() for one in steps)


@dataclass
class _Found:
    """One gate. `current` is the round that was executed last, else the last one."""

    registry: Registry
    rounds: Sequence[RequestView]
    undone: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        ran = [view for view in self.rounds if view.execution is not None]
        self.current = ran[-1] if ran else self.rounds[-1]
        self.offer = self._offer() if self.stands else ""

    @property
    def execution(self) -> Execution | None:
        return self.current.execution

    @property
    def at(self) -> datetime:
        """When it ended, or began: what is taken back was there before."""
        last = self.execution.last if self.execution else None
        if last is None:
            return self.current.request.opened_at
        return last.ended_at or last.started_at

    @property
    def definition(self) -> ActionDefinition | None:  # type: ignore[type-arg] # of any action
        request = self.current.request
        if request.in_process:
            return None
        try:
            return self.registry.find(request.action.name)
        except UnknownAction:
            return None

    @property
    def stands(self) -> bool:
        execution = self.execution
        if execution is None or execution.state in LEFT_NOTHING:
            return False
        definition = self.definition
        if self.current.request.changes_nothing or (definition and definition.changes_nothing):
            return False
        # An answered question leaves nothing but its answer, which is an empty result.
        return not (self.current.request.in_process and execution.result == {})

    def undoes(self, steps: Sequence[_Found]) -> _Found | None:
        """The latest earlier step that this gate takes back, or was to."""
        for step in reversed(steps):
            offer = step.offer
            if isinstance(offer, Undo) and not step.undone:
                action = self.rounds[-1].request.action
                if _as_action(offer).fingerprint == action.fingerprint:
                    return step
        return None

    def note_undo(self, other: _Found) -> None:
        """`other` takes this one back; how far it has come is said here."""
        state = other.execution.state if other.execution else None
        outcome = other.rounds[-1].outcome
        if state is ExecutionState.SUCCEEDED:
            self.undone, self.note = True, "taken back"
        elif state in UNDER_WAY:
            self.note = f"to be taken back: {UNDER_WAY[state]}"
        elif state is ExecutionState.FAILED and other.execution and other.execution.last:
            self.note = f"taking it back failed: {other.execution.last.error}"
        elif outcome is None:
            self.note = "people are asked whether to take it back"
        elif outcome.kind in NO:
            self.note = f"taking it back was {NO[outcome.kind]} by {', '.join(outcome.by)}: "
            self.note += outcome.reason

    def step(self) -> Step:
        request, execution = self.current.request, self.execution
        assert execution is not None  # noqa: S101 - only what was executed stands
        offer, half = self.offer, execution.state in UNDER_WAY
        return Step(
            request_id=request.id,
            gate_key=request.gate_key,
            title=request.action.title or request.action.name,
            summary=self._summary(),
            state="undone" if self.undone else "half_done" if half else "done",
            note=self.note or (UNDER_WAY[execution.state] if half else ""),
            differences=execution.differences,
            undo=_told(offer) if isinstance(offer, Undo) else None,
            cannot_undo="" if isinstance(offer, Undo) else offer,
        )

    def _offer(self) -> Undo | str:
        definition = self.definition
        if definition is None or definition.undo is None:
            return "The action says no way to take it back."
        if self.execution is None or self.execution.state in (
            ExecutionState.QUEUED,
            ExecutionState.RUNNING,
        ):
            return "It has not ended yet."
        try:
            offer = definition.undo(self._executed(definition))
            if isinstance(offer, Undo):
                self.registry.find(offer.action.name)
        except (GatesError, ValueError) as error:
            return f"How to take it back is not known: {error}"
        return offer

    def _executed(self, definition: ActionDefinition) -> Executed:  # type: ignore[type-arg]
        execution = self.execution
        told = execution.result if execution else None
        return Executed(
            arguments=definition.parse(self.current.request.action.arguments),
            result=None if told is None else definition.load_result(told),
            idempotency_key=idempotency_key(self.current.request),
        )

    def _summary(self) -> str:
        request, definition = self.current.request, self.definition
        amount = f" {request.amount}" if request.amount else ""
        plain = f"{request.action.title or request.action.name}{amount}{_which(request.action)}"
        if definition is None or definition.summary is None:
            return plain
        try:
            executed = self._executed(definition)
        except (GatesError, ValueError):  # an older form of the action: the plain words will do
            return plain
        if executed.result is None:
            return plain
        return definition.summary(executed.arguments, executed.result)


def _which(action: Action) -> str:
    """What tells one step from another of the same action: its subject, else its arguments."""
    said = [f"{key} {value}" for key, value in action.arguments.items()]
    words = ", ".join(action.subject or said)
    short = words if len(words) <= LONGEST_WHICH else words[: LONGEST_WHICH - 1] + "…"
    return f" {short}" if short else ""


def _as_action(offer: Undo) -> Action:
    definition = offer.action
    return Action(
        name=definition.name,
        title=definition.title,
        subject=tuple(definition.subject(offer.arguments)),
        arguments=offer.arguments.model_dump(mode="json"),
    )


def _told(offer: Undo) -> UndoOffer:
    return UndoOffer(
        name=offer.action.name,
        title=offer.action.title,
        arguments=offer.arguments.model_dump(mode="json"),
    )
