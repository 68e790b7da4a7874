"""Everything that people may answer to a loop, said in Slack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gates.core.errors import Frozen
from gates.core.messages import AttemptReport
from gates.core.model import (
    GateReply,
    LoopAnswer,
    LoopLabel,
    OutcomeKind,
    Purpose,
    Requester,
    RequestView,
)
from gates.service import KeyHolder
from gates.work import Work
from integrations.slack.blocks import APPROVE, REJECT, SEND_BACK, SKIP
from integrations.slack.loop_fields import FREEZE, LABEL, MORE
from integrations.slack.modals import REASON_INPUT
from tests.support.slack import POLICY, Office, office, open_desk
from tests.support.slack_server import ClientRefusalError

LOOPS = """
  - name: notes
    on: note
    when: "true"
    verdict: allow
    because: "a note"
loops:
  allow_more: 2
  ask: {{who: [ap]}}
  levels: [{{ask: {{who: [ap], quorum: 2}}, allow_more: 0}}]
"""
AGENT = KeyHolder("k1", "flow", Requester(agent="invoice-agent", on_behalf_of="dana"))


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, policy_file=POLICY + LOOPS) as opened, open_desk(opened):
        yield opened


def failed(company: Office, key: str) -> GateReply:
    """A note that is allowed, costs something, and cannot be written."""
    claims = {"tokens": 400, "cost_minor": 5}
    about: dict[str, Any] = {"name": "note", "title": "Write a note", "arguments": {"n": "1"}}
    reply = company.propose(key, attempt_id=f"attempt-{key}", claims=claims, **about)
    if reply.grant is None:
        return reply
    told = AttemptReport(
        state="failed", fence=reply.grant.fence, error="no paper", error_class="Printer"
    )
    return Work(company.gates).report(AGENT, reply.grant.attempt_id, told)


def looping(company: Office) -> RequestView:
    view = [failed(company, f"note-{number}") for number in (1, 2, 3)][-1].view
    assert view.request.purpose is Purpose.LOOP
    company.outbox.ring()
    return view


def test_the_card_tells_what_it_has_cost(company: Office) -> None:
    """As the agent reports it, beside the attempts."""
    looping(company)
    shown = str(company.card().blocks)
    assert "no paper" in shown
    assert "0.15 in money and 1,200 tokens by the agent's own count" in shown


def test_an_approval_says_how_many_more_tries_and_what_it_was(company: Office) -> None:
    """In the modal that comes first; a number beyond the most is stopped by Slack's own client or
    by the service.
    """
    asked, amara = looping(company), company.people["amara"]
    assert company.slack.click(amara, company.card(), APPROVE).acked
    modal = company.slack.wait_view(amara)
    with pytest.raises(ClientRefusalError, match="not a whole number"):
        company.slack.submit(modal, {MORE: "1.5"})
    assert company.slack.submit(modal, {MORE: "7", LABEL: "not_a_loop"}).acked
    (decision,) = company.wait_decided(asked.request.id).decisions
    assert decision.loop == LoopAnswer(more=7, label=LoopLabel.NOT_A_LOOP)


def test_whoever_says_nothing_more_allows_what_the_policy_does(company: Office) -> None:
    """The fields may stay empty."""
    asked, amara = looping(company), company.people["amara"]
    company.slack.click(amara, company.card(), APPROVE)
    assert company.slack.submit(company.slack.wait_view(amara), {}).acked
    view = company.wait_decided(asked.request.id)
    assert view.outcome is not None
    assert (view.outcome.kind, view.decisions[0].loop) == (OutcomeKind.APPROVED, None)


def test_whoever_stops_the_run_may_freeze_its_agent(company: Office) -> None:
    """In the same modal as the reason."""
    asked, amara = looping(company), company.people["amara"]
    company.slack.click(amara, company.card(), REJECT)
    filled = {REASON_INPUT: "it wastes paper", LABEL: "harmful", FREEZE: "yes"}
    assert company.slack.submit(company.slack.wait_view(amara), filled).acked
    (decision,) = company.wait_decided(asked.request.id).decisions
    assert decision.loop == LoopAnswer(label=LoopLabel.HARMFUL, freeze=True)
    with pytest.raises(Frozen, match="Amara Obi"):
        company.propose("another")


@pytest.mark.parametrize(
    ("button", "kind"), [(SEND_BACK, OutcomeKind.SENT_BACK), (SKIP, OutcomeKind.REJECTED)]
)
def test_guidance_and_skipping_may_name_what_it_was(
    company: Office, button: str, kind: OutcomeKind
) -> None:
    """A label is a label whatever else is said."""
    asked, amara = looping(company), company.people["amara"]
    company.slack.click(amara, company.card(), button)
    filled = {REASON_INPUT: "buy paper", LABEL: "loop"}
    assert company.slack.submit(company.slack.wait_view(amara), filled).acked
    view = company.wait_decided(asked.request.id)
    assert view.outcome is not None
    assert view.outcome.kind is kind
    assert view.decisions[0].loop == LoopAnswer(label=LoopLabel.LOOP)


def test_what_nobody_may_allow_has_no_button(company: Office) -> None:
    """On the level above, where the policy allows no more tries; the card says why it is there."""
    asked, amara = looping(company), company.people["amara"]
    first = company.card()
    company.slack.click(amara, first, SEND_BACK)
    company.slack.submit(company.slack.wait_view(amara), {REASON_INPUT: "buy paper"})
    company.wait_decided(asked.request.id)
    again = failed(company, "note-4").view
    assert (again.request.purpose, again.request.evidence["level"]) == (Purpose.LOOP, 2)
    company.outbox.ring()
    card = company.slack.wait_for(
        lambda: None if company.card() is first else company.card(), "the next card"
    )
    assert card.has_button(SEND_BACK)
    assert not card.has_button(APPROVE)
    assert "Level 2: it came back after guidance by Amara Obi: buy paper" in str(card.blocks)


def test_a_question_about_no_loop_has_no_such_fields(company: Office) -> None:
    """A plain rejection asks for a reason and nothing else."""
    company.ask()
    amara = company.people["amara"]
    company.slack.click(amara, company.card(), REJECT)
    blocks = str(company.slack.wait_view(amara).body["blocks"])
    assert REASON_INPUT in blocks
    assert FREEZE not in blocks
    assert LABEL not in blocks
