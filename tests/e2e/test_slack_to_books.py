"""The whole sentence on real parts: a click in Slack, and the ERP's books show it.

The house of the demo (ERP, Prefect, gates server, executor, worker, each a process of its own)
with Slack's side played by a server that speaks its protocol.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from integrations.erp.company import installed
from tests.support.erp import WHY_SKIPPED
from tests.support.house import House, house
from tests.support.slack import manifest_scopes
from tests.support.slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    Channel,
    Limits,
    Message,
    SlackSandbox,
    User,
)

pytestmark = [
    pytest.mark.erp,
    pytest.mark.prefect,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("house-with-slack"),
    pytest.mark.skipif(not installed(), reason=WHY_SKIPPED),
]
TEAM = "T0DEMO"  # as policies/people.yaml has it


@dataclass
class Town:
    """`slack` is where the people of policies/people.yaml sit, in one channel."""

    house: House
    slack: SlackSandbox
    channel: Channel
    people: dict[str, User]

    def card(self, words: str, *, after: int = 0) -> Message:
        """The open card that shows `words`, beyond the first `after` messages."""

        def found() -> Message | None:
            for message in self.slack.messages(self.channel)[after:]:
                if words in str(message.blocks) and message.has_button("gates_approve"):
                    return message
            return None

        return self.slack.wait_for(found, f"a card with {words!r}", 150)

    def closed(self, card: Message) -> str:
        """The card's blocks once it has lost its buttons."""
        self.slack.wait_for(
            lambda: not card.has_button("gates_approve") or None, "the outcome on the card", 150
        )
        return str(card.blocks)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    limits = Limits(post_interval=0.0)
    with (
        SlackSandbox(limits=limits, team_id=TEAM, bot_scopes=manifest_scopes()) as slack,
        pytest.MonkeyPatch.context() as environment,
    ):
        people = {
            name: slack.add_user(name, f"{name}@example.com", id=f"U0{name.upper()}")
            for name in ("dana", "mika", "sam", "ines", "priya")
        }
        people["stranger"] = slack.add_user("dana.okafor", id="U0STRANGER")
        channel = slack.add_channel("approvals", *people.values())
        for name, value in (
            ("BOT_TOKEN", BOT_TOKEN),
            ("APP_TOKEN", APP_TOKEN),
            ("API_BASE_URL", slack.base_url),
            ("CHANNEL", channel.id),
            ("TEAM_IDS", TEAM),
        ):
            environment.setenv(f"GATES_SLACK_{name}", value)
        with house(tmp_path_factory.mktemp("town"), linger=0.5) as built:
            slack.wait_connected(seconds=120)
            yield Town(built, slack, channel, people)


def test_a_click_pays_the_bill_once(town: Town) -> None:
    """A large invoice asks twice; a stranger with Dana's name is refused alone; Dana's two
    clicks enter, post and pay it, once; the cards say who it was."""
    run = town.house.run("acme-steel-large", "SLACK-1")
    card = town.card("SLACK-1")
    town.house.until_state(run, "PAUSED")
    town.slack.click(town.people["stranger"], card, "gates_approve")
    refusal = town.slack.wait_told(town.people["stranger"], seconds=60)
    assert "belongs to no single person" in refusal
    assert card.has_button("gates_approve")

    delivery = town.slack.click(town.people["dana"], card, "gates_approve")
    assert delivery.acked
    assert "Dana Okafor" in town.closed(card)
    payment = town.card("SLACK-1", after=town.slack.messages(town.channel).index(card) + 1)
    town.slack.click(town.people["dana"], payment, "gates_approve")
    ended = town.house.until_state(run, "COMPLETED", "FAILED", "CANCELLED")
    assert ended.state == "COMPLETED"
    (entry,) = town.house.booked("SLACK-1")
    assert (entry.state, str(entry.paid)) == ("paid", "47600.00")
    assert [payment.state for payment in entry.payments] == ["succeeded"]


def test_a_rejection_in_the_modal_ends_the_run(town: Town) -> None:
    """Mika's reason stands on the card and in the name and message of the run's end; nothing
    is in the books."""
    run = town.house.run("acme-steel-large", "SLACK-2")
    card = town.card("SLACK-2")
    town.house.until_state(run, "PAUSED")
    town.slack.click(town.people["mika"], card, "gates_reject")
    view = town.slack.wait_view(town.people["mika"])
    town.slack.submit(view, {"gates_reason_text": "We never ordered a press."})
    ended = town.house.until_state(run, "COMPLETED", "FAILED", "CANCELLED")
    assert (ended.state, ended.state_name) == ("CANCELLED", "Rejected")
    assert ended.message == "Rejected by Mika Lindqvist: We never ordered a press."
    assert "We never ordered a press." in town.closed(card)
    assert town.house.booked("SLACK-2") == []
