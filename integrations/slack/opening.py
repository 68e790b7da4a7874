"""Modals as Slack opens and changes them, whatever stands in them."""

from __future__ import annotations

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.core.errors import NotFound
from integrations.slack.blocks import Block
from integrations.slack.payloads import Payload
from integrations.slack.transport import asking

TOO_LATE = {"expired_trigger_id", "invalid_trigger_id", "trigger_expired"}
GONE = {"not_found", "view_not_found"}  # the person has closed the modal


def open_modal(client: WebClient, payload: Payload, view: Block) -> str:
    """The id of the opened modal; empty where the same click has opened it already. Raises NotFound
    where the click is too long ago.
    """
    try:
        with asking("views.open"):
            answer = client.views_open(trigger_id=str(payload.get("trigger_id")), view=view)
    except SlackApiError as error:
        name = str(error.response.get("error"))
        if name == "exchanged_trigger_id":
            return ""
        if name in TOO_LATE:
            raise NotFound("That took too long: please click the button again.") from error
        raise
    return str(answer["view"]["id"])


def replace_modal(client: WebClient, shown: str, view: Block) -> None:
    try:
        with asking("views.update"):
            client.views_update(view_id=shown, view=view)
    except SlackApiError as error:
        if error.response.get("error") not in GONE:
            raise
