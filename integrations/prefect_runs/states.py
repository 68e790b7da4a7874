"""Whether a run can still use an approval, by Prefect's word and not by its flow's."""

from __future__ import annotations

from typing import Any

from gates.core.model import RunRef
from integrations.prefect_runs.api import PrefectApi

SCRIPT = "script-"  # runs outside Prefect: nobody but themselves knows how they are
OVER = {
    "COMPLETED": "has completed",
    "FAILED": "has failed",
    "CANCELLED": "was cancelled",
    "CANCELLING": "is being cancelled",
}
STOPPED = ("CANCELLED", "CANCELLING")
CRASHED = "has crashed, and no deployment could start it again"
UNKNOWN = "is unknown to Prefect: it was deleted, or never was there"


class PrefectRunStates:
    """Implements the port RunStates."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api

    def ended(self, run: RunRef) -> str | None:
        """A sub-flow ends with its root; the root's deployment starts both again."""
        if run.root_run_id.startswith(SCRIPT):
            return None
        root = self._api.run(run.root_run_id)
        words = why_over(root)
        if words is None and run.run_id != run.root_run_id:
            sub = self._api.run(run.run_id)
            state = (sub or {}).get("state") or {}
            # One that failed may be run again by its root, under another id and the same gates.
            words = why_over(sub) if state.get("type") in STOPPED else None
        return words


def why_over(run: dict[str, Any] | None) -> str | None:
    """`Run 'tidy-owl' was cancelled (Prefect says Cancelled)`; None for one that may go on."""
    if run is None:
        return f"The run {UNKNOWN}"
    state = run.get("state") or {}
    kind = str(state.get("type") or run.get("state_type") or "")
    words = OVER.get(kind)
    if kind == "CRASHED" and not run.get("deployment_id"):
        words = CRASHED
    if words is None:
        return None
    said = f": {state['message']}" if state.get("message") else ""
    name = state.get("name") or kind
    return f"Run {str(run.get('name'))!r} {words} (Prefect says {name}{said[:300]})"
