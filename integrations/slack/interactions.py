"""From a click to a decision: store, acknowledge, then work.

Rules:
1. A click is stored before Slack hears that we have it; what cannot be stored is not
   acknowledged, and the person sees that it failed.
2. A modal opens before any slow work: its trigger lives 3 s and works once.
3. A stored click is settled once the person has been answered. One that is not settled (the
   process died) is worked on at the next start. Decisions are idempotent in the service.
4. Refusals are told to that person alone, in one sentence.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from slack_bolt import App
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.cards import Cards
from gates.core.errors import GatesError, NotFound, Refused, RetryLater, Unavailable
from gates.core.model import DecisionKind
from gates.service import Gates
from integrations.slack.blocks import (
    APPROVE,
    ASKS_FOR,
    GUIDANCE_VIEW,
    REASON_BLOCK,
    REASON_INPUT,
    REASON_VIEW,
    REJECT,
    SEND_BACK,
    reason_view,
)
from integrations.slack.identity import Identity, account_of
from integrations.slack.text import clean, cut, escape
from integrations.slack.transport import asking

log = logging.getLogger(__name__)

SOURCE = "slack"
SECRETS = ("token", "response_url", "response_urls")  # let others speak for Slack or for us
TRIES = 3
LONGEST_WAIT = 10.0  # seconds; a person is waiting
ASKS_WHY = {REJECT: DecisionKind.REJECT, SEND_BACK: DecisionKind.SEND_BACK}
TELLS_WHY = {REASON_VIEW: DecisionKind.REJECT, GUIDANCE_VIEW: DecisionKind.SEND_BACK}
TOO_LATE = {"expired_trigger_id", "invalid_trigger_id", "trigger_expired"}

Payload = Mapping[str, Any]


class Ack(Protocol):
    def __call__(self, **answer: Any) -> Any: ...


class Interactions:
    """Bolt's handlers and the work behind them.

    `transport` (socket or http) becomes part of how a person was verified. Two pools: one only
    opens modals, so that slow decisions never cost a trigger.
    """

    def __init__(
        self, gates: Gates, cards: Cards, identity: Identity, client: WebClient, *, transport: str
    ) -> None:
        self._gates = gates
        self._cards = cards
        self._identity = identity
        self._client = client
        self._transport = transport
        self._stopped = threading.Event()
        self._work = ThreadPoolExecutor(4, thread_name_prefix="slack-click")
        self._modals = ThreadPoolExecutor(4, thread_name_prefix="slack-modal")

    def register(self, app: App) -> None:
        app.action(APPROVE)(self._on_approve)
        for action in ASKS_WHY:
            app.action(action)(self._on_wordy)
        for view in TELLS_WHY:
            app.view(view)(self._on_words)

    def catch_up(self) -> None:
        """Work on the clicks that an earlier process stored and did not finish."""
        for click in self._cards.clicks_unprocessed():
            if click.source == SOURCE:
                self._later(self._work, self._process, click.id, click.payload)

    def stop(self) -> None:
        """Finish what has begun; what waits in line stays stored for the next start."""
        self._stopped.set()
        self._work.shutdown(cancel_futures=True)
        self._modals.shutdown(cancel_futures=True)

    # -- what Slack waits for --------------------------------------------------------------

    def _on_approve(self, ack: Ack, body: dict[str, Any]) -> None:
        payload = _stored(body)
        click_id = self._cards.record_click(SOURCE, payload)
        ack()
        self._later(self._work, self._process, click_id, payload)

    def _on_wordy(self, ack: Ack, body: dict[str, Any]) -> None:
        payload = _stored(body)
        click_id = self._cards.record_click(SOURCE, payload)
        ack()
        self._later(self._modals, self._process, click_id, payload)

    def _on_words(self, ack: Ack, body: dict[str, Any]) -> None:
        if not _reason(body).strip():
            missing = ASKS_FOR[_told_in(body)].missing
            ack(response_action="errors", errors={REASON_BLOCK: missing})
            return
        payload = _stored(body)
        click_id = self._cards.record_click(SOURCE, payload)
        ack()
        self._later(self._work, self._process, click_id, payload)

    def _later(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[str, Payload], None],
        click_id: str,
        payload: Payload,
    ) -> None:
        try:
            pool.submit(work, click_id, payload)
        except RuntimeError:  # we are stopping: the click is stored, the next start has it
            log.info("click %s waits for the next start", click_id)

    # -- what happens afterwards -----------------------------------------------------------

    def _process(self, click_id: str, payload: Payload) -> None:
        try:
            result = self._patiently(payload)
        except GatesError as error:
            self._tell(payload, str(error))
            result = error.code
        except Exception:
            log.exception("click %s failed", click_id)
            self._tell(payload, "That did not work. Please try again, or use the inbox.")
            result = "failed"
        if result:
            self._settle(click_id, result)

    def _settle(self, click_id: str, result: str) -> None:
        try:
            self._cards.settle_click(click_id, result)
        except Exception:
            log.exception("click %s is done (%s) and could not be settled", click_id, result)

    def _patiently(self, payload: Payload) -> str:
        """Answer the click; where Slack asks for patience, try again while a person would wait."""
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                return self._answer(payload)
            except (RetryLater, Unavailable) as error:
                if last:
                    raise
                wait = error.seconds if isinstance(error, RetryLater) else 0.5
                if self._stopped.wait(min(wait, LONGEST_WAIT)):
                    return ""  # stays unsettled: the next start answers it
        raise AssertionError("unreachable")

    def _answer(self, payload: Payload) -> str:
        if payload.get("type") == "view_submission":
            return self._decide(payload, _told_in(payload), _card(payload)[0], _reason(payload))
        pressed = _pressed(payload).get("action_id")
        if pressed == APPROVE:
            return self._decide(payload, DecisionKind.APPROVE, _card(payload)[0], "")
        return self._ask_why(payload, ASKS_WHY[str(pressed)])

    def _decide(self, payload: Payload, kind: DecisionKind, token: str, reason: str) -> str:
        account = account_of(payload)
        card = self._cards.find(token)
        try:
            who = self._identity.verify(account)
        except Refused as error:
            actor = f"slack:{account.team}/{account.user}"
            self._cards.log_refusal(actor, card.request_id, error.code, reason=str(error))
            raise
        self._gates.decide(
            card.request_id,
            person_id=who.person.id,
            kind=kind,
            reason=reason,
            channel="slack",
            assurance="slack",
            card_revision=card.revision,
            verified_by=who.record(
                transport=self._transport, place=_card(payload)[1], card=f"sha256:{card.digest}"
            ),
        )
        return kind.value

    def _ask_why(self, payload: Payload, kind: DecisionKind) -> str:
        token, place = _card(payload)
        try:
            action = self._gates.view(self._cards.find(token).request_id).request.action
            title = action.title or action.name
            with asking("views.open"):
                self._client.views_open(
                    trigger_id=str(payload.get("trigger_id")),
                    view=reason_view(kind, token, place, title),
                )
        except SlackApiError as error:
            name = str(error.response.get("error"))
            if name == "exchanged_trigger_id":
                return "repeated"  # the same click again: its modal is open
            if name in TOO_LATE:
                raise NotFound("That took too long: please click the button again.") from error
            raise
        return "asked_why"

    # -- a word to one person --------------------------------------------------------------

    def _tell(self, payload: Payload, sentence: str) -> None:
        """Tell that person alone: in the channel, or directly where Slack will not show it there.

        Never raises: the decision, or its refusal, stands without it.
        """
        user = account_of(payload).user
        text = escape(cut(clean(sentence), 500))
        try:
            try:
                self._client.chat_postEphemeral(channel=_card(payload)[1], user=user, text=text)
            except SlackApiError as error:
                if error.response.get("error") not in {"user_not_in_channel", "channel_not_found"}:
                    raise
                self._client.chat_postMessage(channel=user, text=text)
        except Exception as error:  # noqa: BLE001 - a word that cannot be said is only logged
            log.warning("could not tell %s: %s (%s)", user, sentence, type(error).__name__)


def _stored(body: Payload) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in SECRETS}


def _pressed(payload: Payload) -> Mapping[str, Any]:
    actions = payload.get("actions") or [{}]
    return dict(actions[0])


def _card(payload: Payload) -> tuple[str, str]:
    """Return (the card's token, the channel); a modal brings both back in its metadata."""
    if payload.get("type") == "view_submission":
        try:
            carried = json.loads(payload["view"]["private_metadata"])
            return str(carried["token"]), str(carried["place"])
        except (KeyError, TypeError, ValueError):
            return "", ""
    place = (payload.get("channel") or {}).get("id") or ""
    return str(_pressed(payload).get("value") or ""), str(place)


def _told_in(payload: Payload) -> DecisionKind:
    """Which answer a submitted modal gives."""
    return TELLS_WHY[payload["view"]["callback_id"]]


def _reason(payload: Payload) -> str:
    values = payload["view"]["state"]["values"]
    return str(values.get(REASON_BLOCK, {}).get(REASON_INPUT, {}).get("value") or "")
