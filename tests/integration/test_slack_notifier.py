"""Cards are posted once, kept current, and survive every way a call to Slack can end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gates.core.errors import RetryLater, Unavailable
from gates.core.model import RequestView
from tests.support.slack import Office, manifest_scopes, office
from tests.support.slack_server import BOT_TOKEN, Limits


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
    company.notifier.show(view)
    company.notifier.show(view)
    cards = company.slack.messages(company.channel)
    assert len(cards) == 1
    assert cards[0].metadata == {
        "event_type": "gates_request",
        "event_payload": {"request_id": view.request.id, "revision": 1},
    }


def test_an_outcome_takes_the_buttons_off(company: Office) -> None:
    """The card of a withdrawn request has no buttons and says who withdrew it."""
    view = company.ask()
    company.notifier.show(view)
    assert company.card().has_button("gates_approve")
    company.notifier.show(reject(company, view))
    assert not company.card().has_button("gates_approve")
    assert "an admin" in str(company.card().blocks)


def test_an_older_view_does_not_overwrite_a_newer_one(company: Office) -> None:
    """A late delivery never brings buttons back."""
    view = company.ask()
    company.notifier.show(view)
    company.notifier.show(reject(company, view))
    company.notifier.show(view)
    assert not company.card().has_button("gates_approve")


@pytest.mark.parametrize(("kind", "arrived"), [("lose_reply", 1), ("drop", 0)])
def test_a_lost_reply_leads_to_one_card(company: Office, kind: str, arrived: int) -> None:
    """Whether the post arrived or not: after the next try there is exactly one card."""
    view = company.ask()
    company.slack.fail_next("chat.postMessage", kind)
    with pytest.raises(Unavailable):
        company.notifier.show(view)
    assert len(company.slack.messages(company.channel)) == arrived
    company.notifier.show(view)
    assert len(company.slack.messages(company.channel)) == 1
    company.notifier.show(reject(company, view))
    assert not company.card().has_button("gates_approve")


def test_a_lost_card_is_found_on_a_later_page(company: Office) -> None:
    """The search goes through the history of a busy channel."""
    view = company.ask()
    company.slack.fail_next("chat.postMessage", "lose_reply")
    with pytest.raises(Unavailable):
        company.notifier.show(view)
    company.slack.space.limits.per_minute.clear()
    for number in range(450):
        company.slack.add_message(company.channel, f"chatter {number}")
    company.notifier.show(view)
    cards = [m for m in company.slack.messages(company.channel) if m.metadata]
    assert len(cards) == 1
    assert len(company.slack.calls("conversations.history")) == 3


def test_a_lost_answer_to_an_update_is_repeated(company: Office) -> None:
    """An update may be sent twice; the card ends as it should."""
    view = company.ask()
    company.notifier.show(view)
    done = reject(company, view)
    company.slack.fail_next("chat.update", "lose_reply")
    with pytest.raises(Unavailable):
        company.notifier.show(done)
    company.notifier.show(done)
    assert not company.card().has_button("gates_approve")


def test_the_rate_limit_is_handed_on(tmp_path: Path) -> None:
    """Two cards within a second: the second says for how long to wait, and is not lost."""
    with office(tmp_path, limits=Limits(post_interval=60)) as company:
        company.outbox.stop()
        company.notifier.show(company.ask("one"))
        second = company.ask("two")
        with pytest.raises(RetryLater) as caught:
            company.notifier.show(second)
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
    company.notifier.show(view)
    company.slack.space.messages.clear()
    company.notifier.show(view)
    assert company.card().has_button("gates_approve")
    company.slack.space.messages.clear()
    company.notifier.show(reject(company, view))
    assert company.slack.messages(company.channel) == []


@pytest.mark.parametrize(
    ("spoil", "cure"),
    [
        ("token", "install the app again"),
        ("scope", "lacks a scope"),
        ("channel", "check the id and invite the app"),
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
        company.notifier.show(company.ask())


def test_the_deadline_on_the_card_is_the_request_s(company: Office) -> None:
    """The date that Slack shows is the deadline of the requirement, in the reader's zone."""
    view = company.ask()
    company.notifier.show(view)
    assert view.request.requirement is not None
    deadline = view.request.requirement.deadline_at
    assert deadline - view.request.opened_at == timedelta(hours=4)
    assert f"<!date^{int(deadline.timestamp())}^" in str(company.card().blocks)
