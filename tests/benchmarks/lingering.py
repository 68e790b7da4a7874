"""A decision until the next line of a run that waits in its own process.

From just before the person's request is sent to the API, to the line in the other process: the
commit, the answer, the claim and its commit lie between.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx

from gates.core.model import DecisionKind
from tests.benchmarks.figures import Report, Row, counted, say
from tests.benchmarks.houses import (
    Author,
    House,
    floor_server,
    folder,
    gates_server,
    prefect_server,
)

NUMBER = 50
SETTLES = 0.05  # seconds that the waiting side gets, and at most as much again at random
P50, P95 = 15.0, 40.0  # ms


def run() -> Report:
    report = Report("Lingering: a decision until the next line in another process")
    with folder() as home, ExitStack() as stack:
        say("lingering: the servers")
        house = stack.enter_context(gates_server(home))
        bare = stack.enter_context(floor_server(home))
        floor = counted(woken(bare), NUMBER, "floor")
        report.rows.append(Row("floor: one commit, one wake-up", floor, floor=True))
        env = house.author_environment()
        steps = waits("steps", house, env)
        report.rows.append(
            Row("outside Prefect: a gated function's first line", steps, p50=P50, p95=P95)
        )
        lines = waits("questions", house, env)
        report.rows.append(
            Row("outside Prefect: the line after a question", lines, p50=P50, p95=P95)
        )
        api = stack.enter_context(prefect_server(home))
        env = house.author_environment(api, home / "prefect")
        inside = waits("questions-in-flow", house, env)
        report.rows.append(
            Row("in a flow run: the line after a question", inside, p50=P50, p95=P95)
        )
    report.notes.append("Each run has waited for 50 to 100 ms when the decision comes.")
    report.notes.append("A question is done with at its answer; a function is claimed.")
    return report


def waits(what: str, house: House, env: dict[str, str]) -> list[float]:
    with Author(what, NUMBER, env) as process:
        process.start()
        return counted(decided(process, house), NUMBER, what)


def decided(process: Author, house: House) -> Iterator[float]:
    """What one waits for is the only open question; each decision answers it."""
    moments = process.told("at")
    while True:
        while not (waiting := house.decider.requests()):
            time.sleep(0.005)
        time.sleep(SETTLES + random.random() * SETTLES)  # noqa: S311 - only to be out of step
        began = time.monotonic()
        house.decider.decide(waiting[0].request.id, DecisionKind.APPROVE)
        yield (next(moments) - began) * 1e3


def woken(url: str) -> Iterator[float]:
    """The least: one waits for an answer, another rings with a commit."""
    with (
        httpx.Client(base_url=url, trust_env=False) as waiting,
        httpx.Client(base_url=url, trust_env=False) as ringing,
    ):
        ringing.get("/health")
        while True:
            heard: list[float] = []

            def wait(heard: list[float] = heard) -> None:
                waiting.get("/wait")
                heard.append(time.monotonic())

            thread = threading.Thread(target=wait)
            thread.start()
            time.sleep(SETTLES)
            began = time.monotonic()
            ringing.post("/ring", json={})
            thread.join()
            yield (heard[0] - began) * 1e3
