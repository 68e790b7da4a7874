"""`gates person`: what an admin does for one person."""

from __future__ import annotations

import typer

from integrations.shell import as_admin, out
from integrations.terminal import told

app = typer.Typer(help="People: their authenticators.", no_args_is_help=True)


@app.callback()
def person() -> None:
    """What an admin does for one person."""


@app.command("reset-totp")
def reset_totp(person_id: str) -> None:
    """Forget somebody's authenticator (a lost phone); they set up another one on their page."""
    with told(), as_admin() as client:
        client.reset_totp(person_id)
        words = f"{person_id} has no authenticator any more, and can set up another one."
        out.print(words, markup=False, highlight=False)
