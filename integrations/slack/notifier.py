"""Cards are sent, found again and kept current; at least once, and seen once.

The intention to post is stored first. Where it is found without Slack's answer, an earlier call
died or its reply got lost: the channel's history is searched for the card's metadata before
anything is posted again.
"""

from __future__ import annotations

from datetime import timedelta

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.cards import Cards, Notice
from gates.core.errors import Unavailable
from gates.core.model import RequestView
from integrations.slack.card import Card, body, card
from integrations.slack.transport import asking

EVENT = "gates_request"
CLOCKS_DIFFER = timedelta(minutes=10)  # ours and Slack's; only widens the search
PAGE = 200


class SlackNotifier:
    """Implements the port Notifier."""

    channel = "slack"

    def __init__(
        self, client: WebClient, place: str, cards: Cards, *, prefect_ui_url: str = ""
    ) -> None:
        self._client = client
        self._place = place
        self._cards = cards
        self._prefect_ui_url = prefect_ui_url

    def show(self, view: RequestView) -> None:
        """Post the card or make it current. Raises RetryLater or Unavailable."""
        known = self._cards.notices(view.request.id, self.channel)
        if any(notice.revision > view.revision for notice in known):
            return  # a newer view has been shown already
        if not known and view.request.requirement is None:
            return  # nobody was asked: nothing to show
        drawn = self._draw(view)
        sent = [notice for notice in known if notice.message]
        try:
            if sent:
                for notice in sent:
                    self._update(view, drawn, notice.place, notice.message)
            elif known:
                self._find_or_post(view, drawn, known[0].place)
            else:
                self._post(view, drawn)
        except SlackApiError as error:
            raise Unavailable(_cure(str(error.response.get("error")), self._place)) from error

    def _draw(self, view: RequestView) -> Card:
        seen = body(view, prefect_ui_url=self._prefect_ui_url)
        issued = self._cards.issue(view.request.id, self.channel, view.revision, seen)
        return card(view, issued.token, prefect_ui_url=self._prefect_ui_url)

    def _post(self, view: RequestView, drawn: Card) -> None:
        self._record(view, self._place, "")
        with asking("chat.postMessage"):
            answer = self._client.chat_postMessage(
                channel=self._place,
                text=drawn.text,
                blocks=list(drawn.blocks),
                metadata=_metadata(view),
                unfurl_links=False,
                unfurl_media=False,
            )
        self._record(view, answer["channel"], answer["ts"])

    def _find_or_post(self, view: RequestView, drawn: Card, place: str) -> None:
        found = self._find(view, place)
        if found is None:
            self._post(view, drawn)
        else:
            self._update(view, drawn, place, found)

    def _find(self, view: RequestView, place: str) -> str | None:
        """Return the `ts` of a card of this request that Slack has and we do not know of."""
        oldest = (view.request.opened_at - CLOCKS_DIFFER).timestamp()
        cursor = ""
        while True:
            with asking("conversations.history"):
                page = self._client.conversations_history(
                    channel=place,
                    oldest=f"{oldest:.6f}",
                    limit=PAGE,
                    cursor=cursor,
                    include_all_metadata=True,
                )
            for message in page["messages"]:
                metadata = message.get("metadata") or {}
                payload = metadata.get("event_payload") or {}
                if metadata.get("event_type") == EVENT:  # noqa: SIM102 - one thought a line
                    if payload.get("request_id") == view.request.id:
                        return str(message["ts"])
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return None

    def _update(self, view: RequestView, drawn: Card, place: str, message: str) -> None:
        try:
            with asking("chat.update"):
                self._client.chat_update(
                    channel=place,
                    ts=message,
                    text=drawn.text,
                    blocks=list(drawn.blocks),  # without them the old buttons would stay
                    metadata=_metadata(view),
                )
        except SlackApiError as error:
            if error.response.get("error") != "message_not_found":
                raise
            if view.outcome is None:  # somebody deleted a card that people still need
                self._post(view, drawn)
            return
        self._record(view, place, message)

    def _record(self, view: RequestView, place: str, message: str) -> None:
        notice = Notice(view.request.id, place, message, view.revision)
        self._cards.shown(self.channel, notice)


def _metadata(view: RequestView) -> dict[str, object]:
    payload = {"request_id": view.request.id, "revision": view.revision}
    return {"event_type": EVENT, "event_payload": payload}


def _cure(error: str, place: str) -> str:
    cures = {
        "channel_not_found": f"GATES_SLACK_CHANNEL {place} is not a channel that the app sees: "
        "check the id and invite the app",
        "not_in_channel": f"The app is not in the channel {place}: type /invite @Gates there",
        "is_archived": f"The channel {place} is archived: set GATES_SLACK_CHANNEL to another",
        "missing_scope": "The app lacks a scope: install it again from "
        "integrations/slack/manifest.yaml",
    }
    tokens = {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"}
    if error in tokens:
        return f"Slack refuses GATES_SLACK_BOT_TOKEN ({error}): install the app again"
    return cures.get(error, f"Slack refuses the card: {error}")
