"""The real parts that are measured, each in a process of its own, on loopback."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import psutil
import psycopg
import pytest

from gates.client import GatesClient
from integrations.demo.prefect_database import empty_prefect
from integrations.demo.processes import Processes
from integrations.demo.stack import KEPT, QUIET
from integrations.ports import free_port
from tests.support.postgres import postgres_url

HERE = Path(__file__).parent
PERSON = "dana"  # decides what the benchmarks' policy asks


@contextmanager
def folder() -> Iterator[Path]:
    """For data, keys and logs. What was started under it ends with it."""
    with tempfile.TemporaryDirectory(prefix="gates-bench-") as made:
        home = Path(made)
        try:
            yield home
        finally:
            Processes(home).stop()


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | QUIET | {"PYTHONPATH": str(Path.cwd())} | more


@dataclass(frozen=True)
class House:
    """A gates server. `flow_key` is a flow's; `decider` is logged in as a person."""

    url: str
    flow_key: str
    decider: GatesClient
    process: psutil.Process

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def megabytes(self) -> float:
        return float(self.process.memory_info().rss) / 1e6

    def author_environment(self, prefect_api: str = "", home: Path | None = None) -> dict[str, str]:
        more = {"GATES_URL": self.url, "GATES_API_KEY": self.flow_key}
        if prefect_api:
            more |= {"PREFECT_API_URL": prefect_api, "PREFECT_HOME": str(home)}
        return environment(**more)


@contextmanager
def gates_server(
    home: Path, database_url: str = "", name: str = "gates", **more: str
) -> Iterator[House]:
    """`gates server`, as anybody starts it; on SQLite unless told otherwise."""
    own = home / name
    own.mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "GATES_HOME": str(own),
        "GATES_PORT": str(port),
        "GATES_POLICY": str(HERE / "policy.yaml"),
        "GATES_DATABASE_URL": database_url or f"sqlite:///{own / 'gates.sqlite'}",
        **more,
    }
    processes = Processes(home)
    command = [str(Path(sys.executable).with_name("gates")), "server"]
    started = processes.start(name, command, environment(**settings))
    processes.wait(started, partial(answers, f"{url}/health"))
    with ExitStack() as open_clients:
        admin = GatesClient(url, key=(own / "admin.key").read_text().strip())
        open_clients.enter_context(admin)
        key = admin.create_key("flow", "bench-agent", "sam")
        session = decider_session(admin)
        decider = GatesClient(url, session=session)
        open_clients.enter_context(decider)
        yield House(url, key, decider, psutil.Process(started.pid))


def decider_session(admin: GatesClient, person: str = PERSON) -> str:
    token = admin.login_link(person).rsplit("/", 1)[1]
    with GatesClient(admin.base_url) as client:
        return str(client.log_in(token)["token"])


@contextmanager
def prefect_server(home: Path, database_url: str = "") -> Iterator[str]:
    """A Prefect server, on SQLite unless told otherwise; its API's address."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    processes = Processes(home)
    script = str(Path(sys.executable).with_name("prefect"))
    command = [script, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    more = {"PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": api}
    if database_url:
        asyncpg = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
        more["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = asyncpg
    else:
        empty_prefect(home / "prefect", environment(**more))
    started = processes.start("prefect", command, environment(**more))
    processes.wait(started, partial(answers, f"{api}/health"))
    yield api


@contextmanager
def floor_server(home: Path) -> Iterator[str]:
    port = free_port()
    processes = Processes(home)
    module = [sys.executable, "-m", "tests.benchmarks.floor"]
    command = [*module, str(port), str(home / "floor.sqlite")]
    started = processes.start("floor", command, environment())
    processes.wait(started, partial(answers, f"http://127.0.0.1:{port}/health"))
    yield f"http://127.0.0.1:{port}"


@contextmanager
def postgres_database() -> Iterator[str | None]:
    """A fresh database, or None where this machine can have none."""
    with ExitStack() as stack:
        try:
            given = os.environ.get("GATES_TEST_POSTGRES", "")
            url = stack.enter_context(postgres_url(given))
        except pytest.skip.Exception:
            yield None
            return
        name = f"gates_bench_{secrets.token_hex(4)}"
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{url.rsplit('/', 1)[0]}/{name}"
        finally:
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Author:
    """A process that does what flow authors do, and tells what it saw."""

    def __init__(self, what: str, number: int, env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.author", what, str(number)]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `stop`
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._next()

    def start(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def told(self, key: str) -> Iterator[float]:
        """What it says, as it says it. Raises RuntimeError where it ends too early."""
        while True:
            yield self._next()[key]

    def _next(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"The author's process ended: {self._log.read()[-2000:]}")
        return dict(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
