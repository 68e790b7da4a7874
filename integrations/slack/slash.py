"""`/gates` and the home tab: what people ask for, answered to them alone."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slack_bolt import App

from gates.cards import Cards, Notice
from gates.core.errors import GatesError
from gates.core.wording import ended
from gates.service import Gates
from gates.web.words import is_mine
from integrations.slack.card import body
from integrations.slack.digest import Block, context, row, walk_button
from integrations.slack.identity import Account, Identity
from integrations.slack.places import HOME, of_person
from integrations.slack.telling import plain
from integrations.slack.text import clean, cut, escape, link

log = logging.getLogger(__name__)

COMMAND = "/gates"
HELP = "Write `/gates list` (what waits for you) or `/gates show ID` (one request)."
SHOWN = 15


class Commands:
    def __init__(self, gates: Gates, cards: Cards, identity: Identity) -> None:
        self._gates = gates
        self._cards = cards
        self._identity = identity
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="slack-command")

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def register(self, app: App) -> None:
        app.command(COMMAND)(self._on_command)
        app.event("app_home_opened")(self._on_home)

    def _on_command(self, ack: Any, body: dict[str, Any], respond: Any) -> None:
        ack()
        self._pool.submit(self._respond, body, respond)

    def _respond(self, body: dict[str, Any], respond: Any) -> None:
        try:
            text, blocks = self._answer(body)
        except GatesError as error:
            text, blocks = escape(str(error)), [plain(cut(clean(str(error)), 500))]
        try:
            respond(text=text, blocks=blocks, response_type="ephemeral")
        except Exception as error:  # noqa: BLE001 - a word that cannot be said is only logged
            log.warning("could not answer %s (%s)", COMMAND, type(error).__name__)

    def _answer(self, body: dict[str, Any]) -> tuple[str, list[Block]]:
        account = Account(str(body.get("team_id") or ""), str(body.get("user_id") or ""))
        person = self._identity.verify(account).person.id
        words = str(body.get("text") or "").split()
        if words[:1] == ["show"] and len(words) > 1:
            return self._show(words[1])
        if words in ([], ["list"]):
            return self._list(person)
        return escape(HELP), [context(HELP)]

    def _list(self, person: str) -> tuple[str, list[Block]]:
        views = self._gates.waiting(1_000)
        mine = [view for view in views if is_mine(view, person)]
        others = len(views) - len(mine)
        words = f"{len(mine):,} wait for you, {others:,} for others."
        blocks: list[Block] = [plain(words)]
        for view in mine[:SHOWN]:
            first, second = row(view)
            second["elements"].append({"type": "mrkdwn", "text": f"`{view.request.id[:8]}`"})
            blocks += [first, second]
        if len(mine) > SHOWN:
            blocks.append(context(f"… and {len(mine) - SHOWN:,} more"))
        if mine:
            blocks.append({"type": "actions", "elements": [walk_button("Go through them", "")]})
        return words, blocks

    def _show(self, request_id: str) -> tuple[str, list[Block]]:
        view = self._gates.view(request_id)
        title = cut(clean(view.request.action.title or view.request.action.name), 200)
        how = cut(clean(ended(view)), 500) or "waiting"
        return escape(f"{title}: {how}"), [
            *body(view),
            context(link(view.url, "Open in the inbox")),
        ]

    def _on_home(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        """Whoever has opened it once has it kept current from then on."""
        if event.get("tab") in (None, "home"):
            self._pool.submit(self._opened, body, event)

    def _opened(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        account = Account(str(body.get("team_id") or ""), str(event.get("user") or ""))
        try:
            place = of_person(HOME, self._identity.verify(account).person.id)
        except GatesError as error:
            log.info("the home of %s/%s stays empty: %s", account.team, account.user, error)
            return
        if self._cards.notice("", "slack", place) is None:
            self._cards.shown("slack", Notice("", place, "", 0))
        self._cards.wish("slack", "", place)
