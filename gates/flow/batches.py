"""Many like actions, asked about as one and run line by line.

    for line in batch(submit_payment, payments):
        if line.state == "done":
            print(line.result())            # else line.state says "refused" or "failed", and why

What people refused, and what the policy forbids, is told with its reason; the rest runs, each line
through a gate of its own. A line that has changed meanwhile is asked about alone, and holds up none
of the others.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from gates.actions import ActionDefinition, batch_of
from gates.core import batches
from gates.core.canonical import canonical_json, digest
from gates.core.errors import ActionFailed, GatesError, GateStopped, InvalidInput, Rejected
from gates.core.gate_keys import line_key
from gates.core.messages import LineOf
from gates.core.model import GateReply, Json, RequestView
from gates.flow import awaiting
from gates.flow.asks import Ask
from gates.flow.functions import shown
from gates.flow.gate import Gate
from gates.flow.group import Group
from gates.flow.places import Place, here
from gates.flow.session import current

MOST_BYTES = 900_000  # of what is proposed at once; the server takes a million

R = TypeVar("R")


class OfRegistry(Protocol[R]):
    """What `gated(action)` gives."""

    @property
    def definition(self) -> ActionDefinition[Any, R]: ...


@dataclass(frozen=True)
class Line(Generic[R]):
    """How one line ended. `reason`: why it was refused or has failed; `by`: who refused it."""

    number: int
    arguments: Any
    state: Literal["done", "refused", "failed"]
    reason: str = ""
    by: str = ""
    value: R | None = None
    error: GatesError | None = field(default=None, repr=False)

    def result(self) -> R:
        """What the action returned. Raises what stopped the line: Rejected, ActionFailed, ..."""
        if self.error is not None:
            raise self.error
        return cast("R", self.value)


def batch(
    action: ActionDefinition[Any, R] | OfRegistry[R],
    arguments: Sequence[object],
    *,
    claims: Json | None = None,
    key: str | None = None,
    linger: float | None = None,
) -> list[Line[R]]:
    """Ask about all of these at once, then run those that may, one after the other.

    `arguments`: for each line the action's model, or a dict of it. In async code: await it.
    Returns a line for each, in the order given. Raises InvalidArguments, InvalidInput (no lines,
    one twice, two currencies, more than the policy allows), and where the whole is not approved
    what `gated` raises: Rejected, SentBack, Expired, Cancelled, Forbidden.
    """
    definition = action if isinstance(action, ActionDefinition) else action.definition
    call: _Batch[R] = _Batch.of(definition, arguments, claims, key, linger)
    if not awaiting.in_loop():
        return call.go()
    words = f"batch({definition.name})"
    return cast("list[Line[R]]", awaiting.Call(call.later, words))


@dataclass
class _Batch(Generic[R]):
    definition: ActionDefinition[Any, R]
    gate: Gate
    abandoned: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(
        cls,
        definition: ActionDefinition[Any, R],
        arguments: Sequence[object],
        claims: Json | None,
        key: str | None,
        linger: float | None,
    ) -> _Batch[R]:
        session = current()
        session.definitions[definition.name] = definition
        parsed = batch_of(definition).parse({"lines": [_plain(one) for one in arguments]})
        told = parsed.model_dump(mode="json")
        size = len(canonical_json(told))
        if size > MOST_BYTES:
            raise InvalidInput(
                f"{definition.name}: {len(arguments):,} lines of {size:,} bytes are too much at "
                f"once: split them into batches of less than {MOST_BYTES:,} bytes."
            )
        name, place = f"{definition.name}{batches.END}", here(session)
        awaiting.guard(place.anchor)
        wait = session.linger if linger is None else linger
        return cls(definition, _gate(place, name, told, key, claims or {}, wait))

    async def later(self) -> list[Line[R]]:
        try:
            return await awaiting.in_thread(self.go)
        except BaseException:
            self.abandoned.set()
            self.gate.abandoned.set()
            raise

    def go(self) -> list[Line[R]]:
        view = self.gate.begin().view
        request, refusals = view.request, batches.refused(view.request, view.decisions)
        rows = batches.given(request.action.arguments)
        found: dict[int, Line[R]] = {}
        asked: dict[int, Gate] = {}
        for number, row in enumerate(rows, 1):
            if number in refusals:
                found[number] = self._refused(number, row, *refusals[number], view)
                continue
            gate = self._line(number, row, view)
            try:
                reply = None if self.abandoned.is_set() else gate.begin_unasked()
            except (GateStopped, ActionFailed) as error:
                found[number] = self._ended(number, row, error)
                continue
            if reply is None:
                asked[number] = gate
            else:
                found[number] = self._done(number, row, reply)
        if not self.abandoned.is_set():
            found |= self._wait_for(asked, rows)
        return [found[number] for number in sorted(found)]

    def _wait_for(self, asked: dict[int, Gate], rows: Sequence[Json]) -> dict[int, Line[R]]:
        """Those that people are asked about once more, side by side."""
        asks = {number: self._ask(gate) for number, gate in asked.items()}
        group = Group(list(asks.values()))
        while asks and group.step() is not None:
            pass
        found = {}
        for number, ask in asks.items():
            try:
                value = ask.result()
            except (GateStopped, ActionFailed) as error:
                found[number] = self._ended(number, rows[number - 1], error)
            else:
                row = self.definition.parse(rows[number - 1])
                found[number] = Line(number, row, "done", value=value)
        return found

    def _ask(self, gate: Gate) -> Ask[R]:
        words = shown(gate.name, gate.arguments)
        ask: Ask[R] = Ask(gate, None, self._value, lambda: None, words)
        ask.taken()
        return ask

    def _line(self, number: int, row: Json, view: RequestView) -> Gate:
        whole = self.gate
        key = line_key(whole.ticket.key, number)
        gate = _gate(whole.place, self.definition.name, row, key, whole.claims, whole.linger)
        gate.batch = LineOf(request_id=view.request.id, line=number)
        gate.abandoned = whole.abandoned
        return gate

    def _value(self, reply: GateReply) -> R:
        return self.definition.load_result(reply.result or {})

    def _done(self, number: int, row: Json, reply: GateReply) -> Line[R]:
        return Line(number, self.definition.parse(row), "done", value=self._value(reply))

    def _refused(self, number: int, row: Json, by: str, why: str, view: RequestView) -> Line[R]:
        error = Rejected(
            f"Line {number} was refused by {by}: {why}",
            action=self.definition.name,
            request_id=view.request.id,
            url=view.url,
        )
        return Line(number, self.definition.parse(row), "refused", why, by, error=error)

    def _ended(self, number: int, row: Json, error: GatesError) -> Line[R]:
        state: Literal["refused", "failed"]
        state = "refused" if isinstance(error, GateStopped) else "failed"
        return Line(number, self.definition.parse(row), state, str(error), error=error)


def _gate(
    place: Place, name: str, arguments: Json, key: str | None, claims: Json, linger: float
) -> Gate:
    words = shown(name, arguments)
    ticket = place.passing.keys.take(name, key, digest([name, arguments]), words, place.scope)
    return Gate(
        place=place, ticket=ticket, name=name, arguments=arguments, claims=claims, linger=linger
    )


def _plain(arguments: object) -> Any:
    dump = getattr(arguments, "model_dump", None)
    return arguments if dump is None else dump()
