"""Something that is done again and again in a thread of its own, until the server stops."""

from __future__ import annotations

import threading


class Ticking:
    """`tick` is called every `every` seconds; it must not raise, or nothing follows it. For
    dataclasses, whose field `every` is.
    """

    every: float

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def tick(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        name = type(self).__name__.lower()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(self.every):
            self.tick()
