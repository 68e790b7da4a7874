"""The demo's processes: ERP, Prefect server, gates server, two executors (who pays, and who changes
bank accounts), worker; all on loopback, on SQLite, each with no more in its environment than it
needs.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from gates.client import GatesClient
from integrations.demo.prefect_database import empty_prefect
from integrations.demo.processes import NotStarted, Processes, Started, port_for, run, script
from integrations.demo.runs import Runs
from integrations.demo.trouble import plant_trouble
from integrations.erp.company import DATABASE, Company, prepare_company, start_erp
from integrations.ports import free_port

POOL = "gates"
DEPLOYMENT = "vendor-invoice/demo"
EXECUTORS = {  # part and ERP user: the actions that it, and its key, are for
    "executor": ("erp.bill.*", "erp.payment.*"),
    "banker": ("erp.supplier.*",),
}
AGENT, ACTS_FOR = "invoice-agent", "sam"
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "SYSTEMROOT")
MAX_PORT = 65_535
BEAT = 30  # seconds between a run's signs of life, the shortest that Prefect allows
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PYTHONUNBUFFERED": "1",
    "NO_COLOR": "1",
}

Progress = Callable[[str], None]
Changes = Callable[["Stack"], Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True)
class Stack:
    """Where everything is; `home` holds data, logs, keys and the list of processes."""

    home: Path
    gates_url: str
    prefect_url: str
    erp_url: str

    @property
    def company(self) -> Company:
        return Company((self.home / "erp").resolve())

    @property
    def prefect_api(self) -> str:
        return f"{self.prefect_url}/api"

    @contextmanager
    def admin(self) -> Iterator[GatesClient]:
        key = (self.home / "admin.key").read_text().strip()
        with GatesClient(self.gates_url, key=key, patience=10) as client:
            yield client


def processes(home: Path) -> Processes:
    return Processes(home)


def down(home: Path) -> list[str]:
    """End what `up` started; the names of what ran."""
    return processes(home).stop()


def up(home: Path, progress: Progress, changes: Changes = lambda _stack: {}) -> Stack:
    """Start everything afresh; `changes` to a process's environment, by its name.

    Raises NotStarted, ErpNotInstalled, ErpNotStarted.
    """
    started = processes(home)
    _refuse_foreign(home, started)
    for name in ("GATES_PORT", "PREFECT_PORT"):  # before anything that runs is stopped
        if not started.listens_on(_wanted(name)):
            port_for(name, _wanted(name))
    if down(home):
        progress("the demo that ran is stopped; this one starts afresh")
    gates_port, prefect_port = (
        port_for(name, _wanted(name)) for name in ("GATES_PORT", "PREFECT_PORT")
    )
    for old in home.glob("*"):
        if old != started.file:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    started.claim()
    (home / "logs").mkdir()

    urls = (f"http://127.0.0.1:{port}" for port in (gates_port, prefect_port, free_port()))
    stack = Stack(home, *urls)
    try:  # what takes seconds to import its libraries is begun before what needs it is waited for
        with ThreadPoolExecutor(1) as beside:
            progress("the Prefect server")
            prefect = beside.submit(_begin_prefect, stack, changes)
            progress("the ERP (the first time on a machine it takes half a minute)")
            company = prepare_company(home / "erp", progress=progress)
            progress("the gates server and the executors")
            gates = begin(stack, ("gates",), changes)
            erp = start_erp(company, port=int(_port(stack.erp_url)))
            started.remember("erp", erp.pid)
            started.log("erp").symlink_to(company.log)  # all logs in one folder
            plant_trouble(stack.company, stack.erp_url)
            wait(stack, gates)
            _hand_out_keys(stack)
            start(stack, ("executor", "banker"), changes)
            wait(stack, prefect.result())
        progress("the worker and the deployments")
        start(stack, ("worker",), changes)
        _deploy(stack)
    except BaseException:
        started.stop()
        raise
    return stack


def _refuse_foreign(home: Path, started: Processes) -> None:
    """A new demo empties its folder; one that no demo made may hold anything. Raises NotStarted."""
    if home.exists() and any(home.iterdir()) and not started.file.exists():
        raise NotStarted(
            f"GATES_HOME = {home}: the demo would empty this folder, and no demo made it; "
            "name another one, or move what is in it."
        )


def _wanted(name: str) -> int:
    wanted = os.environ.get(name, "0")
    if not wanted.isdecimal() or int(wanted) > MAX_PORT:
        raise NotStarted(f"{name} = {wanted}: give a port's number, or 0 for a free one.")
    return int(wanted)


def start(stack: Stack, names: Sequence[str], changes: Changes = lambda _stack: {}) -> None:
    """Start parts of the house, again or for the first time, and wait until something tells that
    they are up. Raises NotStarted.
    """
    wait(stack, begin(stack, names, changes))


def begin(
    stack: Stack, names: Sequence[str], changes: Changes = lambda _stack: {}
) -> list[Started]:
    """`start` without the waiting. Raises NotStarted where a program is not there."""
    known, changed = _parts(stack), changes(stack)
    return [
        processes(stack.home).start(
            name, known[name].command, known[name].environment | dict(changed.get(name, {}))
        )
        for name in names
    ]


def wait(stack: Stack, begun: Sequence[Started]) -> None:
    """Until something tells of each that it is up. Raises NotStarted."""
    known = _parts(stack)
    with httpx.Client(timeout=5, trust_env=False) as http:  # to make one costs more than an answer
        for one in begun:
            if ready := known[one.name].ready:
                processes(stack.home).wait(one, partial(_answers, http, ready))


@dataclass(frozen=True)
class _Part:
    """`ready`: an address that answers once the process is up; empty where nothing tells. The
    first worker of a pool creates it.
    """

    command: list[str]
    environment: dict[str, str]
    ready: str = ""


def _parts(stack: Stack) -> dict[str, _Part]:
    shared = _environment(stack)
    prefect = script("prefect", "server", "start", "--host", "127.0.0.1", "--port")
    worker = script("prefect", "worker", "start", "--pool", POOL, "--type", "process")
    server = {
        "GATES_PORT": _port(stack.gates_url),
        "GATES_DATABASE_URL": f"sqlite:///{(stack.home / 'gates.sqlite').resolve()}",
        "GATES_PREFECT_API_URL": stack.prefect_api,
        "GATES_PREFECT_UI_URL": stack.prefect_url,
        "GATES_SETTLE": "10",
    }
    slack = {name: value for name, value in os.environ.items() if name.startswith("GATES_SLACK_")}
    flow = {
        "GATES_LINGER": os.environ.get("GATES_LINGER", "5"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.2",
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(BEAT),
    }
    return {
        "prefect": _Part(
            [*prefect, _port(stack.prefect_url)], shared, f"{stack.prefect_api}/health"
        ),
        "gates": _Part(
            script("gates", "server"),
            shared | _erp_user(stack, "reader") | server | slack,
            f"{stack.gates_url}/health",
        ),
        "executor": _Part(
            script("gates", "executor"),
            shared
            | _erp_user(stack, "executor")
            | _key(stack, "executor")
            | {"GATES_EXECUTOR_ACTIONS": ",".join(EXECUTORS["executor"])},
        ),
        # Who redirects money and who pays it are two processes with two ERP users.
        "banker": _Part(
            script("gates", "executor"),
            shared
            | _erp_user(stack, "banker")
            | _key(stack, "banker")
            | {"GATES_EXECUTOR_ACTIONS": ",".join(EXECUTORS["banker"])},
        ),
        "worker": _Part(
            worker, shared | _key(stack, "flow") | flow, f"{stack.prefect_api}/work_pools/{POOL}"
        ),
    }


def _begin_prefect(stack: Stack, changes: Changes) -> list[Started]:
    empty_prefect(stack.home / "prefect", _environment(stack))
    return begin(stack, ("prefect",), changes)


def _hand_out_keys(stack: Stack) -> None:
    with stack.admin() as admin:
        _secret(stack.home / "flow.key", admin.create_key("flow", AGENT, ACTS_FOR))
        for part, actions in EXECUTORS.items():
            key = admin.create_key("executor", f"{part}-1", actions=actions)
            _secret(stack.home / f"{part}.key", key)


def _deploy(stack: Stack) -> None:
    runs = Runs(stack.prefect_api)
    try:
        runs.notice_the_dead(2.5 * BEAT)
    finally:
        runs.close()
    run(script("prefect", "--no-prompt", "deploy", "--all"), _environment(stack))


def _key(stack: Stack, name: str) -> dict[str, str]:
    return {"GATES_API_KEY_FILE": str((stack.home / f"{name}.key").resolve())}


def _environment(stack: Stack) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return (
        kept
        | QUIET
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PREFECT_HOME": str((stack.home / "prefect").resolve()),
            "PREFECT_API_URL": stack.prefect_api,
            "GATES_HOME": str(stack.home.resolve()),
            "GATES_URL": stack.gates_url,
            "PYTHONPATH": str(Path.cwd()),
        }
    )


def _erp_user(stack: Stack, user: str) -> dict[str, str]:
    return {
        "GATES_ERP_URL": stack.erp_url,
        "GATES_ERP_DATABASE": DATABASE,
        "GATES_ERP_USER": user,
        "GATES_ERP_PASSWORD_FILE": str(stack.company.password_file(user)),
    }


def _port(url: str) -> str:
    return url.rsplit(":", 1)[1]


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


__all__ = [
    "ACTS_FOR",
    "AGENT",
    "DEPLOYMENT",
    "Stack",
    "down",
    "processes",
    "start",
    "up",
]
