"""Where in Prefect a gate is called, and what can be done there: name the run, suspend it, show
an action as a task.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import httpx
from prefect import Task, _flow_run_suspension, flow_engine, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateDetails, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import Abort, MissingContextError, Pause
from prefect.states import Completed, Failed
from prefect.utilities.urls import url_for

from gates.core.errors import MisusedGate
from gates.core.model import RunRef
from gates.flow import sides
from gates.flow.keys import Scope
from gates.flow.session import Pass, Session

STATE_NAME = "AwaitingApproval"
SCRIPT = "outside any flow run"
Log = logging.Logger | logging.LoggerAdapter[Any]


@dataclass(frozen=True)
class Place:
    """`stays`: why this call cannot suspend its run, empty where it can."""

    session: Session
    passing: Pass
    scope: Scope
    stays: str
    flow_name: str = ""
    flow_run: FlowRun | None = None
    anchor: Any = None
    script: str = ""
    in_task: bool = False

    def run(self) -> RunRef:
        """Asks Prefect where a sub-flow belongs, once. Raises MisusedGate for flow retries."""
        run = self.flow_run
        if run is None:
            return RunRef(run_id=self.script, root_run_id=self.script, flow_name=self.flow_name)
        key = str(run.id)
        root = self.passing.roots.get(key)
        if root is None:
            root = self.passing.roots[key] = _root(run)
        return RunRef(
            run_id=key,
            root_run_id=root,
            flow_name=self.flow_name,
            run_name=run.name or "",
            deployed=run.deployment_id is not None,
            url=url_for(run) or "",
        )

    def log(self) -> Log:
        if self.flow_run is None:
            return logging.getLogger("gates.flow")
        try:
            return get_run_logger()
        except MissingContextError:
            return logging.getLogger("gates.flow")

    def suspend(self, pause_key: str, message: str) -> None:
        """Suspend the run and raise Pause. Returns where Prefect would have it go on; raises
        Abort where the run has ended, is being cancelled, or belongs to another process.

        Through the API itself: `suspend_flow_run` carries on, or exits in silence, where the
        key has fired before or the state has changed meanwhile.
        """
        run = self.flow_run
        assert run is not None  # noqa: S101 - `stays` says so
        state: State[Any] = State(
            type=StateType.PAUSED,
            name=STATE_NAME,
            message=message,
            state_details=StateDetails(pause_key=pause_key, pause_reschedule=True),
        )
        try:
            accepted, found = _set(run, state)
        except httpx.HTTPError:  # Prefect's server is away: the run waits here meanwhile
            return
        if found is None:
            return
        if accepted or found.state_details.pause_key == pause_key:
            self._mark(found)
            raise Pause(state=found)
        if found.type is not StateType.RUNNING:
            raise Abort(f"This run is {found.name} and goes no further in this process.")

    def _mark(self, state: State[Any]) -> None:
        """Side by side with this call others may run: they stop at their next task."""
        mark = getattr(self.anchor, "mark_requested", None)
        if mark is not None:
            mark(state)

    def as_task(self, name: str, function: Callable[[], Any]) -> Callable[[], Any]:
        """The function, shown as a Prefect task where there is a flow run. Repeating it, or
        answering from a cache, is for the gate alone.
        """
        if self.flow_run is None:
            return function
        return self._task(name, function)

    @staticmethod
    def _task(name: str, function: Callable[[], Any]) -> Task[[], Any]:
        return task(name=name, cache_policy=NO_CACHE, retries=0, persist_result=False)(function)

    def show(self, name: str, *, succeeded: bool, message: str) -> None:
        """What an executor did in this pass, as a task that has just ended (measured: 7 ms)."""
        if self.flow_run is None:
            return

        def ended() -> State[Any]:
            """Made once the task runs: Prefect drops an end that is older than the start."""
            return Completed(message=message) if succeeded else Failed(message=message)

        self._task(name, ended)(return_state=True)


def _set(run: FlowRun, state: State[Any]) -> tuple[bool, State[Any] | None]:
    """Whether the state was accepted, and the run's state."""
    with get_client(sync_client=True) as client:
        try:
            answer = client.set_flow_run_state(run.id, state)
        except httpx.HTTPError:  # busy, or the answer was lost: see whether it has happened
            return False, client.read_flow_run(run.id).state
    return answer.status is SetStateStatus.ACCEPT, answer.state


def here(session: Session) -> Place:
    """Raises MisusedGate in a flow with retries."""
    flow, of_task = FlowRunContext.get(), TaskRunContext.get()
    if flow is None or flow.flow_run is None or flow.flow is None:
        return _without_flow(session, of_task)
    run, name = flow.flow_run, flow.flow.name
    _refuse_retries(name, flow.flow.retries, run)
    anchor = flow.flow_run_suspension_request  # one for a run, its tasks and its sub-flows
    stays = ""
    if not session.suspends:
        stays = "in a test"
    elif of_task is not None:
        stays = "inside a task"
    elif run.parent_task_run_id is not None:
        stays = "inside a sub-flow"
    elif run.deployment_id is None:
        stays = "without a deployment"
    return Place(
        session=session,
        passing=session.pass_of(anchor),
        scope=_scope(run, of_task),
        stays=stays,
        flow_name=name,
        flow_run=run,
        anchor=anchor,
        in_task=of_task is not None,
    )


def _without_flow(session: Session, of_task: TaskRunContext | None) -> Place:
    if of_task is None:
        _refuse_lost_thread()
        return Place(session, session.script_pass, Scope(), stays=SCRIPT, script=session.script)
    run = of_task.task_run  # a background task: its id stays the same when it is run again
    return Place(
        session,
        session.script_pass,
        Scope("", str(run.id), run.run_count, ordered=False),
        stays=SCRIPT,
        flow_name=of_task.task.name,
        script=f"script-{run.id}",
        in_task=True,
    )


def _scope(run: FlowRun, of_task: TaskRunContext | None) -> Scope:
    """Sub-flows count for themselves: Prefect finds the same sub-flow run again on every pass,
    by its place in its parent. Tasks have no such place.
    """
    flow = run.parent_task_run_id.hex[-12:] if run.parent_task_run_id else ""
    if of_task is not None:
        of_run = of_task.task_run
        return Scope(flow, str(of_run.id), of_run.run_count, ordered=False, side=sides.current())
    return Scope(flow, ordered=_in_line(), side=sides.current())


def _in_line() -> bool:
    """Whether the caller is the flow's own line, not a coroutine or thread beside it: whose
    stack leads to Prefect's engine without passing an event loop.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the way to a caller's frames
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == flow_engine.__name__:
            return True
        if module.startswith("asyncio."):
            return False
        frame = frame.f_back
    return False


def _refuse_lost_thread() -> None:
    """A thread that was started inside a flow does not know its run: its gates would be asked
    again on every pass.
    """
    if getattr(_flow_run_suspension, "_active_flow_run_suspension_requests", None):
        raise MisusedGate(
            "This gate is called in a thread that does not know its flow run: use a task "
            "(`task.submit`), or start the thread with `contextvars.copy_context().run`."
        )


def _refuse_retries(name: str, retries: int | None, run: FlowRun) -> None:
    configured = retries or run.empirical_policy.retries
    if configured:
        raise MisusedGate(
            f"Flow {name!r} has retries = {configured}, and Prefect never resumes such a run once "
            "it has waited for people: remove the flow's retries and give them to its tasks."
        )


def _root(run: FlowRun) -> str:
    with get_client(sync_client=True) as client:
        while run.parent_task_run_id is not None:
            parent = client.read_task_run(run.parent_task_run_id).flow_run_id
            if parent is None:
                break
            run = client.read_flow_run(parent)
            _refuse_retries(run.name or str(run.id), None, run)
    return str(run.id)
