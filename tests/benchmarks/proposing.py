"""Questions by the hundred, put by a flow that is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from gates.client import GatesClient
from gates.core.gate_keys import pause_key
from gates.core.messages import Proposal
from gates.core.model import RunRef
from tests.benchmarks.houses import House

AT_ONCE = 8


def flow(house: House) -> GatesClient:
    return GatesClient(house.url, key=house.flow_key)


def question(run_id: str, key: str = "question") -> Proposal:
    """People are asked; the run is a root of its own."""
    return Proposal(
        name="bench.question",
        arguments={"text": "Shall this go on?"},
        run=RunRef(run_id=run_id, root_run_id=run_id, flow_name="bench", deployed=True),
        key=key,
        attempt_id=uuid4().hex,
        in_process=True,
        question=True,
    )


def each(house: House, runs: Iterable[str], do: Callable[[GatesClient, str], None]) -> None:
    """For every run, some at once, each thread with a connection of its own."""
    local = threading.local()

    def work(run_id: str) -> None:
        if not hasattr(local, "client"):
            local.client = flow(house)
        do(local.client, run_id)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(work, runs))


def asleep(client: GatesClient, run_id: str) -> None:
    reply = client.propose(question(run_id))
    leave = client.suspending([reply.view.request.id])
    assert leave.pause_key == pause_key(run_id, 1), leave
