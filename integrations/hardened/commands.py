"""`gates hardened`: root's commands for the house with a user for each process."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from integrations.terminal import told

if TYPE_CHECKING:
    from integrations.hardened.house import Hardened

HOME = Path("/var/lib/prefect-gates")

app = typer.Typer(
    help="The house with a user for each process (Linux, root).", no_args_is_help=True
)
out = Console()
Home = Annotated[Path, typer.Option(help="The folder of the house; root's.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts: one JSON document.")]


@app.command()
def up(
    home: Home = HOME,
    prefix: Annotated[str, typer.Option(help="Before the name of each user.")] = "gates-",
    project: Annotated[Path, typer.Option(help="Where prefect.yaml and policies/ are.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Make users, keys and databases where they are missing; start what does not run."""
    from integrations.hardened import house  # noqa: PLC0415 - the whole house

    with told():
        say = (lambda _words: None) if as_json else _say
        _tell(house.up(home, project, say, prefix=prefix), as_json=as_json)


@app.command()
def check(home: Home = HOME, as_json: AsJson = False) -> None:
    """Look with each user's eyes for what it should not reach; exit code 1 if there is any."""
    from integrations.hardened import house  # noqa: PLC0415 - likewise

    with told():
        found = _tell(house.known(home), as_json=as_json)
    raise typer.Exit(1 if found else 0)


@app.command()
def down(home: Home = HOME) -> None:
    """Stop what `up` started; users, keys and data stay."""
    from integrations.hardened import house  # noqa: PLC0415 - likewise

    with told():
        stopped = house.down(home)
        out.print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


@app.command()
def undo(
    home: Home = HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop everything, and delete its users, keys, books and log."""
    from integrations.hardened import house  # noqa: PLC0415 - likewise

    with told():
        known = house.known(home)
        if not yes:
            typer.confirm(f"Delete all of {known.home}, books and log included?", abort=True)
        gone = house.undo(home)
        out.print(f"Gone: {known.home} and the users {', '.join(gone)}.", soft_wrap=True)


def _say(words: str) -> None:
    out.print(f"[dim]·[/] {words}", soft_wrap=True)


def _tell(house: "Hardened", *, as_json: bool) -> list[str]:
    findings, told_of = house.findings(), house.described()
    if as_json:
        sys.stdout.write(json.dumps(told_of | {"findings": findings}) + "\n")
        return findings
    for part, about in told_of["parts"].items():
        runs = f"process {about['pid']}" if about["pid"] else "not running"
        out.print(f"  {part:9} {about['user']:18} {runs:16} {about['url'] or ''}", highlight=False)
    for words in findings:
        out.print(f"[red]✗[/] {words}", soft_wrap=True)
    if not findings:
        out.print("[green]✓[/] No user reads another's folder, keys or environment.")
    out.print(f"As root: GATES_HOME={house.home}/server gates login-link PERSON", highlight=False)
    return findings
