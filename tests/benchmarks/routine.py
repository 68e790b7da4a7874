"""A routine action through the gate: propose, allow, claim, outcome, durable.

The gate outside Prefect is the gate alone; inside a flow its body is a Prefect task as well.
The floor does the least that makes two things durable with this server stack: two round trips
with one commit behind each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import httpx

from tests.benchmarks.figures import Fact, Report, Row, counted, say
from tests.benchmarks.houses import (
    Author,
    House,
    floor_server,
    folder,
    gates_server,
    postgres_database,
    prefect_server,
)

NUMBER = 300
TASKS = 60
FEW = 15
CLIENTS = 4
P50 = 6.0  # ms
RATE = 300.0  # actions a second by one server, with the load on the same two cores


def run() -> Report:
    report = Report("Routine: an action that the policy allows")
    with folder() as home, ExitStack() as stack:
        say("routine: the servers")
        house = stack.enter_context(gates_server(home))
        bare = stack.enter_context(floor_server(home))
        floor = counted(two_commits(bare), NUMBER, "floor")
        report.rows.append(Row("floor: two commits, two round trips", floor, floor=True))
        alone = author("notes", NUMBER, house.author_environment())
        report.rows.append(Row("gated action, SQLite", alone, p50=P50))
        report.facts += throughput(house, "SQLite")
        say("routine: the Prefect server")
        api = stack.enter_context(prefect_server(home))
        env = house.author_environment(api, home / "prefect")
        tasks = author("tasks", TASKS, env)
        peer = Row("peer: an empty Prefect task, SQLite", tasks)
        recorded = Row("peer: the same, until the server knows", author("recorded-tasks", FEW, env))
        flows = Row("peer: an empty Prefect flow run, SQLite", author("flows", FEW, env))
        inside = Row("gated action in a flow run (a task too)", author("notes-in-flow", TASKS, env))
        report.rows += [peer, recorded, flows, inside]
        for one in (peer, recorded, flows):
            part = report.rows[1].median / one.median
            report.notes.append(f"Gated action / {one.name.removeprefix('peer: ')} = {part:.2f}.")
    on_postgresql(report)
    return report


def on_postgresql(report: Report) -> None:
    with folder() as home, postgres_database() as url:
        if url is None:
            report.notes.append("No PostgreSQL here.")
            return
        with gates_server(home, url) as house:
            samples = author("notes", NUMBER, house.author_environment())
            report.rows.append(Row("gated action, PostgreSQL", samples, p50=P50))
            report.facts += throughput(house, "PostgreSQL")


def author(what: str, number: int, env: dict[str, str]) -> list[float]:
    with Author(what, number, env) as process:
        process.start()
        return counted(process.told("ms"), number, what)


def throughput(house: House, store: str) -> list[Fact]:
    """Actions a second by several flows at once, each a process of its own; and what each cost."""
    with ExitStack() as stack:
        authors = started([house] * CLIENTS, stack)
        before = house.cpu_seconds()
        rate = together(authors)
        cost = (house.cpu_seconds() - before) / (CLIENTS * NUMBER) * 1e3
    return [
        Fact(f"{CLIENTS} clients on {store}", rate, "actions/s", least=RATE),
        Fact(f"… the server's processor time for one, {store}", cost, "ms"),
    ]


def started(houses: Sequence[House], stack: ExitStack) -> list[Author]:
    """A client of each, warm and waiting for the word."""
    say(f"{len(houses)} clients at once")
    env = [house.author_environment() for house in houses]
    return [stack.enter_context(Author("notes", NUMBER, one)) for one in env]


def together(authors: Sequence[Author]) -> float:
    """Actions a second of all of them."""
    began = time.monotonic()
    for one in authors:
        one.start()
    for one in authors:
        counted(one.told("ms"), NUMBER, "one client")
    return len(authors) * NUMBER / (time.monotonic() - began)


def two_commits(url: str) -> Iterator[float]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        client.post("/keep", json={})
        while True:
            began = time.perf_counter()
            for _ in range(2):
                client.post("/keep", json={"text": "x" * 600})
            yield (time.perf_counter() - began) * 1e3
