"""Gates side by side: all are asked at once, and each goes on as it is decided.

    due = [gated(submit_payment).ask(payment) for payment in payments]
    for one in together(due):       # as they are decided
        print(one.result())         # or raises: Rejected, Expired, ...

What an executor does goes on meanwhile; bodies of this process run one after another. The run
suspends only when nothing else can proceed, and any decision wakes it. What is decided is told
in the order in which the server recorded it, so that a later pass tells the same.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

from gates.core.errors import MisusedGate
from gates.flow import awaiting, sides
from gates.flow.asks import Ask
from gates.flow.bodies import perform, perform_async
from gates.flow.group import Group

R = TypeVar("R")


def together(
    *asks: Ask[R] | Iterable[Ask[R]],
    within: timedelta | None = None,
    left: Literal["open", "withdrawn"] = "open",
) -> Together[R]:
    """Ask for several gates at once, and go on as they are decided.

    Takes what `.ask(...)` of a gated action, a gated function or `require_approval` returns.
    `within`: how long after a question was put the author waits for its answer. What is undecided
    then is left open (the card stays, `result` raises Undecided) or withdrawn (`result` raises
    Cancelled), as `left` says.
    """
    given: list[Ask[R]] = []
    for one in asks:
        given += [one] if isinstance(one, Ask) else list(one)
    if len({id(one) for one in given}) < len(given):
        raise MisusedGate("together() was given the same ask twice: make two.")
    return Together(given, Group(given, within, withdraws=left == "withdrawn"))


class Together(Generic[R]):
    """Loop over it (`for`, `async for`), or take all at once: `results()`, or await it."""

    def __init__(self, asks: Sequence[Ask[R]], group: Group) -> None:
        self._asks, self._group = asks, group
        for ask in asks:
            ask.taken()
            ask.gate.begins = ask.run is None or not ask.run.shown

    def __iter__(self) -> Iterator[Ask[R]]:
        if awaiting.in_loop():
            raise MisusedGate("together() in async code: write `async for`, or await it.")
        return _Loop(self._group)

    def __aiter__(self) -> AsyncIterator[Ask[R]]:
        return _AsyncLoop(self._group)

    def results(self) -> list[R]:
        """All results, in the order given. Waits until all are decided; then raises what the
        first raises that was stopped. Each keeps its own `result`.
        """
        for _ in self:
            pass
        return [ask.result() for ask in self._asks]

    def __await__(self) -> Generator[Any, Any, list[R]]:
        return self._all().__await__()

    async def _all(self) -> list[R]:
        async for _ in self:
            pass
        return [ask.result() for ask in self._asks]


class _Side:
    """Between two turns the author's line is busy with one ask: what it calls then counts for
    that one, also on a pass where people decided in another order.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self._outer, self._inner = sides.current(), ""

    def enter(self, ask: Ask[R]) -> Ask[R]:
        self._inner = sides.named(self._outer, ask.key)
        sides.go(self._inner)
        return ask

    def leave(self) -> None:
        if self._inner and sides.current() == self._inner:
            sides.go(self._outer)

    __del__ = leave  # a loop that is left early drops its iterator


class _Loop(_Side, Iterator[Ask[R]]):
    def __next__(self) -> Ask[R]:
        self.leave()
        while (turn := self.group.step()) is not None:
            if turn.grants is None:
                return self.enter(turn.ask)
            self.group.report(turn, perform(turn.ask.gate, turn.ask.run, turn.grants))
        raise StopIteration


class _AsyncLoop(_Side, AsyncIterator[Ask[R]]):
    async def __anext__(self) -> Ask[R]:
        self.leave()
        group = self.group
        try:
            while (turn := await awaiting.in_thread(group.step)) is not None:
                if turn.grants is None:
                    return self.enter(turn.ask)
                told = await perform_async(turn.ask.gate, turn.ask.run, turn.grants)
                await awaiting.in_thread(functools.partial(group.report, turn, told))
        except BaseException:
            group.abandoned = True
            raise
        raise StopAsyncIteration
