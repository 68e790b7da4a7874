"""`gates reviews`: what was drawn to be looked at, and what people say of it."""

import sys
from typing import Annotated

import typer

from integrations.shell import AsJson, as_person, out
from integrations.terminal import plain, print_requests, title, told, write_requests

app = typer.Typer(help="A sample of what ran by itself: look at it.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def reviews(
    context: typer.Context,
    done: Annotated[bool, typer.Option(help="What people have looked at already.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is to be looked at; nothing waits for it."""
    if context.invoked_subcommand is not None:
        return
    with told(), as_person() as client:
        views = client.reviews("done" if done else "wanted")
        if as_json:
            write_requests(views)
            return
        if not views:
            out.print("There is nothing to look at.")
            return
        print_requests(out, views, heading="Looked at" if done else "To look at")
        if not done:
            out.print('Say `gates reviews fine ID` or `gates reviews wrong ID --reason "..."`.')


@app.command()
def fine(request: str, as_json: AsJson = False) -> None:
    """It was right, as far as you can see."""
    say(request, "fine", "", "", as_json=as_json)


@app.command()
def wrong(
    request: str,
    reason: Annotated[str, typer.Option(help="What was wrong.", prompt=True)],
    category: Annotated[str, typer.Option(help="Of which kind, in a word.")] = "",
    as_json: AsJson = False,
) -> None:
    """It should not have run like this. It stays as it is; the log and its run are told."""
    say(request, "wrong", reason, category, as_json=as_json)


def say(request: str, verdict: str, reason: str, category: str, *, as_json: bool) -> None:
    with told(), as_person() as client:
        view = client.review(request, verdict, reason, category)
        if as_json:
            sys.stdout.write(view.model_dump_json() + "\n")
            return
        out.print(plain(f"Recorded: {title(view)} was {verdict}."), markup=False, highlight=False)
