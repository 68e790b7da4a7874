"""What a backup says of itself, in a small file beside it: enough to refuse a wrong one."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gates.core.errors import InvalidInput

Kind = Literal["sqlite", "postgresql"]


class Manifest(BaseModel):
    """`made_at`: when the backup's picture of the store was taken. `rows`: of each table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Kind
    made_at: datetime
    revision: str
    rows: dict[str, int]
    size: int
    sha256: str


def beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.manifest.json")


def write(file: Path, manifest: Manifest) -> None:
    """Raises InvalidInput where there is one."""
    path = beside(file)
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidInput(f"{path} is there already: name another file.") from None
    with os.fdopen(opened, "w") as out:
        out.write(manifest.model_dump_json(indent=1) + "\n")
        out.flush()
        os.fsync(out.fileno())


def read(file: Path) -> Manifest:
    """Raises InvalidInput: no backup, no manifest, or not the file that it was written for."""
    if not file.exists():
        raise InvalidInput(f"{file} is not there: name a file that `gates backup` wrote.")
    path = beside(file)
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InvalidInput(
            f"{path} is not there: a backup is two files, keep them together."
        ) from None
    except ValidationError as error:
        raise InvalidInput(f"{path} is not a manifest of `gates backup`: {error}.") from None
    if digest(file) != manifest.sha256:
        raise InvalidInput(
            f"{file} is not the file that its manifest describes (SHA-256 differs): it was changed "
            "or cut off. Take another copy of the backup."
        )
    return manifest


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
