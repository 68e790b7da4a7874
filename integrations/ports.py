"""Ports on loopback for the servers that programs of this machine start.

A server binds its port seconds after somebody has chosen it. In the range from which the operating
system serves connections (from 32768 on Linux, from 49152 elsewhere) any other program may get that
port in between, with nothing but a request to somewhere; below it only who asks for that number.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from functools import cache

CHOSEN_FROM = range(20_000, 32_768)


def refusal(port: int) -> str:
    """Why nobody can listen there now, in the system's words; empty where one can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def free_port() -> int:
    """Each time another one: what was given before may be bound only later. Raises OSError where
    none is left.
    """
    for port in _untried():
        if not refusal(port):
            return port
    raise OSError(f"No port is free from {CHOSEN_FROM[0]} to {CHOSEN_FROM[-1]}.")


@cache
def _untried() -> Iterator[int]:
    """One for the process, which goes on where it was left."""
    return iter(random.sample(CHOSEN_FROM, len(CHOSEN_FROM)))
