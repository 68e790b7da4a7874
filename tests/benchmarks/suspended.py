"""A decision until the next line of a run that was suspended, with the demo's own processes.

Everything is started by what `make demo` calls: ERP, both servers, executor, worker, with their
environment; the deployment is a copy of the demo's, with another flow. Only `linger` is 0, so
that every run suspends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from gates.client import GatesClient
from gates.core.model import DecisionKind
from integrations.demo.runs import Run, Runs
from integrations.demo.stack import DEPLOYMENT, Stack, up
from tests.benchmarks.figures import Report, Row, say
from tests.benchmarks.houses import decider_session, environment, folder

NUMBER = 12
OF_PEER = 6
AT_ONCE = 2  # runs that start together
PERSON = "ines"  # of the group that the demo's policy asks where no rule matches
SECONDS = 120.0
P50, P95 = 3_200.0, 6_000.0  # ms
STEPS = (
    "decision committed",
    "doorbell accepted",
    "pending",
    "spawned",
    "imported",
    "running",
    "first line",
    "gate passed",
)
Moments = dict[str, float]


def run() -> Report:
    report = Report("Suspended: a decision until the next line, with the demo's worker")
    before = os.environ.get("GATES_LINGER")
    os.environ["GATES_LINGER"] = "0"  # the demo hands it to its flows
    try:
        with folder() as home:
            stack = up(home, lambda words: say(f"suspended: {words}"))
            measure(stack, report)
    finally:
        os.environ.pop("GATES_LINGER")
        if before is not None:
            os.environ["GATES_LINGER"] = before
    return report


def measure(stack: Stack, report: Report) -> None:
    report.rows.append(
        Row("floor: a process that imports Prefect and the flow", floor(), floor=True)
    )
    with httpx.Client(base_url=stack.prefect_api, timeout=30, trust_env=False) as prefect:
        demo = asked(prefect, "GET", f"/deployments/name/{DEPLOYMENT}")
        deploy(prefect, demo, "as-the-demo", demo["job_variables"])
        deploy(prefect, demo, "prefects-default", without_command(demo["job_variables"]))
        runs = suspend(stack, "bench-asleep/as-the-demo", NUMBER)
        peers = suspend(stack, "bench-asleep/prefects-default", OF_PEER)
        mixed = [*zip(runs, peers, strict=False), *((one,) for one in runs[OF_PEER:])]
        order = [one for turn in mixed for one in turn]
        all_ = dict(zip(order, wakes(stack, prefect, order), strict=True))
        mine, theirs = [all_[one] for one in runs], [all_[one] for one in peers]
    last = STEPS[-1]
    report.rows.append(Row("**the demo's worker**", [one[last] for one in mine], p50=P50, p95=P95))
    report.rows += [
        Row(f"… {step}", [one[step] for one in mine if step in one]) for step in STEPS[:-1]
    ]
    report.rows.append(Row("peer: Prefect's default command", [one[last] for one in theirs]))
    imported = Row("", [one["imported"] for one in theirs])
    report.notes.append(
        "Milliseconds since just before the person's request; what one step took is the "
        "difference to the step above."
    )
    report.notes.append(
        f"With Prefect's default command the flow is imported at {imported.median:,.0f} ms."
    )
    slowest = max(mine, key=lambda one: one[last])
    told = ", ".join(f"{step} {slowest[step]:,.0f}" for step in STEPS if step in slowest)
    report.notes.append(f"The slowest wake: {told}.")


def without_command(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if name != "command"}


def floor(number: int = 5) -> list[float]:
    code = "import prefect.engine, prefect.flow_engine, flows.vendor_invoice"
    samples = []
    for index in range(number + 1):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment())
        if index:
            samples.append((time.monotonic() - began) * 1e3)
    return samples


def deploy(
    prefect: httpx.Client, like: dict[str, Any], name: str, job_variables: dict[str, Any]
) -> None:
    flow = asked(prefect, "POST", "/flows/", {"name": "bench-asleep"})
    body = {
        "name": name,
        "flow_id": flow["id"],
        "entrypoint": "tests.benchmarks.asleep:asleep",
        "work_pool_name": like["work_pool_name"],
        "path": like["path"],
        "pull_steps": like["pull_steps"],
        "job_variables": job_variables,
        "enforce_parameter_schema": False,
    }
    asked(prefect, "POST", "/deployments/", body)


def asked(prefect: httpx.Client, method: str, path: str, body: object = None) -> Any:
    """Prefect answers 503 while its SQLite is busy, or cuts the connection: ask again."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            answer = prefect.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > end:
                return answer.raise_for_status().json()
        except httpx.TransportError:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)


def suspend(stack: Stack, deployment: str, number: int) -> list[Run]:
    """`number` runs that wait for a decision without a process."""
    name = deployment.rsplit("/", 1)[1]
    files = [stack.home.resolve() / f"{name}-{index}.json" for index in range(number)]
    runs = Runs(stack.prefect_api)
    waiting: list[Run] = []
    for index in range(0, number, AT_ONCE):
        say(f"{name}: {index} of {number} runs suspended")
        started = runs.start(deployment, files[index : index + AT_ONCE])
        waiting += runs.follow(started, lambda one: one.state == "PAUSED", told, SECONDS)
    runs.close()
    return waiting


def wakes(stack: Stack, prefect: httpx.Client, runs: Sequence[Run]) -> list[Moments]:
    """Decide on one after the other, each once the process of the one before is gone."""
    found = []
    with stack.admin() as admin:
        session = decider_session(admin, PERSON)
    with GatesClient(stack.gates_url, session=session) as decider:
        questions = {one.request.run.run_id: one.request.id for one in decider.requests()}
        for index, one in enumerate(runs):
            say(f"{index} of {len(runs)} runs woken")
            found.append(woken(decider, prefect, questions[one.id], one))
    return found


def told(_run: Run) -> None:
    """Nobody needs to hear of each state."""


def woken(decider: GatesClient, prefect: httpx.Client, question: str, run: Run) -> Moments:
    began = time.time()
    decider.decide(question, DecisionKind.APPROVE)
    moments = {"decision committed": time.time()}
    file = Path(run.document)
    while not file.exists():
        if time.time() > began + SECONDS:
            raise RuntimeError(f"{run.name} was not woken within {SECONDS:.0f} s.")
        time.sleep(0.05)
    noted = json.loads(file.read_text())
    process = noted.pop("process")
    moments |= noted
    states = asked(prefect, "GET", f"/flow_run_states/?flow_run_id={run.id}")
    moments |= since(states, began)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait(timeout=SECONDS)
    return {name: (at - began) * 1e3 for name, at in moments.items()}


def since(states: Sequence[dict[str, Any]], began: float) -> Moments:
    """Prefect's own account of the wake."""
    names = {"SCHEDULED": "doorbell accepted", "PENDING": "pending", "RUNNING": "running"}
    found: Moments = {}
    for state in states:
        at = datetime.fromisoformat(state["timestamp"]).timestamp()
        if at >= began and state["type"] in names:
            found.setdefault(names[state["type"]], at)
    return found
