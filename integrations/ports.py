"""Ports on loopback for the servers that programs of this machine start.

A server binds its port seconds after somebody has chosen it. In the range from which the operating
system serves connections (from 32768 on Linux, from 49152 elsewhere) any other program may get that
port in between, with nothing but a request to somewhere; below it only who asks for that number.
"""

from __future__ import annotations

import random
import socket

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
    """Raises OSError where all are taken."""
    for port in random.sample(CHOSEN_FROM, len(CHOSEN_FROM)):
        if not refusal(port):
            return port
    raise OSError(f"No port is free from {CHOSEN_FROM[0]} to {CHOSEN_FROM[-1]}.")
