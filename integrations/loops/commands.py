"""`gates loops ...`: for whoever wants to know what the loop detector would have found."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from gates.core.errors import GatesError, InvalidInput
from gates.core.loops import Episode, Replayed, Thresholds, replay
from gates.core.policy import Policy
from integrations.loops.reporting import report
from integrations.shell import AsJson, err, out
from integrations.terminal import plain

FOUND, BAD_FILE = 1, 2
Reader = Callable[[str | None, Path | None], Policy]
OfPolicy = Annotated[
    str | None, typer.Option("--policy", help="Whose thresholds to try: a file or a folder.")
]
OfPeople = Annotated[Path | None, typer.Option("--people", help="The people file, for the policy.")]
OfWrites = Annotated[
    list[str] | None,
    typer.Option(
        "--writes",
        metavar="PATTERN",
        help="Actions that write, where the runs do not say: 'erp.pay*'. May be repeated.",
    ),
]


def commands(policy_of: Reader) -> typer.Typer:
    """`policy_of`: reads policy and people files as all commands do."""
    app = typer.Typer(help="Agents that run in circles.", no_args_is_help=True)
    app.command("report")(report)

    @app.command("replay")
    def replay_(
        file: Annotated[Path, typer.Argument(help="Recorded runs: JSON lines, also gzipped.")],
        policy: OfPolicy = None,
        people: OfPeople = None,
        writes: OfWrites = None,
        as_json: AsJson = False,
    ) -> None:
        """Run the detector over recorded runs or message logs, with the thresholds of a policy
        where one is named.

        Exit code 0: no loop; 1: found one; 2: a bad file.
        """
        thresholds = _thresholds(policy_of, policy, people) if policy else None
        _replay(file, thresholds, writes or (), as_json=as_json)

    return app


def _replay(
    file: Path, thresholds: Thresholds | None, writes: Sequence[str], *, as_json: bool
) -> None:
    try:
        runs = list(_replayed(file, thresholds, writes))
        if not runs:  # a script that looks at nothing must not take that for good news
            raise InvalidInput("holds no run: give one a line.")
    except GatesError as error:
        err.print(Text(plain(f"{file}: {error}")), soft_wrap=True)
        raise typer.Exit(BAD_FILE) from None
    for pattern in writes:
        if not any(pattern in one.writing for one in runs):
            words = f"--writes {pattern!r} names no call of these runs: nothing counts by it."
            err.print(Text(plain(words)), soft_wrap=True)
    found = [one for one in runs if one.found]
    if as_json:
        sys.stdout.write(json.dumps([one.model_dump(mode="json") for one in runs]) + "\n")
    else:
        for one in found:
            _print(one)
        refused = sum(len(one.refused) for one in runs)
        have = "has a finding" if len(runs) == 1 else "have findings"
        repeated = "repeated write" if refused == 1 else "repeated writes"
        out.print(
            f"{len(found)} of {len(runs)} run{'' if len(runs) == 1 else 's'} {have}; "
            f"{refused} {repeated} would not have run."
        )
        unmatched = sum(one.unmatched for one in runs)
        if unmatched:
            out.print(f"{unmatched} left out: calls without an answer, answers without a call.")
    raise typer.Exit(FOUND if found else 0)


def _thresholds(policy_of: Reader, policy: str, people: Path | None) -> Thresholds:
    """As they would count if this were the server's policy."""
    try:
        return policy_of(policy, people).loops.thresholds
    except GatesError as error:
        err.print(Text(str(error)), soft_wrap=True)
        raise typer.Exit(BAD_FILE) from None


def _print(replayed: Replayed) -> None:
    out.print(Text(f"{plain(replayed.run)}: {replayed.steps} steps", style="bold"), soft_wrap=True)
    for episode in replayed.episodes:
        out.print(Text(f"  {_line(episode)}"), soft_wrap=True)
        if episode.first.period > 1:
            out.print(Text(f"    {plain(episode.first.drawn)}"), soft_wrap=True)
    for circle in replayed.refused:
        out.print(Text(f"  step {circle.number}: {plain(circle.words)}"), soft_wrap=True)


def _line(episode: Episode) -> str:
    first = episode.first
    steps = f"step {first.number}"
    if episode.last_step > first.number:
        steps = f"steps {first.number} to {episode.last_step}"
    return f"{steps}: {plain(first.words)}"


def _replayed(
    file: Path, thresholds: Thresholds | None, writes: Sequence[str]
) -> Iterator[Replayed]:
    """Raises InvalidInput for a file that cannot be read."""
    columns = (TextColumn("replaying"), BarColumn(), TimeRemainingColumn())
    try:
        size = file.stat().st_size or None  # a pipe has none
        with file.open("rb") as raw, Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task("replaying", total=size)
            for one in replay(_lines(raw), thresholds, writes=writes):
                if raw.seekable():
                    bar.update(task, completed=raw.tell())
                yield one
    except OSError as error:
        why = str(error.strerror or error).rstrip(".")
        raise InvalidInput(f"cannot be read: {why}.") from error
    except (EOFError, zlib.error) as error:
        raise InvalidInput(f"is cut off or damaged ({error}): copy it again.") from error


def _lines(raw: BufferedReader) -> Iterator[bytes]:
    if raw.peek(2)[:2] == b"\x1f\x8b":
        with gzip.open(raw) as lines:
            yield from lines
    else:
        yield from raw
