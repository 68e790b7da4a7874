"""`gates backup`, `gates restore`, `gates doctor`."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gates.access import Access
from gates.core.errors import GatesError
from gates.core.people import People
from gates.settings import ServerSettings
from gates.store.database import Database
from integrations.operating.copying import Restored, backup, restore, store_at
from integrations.shell import AsJson, address, err, home, out
from integrations.terminal import print_findings, told

Programs = Annotated[
    Path | None, typer.Option(help="Folder of PostgreSQL's pg_dump and pg_restore.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `gates`."""
    app.command("backup")(backup_)
    app.command("restore")(restore_)
    app.command("doctor")(doctor)


def backup_(
    file: Annotated[Path, typer.Argument(help="Where to write; nothing is overwritten.")],
    programs: Programs = None,
    as_json: AsJson = False,
) -> None:
    """Copy the gates store (GATES_DATABASE_URL) while the server runs; checked, private."""
    with told():
        made = backup(store_at(ServerSettings().database_url, programs), file, progress)
        if as_json:
            sys.stdout.write(made.model_dump_json() + "\n")
            return
        rows = sum(made.rows.values())
        out.print(
            f"{file}: {rows:,} rows as of {made.made_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"schema {made.revision}, {made.size:,} bytes.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def restore_(
    file: Annotated[Path, typer.Argument(help="What `gates backup` wrote.")],
    by: Annotated[str, typer.Option(help="Your name, for the log.")] = "",
    programs: Programs = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the store's place. Stop the servers and executors first."""
    with told():
        store = store_at(ServerSettings().database_url, programs)
        done = restore(store, file, by or getpass.getuser(), progress)
        words = list(notes(done, admin_key_opens(store.url)))
        if as_json:
            mark = asdict(done.mark)
            sys.stdout.write(json.dumps({"kept": done.kept, "notes": words} | mark) + "\n")
            return
        for line in words:
            out.print(line, markup=False, highlight=False, soft_wrap=True)


def notes(done: Restored, admin_key: bool | None) -> list[str]:
    """What the operator has to know, most important first."""
    mark, at = done.mark, f"{done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
    words = [f"The store is as it was at {at}."]
    if done.kept:
        words.append(f"The one that was there is kept: {done.kept}.")
    words.append(
        f"{mark.in_doubt} approved action(s) are in doubt: executors look into the real system "
        "before anything runs; where they cannot tell, people are asked."
    )
    words.append(f"{mark.reopened} question(s) are open; decisions since {at} are asked for again.")
    words.append(f"Ended: {mark.sessions} session(s), {mark.links} login link(s). Log in anew.")
    if mark.revoked:
        words.append(
            f"Revoked again, as in the store that was replaced: {', '.join(mark.revoked)}."
        )
    words.append("These keys open doors now. Revoke what you had revoked since the backup:")
    words += [f"  {key}  {holder}" for key, holder in mark.keys]
    if admin_key is False:
        words.append("The admin key of this home is not among them: delete its file, start anew.")
    return words


def admin_key_opens(url: str) -> bool | None:
    """Whether this home's admin key is one of the store's; None without one."""
    file = home() / "admin.key"
    if not file.exists():
        return None
    database = Database(url)
    try:
        Access(database, People((), {})).key_holder(file.read_text().strip())
    except GatesError:
        return False
    finally:
        database.close()
    return True


def progress(words: str) -> None:
    """On standard error, so that what a script reads stays clean."""
    err.print(words, style="dim", markup=False, highlight=False)


def doctor(as_json: AsJson = False) -> None:
    """Find the usual mistakes and name the cures. Exit code 1 if something must be mended."""
    from integrations.operating.doctor import Desk, examine  # noqa: PLC0415 - Slack, ERP and all

    with told():
        found = examine(Desk(address(), home()))
    print_findings(out, found, as_json=as_json)
