"""What an in-process gate runs once it holds its grant, and what is reported of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gates.core.errors import ActionFailed
from gates.core.messages import AttemptReport
from gates.core.model import GateReply, Grant, Json
from gates.flow import awaiting
from gates.flow.gate import Gate


@dataclass(frozen=True)
class Run:
    """An in-process body: `start` takes the approved arguments; `shown` as a Prefect task."""

    start: Callable[[Json], Any]
    dump: Callable[[Any], Json]
    is_async: bool
    shown: bool = True


def perform(gate: Gate, run: Run | None, reply: GateReply) -> AttemptReport:
    """Run it, and say how it ended. What cuts it off is raised, and nothing is reported."""
    grant, started = _started(gate, run, reply)
    try:
        with gate.holding(grant):
            return _succeeded(run, grant, started())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        return _troubled(gate, grant, error)
    except BaseException:
        gate.leave()
        raise


async def perform_async(gate: Gate, run: Run | None, reply: GateReply) -> AttemptReport:
    """The same in async code; a synchronous body runs in a thread."""
    grant, started = _started(gate, run, reply)
    try:
        with gate.holding(grant):
            if run is not None and run.is_async:
                value = await started()
            else:
                value = await awaiting.in_thread(started)
            return _succeeded(run, grant, value)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        return _troubled(gate, grant, error)
    except BaseException:
        gate.leave()
        raise


def _started(gate: Gate, run: Run | None, reply: GateReply) -> tuple[Grant, Callable[[], Any]]:
    """What is to be run: with the approved copy of the arguments, not with the flow's own."""
    assert run is not None  # noqa: S101 - the server hands grants to bodies alone
    assert reply.grant is not None  # noqa: S101 - CLAIMED comes with its grant
    approved = reply.view.request.action.arguments
    if run.is_async:

        async def body() -> Any:
            return await run.start(approved)

        return reply.grant, gate.place.as_task(gate.name, body)

    def plain() -> Any:
        return run.start(approved)

    return reply.grant, gate.place.as_task(gate.name, plain) if run.shown else plain


def _succeeded(run: Run | None, grant: Grant, value: Any) -> AttemptReport:
    assert run is not None  # noqa: S101 - it has just run
    return AttemptReport(state="succeeded", fence=grant.fence, result=run.dump(value))


def _troubled(gate: Gate, grant: Grant, error: Exception) -> AttemptReport:
    """Only ActionFailed says that nothing was left behind."""
    if isinstance(error, ActionFailed):
        return AttemptReport(
            state="failed",
            fence=grant.fence,
            error=str(error)[:20_000],
            error_class=error.error_class[:200],
        )
    gate.place.log().exception("%s: nobody knows whether it took effect", gate.name)
    return AttemptReport(
        state="in_doubt",
        fence=grant.fence,
        error=f"{type(error).__name__}: {error}"[:20_000],
        error_class=type(error).__name__[:200],
    )
