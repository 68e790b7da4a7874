"""`gates slack ...`: for whoever sets Slack up."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import yaml

from gates.client import GatesClient
from gates.core.errors import InvalidInput
from gates.core.people import load_people
from gates.settings import ServerSettings
from integrations.shell import AsJson, as_admin, as_person, home, out
from integrations.terminal import print_findings, told

MANIFEST = Path(__file__).with_name("manifest.yaml")

app = typer.Typer(help="Slack.", no_args_is_help=True)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Say what is missing in Slack, and the cure. Exit code 1 if something must be mended."""
    from integrations.slack.checking import Checkup  # noqa: PLC0415 - slack-sdk
    from integrations.slack.settings import SlackSettings  # noqa: PLC0415 - likewise

    with told():
        settings = SlackSettings.from_environment(os.environ)
        if settings is None:
            raise InvalidInput("GATES_SLACK_BOT_TOKEN is not set: see docs/set-up-slack.md.")
        file = ServerSettings().people
        try:
            text = file.read_text()
        except OSError as error:
            words = f"GATES_PEOPLE = {str(file)!r} cannot be read: {error.strerror}."
            raise InvalidInput(words) from error
        found = list(Checkup(settings, load_people(text, str(file))).findings())
    print_findings(out, found, as_json=as_json)


@app.command()
def manifest(
    url: Annotated[
        str, typer.Option(help="The gates server's public https address, for signed requests.")
    ] = "",
) -> None:
    """Print what sets the app up in one paste: for Socket Mode, or for requests to --url."""
    with told():
        print(manifest_for(url))  # noqa: T201 - for a clipboard


def manifest_for(url: str) -> str:
    """Raises InvalidInput where Slack would not take the address."""
    from integrations.slack.transport import PATH  # noqa: PLC0415 - slack-sdk and bolt

    text = MANIFEST.read_text()
    if not url:
        return text.rstrip()
    if not url.startswith("https://"):
        raise InvalidInput(f"--url {url!r}: Slack sends requests to https addresses alone.")
    document = yaml.safe_load(text)
    address = url.rstrip("/") + PATH
    for command in document["features"]["slash_commands"]:
        command["url"] = address
    settings = document["settings"]
    settings["interactivity"]["request_url"] = address
    settings["event_subscriptions"]["request_url"] = address
    settings["socket_mode_enabled"] = False
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True)).rstrip()


@app.command()
def preview(
    request: Annotated[str, typer.Argument(help="A request, or how its id begins.")] = "",
    sample: Annotated[
        str,
        typer.Option(help="Instead: large-invoice, changed-bank-account, loop, in-doubt, decided."),
    ] = "",
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; else a file of its own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a request's card as a page, or with --json its blocks. No Slack is needed."""
    from integrations.slack.card import card  # noqa: PLC0415 - only this command draws
    from integrations.slack.preview import page  # noqa: PLC0415 - likewise
    from integrations.slack.samples import PREFECT, SAMPLES, sample_of  # noqa: PLC0415 - likewise

    with told():
        if bool(request) == bool(sample):
            names = ", ".join(SAMPLES)
            raise InvalidInput(f"Say which card: a request's id, or one of --sample {names}.")
        if html is not None and as_json:
            raise InvalidInput("--html and --json exclude each other: a page, or the blocks.")
        if sample:
            view, prefect = sample_of(sample), PREFECT
        else:
            with _reader() as client:
                view, prefect = client.view(request), ServerSettings().prefect_ui_url
        drawn = card(view, "preview", prefect_ui_url=prefect)
        if as_json:
            print(json.dumps({"blocks": drawn.blocks}, ensure_ascii=False))  # noqa: T201 - for a clipboard
            return
        shown = f"sample {sample}" if sample else f"request {view.request.id[:8]}"
        print(_written(page(drawn, caption=f"Preview of a Slack card: {shown}"), html))  # noqa: T201 - for scripts too


def _reader() -> GatesClient:
    """Whoever is logged in here; on the server's own machine also nobody in particular."""
    alone = not (home() / "session").exists() and (home() / "admin.key").exists()
    return as_admin() if alone else as_person()


def _written(text: str, file: Path | None) -> Path:
    """Raises InvalidInput. A card holds what is nobody else's business on this machine."""
    if file is None:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="slack-card-", suffix=".html", delete=False
        ) as made:
            made.write(text)
        return Path(made.name)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        words = f"--html {str(file)!r} cannot be written: {error.strerror}."
        raise InvalidInput(words) from error
    return file
