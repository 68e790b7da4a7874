"""`gates freeze`, `thaw`, `freezes`, `hold`, `stop`: as the person who is logged in; without a
session on the server's own machine with its admin key, which may stop things and start none.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gates.client import GatesClient
from integrations.shell import AsJson, as_admin, as_person, home, out
from integrations.terminal import plain, told

Why = Annotated[str, typer.Option("--reason", help="Why; everybody concerned reads it.")]


def in_command() -> GatesClient:
    return as_person() if (home() / "session").exists() else as_admin()


def freeze(
    reason: Why,
    agent: Annotated[str, typer.Option(help="An agent's name, with `*`.")] = "",
    action: Annotated[str, typer.Option(help="An action's name, with `*`.")] = "",
    counterparty: Annotated[str, typer.Option(help="The other side, such as party:7.")] = "",
    run: Annotated[str, typer.Option(help="A root run.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="The whole house.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start nothing that matches any more, at once; what several options name must all fit."""
    scope = {"agent": agent, "action": action, "counterparty": counterparty, "run": run}
    with told(), in_command() as client:
        body = {"scope": scope | {"everything": everything}, "reason": reason}
        made = client.command("POST", "/v1/freezes", body)
        words = f"Frozen as {made['id']}. Somebody else in command thaws it: gates thaw"
        say(made, f"{words} {made['id']}", as_json=as_json)


def thaw(freeze_id: str, reason: Why, as_json: AsJson = False) -> None:
    """Lift a freeze that somebody else has made; what waited goes on if it still may."""
    with told(), as_person() as client:
        done = client.command("POST", f"/v1/freezes/{freeze_id}/thaw", {"reason": reason})
        words = f"Freeze {freeze_id} is lifted."
        if done["request"]:
            words = f"Others are asked first: request {done['request'][:8]} (`gates list`)."
        say(done, words, as_json=as_json)


def freezes(as_json: AsJson = False) -> None:
    """What is frozen and held now, by whom and why."""
    with told(), in_command() as client:
        found = client.command("GET", "/v1/freezes")
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
        elif not found["freezes"] and not found["holds"]:
            out.print("Nothing is frozen or held.")
        else:
            out.print(_table(found))


def hold(run: str, reason: Why, as_json: AsJson = False) -> None:
    """Put a run's next step to people, whatever the policy says; their answer releases it."""
    with told(), in_command() as client:
        made = client.command("POST", f"/v1/runs/{run}/hold", {"reason": reason})
        say(made, f"Run {made['run']} is held at its next gate.", as_json=as_json)


def stop(run: str, reason: Why, as_json: AsJson = False) -> None:
    """End a run for good: what it asks and what nobody has begun is taken back."""
    with told(), in_command() as client:
        done = client.command("POST", f"/v1/runs/{run}/stop", {"reason": reason})
        words = f"The run is stopped; {len(done['withdrawn'])} of its requests are taken back."
        say(done, words, as_json=as_json)


def say(found: Any, words: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        out.print(plain(words), markup=False, highlight=False, soft_wrap=True)


def _table(found: dict[str, Any]) -> Table:
    table = Table("id", "what", "by", "since", "why")
    for one in found["freezes"]:
        scope = {name: value for name, value in one["scope"].items() if value}
        what = "everything" if "everything" in scope else ""
        what = what or ", ".join(f"{name} {value}" for name, value in scope.items())
        _row(table, one, f"{what} (for good)" if one["for_good"] else what)
    for one in found["holds"]:
        _row(table, one, f"held: run {one['run']}")
    return table


def _row(table: Table, one: dict[str, Any], what: str) -> None:
    cells = (one["id"], what, one["name"], one["at"][:16].replace("T", " "), one["reason"])
    table.add_row(*(Text(plain(cell)) for cell in cells))


def register(app: typer.Typer) -> None:
    for command in (freeze, thaw, freezes, hold, stop):
        app.command()(command)
