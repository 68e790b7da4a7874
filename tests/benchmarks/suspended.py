"""A decision until the next line of a run that was suspended, with the demo's own processes.

Everything is started by what `make demo` calls: ERP, both servers, executor, worker, with their
environment; the deployment is a copy of the demo's, with another flow. Only `linger` is 0, so
that every run suspends.
"""

from __future__ import annotations

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
TARGET = "p50 ≤ 3,200, p95 ≤ 6,000 ms"
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
        demo = prefect.get(f"/deployments/name/{DEPLOYMENT}").json()
        deploy(prefect, demo, "as-the-demo", demo["job_variables"])
        deploy(prefect, demo, "prefects-default", without_command(demo["job_variables"]))
        mine = wakes(stack, prefect, "bench-asleep/as-the-demo", NUMBER)
        theirs = wakes(stack, prefect, "bench-asleep/prefects-default", OF_PEER)
    last = STEPS[-1]
    report.rows.append(Row("**the demo's worker**", [one[last] for one in mine], target=TARGET))
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
    flow = prefect.post("/flows/", json={"name": "bench-asleep"}).json()
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
    prefect.post("/deployments/", json=body).raise_for_status()


def wakes(stack: Stack, prefect: httpx.Client, deployment: str, number: int) -> list[Moments]:
    """Suspend `number` runs, then decide on one after the other."""
    name = deployment.rsplit("/", 1)[1]
    files = [stack.home.resolve() / f"{name}-{index}.json" for index in range(number)]
    runs = Runs(stack.prefect_api)
    waiting: list[Run] = []
    for index in range(0, number, AT_ONCE):
        say(f"{name}: {index} of {number} runs suspended")
        started = runs.start(deployment, files[index : index + AT_ONCE])
        waiting += runs.follow(started, lambda one: one.state == "PAUSED", told, SECONDS)
    found = []
    with (
        stack.admin() as admin,
        GatesClient(stack.gates_url, session=decider_session(admin, PERSON)) as decider,
    ):
        questions = {one.request.run.run_id: one.request.id for one in decider.requests()}
        for index, one in enumerate(waiting):
            say(f"{name}: {index} of {number} woken")
            found.append(woken(decider, prefect, questions[one.id], one))
            runs.follow([one], lambda run: run.ended, told, SECONDS)
    runs.close()
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
    moments |= json.loads(file.read_text())
    states = prefect.get("/flow_run_states/", params={"flow_run_id": run.id}).json()
    moments |= since(states, began)
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
