"""Promises to the outside are kept: after a crash, in spite of trouble, and never twice at once."""

import logging
import threading
from datetime import timedelta

import pytest
from sqlmodel import select

from gates import deliveries
from gates.core.errors import NotFound, RetryLater, Unavailable
from gates.outbox import AT_ONCE, GIVE_UP, LEASE, Handler, Outbox
from gates.ports import Shown
from gates.service import utc_now
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import LogRow, OutboxRow
from tests.support.prefect import until
from tests.support.world import Clock, World

SOON = timedelta(milliseconds=100)


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Desk:
    """A handler whose deliveries are noted and whose trouble is arranged."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.trouble: list[Exception | bool] = []

    def __call__(self, request_id: str) -> bool:
        self.seen.append(request_id)
        answer = self.trouble.pop(0) if self.trouble else True
        if isinstance(answer, Exception):
            raise answer
        return answer


def wish(database: Database, clock: Clock, *ids: str, kind: str = "cards") -> None:
    for request_id in ids:
        with database.write() as session:
            Unit(session, clock()).wish(request_id, kind)


def row(database: Database, request_id: str = "r") -> OutboxRow:
    with database.read() as session:
        return session.exec(select(OutboxRow).where(OutboxRow.request_id == request_id)).one()


def outbox(database: Database, clock: Clock, handler: Handler) -> Outbox:
    return Outbox(database, {"cards": handler}, clock=clock)


def test_a_wish_is_done_once(database: Database, clock: Clock) -> None:
    """After a delivery there is nothing left to do, and two wishes before it cost one."""
    desk = Desk()
    box = outbox(database, clock, desk)
    wish(database, clock, "r", "r")
    assert box.work("cards") == 0
    assert box.work("cards") > 0
    assert desk.seen == ["r"]
    assert row(database).state == "done"


def test_a_kind_without_a_handler_here_is_left_for_another_server(
    database: Database, clock: Clock
) -> None:
    """Each kind is worked on by itself."""
    desk = Desk()
    wish(database, clock, "r", kind="ring")
    assert outbox(database, clock, desk).work("cards") > 0
    assert desk.seen == []


def test_a_crash_between_claim_and_settle_costs_the_lease(database: Database, clock: Clock) -> None:
    """A process that died with the row in hand is followed by another once its lease is over."""

    def die(_request_id: str) -> bool:
        raise SystemExit

    wish(database, clock, "r")
    with pytest.raises(SystemExit):
        outbox(database, clock, die).work("cards")
    desk = Desk()
    after = outbox(database, clock, desk)
    clock.now += LEASE - timedelta(seconds=1)
    assert after.work("cards") > 0
    assert desk.seen == []
    clock.advance(seconds=1)
    assert after.work("cards") == 0
    assert desk.seen == ["r"]


def test_a_wish_made_during_the_work_is_not_lost(database: Database, clock: Clock) -> None:
    """The request changed while its card was being drawn: it is drawn again."""
    seen: list[int] = []

    def change_once(_request_id: str) -> bool:
        seen.append(len(seen))
        if len(seen) == 1:
            wish(database, clock, "r")
        return True

    box = outbox(database, clock, change_once)
    wish(database, clock, "r")
    assert box.work("cards") == 0
    assert row(database).state == "pending"
    assert box.work("cards") == 0
    assert (len(seen), row(database).state) == (2, "done")


def test_a_new_wish_wakes_what_was_done_or_dead(database: Database, clock: Clock) -> None:
    """One row serves a request for its whole life."""
    desk = Desk()
    box = outbox(database, clock, desk)
    for state in ("done", "dead"):
        wish(database, clock, "r")
        with database.write() as session:
            session.exec(select(OutboxRow)).one().state = state
        wish(database, clock, "r")
        assert box.work("cards") == 0
    assert desk.seen == ["r", "r"]


def test_the_other_sides_patience_is_honored(database: Database, clock: Clock) -> None:
    """ "Come back in 30 seconds" means 30 seconds."""
    desk = Desk()
    desk.trouble = [RetryLater("slow down", seconds=30)]
    box = outbox(database, clock, desk)
    wish(database, clock, "r")
    box.work("cards")
    assert row(database).last_error == "slow down"
    clock.advance(seconds=29.9)
    box.work("cards")
    assert len(desk.seen) == 1
    clock.advance(seconds=0.1)
    box.work("cards")
    assert len(desk.seen) == 2
    assert (row(database).state, row(database).last_error) == ("done", "")


def test_not_yet_is_asked_again_soon_and_trouble_ever_later(
    database: Database, clock: Clock
) -> None:
    """A doorbell rings ten times a second; an outage is met with ever longer pauses."""
    desk = Desk()
    desk.trouble = [False, False, *[Unavailable("away")] * 12]
    box = outbox(database, clock, desk)
    wish(database, clock, "r")
    pauses = []
    for _ in range(14):
        assert box.work("cards") == 0
        pauses.append((row(database).due_at - clock()).total_seconds())
        clock.now = row(database).due_at
    assert pauses[:2] == [0.1, 0.1]
    assert pauses[2:] == sorted(pauses[2:])
    assert pauses[-1] == 60.0
    assert box.work("cards") == 0
    assert row(database).state == "done"


def test_what_never_works_ends_as_a_dead_letter(database: Database, clock: Clock) -> None:
    """It is given up in the end, with its last error, and the log says so."""
    desk = Desk()
    desk.trouble = [Unavailable("gone for good")]
    box = outbox(database, clock, desk)
    wish(database, clock, "r")
    with database.write() as session:
        session.exec(select(OutboxRow)).one().tries = GIVE_UP - 1
    box.work("cards")
    assert (row(database).state, row(database).last_error) == ("dead", "Unavailable: gone for good")
    with database.read() as session:
        assert session.exec(select(LogRow)).one().kind == "outbox.dead"
    clock.advance(days=1)
    assert box.work("cards") > 0
    assert len(desk.seen) == 1


def test_trouble_with_one_does_not_hold_up_the_others(database: Database, clock: Clock) -> None:
    """The first fails for ever; the second is delivered meanwhile."""
    desk = Desk()
    desk.trouble = [Unavailable("only this one")]
    box = outbox(database, clock, desk)
    wish(database, clock, "bad", "good")
    box.work("cards")
    box.work("cards")
    assert desk.seen == ["bad", "good"]
    assert row(database, "good").state == "done"


def test_who_was_too_slow_leaves_the_row_to_who_took_over(database: Database, clock: Clock) -> None:
    """A delivery that outlives its lease ends without freeing or finishing the other's row."""
    second = outbox(database, clock, Desk())

    def outlive(_request_id: str) -> bool:
        clock.now += LEASE
        assert second._claim("cards") is not None
        return True

    wish(database, clock, "r")
    outbox(database, clock, outlive).work("cards")
    left = row(database)
    assert (left.state, left.lease_until) == ("pending", clock() + LEASE)


def test_what_another_has_in_hand_does_not_delay_the_rest(database: Database, clock: Clock) -> None:
    """The next look comes when the next free row is due, not when a leased one is."""
    box = outbox(database, clock, Desk())
    wish(database, clock, "first")
    assert box._claim("cards") is not None
    wish(database, clock, "second")
    with database.write() as session:
        session.exec(select(OutboxRow).where(OutboxRow.request_id == "second")).one().due_at = (
            clock() + SOON
        )
    assert box.work("cards") == pytest.approx(0.1)


def test_two_outboxes_never_have_one_row_in_hand(database: Database) -> None:
    """Two servers on thirty wishes: each is delivered exactly once, never by both at once."""
    world = World(database)
    url = database.engine.url.render_as_string(hide_password=False)
    other = Database(url)
    guard, in_hand, seen, twice = threading.Lock(), set[str](), list[str](), list[str]()
    finished = threading.Event()

    def deliver(request_id: str) -> bool:
        with guard:
            if request_id in in_hand:
                twice.append(request_id)
            in_hand.add(request_id)
        row(database, request_id)  # as a real handler, which reads the request
        with guard:
            in_hand.discard(request_id)
            seen.append(request_id)
            if len(seen) == 30:
                finished.set()
        return True

    wish(database, world.clock, *[f"r{number}" for number in range(30)])
    boxes = [outbox(store, world.clock, deliver) for store in (database, other)]
    for box in boxes:
        box.start()
    assert finished.wait(60)
    for box in boxes:
        box.stop()
    other.close()
    assert twice == []
    assert sorted(seen) == sorted({f"r{number}" for number in range(30)})


def test_a_bell_starts_the_work_at_once_and_a_restart_finds_the_rest(database: Database) -> None:
    """Rung after a commit it delivers; what was wished while it was stopped comes after."""
    world = World(database)
    delivered = threading.Event()

    def deliver(_request_id: str) -> bool:
        delivered.set()
        return True

    for round_ in range(2):
        box = outbox(database, world.clock, deliver)
        if round_:
            world.propose("20000.00", key="while-stopped")
        box.start()
        if not round_:
            world.propose("20000.00", key="while-running")
            box.ring()
        assert delivered.wait(60)
        box.stop()
        delivered.clear()
    with database.read() as session:
        rows = session.exec(select(OutboxRow).where(OutboxRow.kind == "cards")).all()
        assert [one.state for one in rows] == ["done", "done"]


def test_doorbells_are_rung_side_by_side(database: Database) -> None:
    """One slow run holds up nobody else's: as many as allowed are in hand at the same time."""
    world, number = World(database), AT_ONCE["ring"]
    together, done = threading.Barrier(number, timeout=60), threading.Semaphore(0)

    def ring(_request_id: str) -> bool:
        together.wait()
        done.release()
        return True

    wish(database, world.clock, *[f"r{index}" for index in range(number)], kind="ring")
    box = Outbox(database, {"ring": ring}, clock=world.clock)
    box.start()
    assert all(done.acquire(timeout=60) for _ in range(number))
    box.stop()
    with database.read() as session:
        assert {one.state for one in session.exec(select(OutboxRow)).all()} == {"done"}


def test_not_yet_is_never_given_up(database: Database, clock: Clock) -> None:
    """A decision that its run has not come for stays a bell to ring, if a slow one."""
    desk = Desk()
    desk.trouble = [False]
    wish(database, clock, "r")
    with database.write() as session:
        session.exec(select(OutboxRow)).one().tries = GIVE_UP + 1
    outbox(database, clock, desk).work("cards")
    assert (row(database).state, row(database).due_at - clock()) == (
        "pending",
        timedelta(minutes=1),
    )


def test_what_takes_long_stays_in_hand(database: Database, clock: Clock) -> None:
    """A delivery that outlives its lease in a server that lives is not taken over."""
    wish(database, clock, "r")
    before, renewed = clock() + LEASE, threading.Event()

    def slow(_request_id: str) -> bool:
        clock.advance(seconds=5)
        while row(database).lease_until == before:
            box.ring()
        renewed.set()
        return True

    box = Outbox(database, {"cards": slow}, clock=clock, renews=0.0)
    box.start()
    assert renewed.wait(60)
    box.stop()
    assert row(database).state == "done"


def test_an_ending_that_could_not_be_written_down_is_written_down_later(
    database: Database,
) -> None:
    """The store goes away while something is in hand: the lane goes on once it is back."""
    begun, away = threading.Event(), threading.Event()
    delivered: list[str] = []

    def deliver(request_id: str) -> bool:
        if not delivered:
            begun.set()
            away.wait(60)
        delivered.append(request_id)
        return True

    box = Outbox(database, {"cards": deliver})
    failures = Failures()
    logging.getLogger("gates.outbox").addHandler(failures)
    box.start()
    try:
        wish(database, Clock(utc_now()), "r")
        box.ring()
        assert begun.wait(60)
        rename(database, "outbox", "away")
        away.set()
        assert failures.seen.wait(60)
        rename(database, "away", "outbox")
        wish(database, Clock(utc_now()), "later")
        assert until(lambda: row(database, "later").state == "done")
        assert row(database).state == "done"
    finally:
        logging.getLogger("gates.outbox").removeHandler(failures)
        box.stop()


def test_a_row_that_was_taken_in_hand_twice_stops_nothing(database: Database, clock: Clock) -> None:
    """Its lease lapses under its holder, because the clock was set or the store was away: both
    deliveries end, and the lane goes on.
    """
    begun = threading.Semaphore(0)
    gates = [threading.Event(), threading.Event()]
    waiting = list(gates)

    def deliver(request_id: str) -> bool:
        if request_id != "r":
            return True
        go = waiting.pop(0)
        begun.release()
        return go.wait(60)

    box = Outbox(database, {"ring": deliver}, clock=clock, renews=1_000.0)
    box.start()
    try:
        wish(database, clock, "r", kind="ring")
        box.ring()
        assert begun.acquire(timeout=60)
        clock.jump(minutes=5)
        box.ring()
        assert begun.acquire(timeout=60)
        for go, other in zip(gates, ("between", "later"), strict=True):
            go.set()
            wish(database, clock, other, kind="ring")
            assert until(lambda: row(database, other).state == "done", seconds=60)  # noqa: B023 - now
        assert until(lambda: row(database).state == "done", seconds=60)
    finally:
        for go in gates:
            go.set()
        box.stop()


class Failures(logging.Handler):
    """Somebody has said that the store did not answer."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.seen.set()


def rename(database: Database, table: str, name: str) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")


# -- places ---------------------------------------------------------------------------------


class Places:
    """Deliveries to places are noted; what a place answers is arranged."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.answers: dict[str, list[Exception | float]] = {}

    def __call__(self, request_id: str, place: str) -> Shown:
        self.seen.append((place, request_id))
        answers = self.answers.get(place) or [0.0]
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Shown(rest=answer)


def placed(database: Database, clock: Clock) -> tuple[Outbox, Places]:
    places = Places()
    return Outbox(database, {}, clock=clock, deliveries={"slack": places}), places


def wish_at(database: Database, clock: Clock, place: str, *ids: str) -> None:
    for request_id in ids:
        with database.write() as session:
            Unit(session, clock()).wish(request_id, "slack", place=place)


def drain(box: Outbox) -> None:
    while box.work("slack") == 0:
        pass


@pytest.mark.parametrize(
    "answer", [RetryLater("slow down", seconds=30), Unavailable("away")], ids=["429", "away"]
)
def test_a_place_that_wants_rest_holds_up_no_other(
    database: Database, clock: Clock, answer: Exception
) -> None:
    """What waits for it waits in its order; everything else goes on at once."""
    box, places = placed(database, clock)
    places.answers["busy"] = [answer]
    wish_at(database, clock, "busy", "r1", "r2")
    wish_at(database, clock, "idle", "r1", "r2")
    drain(box)
    assert sorted(places.seen) == [("busy", "r1"), ("idle", "r1"), ("idle", "r2")]
    clock.advance(seconds=30)
    drain(box)
    assert [one for place, one in places.seen if place == "busy"] == ["r1", "r1", "r2"]


def test_a_place_is_paced_as_its_channel_says(database: Database, clock: Clock) -> None:
    """After each delivery it rests for as long as the delivery wants."""
    box, places = placed(database, clock)
    places.answers["c"] = [1.0, 1.0, 1.0]
    wish_at(database, clock, "c", "r1", "r2")
    drain(box)
    assert len(places.seen) == 1
    assert 0 < box.work("slack") <= 1.0
    clock.advance(seconds=1)
    drain(box)
    assert places.seen == [("c", "r1"), ("c", "r2")]


def test_a_change_of_what_is_shown_goes_before_what_is_not(
    database: Database, clock: Clock
) -> None:
    """In a long queue of first cards nobody waits for the outcome on an old one."""
    box, places = placed(database, clock)
    wish_at(database, clock, "c", "old")
    drain(box)
    wish_at(database, clock, "c", "new-1", "new-2")
    clock.advance(seconds=1)
    wish_at(database, clock, "c", "old")
    drain(box)
    assert [one for _, one in places.seen] == ["old", "old", "new-1", "new-2"]


def test_two_servers_deliver_to_a_place_one_at_a_time(database: Database, clock: Clock) -> None:
    """While one has something for it in hand, the other takes nothing for the same place."""
    first, _ = placed(database, clock)
    second, _ = placed(database, clock)
    wish_at(database, clock, "c", "r1", "r2")
    wish_at(database, clock, "d", "r1")
    held = first._claim("slack")
    other = second._claim("slack")
    assert held is not None
    assert other is not None
    assert {held.place, other.place} == {"c", "d"}
    assert second._claim("slack") is None


def test_what_a_place_refuses_does_not_stop_the_rest(database: Database, clock: Clock) -> None:
    """One that cannot be posted waits by itself; the next goes out."""
    box, places = placed(database, clock)
    places.answers["c"] = [ValueError("invalid_blocks")]
    wish_at(database, clock, "c", "bad", "good")
    drain(box)
    assert [one for _, one in places.seen] == ["bad", "good"]


def test_an_admin_sees_what_was_given_up_and_sends_it_again(database: Database) -> None:
    """Listed with its last error; after another try it is delivered, and the log says by whom."""
    world = World(database)
    wish_at(database, world.clock, "c", "r1")
    box, places = placed(database, world.clock)
    places.answers["c"] = [ValueError("channel_not_found")]
    with database.write() as session:
        session.exec(select(OutboxRow)).one().tries = GIVE_UP - 1
    drain(box)
    (found,) = deliveries.troubles(world.gates)
    assert (found.state, found.place) == ("dead", "c")
    assert "channel_not_found" in found.last_error
    assert deliveries.retry(world.gates, None, "root") == [found]
    drain(box)
    assert deliveries.troubles(world.gates) == []
    with pytest.raises(NotFound):
        deliveries.retry(world.gates, [found.id], "root")
    with database.read() as session:
        kinds = [(one.kind, one.actor) for one in session.exec(select(LogRow)).all()]
    assert ("outbox.retried", "root") in kinds
