"""What a run says of all its gates at once, on both stores."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from gates.core.errors import InvalidInput, NotEntitled
from gates.core.messages import Awaited
from gates.core.model import OutcomeKind, Standing
from gates.store.database import Database
from tests.support.world import World


def asked(world: World, *keys: str) -> list[str]:
    return [world.propose("5000.00", key=key).view.request.id for key in keys]


def test_a_run_suspends_once_for_all_that_it_has_open(world: World) -> None:
    """One key for both; each suspension has its own; both say that they wait."""
    first, second = asked(world, "a", "b")
    assert world.passes.suspending(world.flow, [second, first]).pause_key == f"{world.run}-1"
    assert world.gates.view(first).suspended
    assert world.gates.view(second).suspended
    world.propose("5000.00", key="a")
    world.propose("5000.00", key="b")
    assert world.passes.suspending(world.flow, [first, second]).pause_key == f"{world.run}-2"


def test_an_answer_that_was_faster_keeps_the_run_awake(world: World) -> None:
    """One of them is decided: nothing is put to sleep."""
    first, second = asked(world, "a", "b")
    world.decide(second, "dana")
    assert world.passes.suspending(world.flow, [first, second]).pause_key == ""
    assert not world.gates.view(first).suspended


@pytest.mark.parametrize("decided", [0, 1])
def test_any_decision_rings_at_the_run(world: World, decided: int) -> None:
    """Also the one that was not named first; the other's bell stays silent."""
    ids = asked(world, "a", "b")
    world.passes.suspending(world.flow, ids)
    world.decide(ids[decided], "dana")
    bell = world.gates.doorbell(ids[decided])
    assert bell is not None
    assert f"{world.run}-1".startswith(bell.pauses)
    assert world.gates.doorbell(ids[1 - decided]) is None


def test_a_run_that_we_woke_for_one_was_not_resumed_behind_the_others_back(world: World) -> None:
    """The other is asked again, and nobody is accused of a resume; a real one is still noticed."""
    first, second = asked(world, "a", "b")
    world.passes.suspending(world.flow, [first, second])
    world.decide(first, "dana")
    world.gates.doorbell(first)
    world.propose("5000.00", key="a")
    world.propose("5000.00", key="b")
    assert world.gates.view(second).woken == 0
    world.passes.suspending(world.flow, [second])
    world.propose("5000.00", key="b")
    assert world.gates.view(second).woken == 1


def test_requests_of_two_runs_do_not_suspend_together(world: World) -> None:
    """Nor does a run of another requester's."""
    (first,) = asked(world, "a")
    world.run = "another-run"
    (other,) = asked(world, "a")
    with pytest.raises(InvalidInput, match="belong to 2 runs"):
        world.passes.suspending(world.flow, [first, other])
    with pytest.raises(NotEntitled):
        world.passes.suspending(world.key("flow", "stranger"), [first])


def test_news_are_only_of_what_has_changed(world: World) -> None:
    """However many are waited for."""
    first, second = asked(world, "a", "b")
    awaited = [
        Awaited(request_id=one, after=world.gates.standing(world.flow, one, "", 1).version)
        for one in (first, second)
    ]
    assert world.passes.news(world.flow, awaited) == []
    world.decide(second, "dana")
    (news,) = world.passes.news(world.flow, awaited)
    assert (news.view.request.id, news.standing) == (second, Standing.CLAIMABLE)


def test_a_body_that_is_not_to_begin_yet_is_not_claimed(world: World) -> None:
    """Its approval is there, its grant is not; a claim gets it."""
    note = {"name": "note", "arguments": {"text": "x"}, "in_process": True, "key": "n"}
    reply = world.propose(**note, begins=False)
    assert (reply.standing, reply.grant) == (Standing.CLAIMABLE, None)
    assert world.propose(**note, begins=False).standing is Standing.CLAIMABLE
    proposal = world.proposal(**note, begins=False)
    claimed = world.gates.claim(world.flow, reply.view.request.id, proposal)
    assert claimed.standing is Standing.CLAIMED


def test_what_is_left_open_wakes_nobody_until_it_is_asked_again(world: World) -> None:
    """Its card stays; a later pass that asks again is woken as before."""
    first, second = asked(world, "a", "b")
    world.passes.leaving(world.flow, [first], withdraw=False, reason="2 hours are over")
    assert world.gates.view(first).outcome is None
    assert world.propose("5000.00", key="b").standing is Standing.WAITING
    world.decide(first, "dana")
    assert world.gates.doorbell(first) is None
    world.passes.leaving(world.flow, [second], withdraw=False, reason="2 hours are over")
    world.propose("5000.00", key="b")
    world.decide(second, "dana")
    assert world.gates.doorbell(second) is not None


def test_what_is_withdrawn_says_why_and_an_answer_that_was_faster_stays(world: World) -> None:
    """Both are named at once; only the open one is taken back."""
    first, second = asked(world, "a", "b")
    world.decide(first, "dana")
    world.passes.leaving(world.flow, [first, second], withdraw=True, reason="2 hours are over")
    kept, gone = world.gates.view(first).outcome, world.gates.view(second).outcome
    assert kept is not None
    assert kept.kind is OutcomeKind.APPROVED
    assert str(gone) == "cancelled by invoice-agent: 2 hours are over"


def test_a_run_whose_author_waits_no_longer_is_rung_at_once(world: World) -> None:
    """At the time that it named, by one of its open requests, and no more once it is back."""
    ids = asked(world, "a", "b")
    world.passes.suspending(world.flow, ids, world.clock() + timedelta(hours=2) / 4)
    assert world.passes.alarm() == 0
    assert world.gates.doorbell(min(ids)) is None
    world.clock.advance(minutes=30)
    assert world.passes.alarm() == 1
    assert world.passes.alarm() == 0
    assert world.gates.doorbell(min(ids)) is not None
    for key in ("a", "b"):
        world.propose("5000.00", key=key)
    assert world.gates.doorbell(min(ids)) is None
    assert [world.gates.view(one).woken for one in ids] == [0, 0]


def test_suspensions_at_once_get_keys_of_their_own(database: Database) -> None:
    """Two processes of one run: Prefect takes a key that it knows for an order to go on."""
    world = World(database)
    ids = asked(world, "a", "b", "c")
    keys: list[str] = []

    def suspend(order: list[str]) -> None:
        keys.append(world.passes.suspending(world.flow, order).pause_key)

    threads = [threading.Thread(target=suspend, args=(ids[::step],)) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(keys) == [f"{world.run}-{number}" for number in (1, 2, 3, 4)]
