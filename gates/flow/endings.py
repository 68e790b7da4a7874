"""A run that is ended by a gate ends in a state that names the person and the reason, and does
not look like a crash.

Prefect makes the final state of an uncaught exception in one function, which both of its flow
engines call by its module's name, and offers no hook before that state is set: an on_failure
hook that changes it afterwards shows FAILED first and sets off the automations on failures. So
that function is wrapped. CANCELLED, not FAILED: nothing went wrong, and nothing is to be tried
again.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

from prefect import flow_engine
from prefect.client.schemas.objects import State, StateType

from gates.core.errors import GatesError, GateStopped
from gates.core.model import Step
from gates.flow import awaiting, words
from gates.flow.places import STATE_NAME
from gates.flow.session import current

LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")
FINISHED = "Finished in state "
HOOK = "exception_to_failed_state"

log = logging.getLogger("gates.flow")


class Calm(logging.Filter):
    """A decision is no stack trace: one line, a warning."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.msg if isinstance(record.msg, str) else ""
        if told.startswith(FINISHED) and told.removeprefix(FINISHED).startswith(_calm_names()):
            # The async engine logs every state but Completed as an error.
            record.levelno, record.levelname = logging.INFO, "INFO"
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, GatesError):  # made for people: a hundred lines would bury it
            record.msg, record.args = "%s", (str(error),)
            record.exc_info = record.exc_text = None
        if isinstance(error, GateStopped):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


@functools.cache
def _calm_names() -> tuple[str, ...]:
    return f"{STATE_NAME}(", *(f"{kind.state_name}(" for kind in GateStopped.__subclasses__())


@functools.cache
def install() -> None:
    """Once a process."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(Calm())
    original = getattr(flow_engine, HOOK, None)
    if original is None:
        log.warning(
            "This release of Prefect has no flow_engine.%s: runs that people reject end as "
            "Failed, with the reason in their message.",
            HOOK,
        )
        return

    @functools.wraps(original)
    async def ended(exc: BaseException | None = None, *args: Any, **kwargs: Any) -> State[Any]:
        state: State[Any] = await original(exc, *args, **kwargs)
        if not isinstance(exc, GateStopped):
            return state
        message = await awaiting.in_thread(functools.partial(_last_word, exc))
        named = {"type": StateType.CANCELLED, "name": exc.state_name, "message": message}
        return state.model_copy(update=named)

    setattr(flow_engine, HOOK, ended)


def _last_word(stopped: GateStopped) -> str:
    """Asked again, since a flow may have taken things back after it was stopped."""
    steps: Sequence[Step] = stopped.done
    known = stopped.details.get("request_id")
    try:
        steps = current().transport.trail(str(known)) if known else steps
    except GatesError as error:
        log.warning("What the run has done could not be read again: %s", error)
    return words.ended(str(stopped), steps)
