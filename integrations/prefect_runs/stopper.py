"""Ends runs in Prefect for people in command."""

from __future__ import annotations

from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.states import SCRIPT

OVER = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED", "CANCELLING")


class PrefectRunStopper:
    """Implements the port RunStopper."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api

    def stop(self, root_run_id: str, words: str) -> bool:
        """CANCELLING, not CANCELLED: only the first makes a worker end the process. Where there is
        no process (a run that sleeps or has not begun) Prefect makes it CANCELLED by itself.
        """
        if root_run_id.startswith(SCRIPT):
            return True
        run = self._api.run(root_run_id)
        state = (run or {}).get("state") or {}
        if run is None or state.get("type") in OVER:
            return True
        wanted = {"type": "CANCELLING", "name": "Cancelling", "message": words[:1_000]}
        self._api.set_state(root_run_id, wanted)
        return False  # looked at once more: Prefect may have had another idea
