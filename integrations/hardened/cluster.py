"""A PostgreSQL of the house's own: scram passwords for everybody, loopback alone, no socket file.

A cluster of the machine often trusts whoever connects from it; this one trusts nobody.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from integrations.hardened.users import Account, NotHardened

ROLE = "gates"
OWNER = "owner"
SCRAM = "require_auth=scram-sha-256"  # a server that wants the password itself does not get it


def binaries() -> Path | None:
    """The newest initdb and postgres of this machine; None without."""
    places = [Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one]
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    newest = sorted(debian, key=lambda one: int(one.parent.name), reverse=True)
    for place in (*newest, *places):
        if (place / "initdb").exists() and (place / "postgres").exists():
            return (place / "initdb").resolve().parent
    return None


def create(account: Account, found: Path) -> None:
    """An empty cluster in the user's private folder, where there is none. Raises NotHardened."""
    if (account.home / "data" / "PG_VERSION").exists():
        return
    password = account.keep("password", secrets.token_urlsafe(24))
    command = [str(found / "initdb"), "-D", str(account.home / "data"), "-U", OWNER, "-E", "UTF8"]
    command += ["--locale=C", "-A", "scram-sha-256", f"--pwfile={password}"]
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own, no shell
        [*account.run_as(), *command],
        capture_output=True,
        text=True,
        cwd=account.home,
        env=environment(account),
        check=False,
    )
    if done.returncode != 0:
        raise NotHardened(f"initdb failed: {(done.stderr or done.stdout).strip()[-300:]}")


def command(account: Account, found: Path, port: int) -> list[str]:
    server = [str(found / "postgres"), "-D", str(account.home / "data"), "-p", str(port)]
    return [*server, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]


def environment(account: Account) -> dict[str, str]:
    return {"HOME": str(account.home), "PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def answers(account: Account, port: int) -> bool:
    try:
        _connect(account, port).close()
    except psycopg.OperationalError:
        return False
    return True


def admit(account: Account, port: int, password: str) -> None:
    """The gates server's role and its database, which nobody else may even connect to."""
    with _connect(account, port) as connection:
        connection.autocommit = True
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone()
        verb = sql.SQL("ALTER" if known else "CREATE")
        role = sql.Identifier(ROLE)
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(password))
        )
        there = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [ROLE]
        ).fetchone()
        if there is None:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
        for name in (ROLE, "postgres", "template1"):
            everybody = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC")
            connection.execute(everybody.format(sql.Identifier(name)))


def _connect(account: Account, port: int) -> psycopg.Connection[tuple[object, ...]]:
    password = (account.home / "password").read_text()
    where = f"host=127.0.0.1 port={port} dbname=postgres user={OWNER} {SCRAM} connect_timeout=5"
    return psycopg.connect(where, password=password)
