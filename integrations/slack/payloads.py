"""What an interaction of Slack's says: which button, which card, what was typed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from integrations.slack.modals import REASON_BLOCK, REASON_INPUT

SECRETS = ("token", "response_url", "response_urls")  # let others speak for Slack or for us

Payload = Mapping[str, Any]


def stored(body: Payload) -> dict[str, Any]:
    """What is kept of it."""
    return {name: value for name, value in body.items() if name not in SECRETS}


def pressed(payload: Payload) -> str:
    """The id of the button, or the name of the modal that was sent."""
    if payload.get("type") == "view_submission":
        return str(payload["view"]["callback_id"])
    return str(_action(payload).get("action_id") or "")


def value(payload: Payload) -> str:
    return str(_action(payload).get("value") or "")


def shown_on(payload: Payload) -> tuple[str, str]:
    """Return (the card's token, the channel); a modal brings both back in its metadata."""
    if payload.get("view"):
        carried = _metadata(payload)
        return str(carried.get("token") or ""), str(carried.get("place") or "")
    place = (payload.get("channel") or {}).get("id") or ""
    return value(payload), str(place)


def view_id(payload: Payload) -> str:
    return str((payload.get("view") or {}).get("id") or "")


def typed(payload: Payload, block: str = REASON_BLOCK, field: str = REASON_INPUT) -> str:
    """The text in one field of a modal; empty where nothing was typed."""
    values = payload["view"]["state"]["values"]
    return str(values.get(block, {}).get(field, {}).get("value") or "")


def filled(payload: Payload) -> Mapping[str, Any]:
    """All fields of a modal: block -> field -> what it holds."""
    return dict(payload["view"]["state"]["values"])


def _metadata(payload: Payload) -> dict[str, Any]:
    try:
        carried = json.loads(payload["view"]["private_metadata"])
    except (KeyError, TypeError, ValueError):
        return {}
    return carried if isinstance(carried, dict) else {}


def _action(payload: Payload) -> Mapping[str, Any]:
    actions = payload.get("actions") or [{}]
    return dict(actions[0])
