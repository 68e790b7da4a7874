"""A Prefect server, a worker and a gates server, as processes on free ports, and hands on them.

Runs are started through Prefect's API as users' are; people decide through the server's API
with sessions of their own.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from gates.client import GatesClient
from gates.core.model import DecisionKind, RequestView
from integrations.demo.prefect_database import empty_prefect
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
POOL = "tests"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
LINGER = 1.0  # seconds
T = TypeVar("T")


class NotInTime(AssertionError):
    pass


def until(look: Callable[[], T | None], seconds: float = 150, every: float = 0.1) -> T:
    """What `look` finds, as soon as it finds something. Raises NotInTime."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise NotInTime(f"not within {seconds} s; last seen: {found!r}")
        time.sleep(every)  # two servers, one of them not ours: there is no event to wait for


@dataclass
class Stack:
    """`folder` holds data, keys and logs of the processes."""

    folder: Path
    prefect_url: str
    gates_url: str
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _deployments: dict[str, str] = field(default_factory=dict)
    _clients: dict[str, GatesClient] = field(default_factory=dict)
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))

    @property
    def api(self) -> str:
        return f"{self.prefect_url}/api"

    @property
    def environment(self) -> dict[str, str]:
        """Of a flow's process."""
        return os.environ | {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": str(ROOT),
            "GATES_URL": self.gates_url,
            "GATES_API_KEY_FILE": str(self.folder / "flow.key"),
            "GATES_LINGER": str(LINGER),
            "GATES_LEASE": "5",
            "GATES_TEST_TRACE": str(self.folder / "trace"),
        }

    # -- processes --------------------------------------------------------------------------

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_gates(self) -> None:
        port = self.gates_url.rsplit(":", 1)[1]
        module = "tests.support.gate_server"
        self.start("gates", sys.executable, "-m", module, str(self.folder), port, self.api)
        until(lambda: self._answers("gates", f"{self.gates_url}/health"))

    def start_prefect(self) -> None:
        port = self.prefect_url.rsplit(":", 1)[1]
        if not (self.folder / "prefect").exists():
            empty_prefect(self.folder / "prefect", self.environment)
        self.start("prefect", script("prefect"), "server", "start", "--port", port)

    def start_worker(self) -> None:
        self.start("worker", script("prefect"), "worker", "start", "--pool", POOL, "-t", "process")

    def _answers(self, name: str, url: str) -> bool:
        if self._processes[name].poll() is not None:
            raise NotInTime(f"{name} ended: {self.log(name)[-2000:]}")
        with suppress(httpx.HTTPError):
            return self._http.get(url, timeout=5).is_success
        return False

    def end(self, name: str) -> None:
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(timeout=8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=8)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # -- Prefect ----------------------------------------------------------------------------

    def prefect(self, method: str, path: str, body: object = None) -> Any:
        """Prefect on SQLite answers 503 or hangs up while it is busy: ask again."""
        for _ in range(100):
            with suppress(httpx.TransportError):
                answer = self._http.request(method, f"{self.api}{path}", json=body)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    answer.raise_for_status()
                    return answer.json() if answer.content else None
            time.sleep(0.1)
        raise NotInTime(f"Prefect stays too busy for {path}")

    def run(self, flow: str, **parameters: object) -> str:
        """Start a deployed run of `tests.support.e2e_flows:flow`; its id."""
        if flow not in self._deployments:
            name = flow.replace("_", "-")
            made = self.prefect("POST", "/flows/", {"name": name})
            body = {
                "name": "test",
                "flow_id": made["id"],
                "entrypoint": f"tests.support.e2e_flows:{flow}",
                "work_pool_name": POOL,
                "job_variables": {
                    "command": f"{sys.executable} -m prefect.engine",
                    "working_dir": str(ROOT),
                },
                "enforce_parameter_schema": False,
            }
            self._deployments[flow] = self.prefect("POST", "/deployments/", body)["id"]
        path = f"/deployments/{self._deployments[flow]}/create_flow_run"
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.prefect("POST", path, body)["id"])

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.prefect("GET", f"/flow_runs/{run}")["state"] or {})

    def reaches(self, run: str, *types: str, seconds: float = 150) -> dict[str, Any]:
        """The run's state once it is of one of these types. Ends early where the run ends."""

        def look() -> dict[str, Any] | None:
            state = self.state(run)
            return state if state.get("type") in (*types, *ENDED) else None

        state = until(look, seconds)
        assert state["type"] in types, (state, self.log("worker")[-3000:])
        return state

    def history(self, run: str) -> list[str]:
        states = self.prefect("GET", f"/flow_run_states/?flow_run_id={run}")
        return [state["name"] for state in states]

    def says(self, run: str, words: str) -> str:
        """The run's log once it has these words: it is shipped in the background."""
        return until(lambda: log if words in (log := self.logs(run)) else None)

    def logs(self, run: str) -> str:
        found = self.prefect(
            "POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
        )
        return "\n".join(line["message"] for line in found)

    # -- people -----------------------------------------------------------------------------

    @property
    def admin(self) -> GatesClient:
        key = (self.folder / "admin.key").read_text()
        return self._client("", lambda: GatesClient(self.gates_url, key=key, patience=20))

    def person(self, name: str) -> GatesClient:
        def log_in() -> GatesClient:
            token = self.admin.login_link(name).rsplit("/", 1)[1]
            session = self.admin.log_in(token)["token"]
            return GatesClient(self.gates_url, session=session, patience=20)

        return self._client(name, log_in)

    def _client(self, name: str, make: Callable[[], GatesClient]) -> GatesClient:
        if name not in self._clients:
            self._clients[name] = make()
        return self._clients[name]

    def asked(self, run: str, count: int = 1) -> list[RequestView]:
        """Open questions of a run, once there are `count`, in the order of their keys."""

        def look() -> list[RequestView] | None:
            found = [one for one in self.admin.requests() if one.request.run.root_run_id == run]
            return found if len(found) >= count else None

        return sorted(until(look), key=lambda one: one.request.gate_key)

    def stored(self, query: str, *values: str) -> list[str]:
        """The first column of what the gates store has."""
        file = self.folder / "gates.sqlite"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return [str(row[0]) for row in database.execute(query, values)]

    def paid(self, run: str) -> list[str]:
        """What executors were handed and did for a run, over all of its passes."""
        query = (
            "SELECT attempt.id FROM attempt JOIN request ON request.id = attempt.request_id "
            "WHERE request.root_run_id = ? AND action = 'till.pay' AND attempt.state = 'succeeded'"
        )
        return self.stored(query, run)

    def decide(self, view: RequestView, kind: str = "approve", reason: str = "") -> None:
        self.person("dana").decide(view.request.id, DecisionKind(kind), reason)

    def trace(self, run: str) -> list[str]:
        """What a run's flow wrote down with `e2e_flows.trace`, over all of its passes."""
        file = self.folder / "trace"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split(" ", 1)[1] for line in lines if line.startswith(run)]


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@contextmanager
def stack(folder: Path, *, worker: bool = True) -> Iterator[Stack]:
    """Everything up, and down again at the end."""
    made = Stack(
        folder,
        f"http://127.0.0.1:{free_port()}",
        f"http://127.0.0.1:{free_port()}",
    )
    try:
        made.start_prefect()
        made.start_gates()
        until(lambda: made._answers("prefect", f"{made.api}/health"))
        if worker:
            made.prefect("POST", "/work_pools/", {"name": POOL, "type": "process"})
            made.start_worker()
        yield made
    finally:
        # What flows of this process have told Prefect goes to the server that was up first, for
        # ever, unless these are ended with it.
        for service in (EventsWorker, APILogWorker):
            service.drain_all(timeout=30, at_exit=False)
        for client in (made._http, *made._clients.values()):
            client.close()
        for name in reversed(list(made._processes)):
            made.end(name)
