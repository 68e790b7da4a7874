"""`gates slack ...`: for whoever sets Slack up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
import yaml

from gates.core.errors import InvalidInput
from gates.core.people import load_people
from gates.settings import ServerSettings
from integrations.shell import AsJson, out
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
