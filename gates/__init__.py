"""Approval gates for agentic processes, on Prefect.

Importing this imports no Prefect; `gated`, `together` and the like load it when used.
"""

from typing import TYPE_CHECKING, Any

from gates.actions import Executed, Reconciled, Undo, action
from gates.core.errors import (
    ActionFailed,
    Cancelled,
    Expired,
    Forbidden,
    Frozen,
    GatesError,
    GateStopped,
    MisusedGate,
    Rejected,
    SentBack,
    Skipped,
    Undecided,
)
from gates.grants.held import grant_headers

if TYPE_CHECKING:
    from gates.flow import batch, gated, require_approval, retriable, together, undo

__all__ = [
    "ActionFailed",
    "Cancelled",
    "Executed",
    "Expired",
    "Forbidden",
    "Frozen",
    "GateStopped",
    "GatesError",
    "MisusedGate",
    "Reconciled",
    "Rejected",
    "SentBack",
    "Skipped",
    "Undecided",
    "Undo",
    "action",
    "batch",
    "gated",
    "grant_headers",
    "require_approval",
    "retriable",
    "together",
    "undo",
]


def __getattr__(name: str) -> Any:
    if name in ("batch", "gated", "require_approval", "retriable", "together", "undo"):
        from gates import flow  # noqa: PLC0415 - imports Prefect, which takes a second

        return getattr(flow, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
