"""Ports for the servers of tests, each given once.

Workers side by side, and what they start, must not choose the same number in the seconds between
the choice and the server's start: each worker has its own numbers, and goes through them.
"""

from __future__ import annotations

import itertools
import os
import re

from integrations.ports import CHOSEN_FROM, refusal

WORKERS = 6
SHARE = len(CHOSEN_FROM) // WORKERS


def _numbers() -> range:
    worker = int("0" + re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", ""))) % WORKERS
    return CHOSEN_FROM[worker * SHARE : (worker + 1) * SHARE]


# Another run of the tests on this machine begins elsewhere.
_left = itertools.islice(itertools.cycle(_numbers()), os.getpid() % SHARE, None)


def free_port() -> int:
    return next(port for port in _left if not refusal(port))
