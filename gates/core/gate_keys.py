"""Names that are derived, so that whoever asks again finds what is there."""

from __future__ import annotations

import hashlib

from gates.core.canonical import digest

LONGEST_NAME = 200  # characters
UNDO = "undo-"  # how the keys of gates begin that take something back


def gate_id(root_run_id: str, gate_key: str) -> str:
    """One gate of one run, whatever its rounds: 32 hex digits."""
    return hashlib.sha256(f"{root_run_id}\n{gate_key}".encode()).hexdigest()[:32]


def request_id(root_run_id: str, gate_key: str, round_: int) -> str:
    """Derived, so that a repeated proposal finds what is there: 32 hex digits."""
    return hashlib.sha256(f"{root_run_id}\n{gate_key}\n{round_}".encode()).hexdigest()[:32]


def pause_key(root_run_id: str, suspension: int | None = None) -> str:
    """One for each suspension of a run: Prefect answers a key that has fired before with going
    on. Without a number: how all keys of this run begin.
    """
    return f"{root_run_id}-{'' if suspension is None else suspension}"


def line_key(gate_key: str, line: int) -> str:
    """The key of the gate through which one line of a batch runs."""
    key = f"{gate_key}-line-{line}"
    if len(key) <= LONGEST_NAME:
        return key
    return f"{gate_key[: LONGEST_NAME - 25]}-{digest(gate_key)[:12]}-line-{line}"


def undo_key(gate_key: str) -> str:
    """The key of the gate that takes back what another gate of the run has done."""
    key = f"{UNDO}{gate_key}"
    return key if len(key) <= LONGEST_NAME else f"{key[: LONGEST_NAME - 13]}-{digest(key)[:12]}"
