"""`gates loops ...`: for whoever wants to know what the loop detector would have found."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from gates.core.errors import GatesError, InvalidInput
from gates.core.loops import Episode, Replayed, replay
from integrations.loops.reporting import report
from integrations.shell import AsJson, err, out

app = typer.Typer(help="Agents that run in circles.", no_args_is_help=True)
FOUND, BAD_FILE = 1, 2

app.command("report")(report)


@app.command("replay")
def replay_(
    file: Annotated[Path, typer.Argument(help="Recorded runs: JSON lines, also gzipped.")],
    as_json: AsJson = False,
) -> None:
    """Run the detector over recorded runs. Exit code 0: no loop; 1: found one; 2: a bad file."""
    try:
        runs = list(_replayed(file))
        if not runs:  # a script that looks at nothing must not take that for good news
            raise InvalidInput("holds no run: give one a line.")
    except GatesError as error:
        err.print(Text(f"{file}: {error}"), soft_wrap=True)
        raise typer.Exit(BAD_FILE) from None
    found = [one for one in runs if one.found]
    if as_json:
        sys.stdout.write(json.dumps([one.model_dump(mode="json") for one in runs]) + "\n")
    else:
        for one in found:
            _print(one)
        refused = sum(len(one.refused) for one in runs)
        out.print(
            f"{len(found)} of {len(runs)} runs have findings; "
            f"{refused} repeated writes would not have run."
        )
    raise typer.Exit(FOUND if found else 0)


def _print(replayed: Replayed) -> None:
    out.print(Text(f"{replayed.run}: {replayed.steps} steps", style="bold"))
    for episode in replayed.episodes:
        out.print(Text(f"  {_line(episode)}"), soft_wrap=True)
        if episode.first.period > 1:
            out.print(Text(f"    {episode.first.drawn}"), soft_wrap=True)
    for circle in replayed.refused:
        out.print(Text(f"  step {circle.number}: {circle.words}"), soft_wrap=True)


def _line(episode: Episode) -> str:
    first = episode.first
    steps = f"step {first.number}"
    if episode.last_step > first.number:
        steps = f"steps {first.number} to {episode.last_step}"
    return f"{steps}: {first.words}"


def _replayed(file: Path) -> Iterator[Replayed]:
    """Raises InvalidInput for a file that cannot be read."""
    columns = (TextColumn("replaying"), BarColumn(), TimeRemainingColumn())
    try:
        size = file.stat().st_size
        with file.open("rb") as raw, Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task("replaying", total=size)
            for one in replay(_lines(raw)):
                bar.update(task, completed=raw.tell())
                yield one
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise InvalidInput(f"is cut off or damaged ({error}): copy it again.") from error


def _lines(raw: IO[bytes]) -> Iterator[bytes]:
    zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    if zipped:
        with gzip.open(raw) as lines:
            yield from lines
    else:
        yield from raw
