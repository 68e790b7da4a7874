"""Rings at runs, and tells on them what they wait for.

"Not paused" is ambiguous (not yet, or no longer), and a Prefect server on SQLite answers 503 or
cuts connections as soon as it is busy, so that `ring` reads, acts and reads again until the
flow has come for its answer. A crashed run with an answer that nobody collected is scheduled
again: its gates make the second pass safe.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from gates.core.errors import Unavailable
from gates.core.model import RequestView, RunRef
from integrations.prefect_runs.telling import artifact_key, events, markdown, standing

SCRIPT = "script-"  # runs outside Prefect: they wait in their process and need no bell
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CANCELLING")
CALM = 2.0  # seconds between looks at a run that has been rung
CRASH_SETTLES = timedelta(seconds=1)  # a worker reports a crash twice; the second comes late
MOST_REMEMBERED = 10_000


class PrefectRuns:
    """Implements the port RunWaker. `api_url` ends in /api."""

    def __init__(self, api_url: str) -> None:
        self._http = httpx.Client(base_url=api_url, timeout=10, trust_env=False)
        self._rung: dict[tuple[str, str], float] = {}

    def close(self) -> None:
        self._http.close()

    def ring(self, run: RunRef, pause_key: str) -> bool:
        """True once the run has ended or is unknown to Prefect; False: ring again."""
        if run.run_id.startswith(SCRIPT):
            return True
        bell = (run.run_id, pause_key)
        if time.monotonic() < self._rung.get(bell, 0.0):
            return False
        try:
            return self._ring(run, bell)
        except httpx.TransportError:
            return False

    def _ring(self, run: RunRef, bell: tuple[str, str]) -> bool:
        answer = self._http.get(f"/flow_runs/{run.run_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return True
        if not answer.is_success:
            return False
        state = answer.json().get("state") or {}
        kind = state.get("type")
        if kind in ENDED:
            self._rung.pop(bell, None)
            return True
        if kind == "PAUSED" and (state.get("state_details") or {}).get("pause_key") == bell[1]:
            self._post(run, "resume", {}, bell)
        elif kind == "CRASHED" and run.deployed and _old_enough(state):
            words = "A decision waits here for a run that crashed: it starts again from its top."
            again = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": words}
            self._post(run, "set_state", {"state": again, "force": False}, bell)
        return kind == "CRASHED" and not run.deployed

    def _post(self, run: RunRef, verb: str, body: dict[str, Any], bell: tuple[str, str]) -> None:
        answer = self._http.post(f"/flow_runs/{run.run_id}/{verb}", json=body)
        if answer.is_success and answer.json().get("status") == "ACCEPT":
            if len(self._rung) > MOST_REMEMBERED:
                self._rung.clear()
            self._rung[bell] = time.monotonic() + CALM

    def tell(self, view: RequestView) -> None:
        """Bring the run's artifact and events up to date. Raises Unavailable."""
        run = view.request.run
        if run.run_id.startswith(SCRIPT):
            return
        try:
            self._artifact(view)
            self._sent("POST", "/events", events(view, datetime.now(UTC)))
        except httpx.TransportError as error:
            raise Unavailable(f"Prefect does not answer: {error}.") from error

    def _artifact(self, view: RequestView) -> None:
        key, run_id = artifact_key(view), view.request.run.run_id
        wanted = {"flow_runs": {"id": {"any_": [run_id]}}, "artifacts": {"key": {"any_": [key]}}}
        found = self._sent("POST", "/artifacts/filter", wanted).json()
        text = {"data": markdown(view), "description": standing(view)}
        if found:
            newest = max(found, key=lambda one: str(one["created"]))
            self._sent("PATCH", f"/artifacts/{newest['id']}", text)
        else:
            new = text | {"key": key, "type": "markdown", "flow_run_id": run_id}
            self._sent("POST", "/artifacts/", new)

    def _sent(self, method: str, path: str, body: object) -> httpx.Response:
        answer = self._http.request(method, path, json=body)
        if not answer.is_success:
            raise Unavailable(f"Prefect answers {answer.status_code} to {path}.")
        return answer


def _old_enough(state: dict[str, Any]) -> bool:
    at = datetime.fromisoformat(str(state["timestamp"]))
    return datetime.now(UTC) - at >= CRASH_SETTLES
