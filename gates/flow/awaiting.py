"""The async form of a call, and what happens where somebody forgets to await it.

An un-awaited coroutine does nothing but warn, and a gate that does nothing is a hole. Two nets:
- the object that stands for the call is dropped: ForgottenAwait is raised in the thread that
  made it. From a weakref callback that is pure C: raised inside `__del__` or a Python callback
  it would be printed and lost.
- it is still held (`answer = require_approval(...)`) when the flow starts a task or a sub-flow,
  or ends: raised there, at the boundary where Prefect itself looks for suspensions.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import ctypes
import functools
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from gates.core.errors import MisusedGate

T = TypeVar("T")

# An object of its own: pythonapi's is shared, and its types may be set by others. The third
# parameter takes the dead reference that a callback is called with; C ignores it.
_raise_in = ctypes.PyDLL(None).PyThreadState_SetAsyncExc
_raise_in.argtypes = [ctypes.c_ulong, ctypes.py_object, ctypes.py_object]
_raise_in.restype = ctypes.c_int


class ForgottenAwait(MisusedGate):
    """A gate was called in async code and not awaited: nobody was asked."""

    code = "forgotten_await"

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or _words_of_dropped(), **details)


@dataclass(frozen=True)
class Unasked:
    """`owner`: thread and asyncio task; None for an ask, which may be held for a while."""

    reference: weakref.ref[Any]
    words: str
    owner: tuple[int, int] | None


_unasked: dict[int, Unasked] = {}
_marks = itertools.count(-1, -1)  # of asks; those of calls are their ids, which are positive
atexit.register(_unasked.clear)


class Call(Coroutine[Any, Any, Any]):
    """What an async caller gets: await it, or give it to gather, wait_for or create_task."""

    __slots__ = ("__weakref__", "_make", "_running")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]], words: str) -> None:
        self._make = make
        self._running: Coroutine[Any, Any, Any] | None = None
        callback = functools.partial(_raise_in, threading.get_ident(), ForgottenAwait)
        _unasked[id(self)] = Unasked(weakref.ref(self, callback), _words(words), _owner())

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._start().__await__()

    def __bool__(self) -> NoReturn:
        raise ForgottenAwait(_unasked.pop(id(self)).words)

    def send(self, value: Any) -> Any:
        return (self._running or self._start()).send(value)

    def throw(self, *error: Any) -> Any:
        return (self._running or self._start()).throw(*error)

    def close(self) -> None:
        _unasked.pop(id(self), None)
        if self._running is not None:
            self._running.close()

    def _start(self) -> Coroutine[Any, Any, Any]:
        if self._running is not None:
            raise RuntimeError("This gate has been awaited already: call it again.")
        _unasked.pop(id(self), None)
        self._running = self._make()
        return self._running


def expect(ask: object, words: str) -> int:
    """Somebody has to see to this one; `words` are said where it is dropped instead. The mark is
    for `met`.
    """
    mark = next(_marks)
    _unasked[mark] = Unasked(weakref.ref(ask), words, None)
    return mark


def met(mark: int) -> None:
    _unasked.pop(mark, None)


def guard(anchor: Any) -> None:
    """Look for held, un-awaited calls wherever Prefect looks for a suspension of this run."""
    original = getattr(anchor, "raise_if_requested", None)
    if original is None or "raise_if_requested" in vars(anchor):
        return

    def raise_if_requested() -> None:
        original()
        owner = _owner()
        started = _given_to_tasks()
        mine = [
            key
            for key, one in list(_unasked.items())
            if (one.owner == owner and key not in started)
            or (one.owner is None and one.reference() is None)
        ]
        found = [_unasked.pop(key) for key in mine]
        # With an exception under way the flow ends anyway; another one here would leave the
        # run without a final state.
        if found and sys.exc_info()[1] is None:
            raise ForgottenAwait(found[0].words)

    anchor.raise_if_requested = raise_if_requested


def in_loop() -> bool:
    """Whether the caller is async code, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def in_thread(step: Callable[[], T]) -> T:
    """Run a blocking step in a thread of its own, with the caller's context.

    Daemon threads, not a pool: any number of gates may wait at once, and one that nobody waits
    for any more must not hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def work() -> None:
        result: Any = None
        trouble: BaseException | None = None
        try:
            result = context.run(step)
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller
            trouble = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, trouble)

    threading.Thread(target=work, name="gates-step", daemon=True).start()
    return await answer


def _given_to_tasks() -> set[int]:
    """Calls that create_task or gather have taken, and that only have not had their turn yet."""
    try:
        return {id(task.get_coro()) for task in asyncio.all_tasks()}
    except RuntimeError:
        return set()


def _owner() -> tuple[int, int]:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task)


def _words_of_dropped() -> str:
    dropped = [key for key, one in list(_unasked.items()) if one.reference() is None]
    words = [_unasked.pop(key).words for key in dropped]
    return words[0] if words else _words("a gate")


def _words(words: str) -> str:
    return f"{words} was not awaited, so nobody was asked: write `await {words}`."
