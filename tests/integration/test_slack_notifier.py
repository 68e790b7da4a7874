"""Cards are posted once, kept current, and survive every way a call to Slack can end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gates.core.errors import RetryLater, Unavailable
from gates.core.model import DecisionKind, RequestView
from gates.deliveries import troubles
from gates.service import utc_now
from tests.support.slack import POLICY, Office, manifest_scopes, office
from tests.support.slack_server import BOT_TOKEN, Channel, Limits
from tests.support.world import Clock


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Office]:
    """The company with its outbox at rest: these tests call the notifier themselves."""
    with office(tmp_path) as opened:
        opened.outbox.stop()
        yield opened


def reject(company: Office, view: RequestView) -> RequestView:
    return company.gates.withdraw(view.request.id, "an admin", "not needed")


def test_one_request_is_one_card(company: Office) -> None:
    """Showing the same view again makes no second card."""
    view = company.ask()
    company.show(view)
    company.show(view)
    cards = company.slack.messages(company.channel)
    assert len(cards) == 1
    assert cards[0].metadata == {
        "event_type": "gates_request",
        "event_payload": {"request_id": view.request.id, "revision": 1},
    }


def test_an_outcome_takes_the_buttons_off(company: Office) -> None:
    """The card of a withdrawn request has no buttons and says who withdrew it."""
    view = company.ask()
    company.show(view)
    assert company.card().has_button("gates_approve")
    company.show(reject(company, view))
    assert not company.card().has_button("gates_approve")
    assert "an admin" in str(company.card().blocks)


def test_what_a_restored_store_has_forgotten_stays_on_the_card(company: Office) -> None:
    """People saw a later revision: an older one never brings buttons back."""
    view = company.ask()
    company.show(view)
    company.show(reject(company, view))
    notice = company.cards.notices(view.request.id, "slack")[0]
    company.cards.shown("slack", replace(notice, revision=notice.revision + 5))
    edits = company.card().edits
    company.show(view)
    assert company.card().edits == edits


@pytest.mark.parametrize(("kind", "arrived"), [("lose_reply", 1), ("drop", 0)])
def test_a_lost_reply_leads_to_one_card(company: Office, kind: str, arrived: int) -> None:
    """Whether the post arrived or not: after the next try there is exactly one card."""
    view = company.ask()
    company.slack.fail_next("chat.postMessage", kind)
    with pytest.raises(Unavailable):
        company.show(view)
    assert len(company.slack.messages(company.channel)) == arrived
    company.show(view)
    assert len(company.slack.messages(company.channel)) == 1
    company.show(reject(company, view))
    assert not company.card().has_button("gates_approve")


def test_a_lost_card_is_found_on_a_later_page(company: Office) -> None:
    """The search goes through the history of a busy channel."""
    view = company.ask()
    company.slack.fail_next("chat.postMessage", "lose_reply")
    with pytest.raises(Unavailable):
        company.show(view)
    company.slack.space.limits.per_minute.clear()
    for number in range(450):
        company.slack.add_message(company.channel, f"chatter {number}")
    company.show(view)
    cards = [m for m in company.slack.messages(company.channel) if m.metadata]
    assert len(cards) == 1
    assert len(company.slack.calls("conversations.history")) == 3


def test_a_lost_answer_to_an_update_is_repeated(company: Office) -> None:
    """An update may be sent twice; the card ends as it should."""
    view = company.ask()
    company.show(view)
    done = reject(company, view)
    company.slack.fail_next("chat.update", "lose_reply")
    with pytest.raises(Unavailable):
        company.show(done)
    company.show(done)
    assert not company.card().has_button("gates_approve")


def test_the_rate_limit_is_handed_on(tmp_path: Path) -> None:
    """Two cards within a second: the second says for how long to wait, and is not lost."""
    with office(tmp_path, limits=Limits(post_interval=60)) as company:
        company.outbox.stop()
        company.show(company.ask("one"))
        second = company.ask("two")
        with pytest.raises(RetryLater) as caught:
            company.show(second)
        assert 1 <= caught.value.seconds <= 60


def test_a_burst_of_requests_gets_its_cards_one_by_one(tmp_path: Path) -> None:
    """The outbox waits as Slack asks; every request ends with one card."""
    with office(tmp_path, limits=Limits(post_interval=0.2)) as company:
        for number in range(3):
            company.ask(f"key{number}")

        def all_there() -> bool:
            return len(company.slack.messages(company.channel)) == 3

        company.slack.wait_for(all_there, "three cards", 60)


def test_a_deleted_card_comes_back_while_people_are_asked(company: Office) -> None:
    """Somebody removed the message: open requests get a new one, decided ones do not."""
    view = company.ask()
    company.show(view)
    company.slack.space.messages.clear()
    company.show(view)
    assert company.card().has_button("gates_approve")
    company.slack.space.messages.clear()
    company.show(reject(company, view))
    assert company.slack.messages(company.channel) == []


@pytest.mark.parametrize(
    ("spoil", "cure"),
    [
        ("token", "install the app again"),
        ("scope", "lacks a scope"),
        ("channel", "invite the app"),
        ("member", "/invite"),
        ("archived", "archived"),
    ],
)
def test_a_wrong_set_up_is_said_with_its_cure(company: Office, spoil: str, cure: str) -> None:
    """Refusals that last name the setting and what to do."""
    space = company.slack.space
    if spoil == "token":
        space.tokens.clear()
    elif spoil == "scope":
        space.tokens[BOT_TOKEN] = manifest_scopes() - {"chat:write"}
    elif spoil == "channel":
        space.channels.clear()
    elif spoil == "member":
        company.channel.members.discard(space.bot_user)
    else:
        company.channel.is_archived = True
    with pytest.raises(Unavailable, match=cure):
        company.show(company.ask())


def test_the_deadline_on_the_card_is_the_request_s(company: Office) -> None:
    """The date that Slack shows is the deadline of the requirement, in the reader's zone."""
    view = company.ask()
    company.show(view)
    assert view.request.requirement is not None
    deadline = view.request.requirement.deadline_at
    assert deadline - view.request.opened_at == timedelta(hours=4)
    assert f"<!date^{int(deadline.timestamp())}^" in str(company.card().blocks)


# -- several places -------------------------------------------------------------------------

DIRECTLY = POLICY.replace("deadline: 4h", "deadline: 4h, notify: [channel, direct]")


def approve(company: Office, view: RequestView, person: str = "amara") -> RequestView:
    return company.gates.decide(
        view.request.id,
        person_id=person,
        kind=DecisionKind.APPROVE,
        reason="looks right",
        channel="inbox",
        assurance="session",
    )


@pytest.fixture
def directly(tmp_path: Path) -> Iterator[Office]:
    """Its policy asks in the channel and each person by themselves."""
    with office(tmp_path, policy_file=DIRECTLY) as opened:
        opened.outbox.stop()
        yield opened


def test_a_policy_asks_people_directly_too(directly: Office) -> None:
    """Each eligible person has a card of their own; whom the agent acts for has none."""
    directly.ask()
    directly.deliver()
    own = {name: directly.slack.direct_messages(one) for name, one in directly.people.items()}
    assert {name: len(cards) for name, cards in own.items() if cards} == {
        "amara": 1,
        "bruno": 1,
        "gus": 1,
    }
    assert all(cards[0].has_button("gates_approve") for cards in own.values() if cards)


def test_a_decision_anywhere_takes_the_buttons_off_everywhere(directly: Office) -> None:
    """Every card says who decided; the thread and the requester are told."""
    view = directly.ask()
    directly.deliver()
    approve(directly, view)
    directly.deliver()
    amara = directly.slack.direct_messages(directly.people["amara"])[0]
    for shown in (directly.card(), amara):
        assert not shown.has_button("gates_approve")
        assert "Amara Obi" in str(shown.blocks)
    (told,) = directly.slack.thread(directly.card())
    assert "Amara Obi approved: looks right" in str(told.blocks)
    assert "Approved: it may run now" in str(told.blocks)
    (word,) = directly.slack.direct_messages(directly.people["dana"])
    assert "invoice-agent asked for you: approved by Amara Obi" in str(word.blocks)


def test_the_thread_goes_on_with_what_became_of_it(company: Office) -> None:
    """Each line once: the decision, how it ran, and the round that came after."""
    view = company.ask()
    company.deliver()
    approve(company, view)
    company.deliver()
    company.deliver()
    lines = [str(one.blocks) for one in company.slack.thread(company.card())]
    assert len(lines) == 1
    first = company.card()
    company.ask(arguments={"supplier": "Acme", "amount": "600.00"}, call=2, attempt_id="attempt-2")
    company.deliver()
    told = " ".join(str(one.blocks) for one in company.slack.thread(first))
    assert told.count("Amara Obi approved") == 1
    assert "Voided" in told
    assert told.count("Asked anew as round 2") == 1


@pytest.mark.parametrize(("kind", "before"), [("lose_reply", 1), ("drop", 0)])
def test_a_lost_reply_leads_to_one_line_in_the_thread(
    company: Office, kind: str, before: int
) -> None:
    """The thread is read before anything is said in it a second time."""
    view = company.ask()
    company.deliver()
    approve(company, view)
    company.slack.fail_next("chat.postMessage", kind)
    with pytest.raises(Unavailable):
        company.show(view)
    assert len(company.slack.thread(company.card())) == before
    company.show(view)
    company.show(view)
    assert len(company.slack.thread(company.card())) == 1


def test_who_cannot_be_written_to_holds_up_nobody(directly: Office) -> None:
    """A deactivated account gets nothing, and the others' cards come."""
    directly.people["amara"].deleted = True
    directly.ask()
    directly.deliver()
    assert len(directly.slack.direct_messages(directly.people["bruno"])) == 1
    assert len(directly.slack.messages(directly.channel)) == 1
    assert troubles(directly.gates) == []


def test_a_decided_request_is_not_put_to_people_any_more(directly: Office) -> None:
    """Slack was away until somebody decided elsewhere: the channel learns it, nobody is asked."""
    approve(directly, directly.ask())
    directly.deliver()
    assert not directly.card().has_button("gates_approve")
    assert directly.slack.direct_messages(directly.people["bruno"]) == []


@pytest.mark.parametrize("by", ["policy", "tier"])
def test_a_policy_or_a_tier_has_a_channel_of_its_own(tmp_path: Path, by: str) -> None:
    """The policy's word goes before the setting for the tier, and that before the usual one."""
    policy = POLICY.replace("deadline: 4h", "deadline: 4h, channel: C00000900")
    with office(
        tmp_path,
        policy_file=policy if by == "policy" else POLICY,
        tier="high",
        channels="expert=C00000902,high=C00000901",
    ) as company:
        company.outbox.stop()
        for number in ("C00000900", "C00000901"):
            channel = Channel(number, number, {company.slack.space.bot_user})
            company.slack.space.channels[number] = channel
        company.ask()
        company.deliver()
        assert company.slack.messages(company.channel) == []
        expected = "C00000900" if by == "policy" else "C00000901"
        assert len(company.slack.messages(expected)) == 1


def test_an_hour_without_slack_loses_nothing(tmp_path: Path) -> None:
    """Gates answer as ever; afterwards every card is there once, in its order, and up to date."""
    clock = Clock(utc_now())
    with office(tmp_path, policy_file=DIRECTLY, clock=clock, digest_after=0) as company:
        company.outbox.stop()
        for method in ("chat.postMessage", "users.info", "conversations.history"):
            company.slack.fail_next(method, "drop", times=10_000)
        views = [company.ask(f"key{number}") for number in range(4)]
        for _ in range(60):
            clock.advance(minutes=1)
            company.deliver()
        approve(company, views[0])
        company.slack.space.faults.clear()
        clock.advance(minutes=1)
        company.deliver()
        cards = company.slack.messages(company.channel)
        shown = [card.metadata["event_payload"]["request_id"] for card in cards if card.metadata]
        assert sorted(shown) == sorted(view.request.id for view in views)
        assert shown[1:] == [view.request.id for view in views[1:]]
        assert [card.has_button("gates_approve") for card in cards] == [False, True, True, True]
        assert len(company.slack.direct_messages(company.people["bruno"])) == 3
        assert troubles(company.gates) == []
