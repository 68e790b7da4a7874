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
from gates.core.gate_keys import request_id
from gates.core.model import RequestView
from gates.ports import Directory, Errand, Shown
from gates.service import Gates
from integrations.slack.accounts import Accounts
from integrations.slack.bursts import Bursts
from integrations.slack.card import body, card
from integrations.slack.home import home
from integrations.slack.places import (
    DIRECT,
    HOME,
    REQUESTER,
    channel_of,
    is_reminder,
    of_person,
    parted,
    wanted,
)
from integrations.slack.posting import Draft, Payload, Posting, telling
from integrations.slack.reminders import Reminders
from integrations.slack.settings import SlackSettings
from integrations.slack.story import story, untold
from integrations.slack.telling import plain, requester_told
from integrations.slack.text import escape
from integrations.slack.transport import asking, web_client

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
        self._client = client
        self._posting = Posting(client)
        self._accounts = Accounts(
            directory, client, settings.team_ids, match_email=settings.match_email
        )
        self._prefect_ui_url = prefect_ui_url
        self._bursts = Bursts(settings, gates, cards, self._posting)
        self._reminders = Reminders(settings, gates, cards, self._posting)

    # -- what has to be done ----------------------------------------------------------------

    def errands(self, view: RequestView) -> Sequence[Errand]:
        """Where it has to be shown now, and wherever it has been shown before."""
        usual = channel_of(view, self._settings.channels, self._settings.channel)
        found = list(wanted(view, usual, reminds=self._settings.remind > 0))
        found += self._known(view.request.id)
        found += self._homes(view)
        if view.request.round > 1:  # the thread of the round before goes on
            run, key = view.request.run.root_run_id, view.request.gate_key
            found += self._known(request_id(run, key, view.request.round - 1))
        return list(dict.fromkeys(found))

    def _known(self, request: str) -> list[Errand]:
        notices = self._cards.notices(request, CHANNEL)
        return [
            Errand(place=one.place, request_id=request)
            for one in notices
            if (kind := parted(one.place)[0]) != HOME and not is_reminder(kind)
        ]

    def _homes(self, view: RequestView) -> list[Errand]:
        """The home tabs, of those who have opened theirs, that list it."""
        requirement = view.request.requirement
        places = {of_person(HOME, one) for one in (requirement.people if requirement else ())}
        open_ = [one.place for one in self._cards.notices("", CHANNEL)]
        return [Errand(place=one) for one in open_ if one in places]

    # -- doing it ---------------------------------------------------------------------------

    def show(self, request_id: str, place: str) -> Shown:
        """Raises RetryLater or Unavailable: nothing goes there now; InvalidInput: this does not."""
        kind, who = parted(place)
        if not kind:
            return self._card(self._gates.view(request_id), Spot(place, place, ""))
        reached = self._accounts.reach(who)
        if reached is None:
            return Shown()  # whose place it is cannot be written to
        if kind == HOME:
            return self._publish(who, reached.user)
        view = self._gates.view(request_id)
        if is_reminder(kind):
            return self._reminders.remind(view, who, reached, place)
        return self._card(view, Spot(place, reached.channel, kind))

    def _card(self, view: RequestView, spot: Spot) -> Shown:
        known = self._cards.notice(view.request.id, CHANNEL, spot.place)
        if known is None:
            return self._first(view, spot)
        if known.digest:
            current = self._bursts.current(known, view.revision)
            return Shown() if current else self._bursts.again(known, spot.channel)
        if known.message:
            return self._renew(view, spot, known)
        found = self._posting.find(
            spot.channel, EVENT, _is(view, spot.place), since=view.request.opened_at
        )
        if found is not None:
            return self._renew(view, spot, replace(known, message=found[0]))
        return self._post(view, spot)

    def _first(self, view: RequestView, spot: Spot) -> Shown:
        if not _begins(view, spot):
            return Shown()
        many = None
        if spot.kind in ("", DIRECT):
            many = self._bursts.first(view.request.id, spot.place, spot.channel)
        return many or self._post(view, spot)

    def _publish(self, person: str, user: str) -> Shown:
        view = home(self._gates.waiting(1_000), person, f"{self._gates.base_url}/")
        with telling(user), asking("views.publish"):
            self._client.views_publish(user_id=user, view=view)
        return Shown(rest=self._settings.pace)

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
