"""Several clicks at the same moment, on SQLite and on PostgreSQL: one outcome, no false error."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gates.core.model import OutcomeKind
from gates.store.database import Database
from integrations.slack.blocks import APPROVE, REJECT, SEND_BACK
from integrations.slack.modals import REASON_INPUT
from tests.support.slack import Office, office, open_desk

ROUNDS = 8  # of each race, each on a request of its own


@pytest.fixture
def company(database: Database, tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, mode="http", store=database) as opened, open_desk(opened):
        yield opened


@pytest.fixture
def two_needed(database: Database, tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, mode="http", quorum=2, store=database) as opened, open_desk(opened):
        yield opened


def at_once(company: Office, payloads: list[Mapping[str, Any]]) -> None:
    """Deliver all of them together; returns once each has been worked on."""
    barrier = threading.Barrier(len(payloads))

    def deliver(payload: Mapping[str, Any]) -> bool:
        barrier.wait()
        return company.slack.deliver(dict(payload)).acked

    with ThreadPoolExecutor(len(payloads)) as threads:
        assert all(threads.map(deliver, payloads))
    company.wait_settled()


def words(company: Office) -> list[tuple[str, str]]:
    """Name and text of what was said about a click; how it ended the requester hears otherwise."""
    people = company.people.items()
    return [(name, said.text) for name, one in people for said in company.slack.ephemerals(one)]


def modal(company: Office, name: str, button: str, card: Any) -> Mapping[str, Any]:
    """What this person's modal sends, filled in and not yet sent."""
    person = company.people[name]
    company.slack.click(person, card, button)
    view = company.slack.wait_view(person)
    view.open = True
    payload = company.slack.submit_payload(view, person, {REASON_INPUT: f"says {name}"})
    view.open = False
    return payload


def test_two_people_approve_at_once_and_both_count(two_needed: Office) -> None:
    """Of two who are needed neither is told that something has changed: they approve the same."""
    company = two_needed
    for number in range(ROUNDS):
        asked = company.ask(
            f"pay-{number}", arguments={"supplier": "Acme", "amount": f"{number}.00"}
        )
        company.slack.wait_for(
            lambda n=number: len(company.slack.messages(company.channel)) > n, "the card"
        )
        card = company.card()
        at_once(
            company,
            [
                company.slack.click_payload(company.people[name], card, APPROVE)
                for name in ("amara", "bruno")
            ],
        )
        view = company.gates.view(asked.request.id)
        assert view.outcome is not None
        assert view.outcome.kind is OutcomeKind.APPROVED
        assert {one.person for one in view.decisions} == {"amara", "bruno"}
        assert [one.card_revision for one in view.decisions] == [1, 1]
    assert words(company) == []


def test_one_person_clicks_many_times_at_once(two_needed: Office) -> None:
    """One decision, and no word about it, whether it settles the request or not."""
    company = two_needed
    asked, card = company.ask(), company.card()
    for count, name in enumerate(("amara", "bruno"), 1):
        clicks = [
            company.slack.click_payload(company.people[name], card, APPROVE, version=0)
            for _ in range(5)
        ]
        at_once(company, clicks)
        assert len(company.gates.view(asked.request.id).decisions) == count
    assert words(company) == []


def test_approve_and_reject_at_once_give_one_outcome(company: Office) -> None:
    """Whoever was first has decided; the other hears who that was, and the first hears nothing."""
    for number in range(ROUNDS):
        asked = company.ask(
            f"pay-{number}", arguments={"supplier": "Acme", "amount": f"{number}.00"}
        )
        company.slack.wait_for(
            lambda n=number: len(company.slack.messages(company.channel)) > n, "the card"
        )
        card = company.card()
        approval = company.slack.click_payload(company.people["amara"], card, APPROVE)
        rejection = modal(company, "bruno", REJECT, card)
        before = set(words(company))
        at_once(company, [approval, rejection])
        view = company.gates.view(asked.request.id)
        (first,) = view.decisions
        assert view.outcome is not None
        ((loser, told),) = set(words(company)) - before
        how = {"bruno": "Approved by Amara Obi, ", "amara": "Rejected by Bruno Paz, "}
        assert {first.person, loser} == {"amara", "bruno"}
        assert told.startswith(how[loser])
        assert asked.request.id in told


def test_the_same_word_of_one_person_from_two_modals(company: Office) -> None:
    """Somebody who sends the modal twice has sent it back once, and hears nothing."""
    asked, card = company.ask(), company.card()
    sent = modal(company, "amara", SEND_BACK, card)
    at_once(company, [sent, dict(sent), dict(sent)])
    view = company.gates.view(asked.request.id)
    assert [(one.person, one.reason) for one in view.decisions] == [("amara", "says amara")]
    assert words(company) == []
