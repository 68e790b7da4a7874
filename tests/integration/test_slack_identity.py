"""Who it was: file, e-mail, user groups, look-alikes, and what the record keeps of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from gates.core.errors import InvalidInput, NotEntitled, RetryLater, SelfApproval, Unavailable
from gates.core.model import DecisionKind, RequestView
from gates.core.people import load_people
from gates.store.tables import CardRow, LogRow
from integrations.slack.blocks import APPROVE
from integrations.wiring import directory_of
from tests.support.slack import PEOPLE, TEAM, Office, office, open_desk
from tests.support.slack_server import User, UserGroup

# bruno and dana (for whom the agent acts) have no account in the file, only an address.
BY_EMAIL = f"""
version: 1
groups: {{ap: pays}}
people:
  - {{id: amara, name: Amara Obi, slack: {TEAM}/U0AMARA, groups: [ap]}}
  - {{id: bruno, name: Bruno Paz, email: Bruno@example.com, groups: [ap]}}
  - {{id: dana, name: Dana Ito, email: dana@example.com, slack: T0OTHER/U9, groups: [ap]}}
  - {{id: chen, name: Chen Wu, email: c.wu@example.com, slack: {TEAM}/U0CHEN, groups: [ap]}}
"""
BY_GROUP = f"""
version: 1
groups: {{ap: {{for: pays, slack_group: S0PAYERS}}}}
people:
  - {{id: amara, name: Amara Obi, slack: {TEAM}/U0AMARA}}
  - {{id: bruno, name: Bruno Paz, email: bruno@example.com}}
  - {{id: dana, name: Dana Ito, slack: {TEAM}/U0DANA}}
  - {{id: chen, name: Chen Wu, slack: {TEAM}/U0CHEN}}
"""


@pytest.fixture(params=["socket", "http"])
def company(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, mode=request.param) as opened, open_desk(opened):
        yield opened


@pytest.fixture
def mailing(tmp_path: Path) -> Iterator[Office]:
    with (
        office(tmp_path, people_file=BY_EMAIL, match_email=True) as opened,
        open_desk(opened),
    ):
        yield opened


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[tuple[Office, UserGroup]]:
    with office(tmp_path, people_file=BY_GROUP, match_email=True) as opened:
        names = ("amara", "bruno", "dana", "zoe")
        group = opened.slack.add_user_group(*(opened.people[name] for name in names), id="S0PAYERS")
        yield opened, group


def refused(company: Office, user: User) -> str:
    """Click, and return the one thing that this person alone is told."""
    company.slack.click(user, company.card(), APPROVE)
    told = company.slack.wait_told(user)
    others = [one for one in company.people.values() if one is not user]
    assert all(company.slack.told(one) == [] for one in others)
    assert company.gates.waiting()[0].decisions == ()
    return told


def decide(company: Office, asked: RequestView, person: str) -> RequestView:
    return company.gates.decide(
        asked.request.id,
        person_id=person,
        kind=DecisionKind.APPROVE,
        channel="inbox",
        assurance="session",
    )


def logged(company: Office, kind: str) -> list[LogRow]:
    with company.database.read() as session:
        return [
            row for row in session.exec(select(LogRow).order_by("seq")).all() if row.kind == kind
        ]


def test_the_record_says_who_where_how_and_what_they_saw(company: Office) -> None:
    """Ids of workspace, user and place, the transport, what Slack said when, and the card."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    asked = company.ask()
    company.slack.click(company.people["amara"], company.card(), APPROVE)
    decision = company.wait_decided(asked.request.id).decisions[0]
    with company.database.read() as session:
        drawn = session.exec(select(CardRow).where(CardRow.revision == 1)).one().body
    kept = dict(decision.verified_by)
    looked_at = datetime.fromisoformat(str(kept.pop("looked_at")))
    assert before <= looked_at <= datetime.now(UTC)
    assert decision.card_revision == 1
    assert kept == {
        "team": TEAM,
        "user": "U0AMARA",
        "found_by": "file",
        "flags": {
            "deleted": False,
            "is_bot": False,
            "is_restricted": False,
            "is_ultra_restricted": False,
            "is_stranger": False,
        },
        "transport": company.settings.mode,
        "place": company.channel.id,
        "card": f"sha256:{hashlib.sha256(drawn.encode()).hexdigest()}",
    }


def test_a_look_alike_is_nobody(company: Office) -> None:
    """Display name, real name and nearly the same address as an approver's: refused, and logged."""
    company.ask()
    amara = company.people["amara"]
    double = company.slack.add_user(amara.name, "\u0430mara@example.com", real_name=amara.real_name)
    company.channel.members.add(double.id)
    assert "belongs to no single person" in refused(company, double)
    assert [row.actor for row in logged(company, "click.refused")] == [f"slack:{TEAM}/{double.id}"]


def test_an_account_is_found_by_its_email_where_the_settings_say_so(mailing: Office) -> None:
    """Whatever its case; the record says that it was the e-mail, and does not keep it."""
    asked = mailing.ask()
    mailing.slack.click(mailing.people["bruno"], mailing.card(), APPROVE)
    decision = mailing.wait_decided(asked.request.id).decisions[0]
    assert (decision.person, decision.verified_by["found_by"]) == ("bruno", "email")
    assert "@" not in str(decision.verified_by)


def test_without_that_setting_an_email_names_nobody(tmp_path: Path) -> None:
    """It is a choice: members of some workspaces can change their address."""
    with office(tmp_path, people_file=BY_EMAIL) as company, open_desk(company):
        company.ask()
        assert "belongs to no single person" in refused(company, company.people["bruno"])


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("bruno", {"is_email_confirmed": False}, "belongs to no single person"),
        ("bruno", {"email": None}, "belongs to no single person"),
        ("bruno", {"email": "bruno@example.com.evil.test"}, "belongs to no single person"),
        ("bruno", {"deleted": True}, "deactivated"),
        ("bruno", {"is_restricted": True}, "Guests"),
        ("zoe", {"email": "c.wu@example.com"}, "belongs to no single person"),  # has an account
        ("amara", {"email": "bruno@example.com"}, "one person in the directory and its e-mail"),
    ],
)
def test_an_email_that_does_not_do(
    mailing: Office, name: str, changes: dict[str, object], sentence: str
) -> None:
    """Unconfirmed, hidden, foreign, a second account, of a guest or leaver, or of two people."""
    mailing.ask()
    user = mailing.people[name]
    for field, value in changes.items():
        setattr(user, field, value)
    assert sentence in refused(mailing, user)


def test_nobody_approves_for_their_own_agent_with_another_account(mailing: Office) -> None:
    """The agent acts for Dana of another workspace; her address here leads to the same person."""
    mailing.ask()
    assert "acts for you" in refused(mailing, mailing.people["dana"])


def test_two_entries_for_one_human_decide_nothing(tmp_path: Path) -> None:
    """File and e-mail name two persons: refused even where e-mails find nobody."""
    twice = PEOPLE + "  - {id: amara2, name: A. Obi, email: amara@example.com, groups: [ap]}\n"
    with office(tmp_path, people_file=twice) as company, open_desk(company):
        company.ask()
        assert "make them one" in refused(company, company.people["amara"])


def test_a_user_group_says_who_is_asked(grouped: tuple[Office, UserGroup]) -> None:
    """Its members as far as they are people: by account, by e-mail; strangers are left out."""
    company, _ = grouped
    asked = company.ask().request.requirement
    assert asked is not None
    assert asked.people == {"amara": "Amara Obi", "bruno": "Bruno Paz"}


def test_membership_is_looked_at_again_when_somebody_decides(
    grouped: tuple[Office, UserGroup],
) -> None:
    """Who has left the user group since they were asked is refused in Slack and elsewhere."""
    company, group = grouped
    asked = company.ask()
    with open_desk(company):
        card, amara = company.card(), company.people["amara"]
        group.members.remove(amara.id)
        company.directory.forget()
        company.slack.click(amara, card, APPROVE)
        assert "no longer in a group" in company.slack.wait_told(amara)
        with pytest.raises(NotEntitled, match="no longer in a group"):
            decide(company, asked, "amara")
        assert ['"not_entitled"' in row.body for row in logged(company, "decision.refused")] == [
            True,
            True,
        ]
        assert decide(company, asked, "bruno").outcome is not None


def test_self_approval_is_told_before_membership(grouped: tuple[Office, UserGroup]) -> None:
    """The person for whom the agent acts hears that, and Slack is not asked for it."""
    company, _ = grouped
    asked = company.ask()
    company.directory.forget()
    with pytest.raises(SelfApproval):
        decide(company, asked, "dana")
    assert len(company.slack.calls("usergroups.users.list")) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 503}, Unavailable),
        ({"kind": "ratelimited", "retry_after": 3}, RetryLater),
        ({"kind": "error", "error": "missing_scope"}, Unavailable),
        ({"kind": "drop"}, Unavailable),
    ],
)
def test_a_slack_that_cannot_be_asked_lets_nobody_decide(
    grouped: tuple[Office, UserGroup], fault: dict[str, object], error: type[Exception]
) -> None:
    """Nothing is guessed and nothing is lost: the same answer counts a moment later."""
    company, _ = grouped
    asked = company.ask()
    company.directory.forget()
    company.slack.fail_next("usergroups.users.list", **fault)  # type: ignore[arg-type]
    with pytest.raises(error):
        decide(company, asked, "bruno")
    assert company.gates.view(asked.request.id).decisions == ()
    company.directory.forget()
    assert decide(company, asked, "bruno").outcome is not None


def test_without_slack_a_question_is_not_put_and_can_be_a_moment_later(
    grouped: tuple[Office, UserGroup],
) -> None:
    """Whom to ask is not guessed: the flow is told to try again, and nothing is written."""
    company, _ = grouped
    company.slack.fail_next("usergroups.users.list", "status", status=503)
    with pytest.raises(Unavailable):
        company.ask()
    assert company.gates.waiting() == []
    company.directory.forget()
    assert company.ask().request.requirement is not None


def test_who_wait_for_a_look_that_fails_do_not_all_look_again(
    grouped: tuple[Office, UserGroup],
) -> None:
    """A Slack that is away costs one try at a time, however many ask."""
    company, _ = grouped
    company.slack.fail_next("usergroups.users.list", "status", status=503, times=8)

    def ask(_: int) -> type[Exception] | None:
        try:
            company.directory.members(["ap"])
        except Unavailable as error:
            return type(error)
        return None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [Unavailable] * 8
    assert sum(one.times for one in company.slack.space.faults) >= 5


def test_a_burst_asks_slack_once(grouped: tuple[Office, UserGroup]) -> None:
    """Slack allows few looks at a group: what it said holds for seconds."""
    company, _ = grouped
    for number in range(8):
        company.ask(f"pay-{number}")
    assert len(company.slack.calls("usergroups.users.list")) == 1
    assert len(company.slack.calls("users.info")) == 2  # bruno and zoe, whom no account names


def test_a_group_of_slacks_without_slack_is_told_at_the_start() -> None:
    """Not at the first question, which nobody could be asked."""
    people = load_people(BY_GROUP, "people.yaml")
    with pytest.raises(InvalidInput, match="group 'ap' has its members from Slack"):
        directory_of(people, None)
    listed = load_people(PEOPLE, "people.yaml")
    assert directory_of(listed, None) is listed
