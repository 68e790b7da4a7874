"""Methods for where messages go: threads, and the tab that is each person's own."""

from __future__ import annotations

import json

from tests.support.slack_server.blockkit import check_home
from tests.support.slack_server.methods import METHODS, SlackError, register, shown
from tests.support.slack_server.workspace import Json, Workspace


def conversations_replies(space: Workspace, args: Json) -> Json:
    """The message and its replies, oldest first."""
    channel = str(args.get("channel") or "")
    thread = str(args.get("ts") or "")
    if channel not in space.channels:
        raise SlackError("channel_not_found")
    if (channel, thread) not in space.messages:
        raise SlackError("thread_not_found")
    with_metadata = str(args.get("include_all_metadata")).lower() in {"true", "1"}
    found = [
        message
        for (where, ts), message in sorted(space.messages.items())
        if where == channel and thread in (ts, message.thread)
    ]
    return {
        "messages": [shown(space, message, metadata=with_metadata) for message in found],
        "has_more": False,
        "response_metadata": {"next_cursor": ""},
    }


def views_publish(space: Workspace, args: Json) -> Json:
    """The home tab of one person, whole."""
    user = str(args.get("user_id") or "")
    if user not in space.users:
        raise SlackError("user_not_found")
    view = args.get("view")
    view = json.loads(view) if isinstance(view, str) else view
    complaints = check_home(view)
    if complaints:
        raise SlackError("invalid_arguments", response_metadata={"messages": complaints})
    space.homes[user] = view
    return {"view": {**view, "id": f"V-home-{user}"}}


register(
    {
        "views.publish": (views_publish, "xoxb", frozenset()),
        "conversations.replies": (
            conversations_replies,
            "xoxb",
            METHODS["conversations.history"][2],
        ),
    }
)
