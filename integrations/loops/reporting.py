"""`gates loops report`: how good the loop detector is, by the word of those whom it called."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from gates.core.loops.telling import prices
from gates.core.model import Money
from gates.web.words import duration
from integrations.shell import AsJson, as_admin, out
from integrations.terminal import plain, told

COUNTED = (
    ("loops", "a loop"),
    ("harmful", "harmful"),
    ("not_loops", "no loop"),
    ("open", "not answered"),
)


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
            for one in found:
                out.print(_told(one))
            out.print("Label alarms as you answer them: `gates approve ID --label not_a_loop`.")


def _told(one: dict[str, Any]) -> Text:
    """A paragraph, not a row: it has to be read on a narrow terminal, too."""
    counts = [f"{one[name]} {word}" for name, word in COUNTED if one[name]]
    alarms = one["alarms"]
    parts = [f"{alarms} alarm{'' if alarms == 1 else 's'}: {', '.join(counts)}"]
    if one["precision"] is not None:
        parts.append(f"right {one['precision']:.0%}")
    if one["answered_seconds"] is not None:
        took = duration(timedelta(seconds=one["answered_seconds"]))
        parts.append(f"answered in {took}")
    lines = [f"{one['action']}, found by {one['detector']}", "; ".join(parts)]
    if saved := _saved(one):
        lines.append(f"saved at least {saved}")
    if one["proposal"]:
        lines.append(f"proposal: {one['proposal']}")
    return Text("\n    ".join(plain(line) for line in lines))


def _saved(one: dict[str, Any]) -> str:
    """What did not happen, thanks to the alarms that were right."""
    parts = [f"{Money(**sum_)} a second time" for sum_ in one["held_back"]]
    return ", ".join([*parts, *prices(one["saved_cost_minor"], one["saved_tokens"])])
