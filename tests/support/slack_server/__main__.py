"""`python -m tests.support.slack_server [--port N]`: the sandbox, to try things by hand.

Prints the settings for the app. A small prompt plays the people: `show`, `click MESSAGE
ACTION`, `submit TEXT`, `as NAME`, `quit`.
"""

from __future__ import annotations

import argparse
import json

from tests.support.slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    SIGNING_SECRET,
    ClientRefusalError,
    SlackSandbox,
    User,
)


def main() -> None:
    parser = argparse.ArgumentParser(description="A Slack on loopback")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--app-url", help="post interactions there instead of Socket Mode")
    options = parser.parse_args()
    with SlackSandbox(port=options.port, app_url=options.app_url) as slack:
        people = {
            name: slack.add_user(name, f"{name}@example.com") for name in ("amara", "bruno", "chen")
        }
        channel = slack.add_channel("approvals", *people.values())
        {
            "GATES_SLACK_API_BASE_URL": slack.base_url,
            "GATES_SLACK_BOT_TOKEN": BOT_TOKEN,
            "GATES_SLACK_APP_TOKEN": APP_TOKEN,
            "GATES_SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "GATES_SLACK_CHANNEL": channel.id,
            "GATES_SLACK_TEAM_IDS": json.dumps([slack.team_id]),
        }
        _prompt(slack, people, channel.id)


def _prompt(slack: SlackSandbox, people: dict[str, User], channel: str) -> None:
    me = next(iter(people.values()))
    while True:
        try:
            word, *rest = input(f"{me.name}> ").split() or ["show"]
        except EOFError:
            return
        try:
            if word == "quit":
                return
            if word == "as":
                me = people[rest[0]]
            elif word == "click":
                pass
            elif word == "submit":
                view = slack.open_views(me)[-1]
                [b["element"]["action_id"] for b in view.body["blocks"] if "element" in b]
            else:
                for _number, _message in enumerate(slack.messages(channel)):
                    pass
        except (ClientRefusalError, LookupError, ValueError):
            pass


if __name__ == "__main__":
    main()
