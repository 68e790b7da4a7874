"""When Prefect may try a task again whose gates have raised something."""

from __future__ import annotations

from typing import Any

from gates.core.errors import ActionFailed, GatesError, RetryLater, Unavailable

AGAIN = (ActionFailed, Unavailable, RetryLater)


def retriable(task: Any, task_run: Any, state: Any) -> bool:
    """`@task(retries=3, retry_condition_fn=retriable)`: again where the action is proven to have
    left nothing behind, or a server was away. Never where people or the policy said no (the answer
    would be the same), nor where the flow is written or called wrongly. Other errors than ours are
    tried again as without this.

    Each try of an action counts for the loop detector, as every other does.
    """
    del task, task_run
    error = getattr(state, "data", None)
    if isinstance(error, GatesError):
        return isinstance(error, AGAIN)
    return True
