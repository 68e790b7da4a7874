"""The program as all users of the hardened house see it: readable, and writable by none.

A virtual environment of its own whose packages are those of this one. The interpreter is the
one that runs this where everybody can reach it, else a copy: Python in somebody's home folder is
of no use to other users.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from integrations.hardened.users import Account, NotHardened

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SCRIPTS = ("gates", "prefect", "trytond")
COPY = "python-copy"
LEFT_OUT = shutil.ignore_patterns("site-packages", "test", "tests", "idlelib", "config-*")
LOOK = """
import os, sys
import gates, integrations.wiring, flows, prefect, psycopg, uvloop
print("\\n".join(path for path in sys.path if os.access(path, os.W_OK)))
"""


def prepare(folder: Path, project: Path, reader: Account) -> None:
    """Make or renew the environment in `folder`; `reader` is the user that proves it.

    Raises NotHardened where the code cannot be read, or can be written, by the house's users.
    """
    site = folder / "lib" / f"python{VERSION}" / "site-packages"
    for path in (folder, folder / "bin", site):
        path.mkdir(parents=True, exist_ok=True)
    _open(folder)
    python = _interpreter(folder, reader)
    lines = [f"home = {python.parent}", "include-system-site-packages = false"]
    (folder / "pyvenv.cfg").write_text("\n".join([*lines, f"version = {VERSION}", ""]))
    link = folder / "bin" / "python"
    link.unlink(missing_ok=True)
    link.symlink_to(python)
    (site / "house.pth").write_text("\n".join([str(project), *_packages()]) + "\n")
    for name in SCRIPTS:
        _script(folder / "bin" / name, link)
    shutil.copyfile(project / "prefect.yaml", folder / "prefect.yaml")
    for path in (folder / "bin", *site.parents, site, *folder.glob("*.*"), *site.glob("*")):
        if path.is_relative_to(folder):
            _open(path)
    _prove(link, reader)


def _open(path: Path) -> None:
    path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _interpreter(folder: Path, reader: Account) -> Path:
    """The one that runs this, or a copy of it where other users cannot reach it."""
    own = Path(sys.executable).resolve()
    if _runs(own, reader):
        return own
    base, copy = Path(sys.base_prefix), folder / COPY
    made = copy / "bin" / f"python{VERSION}"
    if not made.exists():
        (copy / "bin").mkdir(parents=True, exist_ok=True)
        for library in (base / "lib").glob(f"libpython{VERSION}*.so*"):
            shutil.copy2(library, _parent(copy / "lib" / library.name), follow_symlinks=False)
        kept = Path("lib") / f"python{VERSION}"
        shutil.copytree(base / kept, copy / kept, ignore=LEFT_OUT, dirs_exist_ok=True)
        shutil.copyfile(own, made)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                _open(path)
    if not _runs(made, reader):
        raise NotHardened(
            f"{own} cannot be run by other users, nor can a copy of it: install the project with "
            "a Python that everybody can run (on Debian, /usr/bin/python3), such as in /opt."
        )
    return made


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _runs(python: Path, reader: Account) -> bool:
    tried = subprocess.run(  # noqa: S603 - an interpreter of ours, no shell
        [*reader.run_as(), str(python), "-I", "-c", "import venv, ssl, sqlite3"],
        capture_output=True,
        cwd="/",
        env=libraries(python),
        check=False,
    )
    return tried.returncode == 0


def libraries(python: Path) -> dict[str, str]:
    """What lets an interpreter that was moved find its own library."""
    place = python.resolve().parent.parent
    return {"LD_LIBRARY_PATH": str(place / "lib")} if place.name == COPY else {}


def _packages() -> list[str]:
    """Where this interpreter finds what is installed, in its order."""
    standard = Path(os.__file__).parent
    found = [Path(one) for one in sys.path if one]
    return [
        str(path.resolve())
        for path in found
        if path.is_dir() and standard not in (path, path.parent)
    ]


def _script(path: Path, python: Path) -> None:
    """What pip would have written, for this environment's interpreter."""
    (entry,) = entry_points(group="console_scripts", name=path.name) or (None,)
    if entry is None:
        return
    target = entry.value.partition("[")[0].strip()
    module, _, function = target.partition(":")
    lines = [
        f"#!{python}",
        "import sys",
        f"from {module} import {function}",
        f"sys.exit({function}())",
    ]
    path.write_text("\n".join([*lines, ""]))
    _open(path)


def _prove(python: Path, reader: Account) -> None:
    tried = subprocess.run(  # noqa: S603 - our own interpreter and program
        [*reader.run_as(), str(python), "-c", LOOK],
        capture_output=True,
        text=True,
        cwd="/",
        env={"HOME": str(reader.home), "PATH": "/usr/bin:/bin"} | libraries(python),
        check=False,
    )
    if tried.returncode != 0:
        last = tried.stderr.strip().splitlines()[-1:]
        raise NotHardened(
            f"The user {reader.name} cannot load the program ({' '.join(last)}): install the "
            "project where everybody can read it, such as /opt/prefect-gates."
        )
    if writable := tried.stdout.split():
        raise NotHardened(
            f"The user {reader.name} can write to the program in {', '.join(writable)}: "
            "take that right away first."
        )
