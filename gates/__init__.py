"""Approval gates for agentic processes, on Prefect.

Importing this imports no Prefect; `gated` and `require_approval` load it when used.
"""

from typing import TYPE_CHECKING, Any

from gates.actions import Reconciled, action
from gates.core.errors import (
    ActionFailed,
    Cancelled,
    Expired,
    Forbidden,
    GatesError,
    GateStopped,
    MisusedGate,
    Rejected,
)

if TYPE_CHECKING:
    from gates.flow import gated, require_approval

__all__ = [
    "ActionFailed",
    "Cancelled",
    "Expired",
    "Forbidden",
    "GateStopped",
    "GatesError",
    "MisusedGate",
    "Reconciled",
    "Rejected",
    "action",
    "gated",
    "require_approval",
]


def __getattr__(name: str) -> Any:
    if name in ("gated", "require_approval"):
        from gates import flow  # noqa: PLC0415 - imports Prefect, which takes a second

        return getattr(flow, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
