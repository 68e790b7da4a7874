"""`gates loops report`: how good the loop detector is, by the word of those whom it called."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from integrations.shell import AsJson, as_admin, out
from integrations.terminal import plain, told


def report(
    days: Annotated[int, typer.Option(help="How far back to look.", min=1, max=3660)] = 90,
    as_json: AsJson = False,
) -> None:
    """Alarms by action and detector: what people said of them, and what to change."""
    with told(), as_admin() as client:
        found = client.alarms(days)
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
        elif not found:
            out.print(f"No agent was stopped for going in circles in the last {days} days.")
        else:
            out.print(_table(found))
            out.print("Label alarms as you answer them: `gates approve ID --label not_a_loop`.")


def _table(found: list[dict[str, Any]]) -> Table:
    heads = ("action", "found by", "alarms", "loops", "harmful", "none", "open", "precision")
    table = Table(*heads, "answered in", "proposal")
    for one in found:
        right = "" if one["precision"] is None else f"{one['precision']:.0%}"
        wait = one["answered_seconds"]
        after = "" if wait is None else f"{wait / 60:.0f} min"
        counts = [one[name] for name in ("alarms", "loops", "harmful", "not_loops", "open")]
        cells = [one["action"], one["detector"], *counts, right, after, one["proposal"]]
        table.add_row(*(Text(plain(str(cell))) for cell in cells))
    return table
