"""People decide in Slack: both transports, the real bolt, the real service on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from gates.core.errors import InvalidInput, ReasonNeeded
from gates.core.model import DecisionKind, OutcomeKind
from gates.store.tables import ClickRow, LogRow
from integrations.slack.blocks import APPROVE, CHANGE, DETAILS, ESCALATE, REJECT, SEND_BACK
from integrations.slack.details import ON
from integrations.slack.forms import FIELD
from integrations.slack.modals import REASON_BLOCK, REASON_INPUT
from tests.support.slack import Office, office, open_desk
from tests.support.slack_server import ClientRefusalError
from tests.support.world import Clock


@pytest.fixture(params=["socket", "http"])
def company(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, mode=request.param) as opened, open_desk(opened):
        yield opened


@pytest.fixture
def two_needed(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, quorum=2) as opened, open_desk(opened):
        yield opened


def rows(company: Office, table: Any) -> list[Any]:
    with company.database.read() as session:
        return list(session.exec(select(table)).all())


def test_an_approver_clicks_and_the_card_says_so(company: Office) -> None:
    """Approve ends the request, names the person, and takes the buttons off the card."""
    asked = company.ask()
    click = company.slack.click(company.people["amara"], company.card(), APPROVE)
    assert click.acked
    assert click.error is None
    view = company.wait_decided(asked.request.id)
    assert view.outcome is not None
    assert (view.outcome.kind, view.outcome.by) == (OutcomeKind.APPROVED, ("Amara Obi",))
    decision = view.decisions[0]
    assert (decision.channel, decision.assurance, decision.card_revision) == ("slack", "slack", 1)
    kept = dict(decision.verified_by)
    assert (kept["transport"], kept["team"], kept["user"]) == (
        company.settings.mode,
        "T0SANDBOX",
        "U0AMARA",
    )
    assert company.slack.told(company.people["amara"]) == []


def test_a_rejection_asks_why_in_a_modal(company: Office) -> None:
    """Reject opens a modal; its reason ends the request and stands on the card."""
    asked = company.ask()
    amara = company.people["amara"]
    assert company.slack.click(amara, company.card(), REJECT).acked
    view = company.slack.wait_view(amara)
    with pytest.raises(ClientRefusalError):
        company.slack.submit(view, {})
    sent = company.slack.submit(view, {REASON_INPUT: "wrong <!channel> bank"})
    assert sent.acked
    assert sent.error is None
    assert not view.open
    outcome = company.wait_decided(asked.request.id).outcome
    assert outcome is not None
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REJECTED, "wrong <!channel> bank")
    assert "wrong <!channel> bank" in str(company.card().blocks)


def test_sending_back_asks_for_guidance_in_a_modal(company: Office) -> None:
    """The guidance ends the round and stands on the card; the next proposal's card tells it."""
    asked = company.ask()
    amara = company.people["amara"]
    assert company.slack.click(amara, company.card(), SEND_BACK).acked
    view = company.slack.wait_view(amara)
    blank = company.slack.submit(view, {REASON_INPUT: "   "})
    assert blank.field_errors == {REASON_BLOCK: "Please say what to do instead."}
    assert view.open
    sent = company.slack.submit(view, {REASON_INPUT: "half of <!channel> it"})
    assert (sent.acked, sent.error) == (True, None)
    found = company.wait_decided(asked.request.id)
    assert found.outcome is not None
    assert (found.outcome.kind, found.outcome.reason) == (
        OutcomeKind.SENT_BACK,
        "half of <!channel> it",
    )
    assert found.decisions[0].channel == "slack"
    first = company.card()
    assert "sent back via slack" in str(first.blocks)
    arguments = {"supplier": "Acme", "amount": "200.00"}
    again = company.propose(call=2, attempt_id="again", arguments=arguments).view.request
    company.slack.wait_for(lambda: company.card() is not first or None, "the next round's card")
    shown = str(company.card().blocks)
    assert again.round == 2
    assert "Round 1: sent back by Amara Obi: half of <!channel> it" in shown
    assert "amount: 505.75 -> 200.00" in shown


def test_sending_back_is_not_for_everybody(company: Office) -> None:
    """The one for whom the agent acts is refused alone, after the modal as after the button."""
    asked = company.ask()
    dana = company.people["dana"]
    company.slack.click(dana, company.card(), SEND_BACK)
    company.slack.submit(company.slack.wait_view(dana), {REASON_INPUT: "do it my way"})
    assert "acts for you" in company.slack.wait_told(dana)
    assert company.gates.view(asked.request.id).decisions == ()


def test_a_change_in_the_inbox_reaches_the_cards(two_needed: Office) -> None:
    """The old card says who changed what; the new round has a card of its own."""
    company = two_needed
    asked = company.ask()
    first = company.card()
    company.gates.decide(
        asked.request.id,
        person_id="bruno",
        kind=DecisionKind.APPROVE_WITH_CHANGES,
        channel="inbox",
        assurance="session",
        changes={"supplier": "Acme", "amount": "300.00"},
    )
    company.slack.wait_for(lambda: first.edits or None, "the change on the old card")
    assert "Changed by Bruno Paz" in str(first.blocks)
    assert "amount: 505.75 -> 300.00" in str(first.blocks)
    assert not first.has_button(APPROVE)
    company.slack.wait_for(lambda: company.card() is not first or None, "the new round's card")
    assert company.card().has_button(APPROVE)
    assert "changed by Bruno Paz" in str(company.card().blocks)


def test_a_reason_of_blanks_is_sent_back_to_the_field(company: Office) -> None:
    """Blanks are no reason: the modal stays open and says so at the field."""
    asked = company.ask()
    amara = company.people["amara"]
    company.slack.click(amara, company.card(), REJECT)
    view = company.slack.wait_view(amara)
    sent = company.slack.submit(view, {REASON_INPUT: "   "})
    assert sent.field_errors == {REASON_BLOCK: "Please say why."}
    assert view.open
    assert company.gates.view(asked.request.id).outcome is None


@pytest.mark.parametrize(
    ("name", "flags", "sentence"),
    [
        ("zoe", {}, "belongs to no single person"),
        ("gus", {}, "Guests of this Slack workspace cannot decide"),
        ("chen", {}, "not among"),
        ("dana", {}, "acts for you"),
        ("bruno", {"deleted": True}, "deactivated"),
        ("bruno", {"is_bot": True}, "Apps cannot decide"),
        ("bruno", {"is_stranger": True}, "other organizations"),
        ("bruno", {"is_ultra_restricted": True}, "Guests"),
    ],
)
def test_whoever_may_not_decide_is_told_so_alone(
    company: Office, name: str, flags: dict[str, bool], sentence: str
) -> None:
    """Strangers, guests, bots, leavers, the requester and others are refused in private."""
    asked = company.ask()
    user = company.people[name]
    card = company.card()
    for flag, value in flags.items():
        setattr(user, flag, value)
    assert company.slack.click(user, card, APPROVE).acked
    told = company.slack.wait_told(user)
    assert sentence in told
    assert told.endswith(".")
    assert told.count(". ") == 0
    view = company.gates.view(asked.request.id)
    assert view.decisions == ()
    assert view.outcome is None
    others = [one for one in company.people.values() if one is not user]
    assert all(company.slack.told(one) == [] for one in others)
    assert len(company.slack.messages(company.channel)) == 1


def test_a_foreign_workspace_is_refused_even_with_a_known_user_id(company: Office) -> None:
    """The workspace counts: the same user id from elsewhere is somebody else."""
    asked = company.ask()
    amara = company.people["amara"]
    foreign = {"id": amara.id, "username": "amara", "name": "amara", "team_id": "T0ELSEWHERE"}
    company.slack.click(amara, company.card(), APPROVE, replace={"user": foreign})
    assert "workspace" in company.slack.wait_told(amara)
    assert company.gates.view(asked.request.id).decisions == ()


def test_an_org_wide_install_sends_no_team(company: Office) -> None:
    """`team: null` does not matter: the person's own workspace is in `user`."""
    asked = company.ask()
    company.slack.click(company.people["amara"], company.card(), APPROVE, replace={"team": None})
    assert company.wait_decided(asked.request.id).outcome is not None


def test_a_double_click_decides_once(company: Office) -> None:
    """Two clicks make one decision, and nobody is told anything."""
    asked = company.ask()
    amara, card = company.people["amara"], company.card()
    clicks = [company.slack.click_payload(amara, card, APPROVE) for _ in range(2)]
    assert all(company.slack.deliver(one).acked for one in clicks)
    company.wait_settled()
    assert len(company.wait_decided(asked.request.id).decisions) == 1
    assert company.slack.told(amara) == []


def test_a_click_on_a_decided_card_is_explained(company: Office) -> None:
    """Somebody whose screen still shows buttons learns who decided what, and when; whatever they
    press, no modal opens."""
    asked = company.ask()
    card = company.card()
    company.slack.click(company.people["amara"], card, APPROVE)
    company.wait_decided(asked.request.id)
    bruno = company.people["bruno"]
    for number, pressed in enumerate((APPROVE, REJECT, SEND_BACK, CHANGE), 1):
        company.slack.click(bruno, card, pressed, version=0)
        told = company.slack.wait_told(bruno, number)
        assert told.startswith("Approved by Amara Obi, <!date^")
        assert "Your click has changed nothing. <http://gates.test/requests/" in told
    assert company.slack.open_views(bruno) == []
    view = company.gates.view(asked.request.id)
    assert [one.person for one in view.decisions] == ["amara"]
    assert company.slack.told(company.people["amara"]) == []


def test_who_may_not_decide_is_not_told_how_it_ended(company: Office) -> None:
    """An old card is explained to people of the directory alone."""
    asked = company.ask()
    card = company.card()
    company.slack.click(company.people["amara"], card, APPROVE)
    company.wait_decided(asked.request.id)
    zoe = company.people["zoe"]
    company.slack.click(zoe, card, REJECT, version=0)
    assert "belongs to no single person" in company.slack.wait_told(zoe)


def test_a_click_on_the_card_of_an_earlier_round_leads_to_the_next(company: Office) -> None:
    """Who sent it back, why, and a link to the round that is open."""
    company.ask()
    card, amara, bruno = company.card(), company.people["amara"], company.people["bruno"]
    company.slack.click(amara, card, SEND_BACK)
    company.slack.submit(company.slack.wait_view(amara), {REASON_INPUT: "half <@U0ZOE> of it"})
    company.slack.wait_for(lambda: card.edits or None, "the outcome on the card")
    arguments = {"supplier": "Acme", "amount": "200.00"}
    again = company.propose(call=2, attempt_id="again", arguments=arguments).view
    company.slack.click(bruno, card, APPROVE, version=0)
    told = company.slack.wait_told(bruno)
    assert told.startswith("Sent back by Amara Obi, ")
    assert ": half &lt;@U0ZOE&gt; of it. Your click has changed nothing." in told
    assert told.endswith(f"<{again.url}|Round 2 is open>.")
    assert company.gates.view(again.request.id).decisions == ()


def test_a_click_on_a_withdrawn_card_is_explained(company: Office) -> None:
    """Who took it back, and why."""
    asked = company.ask()
    card = company.card()
    company.gates.withdraw(asked.request.id, "Olga Admin", "asked twice")
    company.slack.wait_for(lambda: card.edits or None, "the outcome on the card")
    bruno = company.people["bruno"]
    company.slack.click(bruno, card, REJECT, version=0)
    told = company.slack.wait_told(bruno)
    assert told.startswith("Withdrawn by Olga Admin, ")
    assert ": asked twice. " in told


def test_a_click_after_the_deadline_is_explained(tmp_path: Path) -> None:
    """The first click finds the deadline passed, opens nothing, and does not decide; nor does the
    next, which finds it expired."""
    clock = Clock(datetime.now(UTC))
    # without a reminder: whether one comes between depends on the hour of the day
    with office(tmp_path, tier="high", clock=clock, remind=0) as company, open_desk(company):
        asked = company.ask()
        card, bruno = company.card(), company.people["bruno"]
        clock.advance(hours=5)
        company.slack.click(bruno, card, REJECT)
        assert "The deadline has passed (" in company.slack.wait_told(bruno)
        company.slack.click(bruno, card, APPROVE)
        told = company.slack.wait_told(bruno, 2)
        assert told.startswith("This has expired, ")
        assert "nobody decided in time. Your click has changed nothing." in told
        assert company.slack.open_views(bruno) == []
        view = company.gates.view(asked.request.id)
    assert view.decisions == ()
    assert view.outcome is not None
    assert view.outcome.kind is OutcomeKind.EXPIRED


def test_anothers_approval_does_not_make_a_card_stale(two_needed: Office) -> None:
    """Who clicks the card as it was before the first of two approvals approves the same."""
    company = two_needed
    asked = company.ask()
    card = company.card()
    company.slack.click(company.people["amara"], card, APPROVE)
    company.slack.wait_for(lambda: card.edits or None, "the first approval on the card")
    assert "approved via slack" in str(card.blocks)
    bruno = company.people["bruno"]
    company.slack.click(bruno, card, APPROVE, version=0)
    view = company.wait_decided(asked.request.id)
    assert view.outcome is not None
    assert view.outcome.kind is OutcomeKind.APPROVED
    assert [one.card_revision for one in view.decisions] == [1, 1]
    assert company.slack.told(bruno) == []


def test_a_stale_card_does_not_decide(company: Office) -> None:
    """A card from before the store was restored is refused, whatever has happened since."""
    asked = company.ask()
    card = company.card()
    with company.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE request SET revision = revision + 10000")
    bruno = company.people["bruno"]
    company.slack.click(bruno, card, APPROVE)
    assert "changed since you opened it: look again" in company.slack.wait_told(bruno)
    assert company.gates.view(asked.request.id).decisions == ()


def test_a_decision_made_elsewhere_reaches_the_card(company: Office) -> None:
    """A decision in the inbox takes the buttons off the card too."""
    asked = company.ask()
    company.card()
    company.gates.decide(
        asked.request.id,
        person_id="bruno",
        kind=DecisionKind.REJECT,
        reason="no order",
        channel="inbox",
        assurance="session",
    )
    company.wait_decided(asked.request.id)
    shown = str(company.card().blocks)
    assert "rejected via inbox" in shown
    assert "no order" in shown


def test_a_forged_button_names_nothing(company: Office) -> None:
    """A token that was never issued is refused in private."""
    company.ask()
    amara, card = company.people["amara"], company.card()
    payload = company.slack.click_payload(amara, card, APPROVE)
    payload["actions"][0]["value"] = "guessed"
    company.slack.deliver(payload)
    assert "no request" in company.slack.wait_told(amara)


def test_clicks_are_stored_without_secrets_and_settled(company: Office) -> None:
    """The raw click is kept, without what lets others speak for us, and settled in the end."""
    asked = company.ask()
    company.slack.click(company.people["amara"], company.card(), APPROVE)
    company.wait_decided(asked.request.id)
    click = rows(company, ClickRow)[0]
    assert click.source == "slack"
    assert "response_url" not in click.payload
    assert "U0AMARA" in click.payload


def test_a_refused_identity_is_in_the_log(company: Office) -> None:
    """Who was turned away is recorded with workspace and user."""
    asked = company.ask()
    zoe = company.people["zoe"]
    company.slack.click(zoe, company.card(), APPROVE)
    company.slack.wait_told(zoe)
    entries = [row for row in rows(company, LogRow) if row.kind == "click.refused"]
    assert [(row.actor, row.subject) for row in entries] == [
        ("slack:T0SANDBOX/U0ZOE", asked.request.id)
    ]


def test_a_person_outside_the_channel_is_told_directly(company: Office) -> None:
    """Where an ephemeral cannot be shown, the word goes to the person's direct messages."""
    company.ask()
    zoe, card = company.people["zoe"], company.card()
    payload = company.slack.click_payload(zoe, card, APPROVE)
    company.channel.members.discard(zoe.id)
    company.slack.deliver(payload)
    company.slack.wait_told(zoe)
    assert len(company.slack.direct_messages(zoe)) == 1


def test_slack_is_asked_again_when_it_is_busy(company: Office) -> None:
    """A 429 on users.info delays the decision by what Slack asks, and no more."""
    asked = company.ask()
    company.slack.fail_next("users.info", "ratelimited", retry_after=1)
    company.slack.click(company.people["amara"], company.card(), APPROVE)
    assert company.wait_decided(asked.request.id).outcome is not None


def test_without_an_answer_about_the_person_nothing_is_decided(company: Office) -> None:
    """A Slack that cannot say who the person is now: no decision, and they are told."""
    asked = company.ask()
    amara = company.people["amara"]
    company.slack.fail_next("users.info", "status", times=50)  # messages ask as well
    company.slack.click(amara, company.card(), APPROVE)
    assert "does not answer" in company.slack.wait_told(amara)
    assert company.gates.view(asked.request.id).decisions == ()


def test_a_modal_that_came_too_late_asks_for_another_click(company: Office) -> None:
    """An expired trigger is explained instead of nothing happening."""
    company.ask()
    amara, card = company.people["amara"], company.card()
    payload = company.slack.click_payload(amara, card, REJECT)
    payload["trigger_id"] = "TR1.unknown"
    company.slack.deliver(payload)
    assert "click the button again" in company.slack.wait_told(amara)


def test_a_click_that_was_stored_and_not_worked_on_survives(tmp_path: Path) -> None:
    """What an earlier process acknowledged and did not finish is decided at the next start."""
    with office(tmp_path) as company:
        asked = company.ask()
        payload = company.slack.click_payload(company.people["amara"], company.card(), APPROVE)
        company.cards.record_click("slack", payload)
        with open_desk(company):
            view = company.wait_decided(asked.request.id)
    assert [one.person for one in view.decisions] == ["amara"]


def test_what_cannot_be_stored_is_not_acknowledged(tmp_path: Path) -> None:
    """Without a database the person sees that the click failed, and can click again."""
    with office(tmp_path) as company, open_desk(company):
        company.slack.space.limits.ack = 1.0
        asked = company.ask()
        card = company.card()
        with company.database.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE click RENAME TO gone")
        assert not company.slack.click(company.people["amara"], card, APPROVE).acked
        with company.database.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO click")
        assert company.slack.click(company.people["amara"], card, APPROVE).acked
        assert company.wait_decided(asked.request.id).outcome is not None


def test_details_open_in_pages_for_people_of_the_directory(company: Office) -> None:
    """Everything that is known, page by page; the pages replace each other in one modal."""
    company.ask(claims={"letter": "words, " * 10_000})
    amara = company.people["amara"]
    assert company.slack.click(amara, company.card(), DETAILS).acked
    view = company.slack.wait_view(amara)
    company.slack.wait_for(lambda: "Page 1 of" in str(view.body) or None, "the first page")
    assert "Fingerprint" in str(view.body)
    assert company.slack.press(view, ON).acked
    company.slack.wait_for(lambda: "Page 2 of" in str(view.body) or None, "the second page")
    assert company.slack.open_views(amara) == [view]
    assert company.slack.told(amara) == []


def test_details_are_not_for_strangers(company: Office) -> None:
    """Who is not in the directory reads why in the modal, and nothing of the request."""
    asked = company.ask(claims={"secret": "to the house"})
    zoe = company.people["zoe"]
    company.slack.click(zoe, company.card(), DETAILS)
    view = company.slack.wait_view(zoe)
    company.slack.wait_for(lambda: "no single person" in str(view.body) or None, "the refusal")
    assert "to the house" not in str(view.body)
    entries = [row for row in rows(company, LogRow) if row.kind == "click.refused"]
    assert [row.subject for row in entries] == [asked.request.id]


@pytest.fixture
def careful(tmp_path: Path) -> Iterator[Office]:
    more = ", escalate_to: [others]"
    with office(tmp_path, tier="expert", more=more) as opened, open_desk(opened):
        yield opened


def test_what_weighs_much_is_shown_once_more_and_wants_a_reason(careful: Office) -> None:
    """Approve opens a modal that repeats amount, payee and action; a blank reason stays there."""
    asked = careful.ask()
    amara = careful.people["amara"]
    assert careful.slack.click(amara, careful.card(), APPROVE).acked
    view = careful.slack.wait_view(amara)
    for part in ("Acme", "erp.payment.submit", "Pay Acme 505.75 EUR", "Tier expert"):
        assert part in str(view.body), part
    assert careful.gates.view(asked.request.id).decisions == ()
    with pytest.raises(ClientRefusalError):
        careful.slack.submit(view, {})
    blank = careful.slack.submit(view, {REASON_INPUT: "  "})
    assert blank.field_errors == {REASON_BLOCK: "This approval counts only with a reason."}
    assert careful.slack.submit(view, {REASON_INPUT: "the order is mine"}).error is None
    found = careful.wait_decided(asked.request.id).outcome
    assert found is not None
    assert (found.kind, found.reason) == (OutcomeKind.APPROVED, "the order is mine")


def test_an_approval_of_weight_without_a_reason_is_refused_everywhere(careful: Office) -> None:
    """Whatever a surface lets through, the service says what is missing."""
    asked = careful.ask()
    with pytest.raises(ReasonNeeded, match="reason is empty"):
        careful.gates.decide(
            asked.request.id,
            person_id="amara",
            kind=DecisionKind.APPROVE,
            channel="cli",
            assurance="session",
        )
    assert careful.gates.view(asked.request.id).decisions == ()


def test_an_escalation_asks_more_people(careful: Office) -> None:
    """Chen is no approver until Amara escalates; the card says so and loses that button."""
    asked = careful.ask()
    amara, chen = careful.people["amara"], careful.people["chen"]
    card = careful.card()
    assert careful.slack.click(amara, card, ESCALATE).acked
    view = careful.slack.wait_view(amara)
    assert "Asked as well: Chen Wu" in str(view.body)
    assert careful.slack.submit(view, {REASON_INPUT: "above my head"}).error is None
    careful.slack.wait_for(lambda: card.edits or None, "the escalation on the card")
    assert "escalated via slack" in str(card.blocks)
    assert "Chen Wu" in str(card.blocks)
    assert not card.has_button(ESCALATE)
    careful.slack.click(chen, card, APPROVE)
    careful.slack.submit(careful.slack.wait_view(chen), {REASON_INPUT: "known to me"})
    outcome = careful.wait_decided(asked.request.id).outcome
    assert outcome is not None
    assert outcome.by == ("Chen Wu",)


def test_a_second_escalation_from_an_old_card_is_explained(careful: Office) -> None:
    """It opens no modal: who has escalated, and who decides; who did so hears nothing."""
    careful.ask()
    amara, bruno, card = careful.people["amara"], careful.people["bruno"], careful.card()
    careful.slack.click(amara, card, ESCALATE)
    careful.slack.submit(careful.slack.wait_view(amara), {REASON_INPUT: "above my head"})
    careful.slack.wait_for(lambda: card.edits or None, "the escalation on the card")
    for one in (amara, bruno):
        careful.slack.click(one, card, ESCALATE, version=0)
    told = careful.slack.wait_told(bruno)
    assert told.startswith("Amara Obi has escalated this already: Amara Obi, ")
    assert "Chen Wu decide. Your click has changed nothing." in told
    careful.wait_settled()
    assert careful.slack.told(amara) == []
    assert careful.slack.open_views(bruno) == careful.slack.open_views(amara) == []


def test_without_anybody_to_escalate_to_there_is_no_button(company: Office) -> None:
    """A policy that names nobody leaves the button out, and the service says why."""
    asked = company.ask()
    assert not company.card().has_button(ESCALATE)
    with pytest.raises(InvalidInput, match="names nobody to escalate this to"):
        company.gates.decide(
            asked.request.id,
            person_id="amara",
            kind=DecisionKind.ESCALATE,
            reason="x",
            channel="cli",
            assurance="session",
        )


def test_approving_with_changes_asks_for_what_was_changed(company: Office) -> None:
    """The modal has a field for each argument; the changed action is the next round."""
    asked = company.ask()
    amara, card = company.people["amara"], company.card()
    assert company.slack.click(amara, card, CHANGE).acked
    view = company.slack.wait_view(amara)
    company.slack.wait_for(lambda: "505.75" in str(view.body) or None, "the form")
    same = company.slack.submit(view, {})
    assert same.field_errors is not None
    assert "nothing differs" in same.field_errors[REASON_BLOCK]
    assert view.open
    done = company.slack.submit(view, {f"{FIELD}1": "300.00", REASON_INPUT: "half of it"})
    assert (done.acked, done.error, done.field_errors) == (True, None, None)
    company.slack.wait_for(lambda: card.edits or None, "the change on the old card")
    assert "amount: 505.75 -> 300.00" in str(card.blocks)
    decision = company.gates.view(asked.request.id).decisions[0]
    assert decision.kind is DecisionKind.APPROVE_WITH_CHANGES
    assert decision.changes == {"supplier": "Acme", "amount": "300.00"}
    assert decision.reason == "half of it"


def test_a_change_by_whom_it_does_not_concern_shows_nothing(company: Office) -> None:
    """Who is not asked reads that, and none of the values."""
    company.ask()
    chen = company.people["chen"]
    company.slack.click(chen, company.card(), CHANGE)
    view = company.slack.wait_view(chen)
    company.slack.wait_for(lambda: "not among those asked" in str(view.body) or None, "the word")
    assert "505.75" not in str(view.body)
