"""The clock stands still on real stores: over servers and restarts, for decisions as ever."""

import pytest

from gates.core.errors import AlreadyAsked, NotEntitled, RequestClosed
from gates.core.model import OutcomeKind, RequestView
from gates.informing import Informing
from gates.service import Gates
from gates.store.database import Database
from tests.integration.test_ladder import AMOUNT, CLIMBING, kinds
from tests.integration.test_timers import second_server, together
from tests.support.world import World

WINDOW = "888.00"  # a veto window of eight seconds


def ask(world: World, request_id: str, person: str = "dana", words: str = "what for?") -> None:
    Informing(world.gates).ask(request_id, person_id=person, question=words, channel="cli")


def answer(world: World, request_id: str, person: str = "sam") -> RequestView:
    informing = Informing(world.gates)
    return informing.answer(request_id, person_id=person, text="for the roof", channel="cli")


def fire(gates: Gates) -> int:
    return sum(iter(gates.expire, 0))


def test_it_does_not_expire_while_somebody_waits_and_does_at_the_moved_moment(
    world: World,
) -> None:
    """Its rungs wait as well; the timer's own column says so."""
    world.rule(CLIMBING)
    request_id = world.propose(AMOUNT).view.request.id
    world.clock.advance(minutes=10)
    ask(world, request_id)
    world.clock.advance(minutes=59)
    assert fire(world.gates) == 0
    view = answer(world, request_id)
    (told,) = view.request.requirement.inquiries if view.request.requirement else ()
    assert (told.answered_name, told.answer, told.open) == ("Sam Rivera", "for the roof", False)
    assert view.decisions == ()
    for minutes in (9, 20, 20):
        world.clock.advance(minutes=minutes)
        assert fire(world.gates) == (0 if minutes == 9 else 1)
    with pytest.raises(NotEntitled):  # tess alone is asked since the second rung
        world.decide(request_id, "dana")
    world.clock.advance(minutes=1)
    assert fire(world.gates) == 1
    said = kinds(world, request_id)
    assert said == ["info_asked", "info_answered", "climbed", "climbed", "deadline_passed"]


def test_without_an_answer_two_servers_end_it_once_and_a_restart_forgets_nothing(
    world: World,
) -> None:
    """The clock goes on by itself after as long as the deadline was."""
    request_id = world.propose(AMOUNT).view.request.id
    world.clock.advance(minutes=30)
    ask(world, request_id)
    world.clock.advance(minutes=45)
    database = Database(world.database.engine.url.render_as_string(hide_password=False))
    restarted = Gates(database, world.gates.asking, "http://127.0.0.1", clock=world.clock)
    assert fire(restarted) == 0
    database.close()
    world.clock.advance(minutes=44)
    assert fire(world.gates) == 0
    world.clock.advance(minutes=1)
    other = second_server(world)
    assert sum(together(lambda: fire(world.gates), lambda: fire(other.gates))) == 1
    other.gates.database.close()
    assert kinds(world, request_id) == ["info_asked", "deadline_passed"]
    with pytest.raises(RequestClosed):
        answer(world, request_id)


def test_a_veto_window_does_not_consent_while_somebody_waits(world: World) -> None:
    """And runs, if nobody objects, once what was left of it has passed."""
    request_id = world.propose(WINDOW).view.request.id
    world.clock.advance(seconds=6)
    ask(world, request_id)
    world.clock.advance(seconds=7)
    assert fire(world.gates) == 0
    answer(world, request_id)
    world.clock.advance(seconds=1)
    assert fire(world.gates) == 0
    world.clock.advance(seconds=1)
    assert fire(world.gates) == 1
    found = world.gates.view(request_id).outcome
    assert found is not None
    assert found.kind is OutcomeKind.APPROVED


def test_the_same_words_once_more_change_nothing_and_others_are_told(world: World) -> None:
    """A reply that was lost, and somebody who would ask beside it."""
    request_id = world.propose(AMOUNT).view.request.id
    ask(world, request_id)
    ask(world, request_id)
    with pytest.raises(AlreadyAsked, match="Dana Okafor waits"):
        ask(world, request_id, "mika", "who?")
    answer(world, request_id)
    answer(world, request_id)
    assert kinds(world, request_id) == ["info_asked", "info_answered"]


def test_who_has_nothing_to_do_with_it_neither_asks_nor_answers(world: World) -> None:
    """An admin's process may answer; somebody of another group may not, and nor does the agent's
    principal ask. What is refused stands in the log.
    """
    request_id = world.propose(AMOUNT).view.request.id
    for person in ("tess", "sam"):
        with pytest.raises(NotEntitled):
            ask(world, request_id, person)
    ask(world, request_id)
    with pytest.raises(NotEntitled):
        answer(world, request_id, "tess")
    informing = Informing(world.gates)
    with pytest.raises(NotEntitled):
        informing.answer_by_key(request_id, caller=world.flow, text="yes", channel="cli")
    ops = world.key("admin", "ops")
    informing.answer_by_key(request_id, caller=ops, text="yes", channel="cli")
    assert kinds(world, request_id) == ["info_asked", "info_answered"]


def test_people_decide_while_somebody_waits(world: World) -> None:
    """It is approved as ever."""
    request_id = world.propose(AMOUNT).view.request.id
    ask(world, request_id)
    world.clock.advance(minutes=50)
    world.decide(request_id, "mika")
    found = world.gates.view(request_id).outcome
    assert found is not None
    assert found.kind is OutcomeKind.APPROVED
