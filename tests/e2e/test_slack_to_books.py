"""The whole sentence on real parts: a click in Slack, and the ERP's books show it.

The house of the demo (ERP, Prefect, gates server, executor, worker, each a process of its own)
with Slack's side played by a server that speaks its protocol. The tests follow each other: clicks
come over a socket first, and after a restart of the gates server by signed HTTP requests.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integrations.erp.actions import Payment
from integrations.erp.company import installed
from integrations.slack.blocks import APPROVE, REJECT
from integrations.slack.modals import REASON_INPUT
from integrations.slack.transport import PATH
from tests.support.erp import WHY_SKIPPED
from tests.support.house import House, house
from tests.support.slack import manifest_scopes
from tests.support.slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    SIGNING_SECRET,
    Channel,
    Limits,
    Message,
    SlackSandbox,
    User,
    View,
)

pytestmark = [
    pytest.mark.erp,
    pytest.mark.prefect,
    pytest.mark.timeout(600),
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
    environment: pytest.MonkeyPatch

    def card(self, words: str, *, after: Message | None = None) -> Message:
        """The open card that shows `words`, below the message `after`."""

        def found() -> Message | None:
            messages = self.slack.messages(self.channel)
            for message in messages[messages.index(after) + 1 if after else 0 :]:
                if words in str(message.blocks) and message.has_button(APPROVE):
                    return message
            return None

        return self.slack.wait_for(found, f"a card with {words!r}", 150)

    def closed(self, card: Message) -> str:
        """The card's blocks once it has lost its buttons."""
        self.slack.wait_for(
            lambda: not card.has_button(APPROVE) or None, "the outcome on the card", 150
        )
        return str(card.blocks)

    def asked_again(self, name: str, card: Message) -> View:
        """Click Approve; the modal that looks at it once more."""
        delivery = self.slack.click(self.people[name], card, APPROVE)
        assert delivery.acked, delivery
        view = self.slack.wait_view(self.people[name])
        assert "47,600.00 EUR" in str(view.body)
        assert "Acme Steel" in str(view.body)
        return view

    def approve(self, name: str, card: Message) -> str:
        """Both clicks; what the card shows then."""
        sent = self.slack.submit(self.asked_again(name, card), {})
        assert (sent.acked, sent.error) == (True, None), sent
        return self.closed(card)

    def says(self, name: str, *words: str) -> str:
        """What the command line answers to this person."""
        with self.house.stack.admin() as admin:
            link = admin.login_link(name)
        gates = str(Path(sys.executable).with_name("gates"))
        home = str(self.house.stack.home / name)
        environment = os.environ | {"GATES_HOME": home, "GATES_URL": self.house.stack.gates_url}
        for command in (["login", link], words):
            done = subprocess.run(
                [gates, *command], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        return done.stdout

    def start_gates(self, mode: str) -> None:
        """A gates server that hears Slack in this way."""
        self.environment.setenv("GATES_SLACK_MODE", mode)
        self.slack.app_url = self.house.stack.gates_url + PATH if mode == "http" else None
        self.house.start("gates")


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
            ("SIGNING_SECRET", SIGNING_SECRET),
            ("API_BASE_URL", slack.base_url),
            ("CHANNEL", channel.id),
            ("TEAM_IDS", TEAM),
            ("MODE", "socket"),
        ):
            environment.setenv(f"GATES_SLACK_{name}", value)
        with house(tmp_path_factory.mktemp("town"), linger=0.5) as built:
            slack.wait_connected(seconds=120)
            yield Town(built, slack, channel, people, environment)


def test_clicks_over_the_socket_pay_the_bill_once(town: Town) -> None:
    """A large invoice asks twice; a stranger with Dana's name is refused alone; what Dana approves
    in its modal is entered, posted and paid, once; the cards say who it was."""
    run = town.house.run("acme-steel-large", "SLACK-1")
    card = town.card("SLACK-1")
    town.house.until_state(run, "PAUSED")
    town.slack.click(town.people["stranger"], card, APPROVE)
    town.slack.submit(town.slack.wait_view(town.people["stranger"]), {})
    refusal = town.slack.wait_told(town.people["stranger"], seconds=60)
    assert "belongs to no single person" in refusal
    assert card.has_button(APPROVE)

    assert "Dana Okafor" in town.approve("dana", card)
    assert "Dana Okafor" in town.approve("dana", town.card("SLACK-1", after=card))
    ended = town.house.until_state(run, "COMPLETED", "FAILED", "CANCELLED")
    assert ended.state == "COMPLETED"
    (entry,) = town.house.booked("SLACK-1")
    assert (entry.state, str(entry.paid)) == ("paid", "47600.00")
    assert [payment.state for payment in entry.payments] == ["succeeded"]


def test_a_restart_between_the_click_and_the_resume_loses_nothing(town: Town) -> None:
    """The server is killed with the click stored and nothing decided; the one that follows decides
    it once and resumes the run, and hears the rest as HTTP requests."""
    run = town.house.run("acme-steel-large", "SLACK-2")
    card = town.card("SLACK-2")
    town.house.until_state(run, "PAUSED")
    view = town.asked_again("dana", card)
    town.slack.fail_next("users.info", "ratelimited", retry_after=10, times=20)
    sent = town.slack.submit(view, {REASON_INPUT: "as ordered"})
    assert (sent.transport, sent.acked, sent.error) == ("socket", True, None)
    town.house.kill("gates")
    assert "event.decided" not in town.house.log(run)
    town.slack.space.faults.clear()
    town.start_gates("http")
    assert "as ordered" in town.closed(card)
    payment = town.card("SLACK-2", after=card)
    delivery = town.slack.submit(town.asked_again("mika", payment), {})
    assert (delivery.transport, delivery.acked, delivery.error) == ("http", True, None)
    assert "Mika Lindqvist" in town.closed(payment)
    ended = town.house.until_state(run, "COMPLETED", "FAILED", "CANCELLED")
    assert ended.state == "COMPLETED"
    assert town.house.log(run).count("event.decided") == 2
    (entry,) = town.house.booked("SLACK-2")
    assert (entry.state, str(entry.paid)) == ("paid", "47600.00")
    assert town.slack.told(town.people["dana"]) == []


def test_a_rejection_in_the_modal_ends_the_run(town: Town) -> None:
    """Mika's reason stands on the card and in the name and message of the run's end; nothing
    is in the books."""
    run = town.house.run("acme-steel-large", "SLACK-3")
    card = town.card("SLACK-3")
    town.house.until_state(run, "PAUSED")
    town.slack.click(town.people["mika"], card, REJECT)
    view = town.slack.wait_view(town.people["mika"])
    town.slack.submit(view, {REASON_INPUT: "We never ordered a press."})
    ended = town.house.until_state(run, "COMPLETED", "FAILED", "CANCELLED")
    assert (ended.state, ended.state_name) == ("CANCELLED", "Rejected")
    assert ended.message == "Rejected by Mika Lindqvist: We never ordered a press."
    assert "We never ordered a press." in town.closed(card)
    assert town.house.booked("SLACK-3") == []


def test_a_stuck_run_is_steered_from_the_command_line(town: Town) -> None:
    """Stopped at its third same failure it suspends; its card names the stray draft. Guidance to
    withdraw that resumes it, and the bill is paid once."""
    number, stray = "DF-70013", "payment-script:DF-70013"
    (bill,) = town.house.booked(number)
    payment = Payment(
        supplier="DE999000041",
        number=number,
        bill_id=bill.bill_id,
        currency=bill.currency,
        amount=bill.total,
    )
    document = town.house.stack.home / "stuck.json"
    document.write_text(payment.model_dump_json())
    run = town.house.begin("stuck-payment/demo", document)
    card = town.card(f"{stray} on bill {number}")
    town.house.until_state(run, "PAUSED")
    asked = town.house.question(run).request
    assert len(asked.evidence["attempts"]) == 3
    advice = f"Withdraw {stray}, then pay."
    assert "Priya Raman" in town.says("priya", "send-back", asked.id, "--guidance", advice)
    assert advice in town.closed(card)
    ended = town.house.until_state(run, "COMPLETED", "FAILED", "CANCELLED")
    assert ended.state == "COMPLETED"
    assert "run.suspended" in town.house.log(run)
    (bill,) = town.house.booked(number)
    assert (bill.state, bill.paid) == ("paid", bill.total)
    assert [one.state for one in bill.payments] == ["succeeded"]
