"""Which files a policy is: one, those of a folder, or several parted by commas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gates.core.errors import InvalidInput


def policy_texts(
    setting: str | Path, besides: Path, name: str = "GATES_POLICY"
) -> list[tuple[str, str]]:
    """Each file's name and text. Of a folder: its *.yaml in the order of their names, without
    `besides`, the people file. Raises InvalidInput for what cannot be read.
    """
    found: list[Path] = []
    for part in filter(None, (part.strip() for part in str(setting).split(","))):
        path = Path(part)
        if not path.is_dir():
            found.append(path)
            continue
        inside = [one for one in sorted(path.glob("*.yaml")) if not _same(one, besides)]
        if not inside:
            raise InvalidInput(
                f"{name}: the folder {part!r} holds no *.yaml: put the policy there."
            )
        found += inside
    if not found:
        raise InvalidInput(f"{name} is empty: name a file or a folder.")
    return [(str(path), text_of(path, name)) for path in _once(found)]


def text_of(path: Path, name: str) -> str:
    """Raises InvalidInput, with the setting's name."""
    try:
        return path.read_text()
    except OSError as error:
        raise InvalidInput(f"{name} = {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{name} = {str(path)!r} is no text in UTF-8: save it as such."
        ) from error


def _once(paths: Sequence[Path]) -> list[Path]:
    """A file that is named twice is one file."""
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
