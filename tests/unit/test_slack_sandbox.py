"""The sandbox refuses what Slack refuses: tokens, scopes, blocks, rates, triggers, URLs.

Spoken to with slack-sdk where it allows, and with plain requests where the SDK would help.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from tests.support.slack_server import (
    APP_TOKEN,
    BOT_SCOPES,
    BOT_TOKEN,
    Channel,
    ClientRefusalError,
    Limits,
    SlackSandbox,
    check_message_blocks,
    check_view,
)

TEXT = {"type": "plain_text", "text": "x"}
BUTTON = {"type": "button", "action_id": "go", "text": TEXT, "value": "v"}
ROW = {"type": "actions", "block_id": "row", "elements": [BUTTON]}
MODAL = {
    "type": "modal",
    "title": TEXT,
    "submit": TEXT,
    "blocks": [
        {
            "type": "input",
            "block_id": "b",
            "label": TEXT,
            "element": {"type": "plain_text_input", "action_id": "a", "max_length": 5},
        }
    ],
}


@pytest.fixture
def slack() -> Iterator[SlackSandbox]:
    with SlackSandbox(limits=Limits(post_interval=0)) as opened:
        yield opened


@pytest.fixture
def client(slack: SlackSandbox) -> WebClient:
    return WebClient(BOT_TOKEN, base_url=slack.base_url, retry_handlers=[])


@pytest.fixture
def channel(slack: SlackSandbox) -> Channel:
    return slack.add_channel("approvals", slack.add_user("amara", "amara@example.com"))


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        call(**arguments)
    return str(caught.value.response["error"])


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def section(text: str, kind: str = "mrkdwn", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": kind, "text": text}, **more}


@pytest.mark.parametrize(
    "blocks",
    [
        [section("x" * 3001)],
        [section("")],
        [section("x", emoji=True)],
        [{"type": "section", "text": {"type": "mrkdwn", "text": "x", "emoji": True}}],
        [{"type": "section", "fields": [plain("x")] * 11}],
        [{"type": "section", "fields": [plain("x" * 2001)]}],
        [{"type": "section"}],
        [{"type": "header", "text": plain("x" * 151)}],
        [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
        [{"type": "context", "elements": []}],
        [{"type": "context", "elements": [plain("x")] * 11}],
        [{"type": "actions", "elements": [BUTTON | {"text": plain("x" * 76)}]}],
        [{"type": "actions", "elements": [BUTTON | {"value": "x" * 2001}]}],
        [{"type": "actions", "elements": [BUTTON | {"style": "blue"}]}],
        [{"type": "actions", "elements": [BUTTON | {"url": "javascript:alert(1)"}]}],
        [{"type": "actions", "elements": [BUTTON, BUTTON]}],
        [{"type": "actions", "elements": [BUTTON | {"colour": "red"}]}],
        [ROW, ROW],
        [{"type": "divider"}] * 51,
        [{"type": "marquee"}],
        [section("\ud800")],
        [section("\U0001f600" * 1501)],
        {"type": "divider"},
        "divider",
    ],
)
def test_blocks_that_slack_rejects_are_rejected(blocks: Any) -> None:
    """Limits, unknown properties, wrong types and duplicates each make a complaint."""
    assert check_message_blocks(blocks)


def test_blocks_at_the_limits_pass() -> None:
    """Every limit is inclusive."""
    row = {"type": "actions", "elements": [BUTTON | {"text": plain("x" * 75), "value": "v" * 2000}]}
    blocks = [
        section("x" * 3000),
        {"type": "section", "fields": [plain("x" * 2000)] * 10},
        {"type": "header", "text": plain("x" * 150)},
        row,
        *[{"type": "divider"}] * 46,
    ]
    assert check_message_blocks(blocks) == []


@pytest.mark.parametrize(
    "change",
    [
        {"title": plain("x" * 25)},
        {"private_metadata": "x" * 3001},
        {"blocks": [{"type": "divider"}] * 101},
        {"submit": {"type": "mrkdwn", "text": "x"}},
        {"unknown": 1},
        {"type": "home"},
    ],
)
def test_modals_that_slack_rejects_are_rejected(change: dict[str, Any]) -> None:
    """Modals have their own limits, and an input needs a submit button."""
    assert check_view(MODAL) == []
    assert check_view(MODAL | change)
    assert check_view({name: value for name, value in MODAL.items() if name != "submit"})


def test_tokens_and_scopes_are_checked(slack: SlackSandbox, channel: Channel) -> None:
    """No token, a wrong one, one of the wrong kind, one without the scope."""
    for token, error in ((None, "not_authed"), ("xoxb-no", "invalid_auth")):
        client = WebClient(token, base_url=slack.base_url, retry_handlers=[])
        assert refusal(client.auth_test) == error
    app = WebClient(APP_TOKEN, base_url=slack.base_url, retry_handlers=[])
    assert refusal(app.auth_test) == "not_allowed_token_type"
    slack.space.tokens[BOT_TOKEN] = BOT_SCOPES - {"users:read"}
    bot = WebClient(BOT_TOKEN, base_url=slack.base_url, retry_handlers=[])
    assert refusal(bot.users_info, user="U1") == "missing_scope"
    assert refusal(bot.api_call, api_method="chat.shout") == "unknown_method"
    assert bot.chat_postMessage(channel=channel.id, text="x")["ok"]


def test_an_email_is_left_out_without_its_scope(slack: SlackSandbox, client: WebClient) -> None:
    """Without users:read.email the address is missing, and nothing says so."""
    user = slack.add_user("amara", "amara@example.com")
    assert client.users_info(user=user.id)["user"]["profile"]["email"] == "amara@example.com"
    slack.space.tokens[BOT_TOKEN] = BOT_SCOPES - {"users:read.email"}
    assert "email" not in client.users_info(user=user.id)["user"]["profile"]


def test_deactivated_people_are_not_found_by_email(slack: SlackSandbox, client: WebClient) -> None:
    """lookupByEmail knows live accounts only."""
    user = slack.add_user("amara", "amara@example.com")
    assert client.users_lookupByEmail(email="AMARA@example.com")["user"]["id"] == user.id
    user.deleted = True
    error = refusal(client.users_lookupByEmail, email="amara@example.com")
    assert error == "users_not_found"


def test_an_update_without_blocks_keeps_the_old_buttons(
    slack: SlackSandbox, client: WebClient, channel: Channel
) -> None:
    """The trap of chat.update, its text limit, and that only the bot's own messages change."""
    ts = client.chat_postMessage(channel=channel.id, text="x", blocks=[ROW])["ts"]
    client.chat_update(channel=channel.id, ts=ts, text="done")
    assert slack.messages(channel)[0].has_button("go")
    long = refusal(client.chat_update, channel=channel.id, ts=ts, text="x" * 4001)
    assert long == "msg_too_long"
    client.chat_update(channel=channel.id, ts=ts, text="done", blocks=[])
    assert not slack.messages(channel)[0].has_button("go")
    assert refusal(client.chat_update, channel=channel.id, ts="1.0", text="x") == (
        "message_not_found"
    )
    other = slack.add_message(channel, "mine").ts
    assert refusal(client.chat_update, channel=channel.id, ts=other, text="x") == (
        "cant_update_message"
    )


def test_one_bad_block_rejects_the_message(client: WebClient, channel: Channel) -> None:
    """Nothing of it is posted, and the pointer says where."""
    with pytest.raises(SlackApiError) as caught:
        client.chat_postMessage(channel=channel.id, text="x", blocks=[ROW, section("")])
    assert caught.value.response["error"] == "invalid_blocks"
    messages = caught.value.response["response_metadata"]["messages"]
    assert "[json-pointer:/blocks/1/text/text]" in messages[0]


def test_posts_are_limited_to_one_a_second_a_channel(channel: Channel, slack: SlackSandbox) -> None:
    """The second post within the interval gets a 429 with whole seconds to wait."""
    slack.space.limits.post_interval = 5
    head = {"Authorization": f"Bearer {BOT_TOKEN}"}
    url = f"{slack.base_url}chat.postMessage"
    body = {"channel": channel.id, "text": "x"}
    assert httpx.post(url, json=body, headers=head).json()["ok"]
    answer = httpx.post(url, json=body, headers=head)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    other = slack.add_channel("other")
    assert httpx.post(url, json=body | {"channel": other.id}, headers=head).json()["ok"]


def test_a_trigger_lives_shortly_and_works_once(
    slack: SlackSandbox, client: WebClient, channel: Channel
) -> None:
    """Expired, used and invented triggers are three different refusals."""
    user = slack.add_user("bruno")
    channel.members.add(user.id)
    trigger = slack.space.trigger(user.id)
    client.views_open(trigger_id=trigger, view=MODAL)
    assert len(slack.open_views(user)) == 1
    again = refusal(client.views_open, trigger_id=trigger, view=MODAL)
    assert again == "exchanged_trigger_id"
    slack.space.limits.trigger = 0
    late = slack.space.trigger(user.id)
    assert refusal(client.views_open, trigger_id=late, view=MODAL) == "expired_trigger_id"
    assert refusal(client.views_open, trigger_id="no", view=MODAL) == "invalid_trigger_id"


def test_an_ephemeral_needs_a_member(
    slack: SlackSandbox, client: WebClient, channel: Channel
) -> None:
    """Whoever is not in the channel cannot be told there."""
    outsider = slack.add_user("zoe")
    error = refusal(client.chat_postEphemeral, channel=channel.id, user=outsider.id, text="psst")
    assert error == "user_not_in_channel"


def test_metadata_comes_back_only_when_asked_for(client: WebClient, channel: Channel) -> None:
    """History leaves metadata out unless include_all_metadata is set."""
    metadata = {"event_type": "e", "event_payload": {"id": "1"}}
    client.chat_postMessage(channel=channel.id, text="x", metadata=metadata)
    assert "metadata" not in client.conversations_history(channel=channel.id)["messages"][0]
    full = client.conversations_history(channel=channel.id, include_all_metadata=True)
    assert full["messages"][0]["metadata"] == metadata


def test_a_response_url_has_five_uses(
    slack: SlackSandbox, client: WebClient, channel: Channel
) -> None:
    """The sixth answer is refused, and so is every one after half an hour."""
    client.chat_postMessage(channel=channel.id, text="x", blocks=[ROW])
    user = slack.space.users[next(iter(channel.members - {slack.space.bot_user}))]
    payload = slack.click_payload(user, slack.messages(channel)[0], "go")
    codes = [httpx.post(payload["response_url"], json={"text": "x"}).status_code for _ in range(6)]
    assert codes == [200] * 5 + [404]
    fresh = slack.click_payload(user, slack.messages(channel)[0], "go")["response_url"]
    slack.space.limits.response_url = 0
    assert httpx.post(fresh, json={"text": "x"}).status_code == 404


def test_an_app_that_does_not_answer_costs_the_person_an_error(
    slack: SlackSandbox, client: WebClient, channel: Channel
) -> None:
    """Without any connection, or without an ack in time, the person sees trouble."""
    client.chat_postMessage(channel=channel.id, text="x", blocks=[ROW])
    user = slack.space.users[next(iter(channel.members - {slack.space.bot_user}))]
    click = slack.click(user, slack.messages(channel)[0], "go")
    assert (click.acked, click.error is not None) == (False, True)


def test_people_cannot_click_what_they_do_not_see(
    slack: SlackSandbox, client: WebClient, channel: Channel
) -> None:
    """No membership, no click; no such button, no click."""
    client.chat_postMessage(channel=channel.id, text="x", blocks=[ROW])
    message = slack.messages(channel)[0]
    with pytest.raises(ClientRefusalError):
        slack.click(slack.add_user("zoe"), message, "go")
    with pytest.raises(LookupError):
        message.button("stop")


def test_the_sandbox_runs_by_hand() -> None:
    """The module prints the settings for an app and answers at its prompt."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.slack_server"],
        input="show\nclick 0 gates_approve\nquit\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "export GATES_SLACK_API_BASE_URL=http://127.0.0.1:" in run.stdout
    assert "open modals: 0" in run.stdout
    assert "not possible" in run.stdout
