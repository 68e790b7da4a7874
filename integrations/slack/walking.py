"""What waits for one person, one request after the other in one modal.

The modal shows a request as its card does and takes the answer; then it shows the next one. An
answer is stored before it is acknowledged, as any click is, and given in the name of whoever Slack
says it is, verified anew each time.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slack_bolt import App
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from gates.cards import Cards
from gates.core.asked import PersonId
from gates.core.errors import GatesError, Refused, RetryLater, Unavailable
from gates.core.model import DecisionKind, RequestView
from gates.service import Gates
from gates.web.words import choice, is_mine
from integrations.slack.card import body as drawn
from integrations.slack.digest import WALK, Block, context
from integrations.slack.identity import Identity, Verified, account_of
from integrations.slack.modals import notice_view, waiting_view
from integrations.slack.payloads import Payload, stored, typed, value, view_id
from integrations.slack.telling import plain
from integrations.slack.text import clean, cut
from integrations.slack.transport import asking

log = logging.getLogger(__name__)

SOURCE = "slack-walk"
CALLBACK = "gates_walk_answer"
ANSWER, REASON = "gates_walk_choice", "gates_walk_reason"
SKIP = "skip"
HEADING = "What waits for you"
TRIES = 3


class Walking:
    def __init__(
        self, gates: Gates, cards: Cards, identity: Identity, client: WebClient, *, transport: str
    ) -> None:
        self._gates = gates
        self._cards = cards
        self._identity = identity
        self._client = client
        self._transport = transport
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="slack-walk")

    def register(self, app: App) -> None:
        app.action(WALK)(self._on_start)
        app.view(CALLBACK)(self._on_answer)

    def catch_up(self) -> None:
        """Give the answers that an earlier process stored and did not give."""
        for click in self._cards.clicks_unprocessed():
            if click.source == SOURCE:
                self._later(click.id, click.payload)

    def stop(self) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    # -- what Slack waits for ---------------------------------------------------------------

    def _on_start(self, ack: Any, body: dict[str, Any]) -> None:
        click = self._cards.record_click(SOURCE, stored(body))
        ack()
        self._later(click, body)

    def _on_answer(self, ack: Any, body: dict[str, Any]) -> None:
        chosen = _chosen(body)
        if chosen in {DecisionKind.REJECT, DecisionKind.SEND_BACK} and not _said(body).strip():
            ack(response_action="errors", errors={REASON: "Please say why, or what to do instead."})
            return
        click = self._cards.record_click(SOURCE, stored(body))
        ack(response_action="update", view=waiting_view(HEADING))
        self._later(click, body)

    def _later(self, click: str, payload: Payload) -> None:
        try:
            self._pool.submit(self._process, click, payload)
        except RuntimeError:  # we are stopping: the click is stored, the next start has it
            log.info("click %s waits for the next start", click)

    # -- what happens afterwards ------------------------------------------------------------

    def _process(self, click: str, payload: Payload) -> None:
        try:
            result = self._patiently(payload)
            if result:
                self._cards.settle_click(click, result)
        except Exception:
            log.exception("click %s failed", click)

    def _patiently(self, payload: Payload) -> str:
        shown = view_id(payload)
        try:
            if payload.get("type") != "view_submission" or not shown:
                shown = self._open(payload)
        except SlackApiError as error:
            return str(error.response.get("error"))
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                return self._step(payload, shown)
            except (RetryLater, Unavailable) as error:
                if last:
                    self._replace(shown, notice_view(HEADING, str(error)))
                    return error.code
                wait = error.seconds if isinstance(error, RetryLater) else 0.5
                if self._stopped.wait(min(wait, 10.0)):
                    return ""
        raise AssertionError("unreachable")

    def _open(self, payload: Payload) -> str:
        with asking("views.open"):
            answer = self._client.views_open(
                trigger_id=str(payload.get("trigger_id")), view=waiting_view(HEADING)
            )
        return str(answer["view"]["id"])

    def _step(self, payload: Payload, shown: str) -> str:
        account = account_of(payload)
        carried = _carried(payload)
        try:
            who = self._identity.verify(account)
        except Refused as error:
            actor = f"slack:{account.team}/{account.user}"
            self._cards.log_refusal(actor, str(carried.get("id", "")), error.code)
            self._replace(shown, notice_view(HEADING, str(error)))
            return error.code
        note, after = "", (str(carried.get("after", "")), str(carried.get("id", "")))
        chosen = _chosen(payload)
        wanted = "" if payload.get("type") == "view_submission" else value(payload)
        if chosen is not None:
            try:
                note = self._decided(payload, carried, who, chosen)
            except (RetryLater, Unavailable):
                raise
            except GatesError as error:  # the same once more, unless it is closed meanwhile
                note, wanted = str(error), after[1]
        self._replace(shown, self._next(who.person.id, after, wanted, note))
        return chosen.value if chosen else "shown"

    def _decided(
        self, payload: Payload, carried: Mapping[str, Any], who: Verified, kind: DecisionKind
    ) -> str:
        """What to say about it before the next one. Raises what the service raises."""
        card = self._cards.find(str(carried.get("token", "")))
        view = self._gates.decide(
            card.request_id,
            person_id=who.person.id,
            kind=kind,
            reason=_said(payload),
            channel="slack",
            assurance="slack",
            card_revision=card.revision,
            verified_by=who.record(
                transport=self._transport, place="modal", card=f"sha256:{card.digest}"
            ),
        )
        title = view.request.action.title or view.request.action.name
        return f"{cut(clean(title), 120)}: you {kind.told} it."

    def _next(self, person: PersonId, after: tuple[str, str], wanted: str, note: str) -> Block:
        mine = [view for view in self._gates.waiting(1_000) if is_mine(view, person)]
        mine.sort(key=_order)
        left = [view for view in mine if _order(view) > after]
        for view in mine:
            if wanted and view.request.id == wanted:
                left = [view, *(one for one in left if one is not view)]
        if not left:
            words = "That was all that waits for you." if after[1] else "Nothing waits for you."
            return notice_view(HEADING, f"{note} {words}".strip())
        return self._modal(left[0].request.id, person, len(left), note)

    def _modal(self, request_id: str, person: PersonId, left: int, note: str) -> Block:
        view = self._gates.view(request_id)
        blocks = drawn(view)
        card = self._cards.issue(request_id, "slack", view.revision, blocks)
        carried = {"token": card.token, "id": request_id, "after": _order(view)[0]}
        said = [plain(note)] if note else []
        return {
            "type": "modal",
            "callback_id": CALLBACK,
            "private_metadata": json.dumps(carried),
            "title": {"type": "plain_text", "text": HEADING},
            "submit": {"type": "plain_text", "text": "Next"},
            "close": {"type": "plain_text", "text": "Later"},
            "blocks": [
                *said,
                context(f"{left:,} left" if left > 1 else "The last one"),
                *blocks,
                _choices(view, person),
                _reason(),
            ],
        }

    def _replace(self, shown: str, view: Block) -> None:
        try:
            with asking("views.update"):
                self._client.views_update(view_id=shown, view=view)
        except SlackApiError as error:  # the person has closed it
            log.info("a modal could not be changed: %s", error.response.get("error"))


def _order(view: RequestView) -> tuple[str, str]:
    requirement = view.request.requirement
    return (requirement.deadline_at.isoformat() if requirement else "9999", view.request.id)


def _choices(view: RequestView, person: PersonId) -> Block:
    words = choice(view, person)
    options = [(DecisionKind.APPROVE.value, words.approve)] if words.approve else []
    options.append((DecisionKind.REJECT.value, words.reject))
    if words.send_back:
        options.append((DecisionKind.SEND_BACK.value, words.send_back))
    options.append((SKIP, "Decide later"))
    return {
        "type": "input",
        "block_id": ANSWER,
        "label": {"type": "plain_text", "text": "Your answer"},
        "element": {
            "type": "static_select",
            "action_id": ANSWER,
            "options": [
                {"text": {"type": "plain_text", "text": cut(text, 75)}, "value": name}
                for name, text in options
            ],
        },
    }


def _reason() -> Block:
    return {
        "type": "input",
        "block_id": REASON,
        "optional": True,
        "label": {"type": "plain_text", "text": "Why? Or what to do instead?"},
        "element": {
            "type": "plain_text_input",
            "action_id": REASON,
            "multiline": True,
            "max_length": 1500,
        },
    }


def _chosen(payload: Payload) -> DecisionKind | None:
    if payload.get("type") != "view_submission":
        return None
    values = payload["view"]["state"]["values"]
    option = values.get(ANSWER, {}).get(ANSWER, {}).get("selected_option") or {}
    name = str(option.get("value") or SKIP)
    return None if name == SKIP else DecisionKind(name)


def _said(payload: Payload) -> str:
    return typed(payload, REASON, REASON)


def _carried(payload: Payload) -> Mapping[str, Any]:
    if payload.get("type") != "view_submission":
        return {}
    try:
        found = json.loads(payload["view"]["private_metadata"])
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
