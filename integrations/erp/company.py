"""The demo company's ERP on this machine: its folder, its database, its server process.

A folder holds everything: `trytond.conf`, the SQLite database, one password file per ERP user
(mode 0600) and the server's log. Building the database from nothing takes half a minute, so
the finished one is kept in a cache outside the project (`GATES_ERP_CACHE`, else below the
user's cache folder), under a key of all that went into it. The cache is private to the user:
it holds the same password files.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx

from integrations.erp import bootstrap as bootstrap_module
from integrations.erp.bootstrap import COMPANY, bootstrap
from integrations.erp.errors import ErpError
from integrations.erp.rpc import TrytonRpc
from integrations.ports import free_port, refusal

DATABASE = "northwind"
USERS = ("admin", "reader", "executor", "banker")
MODULES = ("account_invoice", "account_payment_clearing", "bank")
START_SECONDS = 60.0
CONFIG = """[database]
uri = sqlite://
path = {folder}
list = False

[session]
# Seconds; the client logs in again by itself after a longer pause.
timeout = 300
"""

Progress = Callable[[str], None]


class ErpNotInstalled(ErpError):
    code = "erp_not_installed"


class ErpNotStarted(ErpError):
    code = "erp_not_started"


@dataclass(frozen=True)
class Company:
    """One folder with one ERP database."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "trytond.conf"

    @property
    def database_file(self) -> Path:
        return self.folder / f"{DATABASE}.sqlite"

    @property
    def log(self) -> Path:
        return self.folder / "trytond.log"

    def password_file(self, user: str) -> Path:
        return self.folder / f"{user}.password"

    def connect(self, url: str, user: str, **options: Any) -> TrytonRpc:
        """The ERP at `url` as `user`, one of USERS."""
        return TrytonRpc.from_password_file(
            url, DATABASE, user, self.password_file(user), **options
        )


@dataclass(frozen=True)
class RunningErp:
    """The ERP's server process, for its caller to watch and to end."""

    company: Company
    url: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def installed() -> bool:
    """Whether the extra `erp` is there."""
    return shutil.which("trytond", path=_scripts()) is not None


def prepare_company(
    folder: Path,
    *,
    progress: Progress = lambda _: None,
    cache: Path | None = None,
    today: date | None = None,
) -> Company:
    """The demo company in `folder`; what is there already stays untouched.

    `progress` gets a line at each step. Takes half a minute the first time on a machine, then
    less than a second. Raises ErpNotInstalled.
    """
    company = Company(folder.resolve())
    if company.database_file.exists() and company.config.exists():
        return company
    if not installed():
        raise ErpNotInstalled("Tryton is not installed here: pip install 'prefect-gates[erp]'.")
    day = today or datetime.now(UTC).date()
    template = kept(
        cache or cache_folder(), _key(day), lambda part: _build(Company(part), progress, day)
    )
    company.folder.mkdir(parents=True, exist_ok=True)
    for user in USERS:
        _write_private(
            company.password_file(user), Company(template).password_file(user).read_text()
        )
    _write_config(company)
    part = company.database_file.with_suffix(".part")
    shutil.copyfile(Company(template).database_file, part)
    part.replace(company.database_file)  # the database's presence says that all is complete
    progress(f"{COMPANY} is ready in {company.folder}")
    return company


def start_erp(company: Company, *, port: int = 0, wait: float = START_SECONDS) -> RunningErp:
    """Start the ERP's server on loopback and wait until it answers.

    `port` 0 takes a free one. Raises ErpNotStarted with the end of its log.
    """
    number = port or free_port()
    _must_be_free(number)
    url = f"http://127.0.0.1:{number}"
    environment = _environment() | {"TRYTOND_WEB__LISTEN": f"127.0.0.1:{number}"}
    command = [_script("trytond"), "-c", str(company.config), "-d", DATABASE]
    with company.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            command,
            cwd=company.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    running = RunningErp(company, url, process)
    _wait_until_up(running, wait)
    return running


def _must_be_free(port: int) -> None:
    """Another server there would answer in the ERP's place."""
    if reason := refusal(port):
        raise ErpNotStarted(
            f"Port {port} is taken ({reason}): end what listens there or name another."
        )


def cache_folder() -> Path:
    explicit = os.environ.get("GATES_ERP_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "prefect-gates" / "erp"


def checkpoint(database: Path) -> None:
    """Fold SQLite's write-ahead log into the file, so that the file alone is the database."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _wait_until_up(running: RunningErp, seconds: float) -> None:
    end = time.monotonic() + seconds
    with httpx.Client(trust_env=False, timeout=seconds) as http:
        while time.monotonic() < end:
            if running.process.poll() is not None:
                break
            try:
                # Any answer will do: the server listens only after the models are loaded.
                http.get(running.url)
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
    running.stop()
    tail = running.company.log.read_text(errors="replace")[-800:].strip()
    raise ErpNotStarted(f"The ERP did not come up on {running.url}: {tail}")


def kept(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """A finished folder of the cache; where it is missing, `build` makes it, under a lock."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    finished = cache / name
    with _locked(cache / f"{name}.lock"):
        if not finished.exists():
            part = cache / f"{name}.{os.getpid()}.part"
            shutil.rmtree(part, ignore_errors=True)
            try:
                build(part)
                part.rename(finished)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return finished


def _key(today: date) -> str:
    """Everything that the finished database depends on."""
    versions = sorted(
        f"{d.name}=={d.version}"
        for d in importlib.metadata.distributions()
        if (d.name or "").lower().startswith("trytond")
    )
    digest = hashlib.sha256("\n".join([*versions, *MODULES, str(today.year)]).encode())
    digest.update(Path(bootstrap_module.__file__).read_bytes())
    return f"{DATABASE}-{digest.hexdigest()[:16]}"


def _build(company: Company, progress: Progress, today: date) -> None:
    company.folder.mkdir(parents=True, mode=0o700)
    passwords = {user: secrets.token_urlsafe(24) for user in USERS}
    for user, password in passwords.items():
        _write_private(company.password_file(user), password)
    _write_config(company)
    company.database_file.touch()  # the ERP fills a database, but does not make the file
    progress("creating the ERP's database (about half a minute, once per machine)")
    _create_schema(company)
    progress(f"setting up {COMPANY}: chart of accounts, suppliers, users")
    running = start_erp(company)
    try:
        bootstrap(company.connect(running.url, "admin"), passwords, today)
    finally:
        running.stop()
    checkpoint(company.database_file)
    company.log.unlink(missing_ok=True)


def _create_schema(company: Company) -> None:
    command = [_script("trytond-admin"), "-c", str(company.config), "-d", DATABASE]
    command += ["--email", "admin@northwind.invalid", "--activate-dependencies", "-u", *MODULES]
    environment = _environment() | {"TRYTONPASSFILE": str(company.password_file("admin"))}
    done = subprocess.run(  # noqa: S603 - our own command, no shell
        command,
        cwd=company.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = (done.stderr or done.stdout)[-800:].strip()
        raise ErpNotStarted(f"The ERP's database could not be created: {tail}")


def _write_config(company: Company) -> None:
    company.config.write_text(CONFIG.format(folder=company.folder), encoding="utf-8")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _environment() -> dict[str, str]:
    """What the ERP needs of ours; it is none of its business what tokens we hold."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in keep if name in os.environ}


def _scripts() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _script(name: str) -> str:
    found = shutil.which(name, path=_scripts())
    if found is None:
        raise ErpNotInstalled(f"{name} is not installed here: pip install 'prefect-gates[erp]'.")
    return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
