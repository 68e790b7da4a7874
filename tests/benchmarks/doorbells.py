"""Many suspended runs decided at once: until Prefect has accepted every doorbell.

The runs are rows of a real Prefect server, paused as a flow pauses them; no worker starts them
again. Before Prefect stands a proxy that answers every third call with 503.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from typing import Any

import httpx

from gates.core.gate_keys import pause_key
from gates.core.model import DecisionKind
from tests.benchmarks.figures import Report, Row, say
from tests.benchmarks.houses import (
    folder,
    gates_server,
    postgres_database,
    prefect_server,
)
from tests.benchmarks.proposing import AT_ONCE, asleep, each, flow
from tests.support.proxy import Call, Proxy

ON_POSTGRESQL = 200
ON_SQLITE = 20
REFUSED = 3  # every so-manieth call
WITHIN = 10_000.0  # ms
PATIENCE = 90.0


def run() -> Report:
    report = Report(
        "Doorbells: suspended runs decided at once, until Prefect has taken each resume"
    )
    with folder() as home:
        measure(report, home, ON_SQLITE, "SQLite", "", "")
    with folder() as home, postgres_database() as url, postgres_database() as prefect_url:
        if url is None or prefect_url is None:
            report.notes.append("No PostgreSQL here.")
            return report
        measure(report, home, ON_POSTGRESQL, "PostgreSQL", url, prefect_url)
    report.notes.append("Milliseconds from the first decision to each acceptance; p95 to the last.")
    return report


class Ears:
    """What passes the proxy: refuses some of it, and remembers when each run was taken."""

    def __init__(self) -> None:
        self.accepted: dict[str, float] = {}
        self.all = threading.Event()
        self.wanted = 0
        self.refused = 0
        self._calls = count(1)

    def refuse(self, call: Call) -> bool:
        if "/flow_runs/" not in call.path or next(self._calls) % REFUSED:
            return False
        self.refused += 1
        return True

    def seen(self, call: Call) -> None:
        """An acceptance whose answer was lost shows in the next look at the run."""
        steps = call.path.split("/")
        if "flow_runs" not in steps or not call.answer:
            return
        taken = steps[-1] == "resume" and call.says('"ACCEPT"')
        looked = call.method == "GET" and call.says('"state_type":"SCHEDULED"')
        if taken or looked:
            self.accepted.setdefault(steps[steps.index("flow_runs") + 1], time.monotonic())
            if len(self.accepted) >= self.wanted > 0:
                self.all.set()


def measure(
    report: Report, home: Any, number: int, store: str, gates_url: str, prefect_url: str
) -> None:
    ears = Ears()
    with ExitStack() as stack:
        say(f"doorbells: {store}, the servers")
        api = stack.enter_context(prefect_server(home, prefect_url))
        proxy = stack.enter_context(Proxy(api.removesuffix("/api"), ears.refuse, ears.seen))
        env = {"GATES_PREFECT_API_URL": f"{proxy.url}/api"}
        house = stack.enter_context(gates_server(home, gates_url, **env))
        with httpx.Client(base_url=api, timeout=60, trust_env=False) as prefect:
            say(f"doorbells: {number} runs suspend")
            runs = paused_runs(prefect, number)
        each(house, runs, asleep)
        with flow(house):
            waiting = house.decider.requests(limit=500)
        ears.wanted = number
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(
                threads.map(
                    lambda one: house.decider.decide(one.request.id, DecisionKind.APPROVE), waiting
                )
            )
        decided = (time.monotonic() - began) * 1e3
        ears.all.wait(PATIENCE)
        taken = sorted((at - began) * 1e3 for at in ears.accepted.values())
        missing = number - len(taken)
        samples = taken + [PATIENCE * 1e3] * missing
        name = f"{number} runs, both servers on {store}"
        report.rows.append(Row(name, samples))
        report.rows.append(Row(f"… the last of them, {store}", [samples[-1]], p50=WITHIN))
        report.rows.append(Row(f"… all decided, {store}", [decided]))
        report.notes.append(f"{store}: {ears.refused} calls were answered with 503.")


def paused_runs(prefect: httpx.Client, number: int) -> list[str]:
    flow_id = _asked(prefect, "/flows/", {"name": "bench-doorbells"})["id"]
    body = {"name": "bench", "flow_id": flow_id, "enforce_parameter_schema": False}
    deployment = _asked(prefect, "/deployments/", body)["id"]

    def one(index: int) -> str:
        path = f"/deployments/{deployment}/create_flow_run"
        run_id = str(_asked(prefect, path, {"idempotency_key": f"bench-{index}"})["id"])
        details = {"pause_key": pause_key(run_id, 1), "pause_reschedule": True}
        for state in (
            {"type": "PENDING"},
            {"type": "RUNNING"},
            {"type": "PAUSED", "name": "Suspended", "state_details": details},
        ):
            _asked(prefect, f"/flow_runs/{run_id}/set_state", {"state": state})
        return run_id

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(one, range(number)))


def _asked(prefect: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Prefect on SQLite answers 503, or cuts the line, while it is busy: ask again."""
    while True:
        with suppress(httpx.TransportError):
            answer = prefect.post(path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                answer.raise_for_status()
                return dict(answer.json())
