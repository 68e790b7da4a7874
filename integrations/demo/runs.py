"""Flow runs of the demo, started and followed through Prefect's own API."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gates.core.errors import GateStopped, Unavailable

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
RESTS = (*ENDED, "PAUSED")
POLL = 0.3
OF_RUN = "prefect.flow-run."
AT_REST = ("AwaitingApproval", "Completed", "Failed", "Cancelled", "Crashed")  # names of states


@dataclass(frozen=True)
class Run:
    id: str
    name: str
    document: str
    state: str = ""
    state_name: str = ""
    message: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Runs:
    def __init__(self, api: str, auth: tuple[str, str] | None = None) -> None:
        self._http = httpx.Client(base_url=api, auth=auth, timeout=30, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def start(self, deployment: str, documents: Sequence[Path]) -> list[Run]:
        found = self._ask("GET", f"/deployments/name/{deployment}")
        path = f"/deployments/{found['id']}/create_flow_run"
        runs = []
        for document in documents:
            body = {
                "name": document.stem,
                "parameters": {"document": str(document)},
                "state": {"type": "SCHEDULED"},
            }
            made = self._ask("POST", path, body)
            runs.append(Run(made["id"], made["name"], str(document)))
        return runs

    def read(self, run: Run) -> Run:
        state = self._ask("GET", f"/flow_runs/{run.id}")["state"] or {}
        return Run(
            run.id,
            run.name,
            run.document,
            state.get("type", ""),
            state.get("name", ""),
            state.get("message") or "",
        )

    def follow(
        self,
        runs: Sequence[Run],
        until: Callable[[Run], bool],
        told: Callable[[Run], None],
        seconds: float,
    ) -> list[Run]:
        """Until `until` holds for each; `told` hears of each change. Raises Unavailable."""
        now = {run.id: run for run in runs}
        end = time.monotonic() + seconds
        while True:
            for run in list(now.values()):
                seen = self.read(run)
                if (seen.state, seen.state_name) != (run.state, run.state_name):
                    told(seen)
                now[run.id] = seen
            if all(until(run) for run in now.values()):
                return list(now.values())
            if time.monotonic() > end:
                late = ", ".join(run.name for run in now.values() if not until(run))
                raise Unavailable(f"Still not where they should be after {seconds:.0f} s: {late}.")
            self.pause()

    def notice_the_dead(self, seconds: float) -> None:
        """A run whose process and worker died together would say Running for ever. Prefect's own
        remedy is an automation: crashed is who has given no sign of life for `seconds`.
        """
        stops = sorted(kind.state_name for kind in GateStopped.__subclasses__())
        trigger = {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": [f"{OF_RUN}*"]},
            "for_each": ["prefect.resource.id"],
            "after": [f"{OF_RUN}heartbeat"],
            "expect": [f"{OF_RUN}{name}" for name in ("heartbeat", *AT_REST, *stops)],
            "threshold": 1,
            "within": seconds,
        }
        crashed = {
            "type": "change-flow-run-state",
            "state": "CRASHED",
            "message": "Its process has given no sign of life.",
        }
        name = "Call runs crashed that give no sign of life"
        automation = {"name": name, "trigger": trigger, "actions": [crashed]}
        self._ask("POST", "/automations/", automation)

    @staticmethod
    def pause() -> None:
        """Between two looks: Prefect has nothing that would call us."""
        time.sleep(POLL)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """Prefect answers 503 while its SQLite is busy: ask again."""
        for _ in range(60):
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.ConnectError as error:
                raise Unavailable(
                    f"Prefect at {self._http.base_url} does not answer any more ({error}): was the "
                    "demo stopped meanwhile? See prefect.log among its logs."
                ) from error
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                answer.raise_for_status()
                return answer.json()
            time.sleep(0.25)
        raise Unavailable(f"Prefect stays too busy to answer {path}.")


def rests(run: Run) -> bool:
    """Ended, or waiting for people without holding a process."""
    return run.state in RESTS
