"""Two gates servers on one PostgreSQL: a run waits on one, a person decides on the other."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

from gates.core.model import DecisionKind
from tests.benchmarks.figures import Fact, Report, Row, counted
from tests.benchmarks.houses import House, folder, gates_server, postgres_database
from tests.benchmarks.proposing import flow, question
from tests.benchmarks.routine import CLIENTS, NUMBER, started, together

WAKES = 40
P50 = 50.0  # ms
SETTLES = 0.05  # seconds that the waiting side gets, and at most as much again at random


def run() -> Report:
    report = Report("Two servers on one PostgreSQL")
    with folder() as home, ExitStack() as stack:
        url = stack.enter_context(postgres_database())
        if url is None:
            report.notes.append("No PostgreSQL here.")
            return report
        first = stack.enter_context(gates_server(home, url, "gates-1"))
        second = stack.enter_context(gates_server(home, url, "gates-2"))
        same = counted(woken(first, first), WAKES, "the same server")
        report.rows.append(Row("decided on the server where it waits", same, floor=True))
        across = counted(woken(first, second), WAKES, "the other server")
        report.rows.append(Row("decided on the other one", across, p50=P50))
        alone = started([first] * CLIENTS, stack)
        rate_alone = together(alone)
        both = started([first, second] * (CLIENTS // 2), stack)
        before = [one.cpu_seconds() for one in (first, second)]
        rate = together(both)
        spent = [
            one.cpu_seconds() - earlier
            for one, earlier in zip((first, second), before, strict=True)
        ]
        report.facts.append(Fact(f"{CLIENTS} clients on one of them", rate_alone, "actions/s"))
        report.facts.append(Fact(f"{CLIENTS} clients on both", rate, "actions/s"))
        share = min(spent) / sum(spent) * 100
        report.facts.append(Fact("… the smaller share of the work", share, "%", least=30))
        report.notes.append(f"{NUMBER} actions a client; all processes on the same two cores.")
    return report


def woken(waits: House, decides: House) -> Iterator[float]:
    """From just before the decision is sent, to the answer of the long poll on `waits`."""
    with flow(waits) as client:
        while True:
            reply = client.propose(question(str(uuid4())))
            request_id, heard = reply.view.request.id, list[float]()

            def wait(
                request_id: str = request_id,
                heard: list[float] = heard,
                version: int = reply.version,
            ) -> None:
                client.wait(request_id, attempt_id="none", call=1, after=version, seconds=20)
                heard.append(time.monotonic())

            thread = threading.Thread(target=wait)
            thread.start()
            time.sleep(SETTLES + random.random() * SETTLES)  # noqa: S311 - to be out of step
            began = time.monotonic()
            decides.decider.decide(request_id, DecisionKind.APPROVE)
            thread.join()
            yield (heard[0] - began) * 1e3
