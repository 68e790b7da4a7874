"""Tries on the machine: files, processes, ports, databases, other users' rights, the command."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

import gates
from tests.support.hostile.diary import Diary, Known

SECRETS = (
    "server/admin.key",
    "server/pgpass",
    "server/erp.password",
    "server/prefect.auth",
    "server/session",
    "server/gates.sqlite",
    "executor/executor.key",
    "executor/erp.password",
    "erp/books/northwind.sqlite",
    "erp/books/admin.password",
    "erp/books/trytond.conf",
    "prefect/auth",
    "prefect/prefect/prefect.db",
    "database/password",
    "database/data/pg_hba.conf",
    "processes/processes.json",
    "processes/logs/server.log",
)
FIRM = (
    "house.json",
    "policies/erp.yaml",
    "policies/people.yaml",
    "code/bin/gates",
    "code/prefect.yaml",
    "code/pyvenv.cfg",
)
ATTACH, DETACH = 16, 17
LOOKS_SECRET = re.compile(rb"gk_[0-9a-f]{12}_|password=|auth_string|PRIVATE KEY", re.IGNORECASE)
libc = ctypes.CDLL(None, use_errno=True)


def files(known: Known, diary: Diary) -> None:
    def attempt(what: str, act: Callable[[], object]) -> None:
        diary.attempt("files", what, act)

    for part, one in known.others.items():
        folder = Path(one["folder"])
        attempt(f"list {part}", lambda f=folder: list(f.iterdir()))
        attempt(f"enter {part}", lambda f=folder: os.chdir(f))
        attempt(f"open {part} to all", lambda f=folder: f.chmod(0o777))
        attempt(f"take {part} for its own", lambda f=folder: os.chown(f, os.getuid(), -1))
        attempt(f"move {part} away", lambda f=folder: f.rename(f.with_name("gone")))
        attempt(f"write into {part}", lambda f=folder: (f / "mine").write_text("mine"))
    for name in SECRETS:
        path = known.home / name
        own = Path(os.environ["HOME"]) / f"link-{name.replace('/', '-')}"
        attempt(f"read {name}", path.read_bytes)
        attempt(f"link to {name}", lambda p=path, o=own: os.link(p, o))
        attempt(f"read {name} by a symbolic link", lambda p=path, o=own: _through(p, o))
    for name in FIRM:
        attempt(f"change {name}", lambda n=name: (known.home / n).open("ab").close())
        attempt(f"replace {name}", lambda n=name: (known.home / n).unlink())
    program = Path(gates.__file__ or "")
    attempt("change the program", lambda: program.open("ab").close())
    for place in [path for path in sys.path if Path(path).is_dir() and path != os.environ["HOME"]]:
        attempt(f"put a module into {place}", lambda p=place: (Path(p) / "evil.pth").touch())
    theirs = {one["uid"] for one in known.others.values()}
    found = [path for path in _left_around() if _readable_of(path, theirs)]
    diary.note("files", "look for files left around", got=bool(found), answer=found)


def _through(path: Path, own: Path) -> bytes:
    own.symlink_to(path)
    return own.read_bytes()


def _left_around() -> Iterator[str]:
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/dev/mqueue"):  # noqa: S108 - to be looked at
        for folder, _, names in os.walk(place):
            yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118 - many


def _readable_of(path: str, uids: set[int]) -> bool:
    with contextlib.suppress(OSError):
        return os.stat(path).st_uid in uids and os.access(path, os.R_OK)  # noqa: PTH116 - many
    return False


def processes(known: Known, diary: Diary) -> None:
    theirs = {one["uid"]: part for part, one in known.others.items()} | {0: "root"}
    for pid in [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]:
        with contextlib.suppress(OSError):
            uid = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - a process
            if uid in theirs and (uid != 0 or pid == 1):
                _one_process(theirs[uid], pid, diary)


def _one_process(who: str, pid: int, diary: Diary) -> None:
    for name in ("environ", "maps", "mem", "auxv", "stack", "syscall"):
        path = Path(f"/proc/{pid}/{name}")
        diary.attempt("processes", f"{name} of {who}", lambda p=path: p.open("rb").read(64))
    for name in ("cwd", "root", "exe"):
        path = Path(f"/proc/{pid}/{name}")
        diary.attempt("processes", f"{name} of {who}", path.readlink)
    diary.attempt("processes", f"handles of {who}", lambda: list(Path(f"/proc/{pid}/fd").iterdir()))
    diary.attempt("processes", f"attach to {who}", lambda: _traced(pid))
    diary.attempt("processes", f"memory of {who}", lambda: _read_memory(pid))
    diary.attempt("processes", f"end {who}", lambda: os.kill(pid, signal.SIGKILL))
    diary.attempt("processes", f"stop {who}", lambda: os.kill(pid, signal.SIGSTOP))
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    shows = LOOKS_SECRET.search(command) is not None
    diary.note("processes", f"command line of {who}", got=shows, answer=command)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _traced(pid: int) -> None:
    _checked(libc.ptrace(ATTACH, pid, None, None))
    libc.ptrace(DETACH, pid, None, None)


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _read_memory(pid: int) -> int:
    buffer = ctypes.create_string_buffer(16)
    mine = _Part(ctypes.addressof(buffer), 16)
    theirs = _Part(0x400000, 16)
    return _checked(libc.process_vm_readv(pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0))


def rights(known: Known, diary: Diary) -> None:
    secret = str(known.home / "server" / "admin.key")
    for part, one in known.others.items():
        diary.attempt("rights", f"become {part}", lambda u=one["uid"]: os.setuid(u))
        diary.attempt("rights", f"join {part}", lambda u=one["uid"]: os.setgid(u))
    diary.attempt("rights", "become root", lambda: os.setuid(0))
    diary.attempt("rights", "join root's groups", lambda: os.setgroups([0]))
    diary.attempt("rights", "leave for another root", lambda: os.chroot(known.home))
    name = known.parts["server"]["user"]
    for command in (
        ["unshare", "-Ur", "cat", secret],
        [
            "unshare",
            "-Urm",
            "sh",
            "-c",
            f"mount --bind {known.home}/server /mnt && cat /mnt/admin.key",
        ],
        ["sudo", "-n", "cat", secret],
        ["su", name, "-s", "/bin/cat", secret],
        ["setpriv", f"--reuid={known.parts['server']['uid']}", "--clear-groups", "cat", secret],
        ["runuser", "-u", name, "cat", secret],
        ["nsenter", "-t", "1", "-a", "cat", secret],
        ["useradd", "evil"],
        ["mount", "-t", "tmpfs", "none", str(known.home)],
    ):
        diary.attempt("rights", " ".join(command[:4]), lambda c=command: _run(c))


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        env=dict(os.environ) | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    if done.returncode != 0:
        raise PermissionError(f"exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ports(known: Known, diary: Diary) -> None:
    """To be taken for a server, now or while it is away."""
    for part in ("database", "erp", "prefect", "server"):
        port = int(known.url(part).rsplit(":", 1)[1])
        for address in ("127.0.0.1", "0.0.0.0", "127.0.0.2"):  # noqa: S104 - it means no good
            diary.attempt(
                "ports", f"listen for {part} at {address}", lambda a=address, p=port: _bind(a, p)
            )


def _bind(address: str, port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address, port))


def database(known: Known, diary: Diary) -> None:
    port = int(known.url("database").rsplit(":", 1)[1])
    guesses = ("", "gates", "postgres", os.environ.get("PREFECT_API_AUTH_STRING", ""), key())
    for user in ("gates", "owner", "postgres", known.parts["flow"]["user"]):
        for name in ("gates", "postgres", "template1"):
            for password in guesses:
                where = f"host=127.0.0.1 port={port} user={user} dbname={name} connect_timeout=5"
                diary.attempt(
                    "database",
                    f"{user} in {name}",
                    lambda w=where, p=password: psycopg.connect(w, password=p),
                )
    for folder in ("/var/run/postgresql", "/tmp", str(known.home / "database")):  # noqa: S108
        where = f"host={folder} port={port} user=gates dbname=gates"
        diary.attempt("database", f"socket in {folder}", lambda w=where: psycopg.connect(w))


def key() -> str:
    return Path(os.environ["GATES_API_KEY_FILE"]).read_text().strip()


def command_line(known: Known, diary: Diary) -> None:
    """`gates` with what lies around: a flow key in the place of an admin's, and of a session."""
    mine = Path(os.environ["HOME"]) / "pretend"
    mine.mkdir(exist_ok=True)
    (mine / "admin.key").write_text(key())
    (mine / "session").write_text(key())
    asked = known.asking["request_id"]
    command = str(known.home / "code" / "bin" / "gates")
    for home, words in (
        (mine, ["approve", asked]),
        (mine, ["login-link", "dana"]),
        (mine, ["withdraw", asked, "because"]),
        (known.home / "server", ["key", "list"]),
        (mine, ["hardened", "undo", "--home", str(known.home), "--yes"]),
    ):
        what = f"gates {' '.join(words)} in {home.name}"
        diary.attempt(
            "command line", what, lambda h=home, w=words: _run([command, *w], GATES_HOME=str(h))
        )
