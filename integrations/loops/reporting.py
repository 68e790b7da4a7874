"""`gates loops report`: how good the loop detector is, by the word of those whom it called."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gates.core.model import Money
from integrations.shell import AsJson, as_admin, out
from integrations.terminal import plain, told


def report(
    days: Annotated[int, typer.Option(help="How far back to look.", min=1, max=3660)] = 90,
    as_json: AsJson = False,
) -> None:
    """Alarms by action and detector: what people said of them, what they saved, what to change."""
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
    table = Table(*heads, "answered in", "saved at least", "proposal")
    for one in found:
        right = "" if one["precision"] is None else f"{one['precision']:.0%}"
        wait = one["answered_seconds"]
        after = "" if wait is None else f"{wait / 60:.0f} min"
        counts = [one[name] for name in ("alarms", "loops", "harmful", "not_loops", "open")]
        cells = [one["action"], one["detector"], *counts, right, after]
        cells += [_saved(one), one["proposal"]]
        table.add_row(*(Text(plain(str(cell))) for cell in cells))
    return table


def _saved(one: dict[str, Any]) -> str:
    """What did not happen, thanks to the alarms that were right."""
    parts = [f"{Money(**sum_)} a second time" for sum_ in one["held_back"]]
    if one["saved_cost_minor"]:
        parts.append(f"{one['saved_cost_minor'] / 100:,.2f} in money")
    if one["saved_tokens"]:
        parts.append(f"{one['saved_tokens']:,} tokens")
    return ", ".join(parts)
