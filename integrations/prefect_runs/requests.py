"""What a run was asked to do: the parameters that its root was started with, says Prefect."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from gates.core.model import RunRef
from gates.core.origin import leaves
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.states import SCRIPT

MOST_REMEMBERED = 1_000
LONGEST = 100_000  # characters; a longer request is not known rather than half known


class PrefectRunRequests:
    """Implements the port RunRequests. Thread-safe.

    The first reading of a run counts for as long as it is remembered: Prefect lets anybody who
    reaches its API change a run's parameters later. Nothing is known of a script, of a sub-flow
    that passes for a root, and of a run that Prefect does not know.
    """

    def __init__(self, api: PrefectApi) -> None:
        self._api = api
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def text(self, run: RunRef) -> str:
        root = run.root_run_id
        if root.startswith(SCRIPT):
            return ""
        with self._lock:
            if root in self._seen:
                self._seen.move_to_end(root)
                return self._seen[root]
        text = self._read(root)
        with self._lock:
            first = self._seen.setdefault(root, text)
            if len(self._seen) > MOST_REMEMBERED:
                self._seen.popitem(last=False)
        return first

    def _read(self, root: str) -> str:
        found = self._api.run(root)
        if found is None or found.get("parent_task_run_id") is not None:
            return ""
        text = "\n".join(leaves(list((found.get("parameters") or {}).values())))
        return text if len(text) <= LONGEST else ""
