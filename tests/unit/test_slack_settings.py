"""Slack's settings come from the environment, and say which variable is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gates.core.errors import InvalidInput
from integrations.slack.settings import SlackSettings

GOOD = {
    "GATES_SLACK_BOT_TOKEN": "xoxb-1",
    "GATES_SLACK_APP_TOKEN": "xapp-1",
    "GATES_SLACK_CHANNEL": "C012AB",
    "GATES_SLACK_TEAM_IDS": "T01, T02",
}


def test_slack_is_left_out_without_a_bot_token() -> None:
    """No bot token: no Slack, and no error about the rest."""
    assert SlackSettings.from_environment({"GATES_SLACK_CHANNEL": "x"}) is None


def test_four_variables_are_enough_for_socket_mode() -> None:
    """Everything else has a default."""
    settings = SlackSettings.from_environment(GOOD)
    assert settings is not None
    assert settings.mode == "socket"
    assert settings.team_ids == {"T01", "T02"}
    assert settings.base_url == "https://slack.com/api/"


def test_the_api_address_may_come_with_or_without_a_slash() -> None:
    """slack-sdk joins names to the address as it is."""
    given = GOOD | {"GATES_SLACK_API_BASE_URL": "http://127.0.0.1:9/api"}
    settings = SlackSettings.from_environment(given)
    assert settings is not None
    assert settings.base_url == "http://127.0.0.1:9/api/"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"GATES_SLACK_BOT_TOKEN": "xoxp-secret"}, "bot_token"),
        ({"GATES_SLACK_APP_TOKEN": "secret"}, "app_token"),
        ({"GATES_SLACK_APP_TOKEN": ""}, "app_token"),
        ({"GATES_SLACK_MODE": "http"}, "signing_secret"),
        ({"GATES_SLACK_MODE": "carrier-pigeon"}, "GATES_SLACK_MODE"),
        ({"GATES_SLACK_CHANNEL": "#approvals"}, "GATES_SLACK_CHANNEL"),
        ({"GATES_SLACK_CHANNEL": ""}, "GATES_SLACK_CHANNEL"),
        ({"GATES_SLACK_TEAM_IDS": " , "}, "GATES_SLACK_TEAM_IDS"),
        ({"GATES_SLACK_API_BASE_URL": "slack.com"}, "GATES_SLACK_API_BASE_URL"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(changes: dict[str, str], words: str) -> None:
    """One sentence with the variable and the cure; a token never shows."""
    with pytest.raises(InvalidInput, match=words) as caught:
        SlackSettings.from_environment(GOOD | changes)
    assert "secret" not in str(caught.value).replace("signing_secret", "")
    assert "docs/set-up-slack.md" in str(caught.value)


def test_tokens_do_not_show_in_logs() -> None:
    """Printing the settings prints no secret."""
    settings = SlackSettings.from_environment(GOOD | {"GATES_SLACK_SIGNING_SECRET": "hush"})
    assert "xoxb-1" not in repr(settings)
    assert "xapp-1" not in repr(settings)
    assert "hush" not in repr(settings)


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    """Environments leak: each secret has a file's name instead; both at once is a mistake."""
    file = tmp_path / "bot"
    file.write_text("xoxb-2\n")
    kept = {name: value for name, value in GOOD.items() if name != "GATES_SLACK_BOT_TOKEN"}
    settings = SlackSettings.from_environment(kept | {"GATES_SLACK_BOT_TOKEN_FILE": str(file)})
    assert settings is not None
    assert settings.bot_token.get_secret_value() == "xoxb-2"
    with pytest.raises(InvalidInput, match="both set: keep one"):
        SlackSettings.from_environment(GOOD | {"GATES_SLACK_BOT_TOKEN_FILE": str(file)})
    with pytest.raises(InvalidInput, match="GATES_SLACK_APP_TOKEN_FILE"):
        SlackSettings.from_environment(
            kept | {"GATES_SLACK_APP_TOKEN_FILE": str(tmp_path / "nothing")}
        )
