"""What a waiting request costs the server, asleep and with its flow on the line."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from uuid import uuid4

import httpx

from tests.benchmarks.figures import Fact, Report, say
from tests.benchmarks.houses import House, folder, gates_server
from tests.benchmarks.proposing import asleep, each, flow, question

WARM = 50  # requests before anything is counted: pools, caches, first imports
NUMBER = 1_000
MOST = 20.0  # MB
LINGERS = 10  # seconds


def run() -> Report:
    report = Report(f"Memory: {NUMBER:,} requests that wait")
    with folder() as home, ExitStack() as stack:
        house = stack.enter_context(gates_server(home))
        each(house, [str(uuid4()) for _ in range(WARM)], asleep)
        before = house.megabytes()
        runs = [str(uuid4()) for _ in range(NUMBER)]
        say(f"memory: {NUMBER} runs suspend")
        each(house, runs, asleep)
        report.facts.append(
            Fact(f"{NUMBER:,} suspended requests", house.megabytes() - before, "MB", most=MOST)
        )
        workers = len(house.process.children(recursive=True))
        report.facts.append(Fact("… processes for them", workers, "", most=0))
        say(f"memory: {NUMBER} runs linger")
        lingering(house, report)
    return report


def lingering(house: House, report: Report) -> None:
    """As many long polls at once: what they hold, and what another caller notices of them."""
    runs = [str(uuid4()) for _ in range(NUMBER)]
    with flow(house) as client:
        ids = [client.propose(question(one)).view.request.id for one in runs]
        before = house.megabytes()
        held, cost, slowest = asyncio.run(_polled(house, ids))
    report.facts.append(Fact(f"{NUMBER:,} that linger", held - before, "MB"))
    report.facts.append(Fact("… the server's processor time meanwhile", cost * 100, "%"))
    report.facts.append(Fact("… /health beside them, the slowest of 20", slowest, "ms"))


async def _polled(house: House, ids: list[str]) -> tuple[float, float, float]:
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {house.flow_key}"}
    async with httpx.AsyncClient(
        base_url=house.url, limits=limits, headers=headers, timeout=120, trust_env=False
    ) as client:
        calls = [
            asyncio.create_task(
                client.get(f"/v1/requests/{one}/wait", params={"seconds": LINGERS, "after": 0})
            )
            for one in ids
        ]
        await asyncio.sleep(LINGERS / 2)
        held, spent, began = house.megabytes(), house.cpu_seconds(), time.monotonic()
        slowest = 0.0
        for _ in range(20):
            asked = time.perf_counter()
            (await client.get("/health")).raise_for_status()
            slowest = max(slowest, (time.perf_counter() - asked) * 1e3)
            await asyncio.sleep(0.05)
        cost = (house.cpu_seconds() - spent) / (time.monotonic() - began)
        for call in calls:
            (await call).raise_for_status()
    return held, cost, slowest
