"""`gates policy show`, `gates policy versions`: what requests were judged by."""

from __future__ import annotations

import json
import sys

import typer
from rich.table import Table

from integrations.commanding.commands import in_command
from integrations.shell import AsJson, out
from integrations.terminal import plain, told


def show(digest: str, as_json: AsJson = False) -> None:
    """A policy as it was written, by six or more characters of its digest."""
    with told(), in_command() as client:
        found = client.command("GET", f"/v1/policies/{digest}")
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
            return
        for name, text in found["files"]:
            out.print(f"# {plain(name)}", markup=False, highlight=False, soft_wrap=True)
            sys.stdout.write(f"{text}\n")


def versions(as_json: AsJson = False) -> None:
    """Policies that were ever in force or asked for, the newest first."""
    with told(), in_command() as client:
        found = client.command("GET", "/v1/policies")
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
            return
        table = Table("policy", "first seen", "in force since", "through")
        for one in found:
            since = (one["activated_at"] or "never")[:16].replace("T", " ")
            seen = one["first_seen_at"][:16].replace("T", " ")
            table.add_row(one["digest"][:12], seen, since, plain(one["by"]))
        out.print(table)


def register(app: typer.Typer) -> None:
    app.command()(show)
    app.command()(versions)
