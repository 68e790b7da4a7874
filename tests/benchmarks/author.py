"""What flow authors write, with a clock beside it; the benchmarks start it in processes of its own.

    python -m tests.benchmarks.author WHAT NUMBER

Prints one JSON line a sample: {"ms": duration} or {"at": the moment on the machine's clock}.
Waits for a line on its input before it starts, so that several start together.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from gates import gated, require_approval

WARM = 5  # calls before the clock counts: connections, caches, first imports


@gated("bench.note")
def note(text: str) -> str:
    """The action that is gated."""
    return text


@task
def empty() -> None:
    """The peer: what Prefect takes for doing nothing."""


def tell(**values: float) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def timed(call: Callable[[int], object], number: int) -> None:
    for index in range(-WARM, number):
        began = time.perf_counter()
        call(index)
        taken = time.perf_counter() - began
        if index >= 0:
            tell(ms=taken * 1e3)


def notes(number: int) -> None:
    timed(lambda index: note(f"number {index}"), number)


def questions(number: int) -> None:
    """Waits for a person, again and again; says when it went on."""
    for index in range(number):
        require_approval(f"Shall number {index} go on?", key=f"question-{index}")
        tell(at=time.monotonic())


@gated("bench.step")
def step(index: int) -> int:
    """An action that people are asked about; its first line is what they wait for."""
    tell(at=time.monotonic())
    return index


def steps(number: int) -> None:
    for index in range(number):
        step(index)


@flow(name="bench-tasks")
def empty_tasks(number: int) -> None:
    timed(lambda _index: empty(), number)


@flow(name="bench-notes")
def notes_in_flow(number: int) -> None:
    notes(number)


@flow(name="bench-questions")
def questions_in_flow(number: int) -> None:
    questions(number)


@flow
def empty_flow() -> None:
    """A run of its own: its states are on the server when it returns."""


def empty_flows(number: int) -> None:
    timed(lambda _index: empty_flow(), number)


@flow(name="bench-tasks-recorded")
def recorded_tasks(number: int) -> None:
    """Until the server knows that the task is done: Prefect tells it so behind the run's back."""
    with get_client(sync_client=True) as client:

        def recorded(_index: int) -> None:
            task_run = empty(return_state=True).state_details.task_run_id
            assert task_run is not None
            while True:
                try:
                    if client.read_task_run(task_run).state_type is StateType.COMPLETED:
                        return
                except ObjectNotFound:
                    pass
                time.sleep(0.005)

        timed(recorded, number)


WORK: dict[str, Callable[[int], object]] = {
    "notes": notes,
    "questions": questions,
    "steps": steps,
    "tasks": empty_tasks,
    "recorded-tasks": recorded_tasks,
    "flows": empty_flows,
    "notes-in-flow": notes_in_flow,
    "questions-in-flow": questions_in_flow,
}


def main(what: str, number: int) -> None:
    tell(ready=1)
    sys.stdin.readline()
    WORK[what](number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
