"""`python -m tests.support.slack_server`: the sandbox, to try things by hand.

Prints the settings for the app, then plays the people of a people file at a prompt.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gates.core.people import load_people
from tests.support.slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    SIGNING_SECRET,
    ClientRefusalError,
    SlackSandbox,
    User,
)

HELP = """show                      the channel, and what was said to you alone
click MESSAGE ACTION      press a button, such as: click 0 gates_approve
submit TEXT               fill the open modal and send it
as NAME                   be somebody else
quit
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="A strict Slack on loopback")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--app-url", help="post interactions there instead of Socket Mode")
    parser.add_argument("--people", type=Path, default=Path("policies/people.yaml"))
    options = parser.parse_args()
    known = load_people(options.people.read_text(), str(options.people)).all
    accounts = {one.id: one.slack[0].split("/") for one in known if one.slack}
    if not accounts:
        parser.error(f"{options.people} names no Slack account: add `slack: TEAM/USER` to somebody")
    team = next(iter(accounts.values()))[0]
    with SlackSandbox(port=options.port, app_url=options.app_url, team_id=team) as slack:
        people = {
            name: slack.add_user(name, team_id=where, id=user)
            for name, (where, user) in accounts.items()
        }
        channel = slack.add_channel("approvals", *people.values())
        settings = {
            "API_BASE_URL": slack.base_url,
            "MODE": "http" if options.app_url else "socket",
            "BOT_TOKEN": BOT_TOKEN,
            "APP_TOKEN": APP_TOKEN,
            "SIGNING_SECRET": SIGNING_SECRET,
            "CHANNEL": channel.id,
            "TEAM_IDS": slack.team_id,
        }
        say("\n".join(f"export GATES_SLACK_{key}={value}" for key, value in settings.items()))
        say(HELP)
        _prompt(slack, people, channel.id)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _prompt(slack: SlackSandbox, people: dict[str, User], channel: str) -> None:
    me = next(iter(people.values()))
    while True:
        try:
            word, *rest = input(f"{me.name}> ").split() or ["show"]
            if word == "quit":
                return
            if word == "as":
                me = people[rest[0]]
            else:
                say(_do(slack, me, channel, word, rest))
        except EOFError:
            return
        except (ClientRefusalError, LookupError, ValueError) as error:
            say(f"not possible: {error!r}")


def _do(slack: SlackSandbox, me: User, channel: str, word: str, rest: list[str]) -> str:
    if word == "click":
        return str(slack.click(me, slack.messages(channel)[int(rest[0])], rest[1]))
    if word == "submit":
        view = slack.open_views(me)[-1]
        names = [block["element"]["action_id"] for block in view.body["blocks"][1:]]
        return str(slack.submit(view, dict.fromkeys(names, " ".join(rest))))
    if word != "show":
        return HELP
    shown = [
        f"{number}: {json.dumps(message.versions[-1], indent=1, ensure_ascii=False)}"
        for number, message in enumerate(slack.messages(channel))
    ]
    alone = f"to you alone: {slack.told(me)}; open modals: {len(slack.open_views(me))}"
    return "\n".join([*shown, alone])


if __name__ == "__main__":
    main()
