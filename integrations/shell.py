"""What all commands of `gates` share: where things are, and who asks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gates.client import GatesClient
from gates.core.errors import NotAuthenticated
from gates.settings import ClientSettings

out, err = Console(), Console(stderr=True)
AsJson = Annotated[bool, typer.Option("--json", help="For scripts: one JSON document.")]


def home() -> Path:
    """The folder with this user's session, and on a server's machine its admin key."""
    return Path(os.environ.get("GATES_HOME", ".gates"))


def address() -> str:
    """Where the server is: GATES_URL, else what a server on this machine left in the home."""
    given, file = os.environ.get("GATES_URL"), home() / "url"
    if given:
        return given
    try:
        return file.read_text().strip()
    except OSError:
        return ClientSettings().url


def as_person() -> GatesClient:
    words = "You are not logged in: get a link from an admin, `gates login LINK`."
    return GatesClient(address(), session=kept("session", words), patience=5)


def as_admin() -> GatesClient:
    words = (
        f"{home() / 'admin.key'} is not there: run this on the server's own machine, "
        "with GATES_HOME set to the server's folder."
    )
    return GatesClient(address(), key=kept("admin.key", words), patience=5)


def kept(name: str, missing: str) -> str:
    """A secret of the home. Raises NotAuthenticated: not there, or not ours to read."""
    file = home() / name
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        raise NotAuthenticated(missing) from None
    except OSError as error:
        raise NotAuthenticated(f"{file} cannot be read: {error.strerror}.") from None
