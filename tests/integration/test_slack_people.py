"""Slack's side of who decides: delegations beside user groups, and clicks that are too little."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from gates.core.model import OutcomeKind
from integrations.slack.blocks import APPROVE, CHANGE
from tests.support.slack import TEAM, office, open_desk

SURE = ", assurance: inbox_session"
GROUPED = """
version: 1
groups: {ap: {for: pays, slack_group: S0PAYERS}, desk: On call}
people:
  - {id: amara, name: Amara Obi, slack: TEAM/U0AMARA}
  - {id: bruno, name: Bruno Paz, slack: TEAM/U0BRUNO}
  - {id: chen, name: Chen Wu, slack: TEAM/U0CHEN}
delegations:
  - {from: amara, to: chen, because: leave}
out_of_office:
  - {person: amara, from: 2020-01-01, until: 2100-01-01}
on_call:
  desk: {rota: [bruno, chen], starts: 2026-11-30T09:00, every: 7d}
""".replace("TEAM", TEAM)


def test_a_click_that_is_too_little_is_told_to_that_person_with_a_link(tmp_path: Path) -> None:
    """Nothing is recorded, no words are asked for, and the card says it beforehand."""
    with office(tmp_path, tier="high", more=SURE) as company, open_desk(company):
        asked = company.ask()
        amara, card = company.people["amara"], company.card()
        assert "Approving wants a log-in" in str(card.blocks)
        assert company.slack.click(amara, card, APPROVE).acked
        company.wait_settled()
        (told,) = company.slack.told(amara)
        assert "Amara Obi, this approval wants you to be logged in" in told
        assert f"/requests/{asked.request.id}" in told
        assert company.gates.view(asked.request.id).decisions == ()
        assert company.slack.click(amara, card, CHANGE).acked
        company.slack.wait_for(
            lambda: "wants you to be logged in" in str(company.slack.open_views(amara)),
            "the same words instead of a form",
        )


def test_a_delegate_decides_for_a_member_of_a_user_group(tmp_path: Path) -> None:
    """Slack says who is in the group, the people file who is away and who decides for them."""
    with office(tmp_path, quorum=2, people_file=GROUPED) as company:
        company.slack.add_user_group(
            company.people["amara"], company.people["bruno"], id="S0PAYERS"
        )
        with open_desk(company):
            asked = company.ask()
            wanted = asked.request.requirement
            assert wanted is not None
            assert wanted.people == {"chen": "Chen Wu for Amara Obi", "bruno": "Bruno Paz"}
            card = company.card()
            assert "Chen Wu for Amara Obi" in str(card.blocks)
            company.slack.click(company.people["chen"], card, APPROVE)
            company.wait_settled()
            company.slack.click(company.people["bruno"], company.card(), APPROVE)
            found = company.wait_decided(asked.request.id).outcome
            assert found is not None
            assert found.kind is OutcomeKind.APPROVED
            assert found.by == ("Chen Wu for Amara Obi", "Bruno Paz")
            card = company.card()
            assert "Chen Wu for Amara Obi" in str(card.blocks)


def test_a_group_on_call_beside_a_user_group(tmp_path: Path) -> None:
    """Whose turn it is does not depend on Slack."""
    with office(tmp_path, people_file=GROUPED) as company:
        first = datetime(2026, 12, 1, tzinfo=UTC)
        turns = [
            [one.id for one in company.directory.members(["desk"], now)]
            for now in (first, first + timedelta(days=7))
        ]
        assert turns == [["bruno"], ["chen"]]
