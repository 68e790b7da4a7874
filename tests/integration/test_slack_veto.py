"""What runs unless somebody objects, in Slack: buttons, modal, and the end of the window."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gates.core.model import OutcomeKind
from integrations.slack.blocks import APPROVE, REJECT
from integrations.slack.modals import REASON_BLOCK, REASON_INPUT
from tests.support.slack import POLICY, Office, office, open_desk
from tests.support.world import Clock

WINDOW = POLICY.replace("verdict: require_approval", "verdict: veto_window\n    window: 2h")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def company(tmp_path: Path, clock: Clock) -> Iterator[Office]:
    # without a reminder: it would come between a late click and its answer
    bare = office(tmp_path, policy_file=WINDOW, clock=clock, remind=0)
    with bare as opened, open_desk(opened):
        yield opened


def test_the_card_says_that_it_runs_by_itself(company: Office) -> None:
    """Its buttons are `Object` and `Let it run now`."""
    company.ask()
    shown = str(company.card().blocks)
    for words in ("This runs unless somebody objects", "Let it run now", "'Object'", "May object"):
        assert words in shown
    assert "then it expires" not in shown


def test_an_objection_wants_a_reason_and_ends_it(company: Office) -> None:
    """The modal is called what the button is; the card says who objected and why."""
    asked = company.ask()
    amara = company.people["amara"]
    assert company.slack.click(amara, company.card(), REJECT).acked
    modal = company.slack.wait_view(amara)
    blank = company.slack.submit(modal, {REASON_INPUT: " "})
    assert blank.field_errors == {REASON_BLOCK: "Please say why."}
    company.slack.submit(modal, {REASON_INPUT: "paid by card"})
    outcome = company.wait_decided(asked.request.id).outcome
    assert outcome is not None
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REJECTED, "paid by card")
    assert "Objected to" in str(company.card().blocks)


def test_somebody_lets_it_run_now(company: Office) -> None:
    """One click ends the window early where one is enough."""
    asked = company.ask()
    company.slack.click(company.people["bruno"], company.card(), APPROVE)
    outcome = company.wait_decided(asked.request.id).outcome
    assert outcome is not None
    assert outcome.by == ("Bruno Paz",)


def test_at_the_end_of_the_window_the_card_says_that_nobody_objected(
    company: Office, clock: Clock
) -> None:
    """Buttons go; whoever objects after that is told, and nothing changes."""
    asked = company.ask()
    card = company.card()
    clock.advance(hours=2)
    late = company.slack.click(company.people["amara"], card, REJECT)
    assert late.acked
    assert "The window has passed" in company.slack.wait_told(company.people["amara"])
    assert company.gates.expire() == 1
    company.outbox.ring()
    outcome = company.wait_decided(asked.request.id).outcome
    assert outcome is not None
    assert (outcome.by, outcome.at) == (("time",), asked.request.opened_at + timedelta(hours=2))
    assert "Nobody objected" in str(company.card().blocks)
