"""The whole house as processes, each of which can be killed and started again by name.

Between flow and executor on the one side and the gates server on the other, and between the
executor and the ERP, stands a proxy that holds chosen calls.
"""

from __future__ import annotations

import signal
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from gates.client import GatesClient
from gates.core.model import DecisionKind, RequestView
from integrations.demo import stack as stacks
from integrations.demo.runs import Run, Runs
from integrations.demo.stack import DEPLOYMENT, Stack
from integrations.erp.books import BookEntry, books
from integrations.erp.company import start_erp
from integrations.erp.tryton import TrytonErp
from tests.support.proxy import Proxy

LEASE = 3  # seconds after which a silent executor is taken for dead
SETTLE = 1  # seconds in which its last call could still land
SAMPLES = Path("flows/samples")
ASKED = 0.2  # seconds between two looks at Prefect, which takes some milliseconds to answer each
PATIENCE = 150.0  # seconds; long, for a machine with much else to do
DONE_WITH = "prefect.worker.executed-flow-run"  # the event after a worker's last word on a process


@dataclass(frozen=True)
class House:
    """`gates` stands before the gates server, `erp` before the ERP as the executor sees it."""

    stack: Stack
    gates: Proxy
    erp: Proxy
    runs: Runs
    changes: stacks.Changes
    http: httpx.Client

    # -- processes ----------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        known = stacks.processes(self.stack.home).known()
        return next(one.pid for one in reversed(known) if one.name == name)

    def kill(self, name: str) -> None:
        """kill -9, of this process alone; returns once it is gone."""
        process = psutil.Process(self.pid(name))
        process.kill()
        until(lambda: not _lives(process), f"the end of {name}")

    def start(self, *names: str) -> None:
        """Any but the ERP, which `start_erp` starts."""
        with _handles_dropped():
            stacks.start(self.stack, names, self.changes)

    def start_erp(self) -> None:
        """On the port that it had."""
        with _handles_dropped():
            port = int(self.stack.erp_url.rsplit(":", 1)[1])
            running = start_erp(self.stack.company, port=port)
            stacks.processes(self.stack.home).remember("erp", running.pid)

    def kill_flow(self, run: Run) -> None:
        """kill -9 of the run's processes, supervisor included."""
        found = flow_processes(run)
        assert found, f"{run.name} has no process"
        for process in found:
            process.send_signal(signal.SIGKILL)
        until(lambda: not any(map(_lives, found)), f"the end of {run.name}")

    # -- runs -----------------------------------------------------------------------------------

    def run(self, sample: str, number: str, gates_url: str = "") -> Run:
        """A run for the sample invoice under a number of its own."""
        document = self.stack.home / f"{number}.xml"
        original = (SAMPLES / f"{sample}.xml").read_text()
        given = original.split("<cbc:ID>", 1)[1].split("</cbc:ID>", 1)[0]
        document.write_text(original.replace(given, number))
        return self.begin(DEPLOYMENT, document, gates_url)

    def begin(self, name: str, document: Path, gates_url: str = "") -> Run:
        """A run of this deployment for the document, as a worker will find it; `gates_url`:
        another way to the gates server than through `gates`.
        """
        deployment = self._prefect("GET", f"/deployments/name/{name}")["id"]
        body = {
            "name": document.stem,
            "parameters": {"document": str(document.resolve())},
            "state": {"type": "SCHEDULED"},
            # without Prefect's supervisor process, which starts a run a second later
            "job_variables": {
                "command": f"{sys.executable} -m prefect.engine",
                "working_dir": str(Path.cwd()),
                "env": {"GATES_URL": gates_url or self.gates.url},
            },
        }
        made = self._prefect("POST", f"/deployments/{deployment}/create_flow_run", body)
        return Run(made["id"], document.stem, str(document))

    def state(self, run: Run) -> str:
        return self.runs.read(run).state

    def until_state(self, run: Run, *states: str, seconds: float = PATIENCE) -> Run:
        what = f"{run.name} {'/'.join(states)}"
        until(lambda: self.state(run) in states, what, self, run, seconds, every=ASKED)
        return self.runs.read(run)

    def retry(self, run: Run) -> None:
        """What an admin does who presses Retry in Prefect's UI. Only once the worker is done with
        the process that was killed: it reports the crash twice, and its second word would undo
        what was pressed after the first.
        """
        words = f"the worker's last word on {run.name}"
        until(lambda: self._let_go(run), words, self, run, every=ASKED)
        self.until_state(run, "CRASHED")
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "An admin retries."}
        self._prefect("POST", f"/flow_runs/{run.id}/set_state", {"state": state})

    def _let_go(self, run: Run) -> bool:
        of_run = {"event": {"name": [DONE_WITH]}, "related": {"id": [f"prefect.flow-run.{run.id}"]}}
        return bool(self._prefect("POST", "/events/filter", {"filter": of_run})["events"])

    def _prefect(self, method: str, path: str, body: object = None) -> Any:
        """Prefect answers 503, or nothing, while its SQLite is busy: ask again."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            with suppress(httpx.TransportError):
                url = f"{self.stack.prefect_api}{path}"
                answers.append(self.http.request(method, url, json=body))
            return bool(answers) and answers[-1].is_success

        until(answered, f"an answer of Prefect to {path}")
        return answers[-1].json()

    # -- people ---------------------------------------------------------------------------------

    def question(self, run: Run) -> RequestView:
        """The open request of this run, once it is there."""
        found: list[RequestView] = []

        def asked() -> bool:
            with self.stack.admin() as admin:
                found.extend(v for v in admin.requests() if v.request.run.run_id == run.id)
            return bool(found)

        until(asked, f"a question of {run.name}", self, run)
        return found[0]

    def decide(self, run: Run, person: str, kind: DecisionKind, reason: str = "") -> None:
        view = self.question(run)
        with self.stack.admin() as admin:
            token = admin.login_link(person).rsplit("/", 1)[1]
        with GatesClient(self.stack.gates_url, patience=10) as client:
            session = str(client.log_in(token)["token"])
        with GatesClient(self.stack.gates_url, session=session, patience=10) as client:
            client.decide(view.request.id, kind, reason)

    def approve(self, run: Run, person: str) -> None:
        self.decide(run, person, DecisionKind.APPROVE)

    # -- what is written down ---------------------------------------------------------------------

    def log(self, run: Run) -> list[str]:
        """Kinds of the gates server's log entries about this run, oldest first."""
        query = (
            "SELECT log.kind FROM log JOIN request ON request.id = log.subject "
            "WHERE request.root_run_id = ? ORDER BY log.seq"
        )
        file = self.stack.home / "gates.sqlite"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return [str(row[0]) for row in database.execute(query, (run.id,))]

    def booked(self, number: str) -> list[BookEntry]:
        """Straight from the ERP, past every proxy."""
        erp = TrytonErp(self.stack.company.connect(self.stack.erp_url, "reader"))
        try:
            return books(erp, number)
        finally:
            erp.close()


@contextmanager
def house(
    home: Path, linger: float = 1.0, proxies: tuple[Callable[[], Proxy], ...] = (Proxy, Proxy)
) -> Iterator[House]:
    """Everything running, in `home`; nothing afterwards. `proxies`: before gates and the ERP."""
    with proxies[0]() as gates, proxies[1]() as erp:

        def changes(stack: Stack) -> Mapping[str, Mapping[str, str]]:
            gates.upstream, erp.upstream = stack.gates_url, stack.erp_url
            hasty = {"GATES_URL": gates.url, "GATES_LEASE": str(LEASE)}
            return {
                "prefect": {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.2"},
                "gates": {"GATES_SETTLE": str(SETTLE)},
                "executor": hasty | {"GATES_ERP_URL": erp.url},
                "worker": hasty
                | {"GATES_LINGER": str(linger), "PREFECT_WORKER_QUERY_SECONDS": "0.5"},
            }

        with _handles_dropped():
            stack = stacks.up(home, lambda _words: None, changes)
        runs = Runs(stack.prefect_api)
        try:
            with httpx.Client(timeout=30, trust_env=False) as http:
                yield House(stack, gates, erp, runs, changes, http)
        finally:
            runs.close()
            stacks.down(home)


def flow_processes(run: Run) -> list[psutil.Process]:
    """By their environment: a worker that was killed no longer knows its children."""
    return flow_processes_of(run.id)


def flow_processes_of(run_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id and _lives(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def until(
    condition: Callable[[], bool],
    what: str,
    at: House | None = None,
    run: Run | None = None,
    seconds: float = PATIENCE,
    every: float = 0.05,
) -> None:
    """Look until `condition` holds; what stood instead is told where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            stands = (at.runs.read(run), at.log(run)) if at and run else ""
            raise AssertionError(f"Not within {seconds:.0f} s: {what}. {stands}")
        time.sleep(every)


@contextmanager
def _handles_dropped() -> Iterator[None]:
    """The house knows its processes by their ids, and lets Python's handles go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


__all__ = ["House", "flow_processes", "house", "until"]
