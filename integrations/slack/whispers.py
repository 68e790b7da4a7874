"""A word to one person, which nobody else sees."""

from __future__ import annotations

import logging

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from integrations.slack.identity import account_of
from integrations.slack.payloads import Payload, shown_on
from integrations.slack.text import clean, cut, escape

log = logging.getLogger(__name__)

LONGEST = 500
NOT_THERE = {"user_not_in_channel", "channel_not_found"}


def harmless(sentence: str) -> str:
    """A sentence with anybody's words in it, as markup."""
    return escape(cut(clean(sentence), LONGEST))


def whisper(client: WebClient, payload: Payload, markup: str) -> None:
    """Tell whoever acted: in the channel, or directly where Slack will not show it there.

    Never raises: the decision, or its refusal, stands without it.
    """
    user = account_of(payload).user
    try:
        try:
            client.chat_postEphemeral(channel=shown_on(payload)[1], user=user, text=markup)
        except SlackApiError as error:
            if error.response.get("error") not in NOT_THERE:
                raise
            client.chat_postMessage(channel=user, text=markup)
    except Exception as error:  # noqa: BLE001 - a word that cannot be said is only logged
        log.warning("could not tell %s: %s (%s)", user, markup, type(error).__name__)
