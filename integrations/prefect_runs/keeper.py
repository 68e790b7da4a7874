"""Looks after runs in Prefect: how they are, all at once; and starts them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gates.ports import RunSeen
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.states import SCRIPT, why_over
from integrations.prefect_runs.waker import again


class PrefectRunKeeper:
    """Implements the port RunKeeper."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api

    def look(self, root_run_ids: Sequence[str]) -> Mapping[str, RunSeen]:
        """One call for 200 runs; none for scripts, of which only they themselves know."""
        ids = [one for one in root_run_ids if not one.startswith(SCRIPT)]
        found = self._api.runs(ids)
        return {one: _seen(found.get(one)) for one in ids}

    def start_again(self, root_run_id: str, words: str) -> bool:
        return self._moved(root_run_id, "CRASHED", again(words))

    def call_dead(self, root_run_id: str, words: str) -> bool:
        return self._moved(root_run_id, "RUNNING", {"type": "CRASHED", "message": words})

    def _moved(self, root_run_id: str, before: str, state: dict[str, Any]) -> bool:
        """Only from the state that it was seen in: it may have come back by itself."""
        run = self._api.run(root_run_id)
        if run is None or (run.get("state") or {}).get("type") != before:
            return False
        return self._api.set_state(root_run_id, state)


def _seen(run: dict[str, Any] | None) -> RunSeen:
    over = why_over(run) or ""
    if run is None:
        return RunSeen(state="", at=datetime.now(UTC), over=over)
    state = run.get("state") or {}
    return RunSeen(
        state=str(state.get("type") or ""),
        at=datetime.fromisoformat(str(state["timestamp"])) if state else datetime.now(UTC),
        over=over,
        restarts=run.get("deployment_id") is not None,
        starts=int(run.get("run_count") or 0),
    )
