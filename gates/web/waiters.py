"""Requests that wait on this server for a gate, or for work, woken by the commit that matters.

A wake-up is only a hint: whoever is woken reads again, and reads again slowly without one, so
that a change made by a server that nobody hears of is seen too.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from gates.core.model import Standing

WORK = "work"  # executors wait under this name; gates wait under their id
LONGEST_WAIT = 30.0  # seconds that one call may wait here
STILL = (Standing.WAITING, Standing.EXECUTING)  # where a gate stands while there is no news of it
AT_REST = 100  # those who look again by themselves cost the store so many readings a second at most


class Waiters:
    """`beyond` is called with each name that is rung here, for those who wait elsewhere."""

    def __init__(self, beyond: Callable[[str], None] = lambda _name: None) -> None:
        self.beyond = beyond
        self._lock = threading.Lock()
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = (
            defaultdict(set)
        )

    @asynccontextmanager
    async def on(self, *names: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set by `ring` for any of the names. Register before reading, or a
        wake-up is lost.
        """
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            for name in names:
                self._waiting[name].add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                for name in set(names):
                    self._waiting[name].discard(entry)
                    if not self._waiting[name]:
                        del self._waiting[name]

    def ring(self, name: str) -> None:
        """From any thread: something that was committed here matters to those who wait."""
        self.heard(name)
        self.beyond(name)

    def heard(self, name: str) -> None:
        """It was committed elsewhere."""
        with self._lock:
            waiting = list(self._waiting.get(name, ()))
        _wake(waiting)

    def heard_nothing(self) -> None:
        """For a while: everybody looks again."""
        with self._lock:
            waiting = [entry for entries in self._waiting.values() for entry in entries]
        _wake(waiting)

    def pause(self, reread: float) -> float:
        """Seconds until somebody who was not woken looks again: the longer, the more there are."""
        with self._lock:
            return max(reread, len(self._waiting) / AT_REST)


def _wake(waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    for loop, event in waiting:
        with suppress(RuntimeError):  # its server has just been stopped
            loop.call_soon_threadsafe(event.set)


async def rung(event: asyncio.Event, seconds: float) -> None:
    """Wait for the bell, at most so long; then it can ring again."""
    try:
        await asyncio.wait_for(event.wait(), max(seconds, 0.0))
    except TimeoutError:
        return
    event.clear()
