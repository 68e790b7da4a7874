"""System users of the hardened house, one a process, and what a process of theirs may do.

A process gets no group but its own, no capability (or the one to listen below port 1024), and
can gain none: `no_new_privs` makes set-user-id programs such as sudo harmless.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from gates.core.errors import GatesError

LISTEN = "net_bind_service"
TOOLS = ("env", "setpriv", "useradd", "userdel")
SBIN = "/usr/sbin:/usr/bin:/sbin:/bin"
PREFIX = re.compile(r"[a-z][a-z0-9-]{0,20}")  # with the part's name within the 32 of useradd
STOP_SECONDS = 8.0


class NotHardened(GatesError):
    """The set-up cannot be made, or is not what it should be."""

    code = "not_hardened"


@dataclass(frozen=True)
class Account:
    """A system user; `home` is its private folder."""

    name: str
    uid: int
    gid: int
    home: Path

    def run_as(self, *, listens: bool = False) -> list[str]:
        """What to put before a command, so that it runs as this user and stays it.

        setpriv still has root's rights when it looks for the command, so that `env` looks.
        """
        caps = f"-all,+{LISTEN}" if listens else "-all"
        return [
            tool("setpriv"),
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--clear-groups",
            "--no-new-privs",
            f"--inh-caps={caps}",
            f"--ambient-caps={caps}",
            f"--bounding-set={caps}",
            "--",
            tool("env"),
        ]

    def own(self, path: Path) -> None:
        """Give `path`, which root has just made, and all below it to this user alone."""
        for one in (path, *path.rglob("*")):
            if one.is_symlink():
                raise NotHardened(f"{one} is a symbolic link: take it away, and start again.")
            os.chown(one, self.uid, self.gid)
            one.chmod(0o700 if one.is_dir() else 0o600)

    def folder(self, name: str = "") -> Path:
        """A private folder of this user, made where it is missing."""
        made = self.home / name
        made.mkdir(exist_ok=True)
        # Through a handle: its owner could put a link in its place between two calls by name.
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(handle, self.uid, self.gid)
            os.fchmod(handle, 0o700)
        finally:
            os.close(handle)
        return made

    def keep(self, name: str, text: str) -> Path:
        """A file in the private folder that only this user reads."""
        path, draft = self.home / name, self.home / f"{name}.part"
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(draft, flags, 0o600), "w") as file:
            os.fchown(file.fileno(), self.uid, self.gid)
            file.write(text)
        draft.replace(path)
        return path


def refuse_unprepared() -> None:
    """Raises NotHardened where this machine cannot do it, with the cure."""
    if sys.platform != "linux":
        raise NotHardened(f"This is {sys.platform}: the hardened set-up is made for Linux.")
    if os.geteuid() != 0:
        raise NotHardened("Only root can make users and start processes as them: use sudo.")
    for name in TOOLS:
        tool(name)


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SBIN}")
    if found is None:
        raise NotHardened(f"{name} is not there: on Debian, apt-get install util-linux passwd.")
    return found


def account(name: str, home: Path) -> Account:
    """The user `name` with the private folder `home`, both made where they are missing.

    Raises NotHardened for a name that somebody else has.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        _system("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(home),
                "--shell", "/usr/sbin/nologin", name)  # fmt: skip
        entry = pwd.getpwnam(name)
    if Path(entry.pw_dir) != home:
        raise NotHardened(
            f"The user {name!r} exists and has its home in {entry.pw_dir}: choose another --prefix."
        )
    made = Account(name, entry.pw_uid, entry.pw_gid, home)
    made.folder()
    made.folder("tmp")
    return made


def remove(name: str, home: Path) -> bool:
    """End the user's processes and the user; whether there was one. Its files stay."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return False
    if Path(entry.pw_dir) != home:
        return False
    theirs = [p for p in psutil.process_iter() if _belongs(p, entry.pw_uid)]
    for process in theirs:
        process.kill()
    psutil.wait_procs(theirs, timeout=STOP_SECONDS)
    _system("userdel", name)
    return True


def _belongs(process: psutil.Process, uid: int) -> bool:
    try:
        return bool(process.uids().real == uid)
    except psutil.NoSuchProcess:
        return False


def _system(name: str, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - a tool of the system, no shell
        [tool(name), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise NotHardened(f"{name} failed: {done.stderr.strip()}")
