"""What runs unless somebody objects, on both stores."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlmodel import select

from gates.core.errors import InvalidInput, NotEntitled, RequestClosed, Unavailable
from gates.core.model import OutcomeKind, Standing, Verdict
from gates.service import Gates
from gates.store.database import Database
from gates.store.tables import LogRow
from tests.support.world import POLICY, World

RULES = (
    POLICY
    + """
  - name: usual
    on: till.pay
    when: amount.minor >= 100000 && amount.minor < 1000000
    verdict: veto_window
    window: 2h
    tier: ambiguous
    ask: {who: [controllers], escalate_to: [treasury], valid: 3h}
    because: "{amount} is usual"
"""
)
USUAL = "5000.00"


@pytest.fixture
def windowed(world: World) -> World:
    world.rule(RULES)
    return world


def test_it_runs_when_nobody_has_objected(windowed: World) -> None:
    """People are asked, the window passes, time consents once, and what was asked is paid."""
    reply = windowed.propose(USUAL)
    assert reply.standing is Standing.WAITING
    assert reply.view.request.judgement.verdict is Verdict.VETO_WINDOW
    windowed.clock.advance(minutes=119)
    assert windowed.gates.expire() == 0
    assert windowed.lease() is None
    windowed.clock.advance(minutes=1)
    assert windowed.gates.expire() == 1
    view = windowed.gates.view(reply.view.request.id)
    assert str(view.outcome) == "approved by time: nobody objected within 2h"
    assert windowed.propose(USUAL).standing is Standing.EXECUTING
    job = windowed.lease()
    assert job is not None
    assert windowed.perform(job).standing is Standing.SUCCEEDED
    assert list(windowed.till.paid.values()) == [USUAL]


def test_an_objection_stops_it_and_wants_a_reason(windowed: World) -> None:
    """The run is told who objected and why; time has nothing to say after that."""
    request_id = windowed.propose(USUAL).view.request.id
    with pytest.raises(InvalidInput, match="reason is empty"):
        windowed.decide(request_id, "dana", "reject", " ")
    with pytest.raises(NotEntitled):
        windowed.decide(request_id, "tess", "reject")
    windowed.decide(request_id, "dana", "reject", "paid twice")
    windowed.clock.advance(hours=2)
    assert windowed.gates.expire() == 0
    assert windowed.propose(USUAL).standing is Standing.REJECTED
    assert windowed.till.paid == {}


def test_somebody_may_let_it_run_at_once(windowed: World) -> None:
    """An approval that meets the quorum ends the window early."""
    request_id = windowed.propose(USUAL).view.request.id
    assert windowed.decide(request_id, "mika").outcome.by == ("Mika Lindqvist",)
    assert windowed.propose(USUAL).standing is Standing.EXECUTING


def test_a_veto_and_the_timer_never_both_win(windowed: World) -> None:
    """Two servers at the same moment: whoever takes the row first, and the objector is told."""
    url = windowed.database.engine.url.render_as_string(hide_password=False)
    beyond = Database(url)
    ahead = Gates(
        beyond,
        windowed.gates.asking,
        "http://127.0.0.1",
        clock=lambda: windowed.clock() + timedelta(minutes=1),
    )
    ids = [windowed.propose(USUAL, key=f"k{n}").view.request.id for n in range(6)]
    windowed.clock.advance(minutes=119)
    barrier = Barrier(2)

    def object_to_all() -> dict[str, bool]:
        barrier.wait()
        return {one: _objects(windowed, one) for one in ids}

    def expire() -> int:
        barrier.wait()
        return ahead.expire()

    with ThreadPoolExecutor(2) as pool:
        counted, by_time = pool.submit(object_to_all), pool.submit(expire)
        answers, silent = counted.result(), by_time.result()
    beyond.close()
    for request_id, counts in answers.items():
        found = windowed.gates.view(request_id).outcome
        assert found is not None
        assert found.kind is (OutcomeKind.REJECTED if counts else OutcomeKind.APPROVED)
        assert found.by == (("Dana Okafor",) if counts else ("time",))
    assert silent == 6 - sum(answers.values())
    with windowed.database.read() as session:
        settled = session.exec(select(LogRow).where(LogRow.kind == "request.settled")).all()
    assert len(settled) == 6


def _objects(world: World, request_id: str) -> bool:
    try:
        world.decide(request_id, "dana", "reject", "stop")
    except RequestClosed:
        return False
    return True


def test_an_objection_after_the_end_is_told_that_time_was_faster(windowed: World) -> None:
    """Also where the timer has not been there yet: the answer itself closes the window."""
    request_id = windowed.propose(USUAL).view.request.id
    windowed.clock.advance(hours=2)
    with pytest.raises(RequestClosed, match="approved by time: nobody objected within 2h"):
        windowed.decide(request_id, "dana", "reject", "too late")
    assert windowed.gates.view(request_id).outcome.by == ("time",)


def test_an_escalation_takes_the_consent_from_time(windowed: World) -> None:
    """The window is over for good: it waits for an approval, and expires without one."""
    request_id = windowed.propose(USUAL).view.request.id
    windowed.clock.advance(minutes=90)
    asked = windowed.decide(request_id, "dana", "escalate", "I do not know them").request
    assert asked.judgement.verdict is Verdict.REQUIRE_APPROVAL
    windowed.clock.advance(minutes=60)
    assert windowed.gates.expire() == 0
    assert windowed.gates.view(request_id).outcome is None
    windowed.clock.advance(minutes=60)
    assert windowed.gates.expire() == 1
    assert windowed.propose(USUAL).standing is Standing.EXPIRED


def test_what_silence_consented_to_is_looked_at_again(windowed: World) -> None:
    """A drift voids it, and the next round shows the difference; so does a consent not used."""
    request_id = windowed.propose(USUAL).view.request.id
    windowed.clock.advance(hours=2)
    windowed.gates.expire()
    windowed.till.accounts["acme"] = "XX99"
    reply = windowed.propose(USUAL)
    assert reply.standing is Standing.WAITING
    assert reply.view.request.round == 2
    assert windowed.gates.view(request_id).outcome.kind is OutcomeKind.VOIDED
    windowed.clock.advance(hours=2)
    windowed.gates.expire()
    windowed.clock.advance(hours=3)
    again = windowed.propose(USUAL).view.request
    assert again.round == 3
    assert "the approval has lapsed" in again.before[0]


@pytest.mark.parametrize(
    ("old", "new", "standing"),
    [
        ("window: 2h", "window: 90m", Standing.EXECUTING),
        ("window: 2h", "window: 4h", Standing.WAITING),
        ("verdict: veto_window\n    window: 2h", "verdict: require_approval", Standing.WAITING),
        ("verdict: veto_window\n    window: 2h", "verdict: review_later", Standing.EXECUTING),
    ],
)
def test_another_policy_asks_whether_silence_does_for_it_too(
    windowed: World, old: str, new: str, standing: Standing
) -> None:
    """A shorter window has passed as well; a longer one has not, and an approval is more."""
    windowed.propose(USUAL)
    windowed.clock.advance(hours=2)
    windowed.gates.expire()
    windowed.rule(RULES.replace(old, new))
    assert windowed.propose(USUAL).standing is standing


def test_a_server_whose_clock_is_behind_does_not_run_it_early(windowed: World) -> None:
    """The window is over when it is over by the clock of whoever hands out the grant, too."""
    windowed.propose(USUAL)
    windowed.clock.advance(hours=2)
    windowed.gates.expire()
    windowed.clock.advance(seconds=-30)
    with pytest.raises(Unavailable, match="the window in which people may object ends only at"):
        windowed.propose(USUAL)
    windowed.clock.advance(seconds=30)
    assert windowed.propose(USUAL).standing is Standing.EXECUTING


def test_a_world_that_cannot_be_read_does_not_pass_by_silence(windowed: World) -> None:
    """Without facts an approval is wanted: nobody could know what to object to."""
    windowed.till.reachable = False
    asked = windowed.propose(USUAL).view.request
    assert asked.judgement.verdict is Verdict.REQUIRE_APPROVAL
