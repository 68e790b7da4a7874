"""Requests are shown at every place that they belong to, and kept current there.

At least once, and seen once: the intention to post is stored first. Where it is found without
Slack's answer, an earlier call died or its reply got lost, and the message is searched for before
anything is posted again. The outbox has one errand for a place in hand at a time, and each reads
the request as it is then: what is older never comes after what is newer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gates.cards import Cards, Notice
from gates.core.model import RequestView, request_id
from gates.ports import Directory, Errand, Shown
from gates.service import Gates
from integrations.slack.accounts import Accounts
from integrations.slack.card import body, card
from integrations.slack.places import (
    DIRECT,
    HOME,
    REMIND,
    REQUESTER,
    channel_of,
    parted,
    wanted,
)
from integrations.slack.posting import Draft, Payload, Posting
from integrations.slack.settings import SlackSettings
from integrations.slack.story import story, untold
from integrations.slack.telling import plain, requester_told
from integrations.slack.text import escape
from integrations.slack.transport import web_client

EVENT = "gates_request"
STORY = "gates_story"
CHANNEL = "slack"


@dataclass(frozen=True)
class Spot:
    """A place as Slack knows it: `channel` is where messages to it go."""

    place: str
    channel: str
    kind: str


class SlackNotifier:
    """Implements the port Notifier."""

    channel = CHANNEL

    def __init__(
        self,
        settings: SlackSettings,
        gates: Gates,
        cards: Cards,
        directory: Directory,
        *,
        prefect_ui_url: str = "",
    ) -> None:
        client = web_client(settings)
        self._settings = settings
        self._gates = gates
        self._cards = cards
        self._posting = Posting(client)
        self._accounts = Accounts(
            directory, client, settings.team_ids, match_email=settings.match_email
        )
        self._prefect_ui_url = prefect_ui_url

    # -- what has to be done ----------------------------------------------------------------

    def errands(self, view: RequestView) -> Sequence[Errand]:
        """Where it has to be shown now, and wherever it has been shown before."""
        usual = channel_of(view, self._settings.channels, self._settings.channel)
        found = list(wanted(view, usual, reminds=False))
        found += self._known(view.request.id)
        if view.request.round > 1:  # the thread of the round before goes on
            run, key = view.request.run.root_run_id, view.request.gate_key
            found += self._known(request_id(run, key, view.request.round - 1))
        return list(dict.fromkeys(found))

    def _known(self, request: str) -> list[Errand]:
        notices = self._cards.notices(request, CHANNEL)
        return [
            Errand(place=one.place, request_id=request)
            for one in notices
            if parted(one.place)[0] not in (REMIND, HOME)
        ]

    # -- doing it ---------------------------------------------------------------------------

    def show(self, request_id: str, place: str) -> Shown:
        """Raises RetryLater or Unavailable: nothing goes there now; InvalidInput: this does not."""
        spot = self._spot(place)
        if spot is None:
            return Shown()
        view = self._gates.view(request_id)
        known = self._cards.notice(request_id, CHANNEL, place)
        if known is None and not _begins(view, spot):
            return Shown()
        if known is not None and known.message:
            return self._renew(view, spot, known)
        if known is not None:
            found = self._posting.find(
                spot.channel, EVENT, _is(view, place), since=view.request.opened_at
            )
            if found is not None:
                return self._renew(view, spot, replace(known, message=found[0]))
        return self._post(view, spot)

    def _spot(self, place: str) -> Spot | None:
        """None: whose place it is cannot be written to."""
        kind, who = parted(place)
        if not kind:
            return Spot(place, place, "")
        reached = self._accounts.reach(who)
        return None if reached is None else Spot(place, reached.channel, kind)

    def _draw(self, view: RequestView, spot: Spot) -> Draft:
        payload: dict[str, object] = {"request_id": view.request.id, "revision": view.revision}
        if spot.kind:
            payload["place"] = spot.place
        if spot.kind == REQUESTER:
            text, blocks = requester_told(view)
            return Draft(text, blocks, EVENT, payload)
        seen = body(view, prefect_ui_url=self._prefect_ui_url)
        issued = self._cards.issue(view.request.id, CHANNEL, view.revision, seen)
        drawn = card(view, issued.token, prefect_ui_url=self._prefect_ui_url)
        return Draft(drawn.text, drawn.blocks, EVENT, payload)

    def _post(self, view: RequestView, spot: Spot) -> Shown:
        draft = self._draw(view, spot)
        notice = Notice(view.request.id, spot.place, "", view.revision)
        self._cards.shown(CHANNEL, notice)
        message = self._posting.post(spot.channel, draft)
        posted = replace(notice, message=message, posted_at=self._gates.clock())
        self._cards.shown(CHANNEL, posted)
        lines = self._story(view, spot)
        return Shown(rest=self._settings.pace, again=self._gates.clock() if lines else None)

    def _renew(self, view: RequestView, spot: Spot, known: Notice) -> Shown:
        if known.revision > view.revision:
            return Shown()  # the store was restored; what people saw last stays
        if not self._posting.update(spot.channel, known.message, self._draw(view, spot)):
            if view.outcome is not None:
                return Shown()
            return self._post(view, spot)  # somebody deleted a card that people still need
        current = replace(known, revision=view.revision)
        self._cards.shown(CHANNEL, current)
        return self._tell(view, spot, current)

    # -- the thread -------------------------------------------------------------------------

    def _story(self, view: RequestView, spot: Spot) -> list[str]:
        if spot.kind:
            return []
        rounds = self._gates.rounds(view.request.id) if view.outcome is not None else []
        return story(view, next(iter(rounds[view.request.round :]), None))

    def _tell(self, view: RequestView, spot: Spot, known: Notice) -> Shown:
        """What is new goes below the card, as one message. `told` is negative while it is not
        known whether that message has arrived.
        """
        lines = self._story(view, spot)
        told = known.told
        if told < 0:
            told = self._told_there(view, spot, known)
        if len(lines) <= told:
            if told != known.told:
                self._cards.shown(CHANNEL, replace(known, told=told))
            return Shown()
        payload = {"request_id": view.request.id, "told": len(lines)}
        text = untold(lines, told)
        blocks = [plain(text)]
        self._cards.shown(CHANNEL, replace(known, told=-1 - told))
        self._posting.post(
            spot.channel, Draft(escape(text), blocks, STORY, payload, thread=known.message)
        )
        self._cards.shown(CHANNEL, replace(known, told=len(lines)))
        return Shown(rest=self._settings.pace)

    def _told_there(self, view: RequestView, spot: Spot, known: Notice) -> int:
        before = -1 - known.told
        found = self._posting.find(
            spot.channel,
            STORY,
            lambda _ts, payload: _number(payload.get("told")) > before,
            since=view.request.opened_at,
            thread=known.message,
        )
        return before if found is None else _number(found[1].get("told"))


def _begins(view: RequestView, spot: Spot) -> bool:
    """Whether something is to be said where nothing has been said yet."""
    if spot.kind == REQUESTER:
        return view.outcome is not None
    if spot.kind == DIRECT:
        return view.outcome is None
    return view.request.requirement is not None


def _is(view: RequestView, place: str) -> Callable[[str, Payload], bool]:
    def fits(_ts: str, payload: Payload) -> bool:
        mine: bool = payload.get("request_id") == view.request.id
        return mine and payload.get("place", place) == place

    return fits


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
