"""`gates outbox`: what could not be delivered, and another try."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gates.core.errors import InvalidInput
from integrations.shell import AsJson, as_admin, out
from integrations.terminal import plain, told

app = typer.Typer(help="Deliveries that were given up or are late.", invoke_without_command=True)


@app.callback()
def outbox(context: typer.Context, as_json: AsJson = False) -> None:
    """Deliveries that were given up or are late, with their last error."""
    if context.invoked_subcommand is not None:
        return
    with told(), as_admin() as client:
        found = client.outbox()
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
        elif not found:
            out.print("Everything is delivered.")
        else:
            out.print(_table(found))
            out.print("Cure what the error names, then `gates outbox retry ID` (or `--all`).")


@app.command()
def retry(
    delivery: Annotated[int | None, typer.Argument(help="Its number in `gates outbox`.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try a delivery again now."""
    with told(), as_admin() as client:
        if (delivery is None) != all_:
            raise InvalidInput("Name one delivery by its number, or all of them with --all.")
        found = client.retry(None if delivery is None else [delivery])
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
        else:
            out.print(f"{len(found)} tried again." if found else "Nothing was given up.")


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table("id", "what", "request", "to", "state", "tries", "last error")
    for one in found:
        state = "given up" if one["state"] == "dead" else "late"
        cells = [one["id"], one["kind"], one["request_id"][:8], one["place"], state]
        cells += [one["tries"], one["last_error"]]
        table.add_row(*(Text(plain(str(cell))) for cell in cells))
    return table
