"""A routine action through the gate: propose, allow, claim, outcome, durable.

The gate outside Prefect is the gate alone; inside a flow its body is a Prefect task as well.
The floor does the least that makes two things durable with this server stack: two round trips
with one commit behind each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx

from tests.benchmarks.figures import Report, Row, counted, say
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


def run() -> Report:
    report = Report("Routine: an action that the policy allows")
    with folder() as home, ExitStack() as stack:
        say("routine: the servers")
        house = stack.enter_context(gates_server(home))
        bare = stack.enter_context(floor_server(home))
        floor = counted(two_commits(bare), NUMBER, "floor")
        report.rows.append(Row("floor: two commits, two round trips", floor, floor=True))
        alone = author("notes", NUMBER, house.author_environment())
        report.rows.append(Row("gated action, SQLite", alone, target="p50 ≤ 8 ms"))
        report.notes.append(f"{CLIENTS} clients on SQLite: {throughput(house):.0f} actions/s.")
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
            report.rows.append(Row("gated action, PostgreSQL", samples))
            rate = throughput(house)
            report.notes.append(f"{CLIENTS} clients on PostgreSQL: {rate:.0f} actions/s.")


def author(what: str, number: int, env: dict[str, str]) -> list[float]:
    with Author(what, number, env) as process:
        process.start()
        return counted(process.told("ms"), number, what)


def throughput(house: House) -> float:
    """Actions a second by several flows at once, each a process of its own."""
    each = NUMBER // 2
    say(f"routine: {CLIENTS} clients at once")
    with ExitStack() as stack:
        env = house.author_environment()
        authors = [stack.enter_context(Author("notes", each, env)) for _ in range(CLIENTS)]
        began = time.monotonic()
        for one in authors:
            one.start()
        for one in authors:
            counted(one.told("ms"), each, "one client")
        return CLIENTS * each / (time.monotonic() - began)


def two_commits(url: str) -> Iterator[float]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        client.post("/keep", json={})
        while True:
            began = time.perf_counter()
            for _ in range(2):
                client.post("/keep", json={"text": "x" * 600})
            yield (time.perf_counter() - began) * 1e3
