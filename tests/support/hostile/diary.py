"""What the hostile agent knows, and what it writes down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

LONGEST = 300


class Known(BaseModel):
    """What it can find out for itself on the machine, in Prefect or in the program's source.

    `routes`: template and methods of all that the gates server answers. `paid`, `asking`: requests
    of its own. `foreign`: another agent's.
    """

    home: Path
    parts: dict[str, dict[str, Any]]
    routes: list[tuple[str, list[str]]]
    paid: dict[str, Any]
    asking: dict[str, Any]
    foreign: dict[str, Any]
    deployment: str
    document: Path

    def url(self, part: str) -> str:
        return str(self.parts[part]["url"])

    @property
    def others(self) -> dict[str, dict[str, Any]]:
        return {name: one for name, one in self.parts.items() if name != "flow"}


class Try(BaseModel):
    """`got`: it had what it wanted. `route`, `status`: for a call that a gates server answered."""

    area: str
    what: str
    got: bool
    answer: str
    method: str = ""
    route: str = ""
    status: int = 0


class Diary:
    def __init__(self) -> None:
        self.tries: list[Try] = []

    def note(self, area: str, what: str, *, got: bool, answer: object, **call: Any) -> None:
        told = str(answer)[:LONGEST]
        self.tries.append(Try(area=area, what=what, got=got, answer=told, **call))

    def attempt(self, area: str, what: str, act: Callable[[], object]) -> None:
        """It got what it wanted if nothing stopped it."""
        try:
            answer = act()
        except BaseException as error:  # noqa: BLE001 - whatever stopped it is written down
            self.note(area, what, got=False, answer=f"{type(error).__name__}: {error}")
        else:
            self.note(area, what, got=True, answer=answer)
