"""The Web API methods that an approval product needs, with Slack's rules and error names."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tests.support.slack_server.blockkit import check_message_blocks, check_view, length
from tests.support.slack_server.methods_people import usergroups_users_list
from tests.support.slack_server.refusing import SlackError
from tests.support.slack_server.workspace import (
    Channel,
    Ephemeral,
    Json,
    Message,
    Trigger,
    User,
    View,
    Workspace,
)

MAX_TEXT = 40_000
MAX_UPDATE_TEXT = 4_000


def invalid_blocks(complaints: list[str]) -> SlackError:
    return SlackError(
        "invalid_blocks", errors=complaints, response_metadata={"messages": complaints}
    )


def _as_json(value: object, error: str) -> Any:
    """Decode an argument that form-encoded calls send as a JSON string."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise SlackError(error) from None


def _truth(value: object) -> bool:
    return value is True or str(value).lower() in {"true", "1"}


def auth_test(space: Workspace, args: Json) -> Json:
    del args
    return {
        "url": "https://sandbox.slack.com/",
        "team": "Sandbox",
        "user": "gates",
        "team_id": space.team_id,
        "user_id": space.bot_user,
        "bot_id": space.bot_id,
        "is_enterprise_install": False,
    }


def apps_connections_open(space: Workspace, args: Json) -> Json:
    del args
    if space.refuse_addresses:
        raise SlackError("internal_error")
    ticket = space.new_id("W")
    space.tickets.add(ticket)
    return {"url": f"{space.socket_base}/link/?ticket={ticket}&app_id={space.app_id}"}


def _channel(space: Workspace, args: Json) -> Channel:
    found = space.channels.get(str(args.get("channel", "")))
    if found is None:
        raise SlackError("channel_not_found")
    return found


def _postable(space: Workspace, args: Json) -> Channel:
    """Return where to post; a user's id stands for the direct messages with that person."""
    name = str(args.get("channel", ""))
    if name in space.users:
        return _direct(space, space.users[name])
    channel = _channel(space, args)
    if channel.is_archived:
        raise SlackError("is_archived")
    if space.bot_user not in channel.members:
        raise SlackError("channel_not_found" if channel.is_private else "not_in_channel")
    return channel


def _direct(space: Workspace, user: User) -> Channel:
    if user.deleted:
        raise SlackError("user_disabled")
    if user.is_bot:
        raise SlackError("cannot_dm_bot")
    return space.direct_channel(user.id)


def _content(args: Json, limit: int) -> tuple[str, list[Json] | None]:
    blocks = args.get("blocks")
    if blocks is not None:
        blocks = _as_json(blocks, "invalid_blocks_format")
        complaints = check_message_blocks(blocks)
        if complaints:
            raise invalid_blocks(complaints)
    text = args.get("text") or ""
    if not isinstance(text, str):
        raise SlackError("invalid_arguments")
    if length(text) > limit:
        raise SlackError("msg_too_long")
    if not text and not blocks:
        raise SlackError("no_text")
    return text, blocks


def _metadata(args: Json) -> Json | None:
    if args.get("metadata") is None:
        return None
    value = _as_json(args["metadata"], "invalid_metadata_format")
    if value == {}:
        return {}
    if not isinstance(value, dict) or value.keys() != {"event_type", "event_payload"}:
        raise SlackError("invalid_metadata_schema")
    if not isinstance(value["event_type"], str) or not isinstance(value["event_payload"], dict):
        raise SlackError("invalid_metadata_schema")
    if len(json.dumps(value)) > 16_000:
        raise SlackError("metadata_too_large")
    return value


def thread_of(space: Workspace, channel: Channel, args: Json) -> str:
    """A reply needs a message that is there; replies have no replies."""
    thread = str(args.get("thread_ts") or "")
    parent = space.messages.get((channel.id, thread))
    if thread and parent is None:
        raise SlackError("thread_not_found")
    return (parent.thread or thread) if parent else ""


def chat_post_message(space: Workspace, args: Json) -> Json:
    channel = _postable(space, args)
    text, blocks = _content(args, MAX_TEXT)
    metadata = _metadata(args)
    message = Message(
        channel.id, space.new_ts(), space.bot_user, [{"text": text, "blocks": blocks or []}]
    )
    message.metadata = metadata or None
    message.thread = thread_of(space, channel, args)
    space.messages[channel.id, message.ts] = message
    return {
        "channel": channel.id,
        "ts": message.ts,
        "message": shown(space, message, metadata=False),
    }


def chat_update(space: Workspace, args: Json) -> Json:
    channel = _channel(space, args)
    message = space.messages.get((channel.id, str(args.get("ts", ""))))
    if message is None:
        raise SlackError("message_not_found")
    if message.user != space.bot_user:
        raise SlackError("cant_update_message")
    text, blocks = _content(args, MAX_UPDATE_TEXT)
    metadata = _metadata(args)
    kept = message.blocks if blocks is None else blocks
    message.versions.append({"text": text, "blocks": copy.deepcopy(kept)})
    message.edits += 1
    if metadata is not None:
        message.metadata = metadata or None
    return {
        "channel": channel.id,
        "ts": message.ts,
        "text": text,
        "message": shown(space, message, metadata=False),
    }


def chat_post_ephemeral(space: Workspace, args: Json) -> Json:
    channel = _postable(space, args)
    user = str(args.get("user", ""))
    if user not in channel.members:
        raise SlackError("user_not_in_channel")
    text, blocks = _content(args, MAX_TEXT)
    space.ephemerals.append(Ephemeral(channel.id, user, text, blocks or []))
    return {"message_ts": space.new_ts()}


def _checked_view(args: Json) -> Json:
    view = _as_json(args.get("view"), "invalid_arguments")
    complaints = check_view(view)
    if complaints:
        raise SlackError("invalid_arguments", response_metadata={"messages": complaints})
    return dict(view)


def views_open(space: Workspace, args: Json) -> Json:
    body = _checked_view(args)
    trigger = space.use_trigger(args.get("trigger_id"))
    if not isinstance(trigger, Trigger):
        raise SlackError(trigger)
    view = View(space.new_id("V"), trigger.user, body, space.new_id("H"))
    space.views[view.id] = view
    return {"view": view_payload(space, view)}


def views_update(space: Workspace, args: Json) -> Json:
    body = _checked_view(args)
    view = space.views.get(str(args.get("view_id", "")))
    if view is None or not view.open:
        raise SlackError("not_found")
    if args.get("hash") not in (None, view.hash):
        raise SlackError("hash_conflict")
    view.body, view.hash = body, space.new_id("H")
    return {"view": view_payload(space, view)}


def view_payload(space: Workspace, view: View, values: Json | None = None) -> Json:
    body = {"private_metadata": "", "callback_id": "", "submit": None, "close": None} | view.body
    return {
        **body,
        "id": view.id,
        "team_id": space.team_id,
        "state": {"values": values or {}},
        "hash": view.hash,
        "root_view_id": view.id,
        "previous_view_id": None,
        "app_id": space.app_id,
        "app_installed_team_id": space.team_id,
        "bot_id": space.bot_id,
    }


def users_info(space: Workspace, args: Json) -> Json:
    user = space.users.get(str(args.get("user", "")))
    if user is None:
        raise SlackError("user_not_found")
    return {"user": user_payload(user, with_email="users:read.email" in args["_scopes"])}


def users_lookup_by_email(space: Workspace, args: Json) -> Json:
    wanted = str(args.get("email", "")).lower()
    for user in space.users.values():
        if user.email and user.email.lower() == wanted and not user.deleted:
            return {"user": user_payload(user, with_email=True)}
    raise SlackError("users_not_found")


def user_payload(user: User, *, with_email: bool) -> Json:
    """Slack leaves the e-mail out without a word where the scope for it is missing."""
    body = asdict(user)
    email = body.pop("email")
    profile = {"real_name": user.real_name, "display_name": user.name, "team": user.team_id}
    if with_email and email and not user.deleted:
        profile["email"] = email
    if user.deleted:
        for name in ("is_restricted", "is_ultra_restricted"):
            body.pop(name)
    if not user.is_stranger:
        body.pop("is_stranger")
    return {**body, "profile": profile, "is_app_user": False, "updated": 1}


def conversations_open(space: Workspace, args: Json) -> Json:
    names = args.get("users", "")
    listed = names if isinstance(names, list) else str(names).split(",")
    if len(listed) != 1:
        raise SlackError("method_not_supported_by_the_sandbox")
    user = space.users.get(listed[0])
    if user is None:
        raise SlackError("user_not_found")
    return {"channel": {"id": _direct(space, user).id}}


def conversations_info(space: Workspace, args: Json) -> Json:
    channel = _channel(space, args)
    return {
        "channel": {
            "id": channel.id,
            "name": channel.name,
            "is_channel": not channel.is_im,
            "is_im": channel.is_im,
            "is_private": channel.is_private,
            "is_archived": channel.is_archived,
            "is_member": space.bot_user in channel.members,
        }
    }


def conversations_members(space: Workspace, args: Json) -> Json:
    members = sorted(_channel(space, args).members)
    return {"members": members, "response_metadata": {"next_cursor": ""}}


def conversations_history(space: Workspace, args: Json) -> Json:
    """Newest first, `limit` a page; metadata only if `include_all_metadata` asks for it."""
    channel = _channel(space, args)
    if space.bot_user not in channel.members:
        raise SlackError("not_in_channel")
    oldest, latest = str(args.get("oldest") or "0"), str(args.get("latest") or "9" * 12)
    inclusive = _truth(args.get("inclusive"))
    chosen = [
        message
        for (where, ts), message in space.messages.items()
        if where == channel.id
        and not message.thread
        and (float(oldest) < float(ts) < float(latest) or (inclusive and ts in {oldest, latest}))
    ]
    chosen.sort(key=lambda message: float(message.ts), reverse=True)
    try:
        limit, start = int(args.get("limit") or 100), int(args.get("cursor") or 0)
    except ValueError:
        raise SlackError("invalid_cursor") from None
    page = chosen[start : start + min(limit, 999)]
    more = start + len(page) < len(chosen)
    with_metadata = _truth(args.get("include_all_metadata"))
    return {
        "messages": [shown(space, message, metadata=with_metadata) for message in page],
        "has_more": more,
        "response_metadata": {"next_cursor": str(start + len(page)) if more else ""},
    }


def shown(space: Workspace, message: Message, *, metadata: bool) -> Json:
    body: Json = {
        "type": "message",
        "user": message.user,
        "bot_id": space.bot_id,
        "app_id": space.app_id,
        "ts": message.ts,
        "text": message.text,
        "blocks": copy.deepcopy(message.blocks),
    }
    if message.edits:
        body["edited"] = {"user": message.user, "ts": message.ts}
    if message.thread:
        body["thread_ts"] = message.thread
    if metadata and message.metadata:
        body["metadata"] = message.metadata
    return body


Method = Callable[[Workspace, Json], Json]
# method -> (what it does, the kind of token, the scope; one of several where a tuple)
METHODS: dict[str, tuple[Method, str, frozenset[str]]] = {
    "auth.test": (auth_test, "xoxb", frozenset()),
    "apps.connections.open": (apps_connections_open, "xapp", frozenset({"connections:write"})),
    "chat.postMessage": (chat_post_message, "xoxb", frozenset({"chat:write"})),
    "chat.update": (chat_update, "xoxb", frozenset({"chat:write"})),
    "chat.postEphemeral": (chat_post_ephemeral, "xoxb", frozenset({"chat:write"})),
    "views.open": (views_open, "xoxb", frozenset()),
    "views.update": (views_update, "xoxb", frozenset()),
    "users.info": (users_info, "xoxb", frozenset({"users:read"})),
    "users.lookupByEmail": (users_lookup_by_email, "xoxb", frozenset({"users:read.email"})),
    "usergroups.users.list": (usergroups_users_list, "xoxb", frozenset({"usergroups:read"})),
    "conversations.open": (conversations_open, "xoxb", frozenset({"im:write"})),
    "conversations.info": (
        conversations_info,
        "xoxb",
        frozenset({"channels:read", "groups:read", "im:read"}),
    ),
    "conversations.members": (
        conversations_members,
        "xoxb",
        frozenset({"channels:read", "groups:read", "im:read"}),
    ),
    "conversations.history": (
        conversations_history,
        "xoxb",
        frozenset({"channels:history", "groups:history", "im:history"}),
    ),
}


def register(methods: dict[str, tuple[Method, str, frozenset[str]]]) -> None:
    """Other modules of the sandbox bring methods of their own."""
    METHODS.update(methods)


def authorize(space: Workspace, method: str, token: str | None) -> frozenset[str]:
    """Return the token's scopes, or raise what Slack answers to a token that will not do."""
    if method not in METHODS:
        raise SlackError("unknown_method", req_method=method)
    if not token:
        raise SlackError("not_authed")
    scopes = space.tokens.get(token)
    if scopes is None:
        raise SlackError("invalid_auth")
    _, kind, needed = METHODS[method]
    if not token.startswith(f"{kind}-"):
        raise SlackError("not_allowed_token_type")
    if needed and not needed & scopes:
        lists = ",".join(sorted(needed)), ",".join(sorted(scopes))
        raise SlackError("missing_scope", needed=lists[0], provided=lists[1])
    return scopes


def call(space: Workspace, method: str, token: str | None, args: Json) -> Json:
    """Run one method; `SlackError` carries the body of a refusal."""
    scopes = authorize(space, method, token)
    space.calls.append((method, copy.deepcopy(args)))
    result = METHODS[method][0](space, {**args, "_scopes": scopes})
    space.changed.notify_all()
    return {"ok": True, **result}
