"""`gates slack check` finds what is missing, against the sandbox with Slack's own refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from integrations.cli import app
from tests.support.slack import PEOPLE, TEAM, Office, office
from tests.support.slack_server import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET

SOUND = f"""
version: 1
groups: {{ap: pays, payers: {{for: pays, slack_group: S0PAYERS}}}}
people:
  - {{id: amara, name: Amara Obi, slack: {TEAM}/U0AMARA, groups: [ap]}}
  - {{id: bruno, name: Bruno Paz, email: bruno@example.com}}
"""


class Terminal:
    def __init__(self, company: Office, folder: Path) -> None:
        self.company = company
        self.people = folder / "people.yaml"
        self.people.write_text(SOUND)
        self.changes: dict[str, str] = {}

    def __call__(self, *words: str) -> Result:
        given = {
            "GATES_SLACK_BOT_TOKEN": BOT_TOKEN,
            "GATES_SLACK_APP_TOKEN": APP_TOKEN,
            "GATES_SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "GATES_SLACK_CHANNEL": self.company.channel.id,
            "GATES_SLACK_TEAM_IDS": TEAM,
            "GATES_SLACK_MATCH_EMAIL": "true",
            "GATES_SLACK_API_BASE_URL": self.company.slack.base_url,
            "GATES_PEOPLE": str(self.people),
            "COLUMNS": "300",
        }
        return CliRunner().invoke(app, ["slack", *words], env=given | self.changes)

    def bad(self) -> list[tuple[str, str, str]]:
        result = self("check", "--json")
        found = json.loads(result.stdout)
        sick = [one for one in found["findings"] if one["level"] == "bad"]
        assert result.exit_code == (1 if sick else 0)
        assert found["sound"] is not bool(sick)
        return [(one["check"], one["text"], one["cure"]) for one in sick]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with office(tmp_path) as company:
        people = company.people
        company.slack.add_user_group(people["amara"], people["bruno"], id="S0PAYERS")
        yield Terminal(company, tmp_path)


def test_all_is_well(terminal: Terminal) -> None:
    """Each thing that was looked at is a line with a tick; exit code 0."""
    result = terminal("check")
    assert result.exit_code == 0, result.output
    assert "✗" not in result.output
    assert "!" not in result.output
    for words in ("T0SANDBOX may decide", "usergroups:read", "#approvals", "bruno: T0SANDBOX/U0B"):
        assert words in result.output
    assert "payers (S0PAYERS): amara, bruno" in result.output
    assert BOT_TOKEN not in result.output


def test_without_settings_it_says_which(terminal: Terminal) -> None:
    """One sentence, no traceback."""
    terminal.changes = {"GATES_SLACK_BOT_TOKEN": ""}
    result = terminal("check")
    assert (result.exit_code, "GATES_SLACK_BOT_TOKEN is not set" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"GATES_SLACK_BOT_TOKEN": "xoxb-revoked"}, "bot token", "refused: invalid_auth"),
        ({"GATES_SLACK_API_BASE_URL": "http://127.0.0.1:9"}, "bot token", "cannot be asked"),
        ({"GATES_SLACK_APP_TOKEN": "xapp-revoked"}, "app token", "refused: invalid_auth"),
        ({"GATES_SLACK_TEAM_IDS": "T0OTHER"}, "workspace", "T0SANDBOX is not among"),
        ({"GATES_SLACK_CHANNEL": "C0NOWHERE"}, "channel", "channel_not_found"),
        ({"GATES_SLACK_CHANNELS": "expert=C0NOWHERE"}, "channel", "C0NOWHERE: channel_not_found"),
    ],
)
def test_a_wrong_setting(
    terminal: Terminal, changes: dict[str, str], check: str, words: str
) -> None:
    """Token, address, workspace, channel: named with its cure; exit code 1."""
    terminal.changes = changes
    found = [(text, cure) for name, text, cure in terminal.bad() if name == check]
    assert [words in text for text, _ in found] == [True]
    assert found[0][1]


def test_a_missing_scope(terminal: Terminal) -> None:
    """The scope, what would not work without it, and how to add it."""
    space = terminal.company.slack.space
    space.tokens[BOT_TOKEN] -= {"usergroups:read"}
    space.tokens[APP_TOKEN] = frozenset()
    found = terminal.bad()
    assert [name for name, _, _ in found] == ["scope", "app token", "group"]
    assert found[0][1].startswith("usergroups:read is missing: who is in a user group")
    assert "reinstall the app" in found[0][2]
    assert "connections:write" in found[1][2]


def test_a_channel_without_the_app(terminal: Terminal) -> None:
    """Not invited, or archived."""
    channel = terminal.company.channel
    channel.members.discard(terminal.company.slack.space.bot_user)
    assert ("channel", f"the app is not in #approvals ({channel.id})") in [
        one[:2] for one in terminal.bad()
    ]
    channel.is_archived = True
    assert any("is archived" in text for _, text, _ in terminal.bad())


def test_a_person_in_no_channel_is_a_warning(terminal: Terminal) -> None:
    """They are told directly; nothing is broken."""
    terminal.company.channel.members.discard("U0AMARA")
    result = terminal("check")
    assert result.exit_code == 0
    assert "amara: T0SANDBOX/U0AMARA is in no channel with cards" in result.output


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("amara", {"deleted": True}, "amara: T0SANDBOX/U0AMARA: Your Slack account is deactivated"),
        ("amara", {"is_restricted": True}, "Guests"),
        ("amara", {"team_id": "T0ELSEWHERE"}, "another Slack workspace"),
        ("bruno", {"is_email_confirmed": False}, "by e-mail: the address is not confirmed"),
    ],
)
def test_a_person_who_could_not_decide(
    terminal: Terminal, name: str, changes: dict[str, object], words: str
) -> None:
    """Everybody of the people file is judged as a click of theirs would be."""
    for field, value in changes.items():
        setattr(terminal.company.people[name], field, value)
    assert any(check == "person" and words in text for check, text, _ in terminal.bad())


def test_two_entries_for_one_human(terminal: Terminal) -> None:
    """One account's e-mail is another entry's."""
    terminal.people.write_text(PEOPLE + "  - {id: a2, name: A, email: amara@example.com}\n")
    words = [text for check, text, _ in terminal.bad() if check == "person"]
    assert "amara: T0SANDBOX/U0AMARA has the e-mail of a2" in words


def test_a_user_group_that_is_not_there(terminal: Terminal) -> None:
    """Nobody could decide what it is asked."""
    terminal.company.slack.space.user_groups.clear()
    assert [(name, "S0PAYERS" in text) for name, text, _ in terminal.bad()] == [("group", True)]


def test_slack_is_given_the_time_that_it_asks_for(terminal: Terminal) -> None:
    """A 429 is waited for, once, and is no finding."""
    terminal.company.slack.fail_next("users.info", "ratelimited", retry_after=1)
    assert terminal.bad() == []
