"""`gates policy backtest` and `gates policy shadow`: what another policy would say.

The first reads the server's database by itself, and changes nothing in it; the second asks the
server, which judges by the other policy all the time.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from gates.core.backtest import Backtest, BacktestReport
from gates.core.errors import InvalidInput
from gates.core.people import load_people
from gates.core.policy import Policy, load_policies
from gates.settings import ServerSettings
from gates.store import recorded
from gates.store.database import Database
from integrations.policies.files import policy_texts, text_of
from integrations.shell import AsJson, as_admin, err, out
from integrations.terminal import plain, told

_DAYS = re.compile(r"([0-9]{1,4})d")
SHOWN = 20


def register(policies: typer.Typer) -> None:
    """Add both to the commands about policies."""
    policies.command("backtest")(backtest)
    policies.command("shadow")(shadow)


def backtest(
    new: Annotated[Path, typer.Argument(help="The policy that would come.")],
    since: Annotated[str, typer.Option(help="How far back: 90d.")] = "90d",
    people: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Judge what was asked by another policy: what it would ask, and what it would let through."""
    with told():
        settings = ServerSettings()
        policy = _policy(new, people or settings.people)
        found = run(policy, settings.database_url, _since(since))
        if as_json:
            sys.stdout.write(found.model_dump_json() + "\n")
        else:
            show(found)


def run(policy: Policy, database_url: str, since: datetime) -> BacktestReport:
    """Reads the store and shows how far it is. Raises InvalidInput."""
    database, made = Database(database_url), Backtest(policy)
    try:
        database.reach()
        recorded.refuse_another_schema(database)
        with database.read() as session, _progress() as progress:
            task = progress.add_task("requests", total=recorded.number(session, since))
            for request, outcome in recorded.recorded(session, since):
                made.see(request, outcome)
                progress.advance(task)
    finally:
        database.close()
    return made.report()


def show(found: BacktestReport) -> None:
    table = Table.grid(padding=(0, 2))
    saved = found.reviewer_hours_before - found.reviewer_hours_after
    for words, number in (
        ("requests judged again", found.requests),
        ("answered as before", found.unchanged),
        ("gates added", found.gates_added),
        ("gates removed", found.gates_removed),
        ("newly forbidden", found.forbidden),
        ("no longer forbidden", found.no_longer_forbidden),
        ("rejected by people, and let through", found.rejected_let_through),
    ):
        table.add_row(words, Text(str(number), style="bold"))
    out.print(table)
    hours = f"{found.reviewer_hours_before:g} h -> {found.reviewer_hours_after:g} h"
    out.print(f"Reviewers: {hours} ({saved:+g} h saved), {found.answer_minutes:g} min each.")
    _show_rules(found)
    for name, number in found.not_recorded.items():
        out.print(f"{number} times {name} was not recorded, so rules that read it ask.")
    for one in found.let_through[:SHOWN]:
        what = " ".join(filter(None, (one.request[:8], one.action, one.amount)))
        who = f"rejected by {', '.join(one.by)}: {one.reason}"
        line = f"{what} {who}; {', '.join(one.allowed_by)} allows"
        out.print(plain(line), markup=False, highlight=False, soft_wrap=True)
    if found.rejected_let_through > SHOWN:
        out.print(f"... and {found.rejected_let_through - SHOWN} more: see --json.")


def _show_rules(found: BacktestReport) -> None:
    if not found.rules:
        return
    table = Table("rule", "added", "removed", "forbidden", "no longer forbidden")
    for name, one in found.rules.items():
        numbers = (one.gates_added, one.gates_removed, one.forbidden, one.no_longer_forbidden)
        table.add_row(Text(plain(name)), *(str(number) for number in numbers))
    out.print(table)


def shadow(as_json: AsJson = False) -> None:
    """Where the policy that only looks on (GATES_POLICY_SHADOW) would have answered otherwise."""
    with told(), as_admin() as client:
        found = client.shadow()
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
        elif found["digest"]:
            _show_shadow(found)
        else:
            out.print("No policy looks on: set GATES_POLICY_SHADOW at the server.")


def _show_shadow(found: dict[str, Any]) -> None:
    words = f"Policy {found['digest'][:12]} has looked on at {found['judged']} requests"
    out.print(f"{words}, {found['failed']} of them in vain; {found['different']} differ.")
    for one in found["verdicts"]:
        out.print(f"{one['number']} x {one['active']} -> {one['shadow']}", highlight=False)
    table = Table("request", "action", "active", "shadow", "by")
    for one in found["latest"]:
        cells = (one["request_id"][:8], one["action"], one["active"], one["shadow"])
        rules = ", ".join(one["shadow_rules"])
        table.add_row(*(Text(plain(cell)) for cell in (*cells, rules)))
    if found["latest"]:
        out.print(table)


def _progress() -> Progress:
    return Progress(console=err, transient=True, disable=not err.is_terminal)


def _policy(path: Path, people: Path) -> Policy:
    directory = load_people(text_of(people, "GATES_PEOPLE"), str(people))
    return load_policies(policy_texts(path, people, "NEW"), directory)


def _since(text: str) -> datetime:
    found = _DAYS.fullmatch(text)
    if found is None:
        raise InvalidInput(f"--since {text!r} is not a number of days: write 90d.")
    return datetime.now(UTC) - timedelta(days=int(found[1]))
