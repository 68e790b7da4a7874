"""A run outlives the worker that started it.

The worker reads what its runs print. Where it is killed, the next line that a run logs meets a
broken pipe, and rich, which Prefect's console handler prints with, answers that by ending the
process: a run that holds a grant, or has just paid, would die because nobody listens.
"""

from __future__ import annotations

import functools
import logging

from prefect.logging.handlers import PrefectConsoleHandler


@functools.cache
def install() -> None:
    """Once a process."""
    original = PrefectConsoleHandler.emit

    @functools.wraps(original)
    def emit(self: PrefectConsoleHandler, record: logging.LogRecord) -> None:
        try:
            original(self, record)
        except SystemExit:  # by now rich is quiet, and the output goes to /dev/null
            return

    PrefectConsoleHandler.emit = emit  # type: ignore[method-assign]
