"""Claim, send, settle, back off: what a commit promised to the outside is kept here.

Rows are wishes ("bring the cards of this request up to date"), not messages: a handler reads
the request as it is now and makes the outside match, so that the order of deliveries does not
matter and ten changes may cost one update. A row is leased while it is worked on; a wish that
comes meanwhile is seen by its number, and the row stays due.

What has places (a channel, one person's messages) goes to each of them in order, one at a time. A
place that wants patience, or that cannot be reached, rests with all that waits for it; the others
go on.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import Session

from gates.core.errors import RetryLater, Unavailable
from gates.ports import Shown
from gates.recording import RING, utc_now
from gates.store import wishes
from gates.store.database import Database
from gates.store.wishes import Ending, Wish

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)  # so long does a killed server keep what it had in hand
RENEWS = 5.0  # seconds between renewals of what is still worked on
IDLE = 1.0  # seconds between looks when nobody rings: other servers' wishes are found this late
BESIDE_ANOTHER = 0.02  # seconds until another server has written down what it took
GIVES_WAY = 0.05  # seconds that a run which waits on this very server gets to go on first
SLOWEST = 60.0
FAST_TRIES = 150  # so often a doorbell is rung at short intervals before it slows down
GIVE_UP = 2_000
AT_ONCE = {RING: 16}  # as many are worked on side by side; of other kinds one
PLACES_AT_ONCE = 8  # as many places are worked on side by side
LONGEST_REST = timedelta(hours=1)  # of a place; one that is longer comes of a clock that was set
LAST_WORDS = 10.0  # seconds that what is in hand gets when the server stops

Handler = Callable[[str], bool]
"""Takes a request's id. True: done. False: not yet, come back soon. Raises: come back later."""

Delivery = Callable[[str, str], Shown]
"""Takes a request's id and a place. Returns whether the place rests now, and whether to come back.
Raises RetryLater or Unavailable: the place wants rest; anything else: this one has to wait.
"""


@dataclass
class Lane:
    """One kind's work: what is in hand, and what has ended and is not written down yet."""

    kind: str
    at_once: int
    renewed_every: float
    placed: bool = False
    resting: dict[str, datetime] = field(default_factory=dict)  # until when, by place
    bell: threading.Event = field(default_factory=threading.Event)
    in_hand: dict[int, Wish] = field(default_factory=dict)
    ended: queue.SimpleQueue[Ending] = field(default_factory=queue.SimpleQueue)
    renewed: float = 0.0

    def rests(self, now: datetime) -> dict[str, datetime]:
        """The places that rest still."""
        self.resting = {
            place: until
            for place, until in self.resting.items()
            if now < until <= now + LONGEST_REST
        }
        return self.resting

    def renews(self) -> bool:
        return bool(self.in_hand) and time.monotonic() >= self.renewed + self.renewed_every

    def endings(self) -> list[Ending]:
        found = []
        while not self.ended.empty():
            found.append(self.ended.get())
        return found


@dataclass
class Outbox:
    """Runs its handlers in threads of its own, some for each kind, so that a slow channel holds
    up nobody else's. `deliveries`: the kinds that have places.
    """

    database: Database
    handlers: Mapping[str, Handler]
    clock: Callable[[], datetime] = utc_now
    renews: float = RENEWS
    deliveries: Mapping[str, Delivery] = field(default_factory=dict)
    _lanes: dict[str, Lane] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in self.handlers:
            self._lanes[kind] = Lane(kind, AT_ONCE.get(kind, 1), self.renews)
        for kind in self.deliveries:
            self._lanes[kind] = Lane(kind, PLACES_AT_ONCE, self.renews, placed=True)

    def start(self) -> None:
        for kind, lane in self._lanes.items():
            thread = threading.Thread(
                target=self._run, args=(lane,), name=f"outbox-{kind}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def ring(self, kinds: Collection[str] | None = None) -> None:
        """There may be something to do, of these kinds or of any."""
        for kind, lane in self._lanes.items():
            if kinds is None or kind in kinds:
                lane.bell.set()

    def stop(self) -> None:
        self._stop.set()
        self.ring()
        for thread in self._threads:
            thread.join(timeout=LAST_WORDS)

    def _run(self, lane: Lane) -> None:
        with ThreadPoolExecutor(lane.at_once, thread_name_prefix=f"outbox-{lane.kind}") as workers:
            while not self._stop.is_set() or lane.in_hand:
                lane.bell.clear()
                pause = IDLE
                try:
                    pause = self._turn(lane, workers)
                except Exception:
                    log.exception("outbox %s: the store did not answer; trying again", lane.kind)
                if pause > 0 and lane.bell.wait(pause) and lane.ended.empty():
                    self._stop.wait(GIVES_WAY)

    def _turn(self, lane: Lane, workers: ThreadPoolExecutor) -> float:
        """Write down what has ended, take what is due. Returns seconds until the next look."""
        endings = lane.endings()
        room = 0 if self._stop.is_set() else lane.at_once - len(lane.in_hand) + len(endings)
        try:
            due = self._due_in(lane) if room else IDLE
            if due > 0 and not endings and not lane.renews():
                return due
            taken = self._exchange(lane, endings, room if due <= 0 else 0)
        except Exception:
            for one in endings:
                lane.ended.put(one)
            raise
        for wish in taken:
            lane.in_hand[wish.id] = wish
            workers.submit(self._deliver, lane, wish)
        return 0.0 if taken or endings else BESIDE_ANOTHER

    def _exchange(self, lane: Lane, endings: list[Ending], room: int) -> list[Wish]:
        """One transaction, whatever it is that has to be written."""
        now, left = self.clock(), []
        if lane.renews():
            left = [w for w in lane.in_hand.values() if all(w is not one.wish for one in endings)]
        with self.database.write() as session:
            for one in endings:
                wishes.settle(session, one, now)
            wishes.renew(session, left, now, LEASE)
            self._rest(lane, endings, now)
            taken = self._taken(session, lane, now, room) if room else []
        for one in endings:  # a lease may lapse under its holder, who then has the row twice
            if lane.in_hand.get(one.wish.id) is one.wish:
                del lane.in_hand[one.wish.id]
        if left or not lane.in_hand:
            lane.renewed = time.monotonic()
        return taken

    def _deliver(self, lane: Lane, wish: Wish) -> None:
        lane.ended.put(self._delivered(wish))
        lane.bell.set()

    def _delivered(self, wish: Wish) -> Ending:
        try:
            if wish.kind in self.deliveries:
                shown = self.deliveries[wish.kind](wish.request_id, wish.place)
                return self._shown(wish, shown)
            done = self.handlers[wish.kind](wish.request_id)
        except RetryLater as error:
            return _patient(wish, error)
        except Exception as error:  # noqa: BLE001 - a handler's trouble must not end the loop
            log.warning("outbox %s %s: %s", wish.kind, wish.request_id[:8], error)
            return _failed(wish, error)
        return Ending(wish, None if done else _quick(wish.tries))

    def _shown(self, wish: Wish, shown: Shown) -> Ending:
        after = None
        if shown.again is not None:
            after = max((shown.again - self.clock()).total_seconds(), 0.0)
        return Ending(wish, after, rest=shown.rest)

    @staticmethod
    def _rest(lane: Lane, endings: list[Ending], now: datetime) -> None:
        for one in endings:
            if one.rest > 0:
                lane.resting[one.wish.place] = now + timedelta(seconds=one.rest)

    @staticmethod
    def _taken(session: Session, lane: Lane, now: datetime, room: int) -> list[Wish]:
        if lane.placed:
            resting = lane.rests(now)
            return wishes.claim_at_places(session, lane.kind, now, LEASE, room, list(resting))
        return wishes.claim(session, lane.kind, now, LEASE, room)

    def work(self, kind: str) -> float:
        """Do one due wish, here. Returns after how many seconds to look again; 0 for at once."""
        lane = self._lanes[kind]
        due = self._due_in(lane)
        wish = self._claim(kind) if due <= 0 else None
        if wish is None:
            return max(due, BESIDE_ANOTHER)
        ending = self._delivered(wish)
        with self.database.write() as session:
            wishes.settle(session, ending, self.clock())
        self._rest(lane, [ending], self.clock())
        return 0

    def _claim(self, kind: str) -> Wish | None:
        with self.database.write() as session:
            taken = self._taken(session, self._lanes[kind], self.clock(), 1)
        return taken[0] if taken else None

    def _due_in(self, lane: Lane) -> float:
        """Seconds; never more than IDLE."""
        now = self.clock()
        resting = lane.rests(now) if lane.placed else {}
        with self.database.read() as session:
            if lane.placed:
                due = wishes.next_due_at_places(session, lane.kind, now, list(resting))
            else:
                due = wishes.next_due(session, lane.kind, now)
        moments = [*resting.values(), *([due] if due is not None else [])]
        return min([IDLE, *((moment - now).total_seconds() for moment in moments)])


def _patient(wish: Wish, error: RetryLater) -> Ending:
    """The other side asks for patience: with all that goes to the same place, or with this one."""
    if wish.place:
        return Ending(wish, 0.0, str(error), rest=error.seconds, first=True)
    return Ending(wish, error.seconds, str(error))


def _failed(wish: Wish, error: Exception) -> Ending:
    """A place that cannot be reached is waited for; what it refuses must not stop the rest."""
    words = f"{type(error).__name__}: {error}"
    if wish.tries >= GIVE_UP:
        return Ending(wish, None, words, dead=True)
    if wish.place and isinstance(error, Unavailable):
        return Ending(wish, 0.0, words, rest=_slow(wish.tries), first=True)
    return Ending(wish, _slow(wish.tries), words)


def _quick(tries: int) -> float:
    """For "not yet": ten times a second for a while, then every few seconds, and never given up:
    somebody's decision waits behind it.
    """
    if tries < FAST_TRIES:
        return 0.1
    return 5.0 if tries < GIVE_UP else SLOWEST


def _slow(tries: int) -> float:
    """For trouble: doubling from a quarter of a second to a minute."""
    return min(0.25 * float(2 ** min(tries - 1, 10)), SLOWEST)
