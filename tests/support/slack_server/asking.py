"""What people ask of the app by themselves: they open its home tab, or type its command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from tests.support.slack_server.workspace import Json, ResponseUrl, User

if TYPE_CHECKING:
    from tests.support.slack_server.sandbox import SlackSandbox


def open_home(slack: SlackSandbox, user: User) -> bool:
    """Whether the app has taken the event."""
    event = {"type": "app_home_opened", "user": user.id, "channel": "D0", "tab": "home"}
    payload: Json = {
        "type": "event_callback",
        "team_id": user.team_id,
        "api_app_id": slack.space.app_id,
        "event": event,
        "event_id": slack.space.new_id("Ev"),
        "event_time": 1,
        "authorizations": [{"team_id": slack.team_id, "user_id": slack.space.bot_user}],
    }
    return _delivered(slack, payload, "events_api", json.dumps(payload), "application/json")


def type_command(slack: SlackSandbox, user: User, text: str, channel: str) -> bool:
    """Type `/gates TEXT`; what the app answers is in the person's ephemerals."""
    space = slack.space
    with space.lock:
        name = space.new_id("R")
        space.response_urls[name] = ResponseUrl(channel, user.id, "", space.clock())
        payload: Json = {
            "command": "/gates",
            "text": text,
            "user_id": user.id,
            "user_name": user.name,
            "team_id": user.team_id,
            "team_domain": "sandbox",
            "channel_id": channel,
            "api_app_id": space.app_id,
            "is_enterprise_install": "false",
            "trigger_id": space.trigger(user.id),
            "response_url": f"{space.base}/actions/{space.team_id}/{name}",
        }
    form = str(httpx.QueryParams(payload))
    return _delivered(slack, payload, "slash_commands", form, "application/x-www-form-urlencoded")


def _delivered(slack: SlackSandbox, payload: Json, kind: str, body: str, content: str) -> bool:
    if not slack.app_url:
        future = slack.sockets.deliver(payload, kind)
        return future is not None and future.result(timeout=slack.space.limits.ack) is not None
    headers = slack.signing(body.encode()) | {"Content-Type": content}
    answer = httpx.post(
        str(slack.app_url), content=body, headers=headers, timeout=slack.space.limits.ack
    )
    return answer.status_code == httpx.codes.OK
