"""Requests that wait on this server for a gate, or for work, woken by the commit that matters.

A wake-up is only a hint: whoever is woken reads again, and reads again slowly without one, so
that a change made by another server is seen too.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

WORK = "work"  # executors wait under this name; gates wait under their id


class Waiters:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = (
            defaultdict(set)
        )

    @asynccontextmanager
    async def on(self, name: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set by `ring(name)`. Register before reading, or a wake-up is lost."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting[name].add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._waiting[name].discard(entry)
                if not self._waiting[name]:
                    del self._waiting[name]

    def ring(self, name: str) -> None:
        """From any thread."""
        with self._lock:
            waiting = list(self._waiting.get(name, ()))
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
