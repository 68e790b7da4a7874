"""From a click to a decision: store, acknowledge, then work.

Rules:
1. A click is stored before Slack hears that we have it; what cannot be stored is not
   acknowledged, and the person sees that it failed.
2. A modal opens before any slow work: its trigger lives 3 s and works once.
3. A stored click is settled once the person has been answered. One that is not settled (the
   process died) is worked on at the next start. Decisions are idempotent in the service.
4. Refusals are told to that person alone, in one sentence; what came too late, with how it ended.
   The same answer of the same person once more is done, and nothing is said.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from slack_bolt import App
from slack_sdk import WebClient

from gates.cards import Card, Cards
from gates.core.care import wants_reason, wants_second_look
from gates.core.errors import (
    AssuranceTooLow,
    GatesError,
    InvalidInput,
    Refused,
    RequestClosed,
    RetryLater,
    Unavailable,
)
from gates.core.lifecycle import too_unsure
from gates.core.model import DecisionKind, RequestView
from gates.service import Gates
from gates.web.words import choice
from integrations.slack import forms, loop_fields
from integrations.slack.blocks import (
    APPROVE,
    CHANGE,
    DETAILS,
    ESCALATE,
    HEADER,
    REJECT,
    SEND_BACK,
    SKIP,
)
from integrations.slack.details import BACK, ON, details_view
from integrations.slack.identity import Identity, Verified, account_of
from integrations.slack.late import has_escalated, is_late, too_late
from integrations.slack.modals import (
    ASKS_FOR,
    REASON_BLOCK,
    TOLD_IN,
    answer_view,
    notice_view,
    waiting_view,
)
from integrations.slack.opening import open_modal, replace_modal
from integrations.slack.payloads import (
    Payload,
    filled,
    pressed,
    shown_on,
    stored,
    typed,
    value,
    view_id,
)
from integrations.slack.text import clean, cut, link
from integrations.slack.whispers import harmless, whisper

log = logging.getLogger(__name__)

SOURCE = "slack"
ASSURANCE = "slack"  # how surely a click tells who it was
TRIES = 3
LONGEST_WAIT = 10.0  # seconds; a person is waiting
ASKS_WHY = {
    REJECT: DecisionKind.REJECT,
    SEND_BACK: DecisionKind.SEND_BACK,
    ESCALATE: DecisionKind.ESCALATE,
    SKIP: DecisionKind.SKIP,
}
BY_BUTTON = ASKS_WHY | {
    APPROVE: DecisionKind.APPROVE,
    CHANGE: DecisionKind.APPROVE_WITH_CHANGES,
}


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
        for action in (*ASKS_WHY, CHANGE, DETAILS, BACK, ON):
            app.action(action)(self._on_modal)
        for view in TOLD_IN:
            app.view(view)(self._on_words)
        app.view(forms.VIEW)(self._on_changes)

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
        payload = stored(body)
        click_id = self._cards.record_click(SOURCE, payload)
        ack()
        self._later(self._modals, self._look, click_id, payload)

    def _on_modal(self, ack: Ack, body: dict[str, Any]) -> None:
        payload = stored(body)
        click_id = self._cards.record_click(SOURCE, payload)
        ack()
        self._later(self._modals, self._process, click_id, payload)

    def _on_words(self, ack: Ack, body: dict[str, Any]) -> None:
        if not typed(body).strip() and not _may_be_empty(body):
            missing = ASKS_FOR[TOLD_IN[pressed(body)]].missing
            ack(response_action="errors", errors={REASON_BLOCK: missing})
            return
        payload = stored(body)
        click_id = self._cards.record_click(SOURCE, payload)
        ack()
        self._later(self._work, self._process, click_id, payload)

    def _on_changes(self, ack: Ack, body: dict[str, Any]) -> None:
        """What the action's own rules refuse is told at its field; the policy speaks later."""
        try:
            errors = self._wrong(body)
        except GatesError:  # told when it is worked on
            errors = {}
        if errors:
            ack(response_action="errors", errors=errors)
            return
        payload = stored(body)
        click_id = self._cards.record_click(SOURCE, payload)
        ack()
        self._later(self._work, self._process, click_id, payload)

    def _wrong(self, payload: Payload) -> dict[str, str]:
        request = self._view(payload).request
        arguments, schema = request.action.arguments, self._gates.asking.schema(request)
        changes, errors = forms.read(arguments, schema, filled(payload))
        if wants_reason(request) and not typed(payload).strip():
            errors[REASON_BLOCK] = ASKS_FOR[DecisionKind.APPROVE].missing
        if errors:
            return errors
        try:
            self._gates.asking.changed_action(request, changes)
        except InvalidInput as error:
            told = error.details.get("fields")
            if not told:
                return {REASON_BLOCK: cut(clean(error.message), HEADER)}
            return forms.at_blocks(arguments, schema, told)
        return {}

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

    def _look(self, click_id: str, payload: Payload) -> None:
        """Where a modal comes first it is opened now; a decision is too slow for this pool."""
        try:
            opens = self._opens(self._view(payload))
        except Exception:  # noqa: BLE001 - what is wrong is found again, and told, where it belongs
            opens = False
        if opens:
            self._process(click_id, payload)
        else:
            self._later(self._work, self._process, click_id, payload)

    def _process(self, click_id: str, payload: Payload) -> None:
        try:
            result = self._patiently(payload)
        except RequestClosed as error:
            whisper(self._client, payload, self._too_late(payload) or harmless(str(error)))
            result = error.code
        except GatesError as error:
            where = self._elsewhere(payload) if isinstance(error, AssuranceTooLow) else ""
            whisper(self._client, payload, harmless(str(error)) + where)
            result = error.code
        except Exception:
            log.exception("click %s failed", click_id)
            words = "That did not work. Please try again, or use the inbox."
            whisper(self._client, payload, words)
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
        what = pressed(payload)
        if what in TOLD_IN:
            return self._decide(payload, TOLD_IN[what], typed(payload))
        if what == APPROVE:
            return self._approve(payload)
        if what == forms.VIEW:
            return self._decide(payload, DecisionKind.APPROVE_WITH_CHANGES, typed(payload))
        if what == CHANGE:
            return self._change(payload)
        if what in ASKS_WHY:
            return self._ask_why(payload, ASKS_WHY[what])
        return self._show_details(payload)

    def _decide(self, payload: Payload, kind: DecisionKind, reason: str) -> str:
        card = self._cards.find(shown_on(payload)[0])
        who = self._verified(payload, card)
        changes = None
        if kind is DecisionKind.APPROVE_WITH_CHANGES:
            request = self._gates.view(card.request_id).request
            schema = self._gates.asking.schema(request)
            changes, _ = forms.read(request.action.arguments, schema, filled(payload))
        loop = loop_fields.read(filled(payload)) if pressed(payload) in TOLD_IN else None
        self._gates.decide(
            card.request_id,
            person_id=who.person.id,
            kind=kind,
            reason=reason,
            channel="slack",
            assurance=ASSURANCE,
            card_revision=card.revision,
            changes=changes,
            loop=loop,
            verified_by=who.record(
                transport=self._transport, place=shown_on(payload)[1], card=f"sha256:{card.digest}"
            ),
        )
        return kind.value

    def _verified(self, payload: Payload, card: Card) -> Verified:
        """Who clicked; whoever is turned away is told to the log."""
        account = account_of(payload)
        try:
            return self._identity.verify(account)
        except Refused as error:
            actor = f"slack:{account.team}/{account.user}"
            self._cards.log_refusal(actor, card.request_id, error.code, reason=str(error))
            raise

    def _approve(self, payload: Payload) -> str:
        """One click, or a second look where what is asked wants one."""
        if self._opens(self._view(payload)):
            return self._ask_why(payload, DecisionKind.APPROVE)
        return self._decide(payload, DecisionKind.APPROVE, "")

    def _opens(self, view: RequestView) -> bool:
        """Not where a click here can never be enough: no words are asked for that would be lost."""
        asked = view.request.requirement
        enough = asked is None or not too_unsure(asked, ASSURANCE)
        return enough and not self._is_late(view) and wants_second_look(view.request)

    def _elsewhere(self, payload: Payload) -> str:
        """Where more can be shown of who decides: a link, or nothing while that cannot be told."""
        try:
            return " " + link(self._view(payload).url, "Open in the inbox")
        except GatesError:
            return ""

    def _is_late(self, view: RequestView) -> bool:
        return is_late(view, self._gates.clock())

    def _refuse_late(self, payload: Payload, view: RequestView) -> str:
        """An old card says so at once, instead of asking for words that would be refused; it says
        so to people alone, and nothing to whoever has this very answer behind them.
        """
        who = self._verified(payload, self._cards.find(shown_on(payload)[0]))
        given = {one.kind for one in view.decisions if one.person == who.person.id}
        if BY_BUTTON.get(pressed(payload)) in given:
            return "repeated"
        raise RequestClosed("This button has no effect any more: see the request in the inbox.")

    def _too_late(self, payload: Payload) -> str:
        """How it ended, for whoever came too late; empty where that cannot be told just now."""
        try:
            view = self._view(payload)
            last = self._gates.rounds(view.request.id)[-1]
        except Exception as error:  # noqa: BLE001 - they are told that it is closed in any case
            log.warning("could not tell how a request ended: %s", type(error).__name__)
            return ""
        following = last if last.request.round > view.request.round else None
        return too_late(view, following, self._gates.clock())

    def _view(self, payload: Payload) -> RequestView:
        return self._gates.view(self._cards.find(shown_on(payload)[0]).request_id)

    # -- modals ----------------------------------------------------------------------------

    def _ask_why(self, payload: Payload, kind: DecisionKind) -> str:
        token, place = shown_on(payload)
        view = self._view(payload)
        if self._is_late(view) or (kind is DecisionKind.ESCALATE and has_escalated(view)):
            return self._refuse_late(payload, view)
        opened = open_modal(self._client, payload, answer_view(kind, view, token, place))
        return "asked_why" if opened else "repeated"

    def _show_details(self, payload: Payload) -> str:
        """The first page opens empty, for to find out who asks takes longer than a trigger lives;
        further pages replace it.
        """
        token, place = shown_on(payload)
        shown = view_id(payload) or open_modal(self._client, payload, waiting_view("Details"))
        if not shown:
            return "repeated"
        page = value(payload) if pressed(payload) in (BACK, ON) else ""
        try:
            card = self._cards.find(token)
            self._verified(payload, card)
            view = self._gates.view(card.request_id)
        except GatesError as error:  # told where the person looks; the trigger is used up
            replace_modal(self._client, shown, notice_view("Details", str(error)))
            return error.code
        number = int(page) if page.isascii() and page.isdigit() else 0
        replace_modal(self._client, shown, details_view(view, token, place, number))
        return "shown"

    def _change(self, payload: Payload) -> str:
        """As with details: it opens empty, and shows values only to whom it may."""
        token, place = shown_on(payload)
        view = self._view(payload)
        if self._is_late(view):
            return self._refuse_late(payload, view)
        shown = open_modal(self._client, payload, waiting_view(forms.HEADING))
        if not shown:
            return "repeated"
        try:
            who = self._verified(payload, self._cards.find(token))
            schema = self._gates.asking.schema(view.request)
        except GatesError as error:
            replace_modal(self._client, shown, notice_view(forms.HEADING, str(error)))
            return error.code
        may = choice(view, who.person.id)
        if not may.may_change:
            words = may.why_not or "This question cannot be changed."
            replace_modal(self._client, shown, notice_view(forms.HEADING, words))
            return "not_entitled"
        asked = view.request.requirement
        unsure = too_unsure(asked, ASSURANCE) if asked else ""
        if unsure:
            words = f"{who.person.name}, {unsure} {view.url}"
            replace_modal(self._client, shown, notice_view(forms.HEADING, words))
            return AssuranceTooLow.code
        replace_modal(self._client, shown, forms.changes_view(view, schema, token, place))
        return "asked_what"


def _may_be_empty(payload: Payload) -> bool:
    """Whether the modal itself said so; the service is asked in any case."""
    fields = [one for one in payload["view"]["blocks"] if one.get("block_id") == REASON_BLOCK]
    return bool(fields and fields[0].get("optional"))
