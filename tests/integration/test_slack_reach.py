"""Digests, reminders, the home tab, `/gates`, and going through what waits one by one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gates.core.errors import Unavailable
from gates.core.model import DecisionKind, OutcomeKind
from integrations.slack.digest import WALK
from integrations.slack.reminding import moment, quiet
from integrations.slack.walking import ANSWER, REASON
from tests.support.slack import Office, office, open_desk
from tests.support.slack_server.asking import open_home, type_command
from tests.support.world import Clock

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def resting(tmp_path: Path) -> Iterator[Office]:
    """Its outbox is worked by hand; more than three first cards are a digest."""
    clock = Clock(datetime(2026, 11, 20, 9, 0, tzinfo=UTC))
    with office(tmp_path, clock=clock, digest_after=3) as opened:
        opened.outbox.stop()
        opened.clock = clock
        yield opened


@pytest.fixture(params=["socket", "http"])
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, mode=request.param, digest_after=3) as opened, open_desk(opened):
        yield opened


def reject(company: Office, request_id: str) -> None:
    company.gates.decide(
        request_id,
        person_id="bruno",
        kind=DecisionKind.REJECT,
        reason="no",
        channel="inbox",
        assurance="session",
    )


# -- digests --------------------------------------------------------------------------------


def test_a_burst_is_one_message_that_keeps_count(resting: Office) -> None:
    """Twelve at once are one message; it is redrawn, not posted again, as they are decided."""
    views = [resting.ask(f"key{number}") for number in range(12)]
    resting.deliver()
    (message,) = resting.slack.messages(resting.channel)
    assert message.has_button(WALK)
    assert "12 requests came in at once. 12 wait, 0 are decided." in str(message.blocks)
    before = message.edits
    for view in views[:3]:
        reject(resting, view.request.id)
    resting.deliver()
    assert len(resting.slack.messages(resting.channel)) == 1
    assert "9 wait, 3 are decided." in str(message.blocks)
    assert message.edits - before == 1
    for view in views[3:]:
        reject(resting, view.request.id)
    resting.deliver()
    assert not message.has_button(WALK)


def test_a_few_requests_have_cards_of_their_own_and_later_ones_join_a_digest(
    resting: Office,
) -> None:
    """Three within the window are cards, what comes on top of them is one message."""
    for number in range(3):
        resting.ask(f"key{number}")
    resting.deliver()
    assert len(resting.slack.messages(resting.channel)) == 3
    for number in range(3, 6):
        resting.ask(f"key{number}")
        resting.deliver()
    cards = resting.slack.messages(resting.channel)
    assert [card.has_button(WALK) for card in cards] == [False, False, False, True]
    assert "3 requests came in at once" in str(cards[-1].blocks)


def test_a_lost_reply_leads_to_one_digest(resting: Office) -> None:
    """It is searched for before it is posted again."""
    for number in range(5):
        resting.ask(f"key{number}")
    while resting.outbox.work("cards") == 0:
        pass
    resting.slack.fail_next("chat.postMessage", "lose_reply")
    first = resting.cards.waiting_at("slack", resting.channel.id)[0]
    with pytest.raises(Unavailable):
        resting.notifier.show(first, resting.channel.id)
    resting.deliver()
    assert len(resting.slack.messages(resting.channel)) == 1


# -- one by one -----------------------------------------------------------------------------


def test_one_goes_through_a_digest_one_by_one(busy: Office) -> None:
    """Approve one, reject the next with a reason, leave the third: the modal goes on by itself."""
    views = {busy.ask(f"key{number}").request.id for number in range(6)}
    amara = busy.people["amara"]
    digest = busy.slack.wait_for(
        lambda: next((m for m in busy.slack.messages(busy.channel) if m.has_button(WALK)), None),
        "the digest",
    )
    assert busy.slack.click(amara, digest, WALK).acked
    modal = busy.slack.wait_view(amara)

    def reads(words: str) -> None:
        busy.slack.wait_for(lambda: words in str(modal.body["blocks"]), words)

    reads("6 left")
    assert busy.slack.submit(modal, {ANSWER: "approve"}).error is None
    reads("5 left")
    assert "you approved it" in str(modal.body["blocks"])
    refused = busy.slack.submit(modal, {ANSWER: "reject"})
    assert refused.field_errors == {REASON: "Please say why, or what to do instead."}
    busy.slack.submit(modal, {ANSWER: "reject", REASON: "not ours"})
    reads("4 left")
    busy.slack.submit(modal, {ANSWER: "skip"})
    reads("3 left")
    found = [busy.gates.view(one).outcome for one in sorted(views)]
    kinds = sorted(one.kind for one in found if one is not None)
    assert kinds == [OutcomeKind.APPROVED, OutcomeKind.REJECTED]


def test_a_stranger_goes_through_nothing(busy: Office) -> None:
    """The modal says why, and the log has it."""
    for number in range(6):
        busy.ask(f"key{number}")
    digest = busy.slack.wait_for(
        lambda: next((m for m in busy.slack.messages(busy.channel) if m.has_button(WALK)), None),
        "the digest",
    )
    gus = busy.people["gus"]
    busy.slack.click(gus, digest, WALK)
    modal = busy.slack.wait_view(gus)
    busy.slack.wait_for(lambda: "Guests" in str(modal.body["blocks"]), "the refusal")


# -- home and command -----------------------------------------------------------------------


def test_the_home_tab_shows_what_waits_and_is_kept_current(busy: Office) -> None:
    """Opened once, it changes with the requests; who opened none has none."""
    view = busy.ask()
    amara = busy.people["amara"]
    assert open_home(busy.slack, amara)
    homes = busy.slack.space.homes
    busy.slack.wait_for(lambda: "1 wait for you" in str(homes.get(amara.id)), "the home tab")
    reject(busy, view.request.id)
    busy.slack.wait_for(lambda: "Nothing waits for you" in str(homes[amara.id]), "the change")
    assert set(homes) == {amara.id}


def test_the_home_tab_of_many_requests_is_within_slack_s_limits(resting: Office) -> None:
    """A hundred and twenty wait: thirty are shown, the rest is counted."""
    for number in range(120):
        resting.ask(f"key{number}")
    resting.notifier.show("", "home:amara")
    home = resting.slack.space.homes["U0AMARA"]
    assert "120 wait for you" in str(home)
    assert "and 90 more" in str(home)


def test_the_command_lists_and_shows_to_that_person_alone(busy: Office) -> None:
    """`/gates list`, `/gates show ID`; a guest is refused."""
    view = busy.ask()
    amara, gus = busy.people["amara"], busy.people["gus"]
    assert type_command(busy.slack, amara, "list", busy.channel.id)
    assert "1 wait for you, 0 for others." in busy.slack.wait_told(amara)
    assert type_command(busy.slack, amara, f"show {view.request.id[:8]}", busy.channel.id)
    assert "waiting" in busy.slack.wait_told(amara, 2)
    assert type_command(busy.slack, amara, "dance", busy.channel.id)
    assert "/gates list" in busy.slack.wait_told(amara, 3)
    assert type_command(busy.slack, gus, "list", busy.channel.id)
    assert "Guests" in busy.slack.wait_told(gus)


# -- reminders ------------------------------------------------------------------------------


def test_the_policy_s_reminders_are_given_one_by_one(tmp_path: Path) -> None:
    """At their times, each once, those that an outage missed by the last alone; and no other."""
    clock = Clock(datetime(2026, 11, 20, 9, 0, tzinfo=UTC))
    with office(tmp_path, clock=clock, more=", remind: [30m, 1h, 2h]") as company:
        company.outbox.stop()
        company.ask()
        amara = company.people["amara"]

        def told(after: timedelta) -> int:
            clock.now = datetime(2026, 11, 20, 9, 0, tzinfo=UTC) + after
            company.gates.expire()
            company.deliver()
            return len(company.slack.direct_messages(amara))

        minutes = [29, 30, 31, 125, 200, 239]
        assert [told(timedelta(minutes=one)) for one in minutes] == [0, 1, 1, 2, 2, 2]


def test_whoever_the_ladder_pages_has_a_card_of_their_own(tmp_path: Path) -> None:
    """Though the others are told in the channel alone."""
    clock = Clock(datetime(2026, 11, 20, 9, 0, tzinfo=UTC))
    more = ", ladder: [{after: 1h, page: [others]}]"
    with office(tmp_path, clock=clock, more=more) as company:
        company.outbox.stop()
        company.ask()
        company.deliver()
        clock.advance(hours=1)
        company.gates.expire()
        company.deliver()
        told = {
            who: len(company.slack.direct_messages(company.people[who]))
            for who in ("amara", "chen")
        }
        assert told == {"amara": 0, "chen": 1}


def test_who_has_not_decided_is_reminded_once(resting: Office) -> None:
    """An hour before the deadline, of all that is due, and never again."""
    for number in range(2):
        resting.ask(f"key{number}")
    resting.deliver()
    amara = resting.people["amara"]
    resting.clock.advance(hours=2, minutes=59)
    resting.deliver()
    assert resting.slack.direct_messages(amara) == []
    resting.clock.advance(minutes=2)
    resting.deliver()
    resting.clock.advance(minutes=30)
    resting.deliver()
    (word,) = resting.slack.direct_messages(amara)
    assert "2 requests expire soon" in word.text
    assert word.has_button(WALK)


def test_nobody_is_reminded_of_what_is_decided(resting: Office) -> None:
    """The reminder that was planned comes to nothing."""
    view = resting.ask()
    resting.deliver()
    reject(resting, view.request.id)
    resting.clock.advance(hours=3, minutes=30)
    resting.deliver()
    assert resting.slack.direct_messages(resting.people["amara"]) == []


@pytest.mark.parametrize(
    ("opened", "hours", "expected"),
    [
        ((9, 0), 4, (12, 0)),
        ((18, 0), 6, (21, 59)),  # the deadline is at midnight: before the night
        ((20, 0), 14, (9, 0)),
        ((17, 0), 14.5, (7, 0)),  # 6:30 is still quiet; at 7:00 there is half an hour left
        ((23, 0), 4, None),  # all of it is night
    ],
)
def test_reminders_keep_the_quiet_hours_of_the_person(
    opened: tuple[int, int], hours: float, expected: tuple[int, int] | None
) -> None:
    """By their own clock: after the night where that is in time, else before it."""
    start = datetime(2026, 11, 20, *opened, tzinfo=BERLIN)
    at = moment(start, start + timedelta(hours=hours), timedelta(hours=1), BERLIN, quiet("22-7"))
    found = None if at is None else (at.astimezone(BERLIN).hour, at.astimezone(BERLIN).minute)
    assert found == expected
