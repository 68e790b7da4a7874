"""Messages as Slack takes them: posted, found again, changed.

Every message carries metadata that says what it is for; where the answer to a post was lost, it is
searched for before anything is posted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.core.errors import InvalidInput, Unavailable
from integrations.slack.transport import asking

CLOCKS_DIFFER = timedelta(minutes=10)  # ours and Slack's; only widens the search
PAGE = 200

Block = dict[str, Any]
Payload = Mapping[str, Any]


@dataclass(frozen=True)
class Draft:
    """A message before it is posted: `event` and `payload` are its metadata."""

    text: str
    blocks: Sequence[Block]
    event: str
    payload: Payload = field(default_factory=dict)
    thread: str = ""

    @property
    def metadata(self) -> dict[str, object]:
        return {"event_type": self.event, "event_payload": dict(self.payload)}


class Posting:
    def __init__(self, client: WebClient) -> None:
        self._client = client

    def post(self, channel: str, draft: Draft) -> str:
        """Return the message's `ts`. After Unavailable it may stand there all the same."""
        with telling(channel), asking("chat.postMessage"):
            answer = self._client.chat_postMessage(
                channel=channel,
                text=draft.text,
                blocks=list(draft.blocks),
                metadata=draft.metadata,
                unfurl_links=False,
                unfurl_media=False,
                thread_ts=draft.thread or None,
            )
        return str(answer["ts"])

    def update(self, channel: str, message: str, draft: Draft) -> bool:
        """Whether the message is still there."""
        try:
            with asking("chat.update"):
                self._client.chat_update(
                    channel=channel,
                    ts=message,
                    text=draft.text,
                    blocks=list(draft.blocks),  # without them the old buttons would stay
                    metadata=draft.metadata,
                )
        except SlackApiError as error:
            if error.response.get("error") == "message_not_found":
                return False
            with telling(channel):
                raise
        return True

    def find(
        self,
        channel: str,
        event: str,
        fits: Callable[[str, Payload], bool],
        since: datetime,
        thread: str = "",
    ) -> tuple[str, Payload] | None:
        """A message of ours that Slack has and we may not know of: its `ts` and its payload."""
        oldest = f"{(since - CLOCKS_DIFFER).timestamp():.6f}"
        for message in self._pages(channel, oldest, thread):
            metadata = message.get("metadata") or {}
            payload = metadata.get("event_payload") or {}
            if metadata.get("event_type") == event and fits(str(message["ts"]), payload):
                return str(message["ts"]), payload
        return None

    def _pages(self, channel: str, oldest: str, thread: str) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            with telling(channel):
                if thread:
                    with asking("conversations.replies"):
                        page = self._client.conversations_replies(
                            channel=channel,
                            ts=thread,
                            limit=PAGE,
                            cursor=cursor,
                            include_all_metadata=True,
                        )
                else:
                    with asking("conversations.history"):
                        page = self._client.conversations_history(
                            channel=channel,
                            oldest=oldest,
                            limit=PAGE,
                            cursor=cursor,
                            include_all_metadata=True,
                        )
            yield from page["messages"]
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return


@contextmanager
def telling(place: str) -> Iterator[None]:
    """What Slack refuses, with the cure. Unavailable: nothing can go there before it is cured;
    InvalidInput: this one message is refused.
    """
    try:
        yield
    except SlackApiError as error:
        name = str(error.response.get("error"))
        words = _cure(name, place)
        if words:
            raise Unavailable(words) from error
        raise InvalidInput(f"Slack refuses the message: {name}") from error


def _cure(error: str, place: str) -> str:
    cures = {
        "channel_not_found": f"{place} is not a channel that the app sees: check the id "
        "(GATES_SLACK_CHANNEL, GATES_SLACK_CHANNELS or the policy) and invite the app",
        "not_in_channel": f"The app is not in the channel {place}: type /invite @Gates there",
        "is_archived": f"The channel {place} is archived: name another one",
        "missing_scope": "The app lacks a scope: install it again from "
        "integrations/slack/manifest.yaml",
    }
    tokens = {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"}
    if error in tokens:
        return f"Slack refuses GATES_SLACK_BOT_TOKEN ({error}): install the app again"
    return cures.get(error, "")
