"""The whole house, each process as a user of its own; started, checked, stopped and undone.

`HOME` belongs to root. In it each user has a folder that nobody else enters, with the keys that
its process needs, and the program is there to read for all. What is there already stays, so that
`up` may be repeated: it starts what does not run.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel

from gates.client import GatesClient
from integrations.demo.processes import Processes, Started
from integrations.demo.runs import Runs
from integrations.demo.stack import ACTS_FOR, AGENT, EXECUTORS, POOL, QUIET
from integrations.erp.company import DATABASE, Company, prepare_company
from integrations.hardened import cluster, code
from integrations.hardened.users import (
    PREFIX,
    Account,
    NotHardened,
    account,
    refuse_unprepared,
    remove,
)
from integrations.ports import refusal

PARTS = ("database", "erp", "prefect", "server", *EXECUTORS, "flow")
LISTENERS = ("database", "erp", "prefect", "server")
LOWEST, BELOW = 600, 1024  # ports that only root, or who was given the right, may listen on

Progress = Callable[[str], None]
Changes = Mapping[str, Mapping[str, str]]


class Plan(BaseModel):
    """What `up` has decided once and for all; kept in HOME/house.json."""

    prefix: str
    project: Path
    ports: dict[str, int]
    postgres: bool


@dataclass(frozen=True)
class Hardened:
    home: Path
    plan: Plan

    @cached_property
    def accounts(self) -> dict[str, Account]:
        return {part: account(f"{self.plan.prefix}{part}", self.home / part) for part in PARTS}

    @property
    def processes(self) -> Processes:
        return Processes(self.home / "processes")

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.plan.ports[part]}"

    @property
    def prefect_auth(self) -> tuple[str, str]:
        user, _, password = self._secret("prefect", "auth").partition(":")
        return user, password

    @contextmanager
    def admin(self) -> Iterator[GatesClient]:
        """The gates server, as root may use it."""
        key = self._secret("server", "admin.key")
        with GatesClient(self.url("server"), key=key, patience=10) as client:
            yield client

    def _secret(self, part: str, name: str) -> str:
        return (self.home / part / name).read_text().strip()

    # -- what there has to be before a process starts ------------------------------------------

    def prepare(self, progress: Progress) -> None:
        progress("the program, where all its users can read it")
        code.prepare(self.home / "code", self.plan.project, self.accounts["flow"])
        rules = self.home / "policies"
        if not rules.exists():
            shutil.copytree(self.plan.project / "policies", rules)
            for path in (rules, *rules.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
        self._prefect_password()
        self._books(progress)
        if self.plan.postgres:
            progress("a PostgreSQL with passwords")
            found = cluster.binaries()
            if found is None:
                raise NotHardened("PostgreSQL was here and is gone: install it again.")
            cluster.create(self.accounts["database"], found)

    def _prefect_password(self) -> None:
        """Prefect knows one password for all; who stands here can start and resume runs."""
        if not (self.home / "prefect" / "auth").exists():
            self.accounts["prefect"].keep("auth", f"gates:{secrets.token_urlsafe(24)}")
        for part in ("server", "flow"):
            self.accounts[part].keep("prefect.auth", self._secret("prefect", "auth"))

    def _books(self, progress: Progress) -> None:
        """The reference ERP; each password moves to the one process that uses it."""
        owner, folder = self.accounts["erp"], self.home / "erp" / "books"
        if folder.exists():
            return
        progress("the ERP (the first time on a machine it takes half a minute)")
        draft = self.home / "books.part"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        company = prepare_company(draft)
        company.config.write_text(company.config.read_text().replace(str(draft), str(folder)))
        self.accounts["server"].keep("erp.password", company.password_file("reader").read_text())
        for user in EXECUTORS:
            self.accounts[user].keep("erp.password", company.password_file(user).read_text())
        for user in ("reader", *EXECUTORS):
            company.password_file(user).unlink()
        owner.own(draft)
        draft.rename(folder)

    # -- processes ----------------------------------------------------------------------------

    def start(self, changes: Changes) -> None:
        self._start("database", "erp", "prefect", changes=changes)
        if self.plan.postgres:
            self._admit_server()
        self._start("server", changes=changes)
        self._hand_out_keys()
        self._start("flow", *EXECUTORS, changes=changes)
        self._deploy()

    def _start(self, *parts: str, changes: Changes) -> None:
        running = {one.name for one in self.processes.running()}
        waited = []
        for part in parts:
            if part in running or (part == "database" and not self.plan.postgres):
                continue
            owner = self.accounts[part]
            command = [*owner.run_as(listens=part in LISTENERS), *self._command(part)]
            environment = self.environment(part) | dict(changes.get(part, {}))
            waited.append((part, self._private(part, command, environment)))
        for part, started in waited:
            if part in (*LISTENERS, "flow"):
                self.processes.wait(started, partial(self._answers, part))

    def _private(self, part: str, command: list[str], environment: Mapping[str, str]) -> Started:
        return self.processes.start(part, command, environment, cwd=self.home / part, umask=0o077)

    def _command(self, part: str) -> list[str]:
        tool, port = self.home / "code" / "bin", str(self.plan.ports.get(part, 0))
        prefect = str(tool / "prefect")
        listening = ["--host", "127.0.0.1", "--port", port]
        books = Company(self.home / "erp" / "books")
        match part:
            case "database":
                found = cluster.binaries()
                assert found is not None  # noqa: S101 - `prepare` has looked
                return cluster.command(self.accounts[part], found, int(port))
            case "erp":
                return [str(tool / "trytond"), "-c", str(books.config), "-d", DATABASE]
            case "prefect":
                return [prefect, "server", "start", *listening]
            case "flow":
                return [prefect, "worker", "start", "--pool", POOL, "--type", "process"]
            case "server":
                return [str(tool / "gates"), "server"]
            case _:
                return [str(tool / "gates"), "executor"]

    def environment(self, part: str) -> dict[str, str]:
        """All that a process of this part has in its environment: nothing is inherited."""
        home, given = self.home / part, {}
        if part == "database":
            return cluster.environment(self.accounts[part])
        if part == "erp":
            given = {"TRYTOND_WEB__LISTEN": f"127.0.0.1:{self.plan.ports['erp']}"}
        if part == "prefect":
            given = {"PREFECT_SERVER_API_AUTH_STRING": self._secret("prefect", "auth")}
        if part == "server":
            given = self._of_server(home) | self._of_erp("reader", home)
        if part in EXECUTORS:
            given = self._of_erp(part, home) | {"GATES_EXECUTOR_ACTIONS": ",".join(EXECUTORS[part])}
        if part == "flow":
            auth = self._secret("flow", "prefect.auth")
            given = {
                "PREFECT_API_AUTH_STRING": auth,
                "PREFECT_API_URL": f"{self.url('prefect')}/api",
            }
        if part in (*EXECUTORS, "flow"):
            key = str(home / f"{part}.key")
            given |= {"GATES_URL": self.url("server"), "GATES_API_KEY_FILE": key}
        return (
            QUIET
            | given
            | {
                "PATH": f"{self.home / 'code' / 'bin'}:/usr/bin:/bin",
                "HOME": str(home),
                "TMPDIR": str(home / "tmp"),
                "PREFECT_HOME": str(home / "prefect"),
                "LANG": "C.UTF-8",
            }
            | code.libraries(self.home / "code" / "bin" / "python")
        )

    def _of_server(self, home: Path) -> dict[str, str]:
        database = f"sqlite:///{home / 'gates.sqlite'}"
        if self.plan.postgres:
            where = f"{cluster.ROLE}@127.0.0.1:{self.plan.ports['database']}/{cluster.ROLE}"
            database = f"postgresql://{where}?{cluster.SCRAM}"
        return {
            "GATES_HOME": str(home),
            "GATES_PORT": str(self.plan.ports["server"]),
            "GATES_DATABASE_URL": database,
            "GATES_POLICY": str(self.home / "policies" / "erp.yaml"),
            "GATES_PEOPLE": str(self.home / "policies" / "people.yaml"),
            "GATES_PREFECT_API_URL": f"{self.url('prefect')}/api",
            "GATES_PREFECT_UI_URL": self.url("prefect"),
            "GATES_PREFECT_AUTH_FILE": str(home / "prefect.auth"),
            "PGPASSFILE": str(home / "pgpass"),
        }

    def _of_erp(self, user: str, home: Path) -> dict[str, str]:
        return {
            "GATES_ERP_URL": self.url("erp"),
            "GATES_ERP_DATABASE": DATABASE,
            "GATES_ERP_USER": user,
            "GATES_ERP_PASSWORD_FILE": str(home / "erp.password"),
        }

    def _answers(self, part: str) -> bool:
        if part == "database":
            return cluster.answers(self.accounts[part], self.plan.ports[part])
        if part == "flow":  # the first worker of a pool creates it
            url, auth = f"{self.url('prefect')}/api/work_pools/{POOL}", self.prefect_auth
        else:
            path = {"prefect": "/api/health", "server": "/health"}.get(part, "/")
            url, auth = f"{self.url(part)}{path}", None
        try:
            answer = httpx.get(url, auth=auth, timeout=5, trust_env=False)
        except httpx.HTTPError:
            return False
        return part == "erp" or answer.status_code == httpx.codes.OK

    # -- what is made once the servers answer --------------------------------------------------

    def _admit_server(self) -> None:
        if (self.home / "server" / "pgpass").exists():
            return
        password, port = secrets.token_urlsafe(24), self.plan.ports["database"]
        cluster.admit(self.accounts["database"], port, password)
        line = f"127.0.0.1:{port}:{cluster.ROLE}:{cluster.ROLE}:{password}\n"
        self.accounts["server"].keep("pgpass", line)

    def _hand_out_keys(self) -> None:
        with self.admin() as admin:
            if not (self.home / "flow" / "flow.key").exists():
                self.accounts["flow"].keep("flow.key", admin.create_key("flow", AGENT, ACTS_FOR))
            for part, actions in EXECUTORS.items():
                if not (self.home / part / f"{part}.key").exists():
                    key = admin.create_key("executor", f"{part}-1", actions=actions)
                    self.accounts[part].keep(f"{part}.key", key)

    def _deploy(self) -> None:
        if (self.home / "flow" / "deployed").exists():
            return
        prefect = str(self.home / "code" / "bin" / "prefect")
        runs = Runs(f"{self.url('prefect')}/api", self.prefect_auth)
        try:
            runs.notice_the_dead(75)
        finally:
            runs.close()
        self._as_flow(prefect, "--no-prompt", "deploy", "--all")
        self.accounts["flow"].keep("deployed", "")

    def _as_flow(self, *command: str) -> None:
        done = subprocess.run(  # noqa: S603 - our own commands, no shell
            [*self.accounts["flow"].run_as(), *command],
            env=self.environment("flow"),
            cwd=self.home / "code",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise NotHardened(f"`{' '.join(command[1:])}` failed: {' '.join(last)}")

    # -- looking ------------------------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """Who is there: for each part its user, its process and its address."""
        pids = {one.name: one.pid for one in self.processes.running()}
        parts = {
            part: {
                "user": who.name,
                "uid": who.uid,
                "folder": str(who.home),
                "pid": pids.get(part),
                "url": self.url(part) if part in LISTENERS else None,
            }
            for part, who in self.accounts.items()
        }
        return {"home": str(self.home), "postgres": self.plan.postgres, "parts": parts}

    def findings(self) -> list[str]:
        """What is not as it should be, seen with each user's own eyes; empty if all is well."""
        pids = {one.name: one.pid for one in self.processes.running()}
        found = []
        for mine, who in self.accounts.items():
            foreign = [self.home / part for part in PARTS if part != mine]
            foreign += [Path(f"/proc/{pid}/environ") for part, pid in pids.items() if part != mine]
            closed = (*foreign, self.processes.logs)
            found += [
                f"{who.name} can read {path}" for path in closed if self._may(who, "-r", path)
            ]
            firm = (self.home, self.home / "code", self.home / "policies")
            found += [
                f"{who.name} can change {path}" for path in firm if self._may(who, "-w", path)
            ]
        return found

    @staticmethod
    def _may(who: Account, how: str, path: Path) -> bool:
        asked = [*who.run_as(), "/usr/bin/test", how, str(path)]
        return subprocess.run(asked, check=False, env={}).returncode == 0  # noqa: S603 - `test`


def up(
    home: Path,
    project: Path,
    progress: Progress,
    *,
    prefix: str = "gates-",
    changes: Changes | None = None,
) -> Hardened:
    """Make what is missing and start what does not run; `changes` to environments, by part.

    Raises NotHardened, NotStarted, ErpNotInstalled.
    """
    refuse_unprepared()
    home = home.resolve()
    _make_home(home)
    house = Hardened(home, _plan(home, project.resolve(), prefix))
    house.processes.logs.mkdir(parents=True, exist_ok=True)
    house.processes.folder.chmod(0o700)
    progress(f"users {', '.join(one.name for one in house.accounts.values())}")
    house.prepare(progress)
    progress("databases, ERP, Prefect, gates server, two executors, worker")
    house.start(changes or {})
    if found := house.findings():
        raise NotHardened(f"It runs, but it is not what it should be: {'; '.join(found)}.")
    return house


def known(home: Path) -> Hardened:
    """The house that `up` made in `home`. Raises NotHardened."""
    refuse_unprepared()
    file = home.resolve() / "house.json"
    if not file.exists():
        raise NotHardened(f"{file} is not there: nothing was set up here (`gates hardened up`).")
    return Hardened(home.resolve(), Plan.model_validate_json(file.read_bytes()))


def down(home: Path) -> list[str]:
    """End what `up` started; the names of what ran."""
    return known(home).processes.stop()


def undo(home: Path) -> list[str]:
    """Stop everything and take away users, keys and data; the names of the users that went."""
    house = known(home)
    house.processes.stop()
    names = {part: f"{house.plan.prefix}{part}" for part in PARTS}
    gone = [name for part, name in names.items() if remove(name, house.home / part)]
    shutil.rmtree(house.home)
    return gone


def _make_home(home: Path) -> None:
    """Root's, and nobody's below whom others can write: they could put another in its place."""
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()) and not (home / "house.json").exists():
        raise NotHardened(f"{home} holds something else: name an empty folder.")
    home.chmod(0o755)
    for folder in (home, *home.parents):
        stat = folder.stat()
        if stat.st_uid != 0 or (stat.st_mode & 0o022 and not stat.st_mode & 0o1000):
            raise NotHardened(
                f"{folder} can be changed by others than root: choose another --home."
            )
        if not stat.st_mode & 0o001:
            raise NotHardened(f"{folder} is closed to other users: choose another --home.")


def _plan(home: Path, project: Path, prefix: str) -> Plan:
    file = home / "house.json"
    if file.exists():
        plan = Plan.model_validate_json(file.read_bytes())
        if plan.prefix != prefix:
            raise NotHardened(
                f"--prefix {prefix!r}: this house has {plan.prefix!r}; undo it first."
            )
        return plan
    if not PREFIX.fullmatch(prefix):
        raise NotHardened(f"--prefix {prefix!r}: lower case letters, digits, dashes; 21 at most.")
    if not (project / "prefect.yaml").exists():
        raise NotHardened(f"{project} has no prefect.yaml: name the project's folder (--project).")
    ports = dict(zip(LISTENERS, low_ports(len(LISTENERS)), strict=True))
    postgres = cluster.binaries() is not None
    plan = Plan(prefix=prefix, project=project, ports=ports, postgres=postgres)
    file.write_text(json.dumps(plan.model_dump(mode="json"), indent=1))
    return plan


def low_ports(count: int) -> list[int]:
    """Free ports that a flow cannot listen on: one that could would be given keys and passwords
    by whoever looks for the server there while it is away. Raises NotHardened.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    found: list[int] = []
    for port in range(LOWEST, min(BELOW, first)):
        if not refusal(port):
            found.append(port)
        if len(found) == count:
            return found
    raise NotHardened(
        f"Everybody may listen on ports from {first} on here, and below {BELOW} too few are free: "
        "sysctl net.ipv4.ip_unprivileged_port_start=1024."
    )
