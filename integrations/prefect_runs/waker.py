"""Rings at runs, and tells on them what they wait for.

"Not paused" is ambiguous (not yet, or no longer), and a Prefect server on SQLite answers 503 or
cuts connections as soon as it is busy, so that `ring` reads, acts and reads again until the
flow has come for its answer. A crashed run with an answer that nobody collected is scheduled
again: its gates make the second pass safe.

Only roots are rung: a sub-flow lives and dies with its root. What a flow says of its run is not
believed: whether the run exists, how it is and whether a deployment can start it again is read
from Prefect, and a pause is ended only where its key is one of ours for this very root.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from gates.core.errors import RetryLater, Unavailable
from gates.core.model import RequestView, RunRef
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.states import SCRIPT
from integrations.prefect_runs.telling import artifact_key, events, markdown, standing

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CANCELLING")
CALM = 2.0  # seconds until the first look at a run that has been rung; each later one waits twice
CALMEST = 8.0  # as long, for every look is work for a server that has just been given some
CRASH_SETTLES = timedelta(seconds=1)  # a worker reports a crash twice; the second comes late
MOST_REMEMBERED = 10_000


class PrefectRuns:
    """Implements the port RunWaker."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api
        self._rung: dict[str, tuple[float, float]] = {}  # when to look again; how long that was

    def ring(self, run: RunRef, pauses: tuple[str, ...]) -> bool:
        """True once the run has ended or is unknown to Prefect; False: ring again. Raises
        RetryLater while a run that has been rung is given its time.
        """
        root = run.root_run_id
        if root.startswith(SCRIPT):
            return True
        left = self._rung.get(root, (0.0, 0.0))[0] - time.monotonic()
        if left > 0:
            raise RetryLater("Rung; its run has not come for the answer yet.", seconds=left)
        try:
            return self._ring(root, pauses)
        except Unavailable:
            return False

    def _ring(self, root: str, pauses: tuple[str, ...]) -> bool:
        found = self._api.run(root)
        if found is None:
            return True
        state = found.get("state") or {}
        kind, deployed = state.get("type"), found.get("deployment_id") is not None
        if kind in ENDED:
            self._rung.pop(root, None)
            return True
        if kind == "PAUSED":
            key = (state.get("state_details") or {}).get("pause_key") or ""
            if key.startswith(pauses):
                self._calm(root, rung=self._api.resume(root))
        elif kind == "CRASHED" and deployed and _old_enough(state):
            words = "A decision waits here for a run that crashed: it starts again from its top."
            self._calm(root, rung=self._api.set_state(root, again(words)))
        elif root in self._rung:
            calm = min(self._rung[root][1] * 2, CALMEST)
            self._rung[root] = (time.monotonic() + calm, calm)
        return kind == "CRASHED" and not deployed

    def _calm(self, root: str, *, rung: bool) -> None:
        if rung:
            if len(self._rung) > MOST_REMEMBERED:
                self._rung.clear()
            self._rung[root] = (time.monotonic() + CALM, CALM)

    def tell(self, view: RequestView) -> None:
        """Bring the run's artifact and events up to date. Raises Unavailable."""
        if view.request.run.run_id.startswith(SCRIPT):
            return
        self._artifact(view)
        self._api.sent("POST", "/events", events(view, datetime.now(UTC)))

    def _artifact(self, view: RequestView) -> None:
        key, run_id = artifact_key(view), view.request.run.run_id
        wanted = {"flow_runs": {"id": {"any_": [run_id]}}, "artifacts": {"key": {"any_": [key]}}}
        found = self._api.sent("POST", "/artifacts/filter", wanted).json()
        text = {"data": markdown(view), "description": standing(view)}
        if found:
            newest = max(found, key=lambda one: str(one["created"]))
            self._api.sent("PATCH", f"/artifacts/{newest['id']}", text)
        else:
            new = text | {"key": key, "type": "markdown", "flow_run_id": run_id}
            self._api.sent("POST", "/artifacts/", new)


def again(words: str) -> dict[str, Any]:
    """The state by which a run is started again from its top."""
    return {"type": "SCHEDULED", "name": "AwaitingRetry", "message": words}


def _old_enough(state: dict[str, Any]) -> bool:
    at = datetime.fromisoformat(str(state["timestamp"]))
    return datetime.now(UTC) - at >= CRASH_SETTLES
