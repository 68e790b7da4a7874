"""Answers beside yes and no on the pages: send back, approve with changes, one of each group.

First by plain HTTP, filling the forms that the pages show; then in a browser.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from lxml import html

from gates.core.messages import AttemptReport
from gates.core.model import DecisionKind, OutcomeKind, Standing
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from tests.support.browser import DESKTOP, PHONE, chromium, enter, free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.world import POLICY, World

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LogIn = Callable[..., httpx.Client]
LARGE = "20000.00"
HUGE = "2000000.00"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    yield World(database)
    database.close()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serving(create_app(world.gates, world.work, world.access, Waiters()), free_socket()) as at:
        yield at


@pytest.fixture
def log_in(world: World, url: str) -> Iterator[LogIn]:
    with contextlib.ExitStack() as clients:

        def enter_as(person: str = "dana") -> httpx.Client:
            client = clients.enter_context(httpx.Client(base_url=url))
            assert client.post(f"/login/{world.access.create_link(person)}").status_code == 303
            return client

        yield enter_as


@pytest.fixture
def large(world: World) -> str:
    """Two controllers have to agree."""
    return str(world.propose(LARGE).view.request.id)


def fields(page: str, action: str, decision: str = "") -> dict[str, str]:
    """What the page's form would send, untouched."""
    for form in html.fromstring(page).xpath(f'//form[@action="{action}"]'):
        found = {name: (value or "").removeprefix("\n") for name, value in form.fields.items()}
        if found.get("decision", "") == decision:
            return found
    raise AssertionError(f"no form {decision!r} to {action}")


def send(
    client: httpx.Client, request_id: str, end: str, decision: str = "", **changes: str
) -> httpx.Response:
    """Open the page of the form, fill in `changes`, send it."""
    path = f"/requests/{request_id}"
    page = client.get(f"{path}/change" if end == "change" else path).text
    filled = fields(page, f"{path}/{end}", decision)
    named = {
        name if name in filled else f"arguments.{name}": text for name, text in changes.items()
    }
    assert named.keys() <= filled.keys()
    return client.post(f"{path}/{end}", data=filled | named)


def shown(page: str) -> str:
    return " ".join(html.fromstring(page).text_content().split())


# -- send back ----------------------------------------------------------------------------


def test_sending_back_records_the_guidance(log_in: LogIn, world: World, large: str) -> None:
    """The answer is confirmed, stands on the page, and is what the flow is told."""
    client = log_in()
    answer = send(client, large, "decision", "send_back", reason="split it\r\nby invoice")
    assert answer.status_code == 303
    page = shown(client.get(answer.headers["location"]).text)
    assert "Your guidance is recorded" in page
    assert "Sent back by Dana Okafor" in page
    assert world.propose(LARGE).standing is Standing.SENT_BACK
    (recorded,) = world.gates.view(large).decisions
    assert (recorded.kind, recorded.reason) == (DecisionKind.SEND_BACK, "split it\nby invoice")
    assert "Sent back" in shown(client.get("/?state=ended").text)


def test_sending_back_without_guidance_changes_nothing(
    log_in: LogIn, world: World, large: str
) -> None:
    """The refusal says what is missing, and the field is still there."""
    answer = send(log_in(), large, "decision", "send_back", reason="  ")
    assert answer.status_code == 422
    assert "guidance" in answer.text
    assert world.gates.view(large).outcome is None


def test_guidance_that_is_refused_stays_in_its_own_field(log_in: LogIn, large: str) -> None:
    """Not in the field for a rejection."""
    answer = send(log_in(), large, "decision", "send_back", reason="smaller", revision="99")
    assert answer.status_code == 409
    action = f"/requests/{large}/decision"
    assert fields(answer.text, action, "send_back")["reason"] == "smaller"
    assert fields(answer.text, action, "reject")["reason"] == ""


def test_the_next_round_says_what_came_before(log_in: LogIn, world: World, large: str) -> None:
    """How the last round ended, in whose words, and what the agent made of it."""
    world.decide(large, "mika", "send_back", "half of it")
    second = world.propose("12000.00", call=2).view.request.id
    page = shown(log_in().get(f"/requests/{second}").text)
    assert "Since round 1 Round 1: sent back by Mika Lindqvist: half of it" in page
    assert "amount: 20000.00 -> 12000.00" in page
    assert "An approval holds for 1 day" in page


# -- approve with changes -----------------------------------------------------------------


def test_a_change_leads_to_the_round_that_asks_for_it(
    log_in: LogIn, world: World, large: str
) -> None:
    """The changer lands on the new round, which counts them and tells what was changed."""
    client = log_in()
    answer = send(client, large, "change", amount="12000.00", reason="partial delivery")
    assert answer.status_code == 303
    second = world.gates.rounds(large)[-1].request.id
    assert answer.headers["location"].startswith(f"/requests/{second}?")
    page = shown(client.get(answer.headers["location"]).text)
    assert "Your changes are asked as this new round. Your approval counts for it" in page
    assert "Since round 1 Round 1: changed by Dana Okafor" in page
    assert "1 of 2 agreed" in page
    assert "12,000.00 EUR" in page
    first = shown(client.get(f"/requests/{large}").text)
    assert "Changed by Dana Okafor" in first
    assert "Amount: 20000.00 → 12000.00" in first
    assert "Go to round 2" in first
    assert "partial delivery" in first
    listed = shown(client.get("/?state=ended").text)
    assert "Changed by Dana Okafor" in listed


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"amount": "lots"}, 422, "Input should be a valid decimal"),
        ({"amount": LARGE, "payee": "acme"}, 422, "nothing differs"),
        ({"amount": "1.00", "revision": "99"}, 409, "changed since"),
        ({"amount": "1.00", "csrf": "forged"}, 403, "another log-in"),
        ({"amount": "1.00", "reason": "x" * 2_001}, 422, "shorten it"),
    ],
)
def test_a_refused_change_changes_nothing_and_loses_nothing(
    log_in: LogIn, world: World, large: str, changes: dict[str, str], status: int, words: str
) -> None:
    """What was typed is still in the form; the question is still open."""
    answer = send(log_in(), large, "change", **({"payee": "other & <b>"} | changes))
    assert answer.status_code == status
    assert words in shown(answer.text)
    kept = fields(answer.text, f"/requests/{large}/change")
    assert kept["arguments.amount"] == changes["amount"]
    assert kept["arguments.payee"] == changes.get("payee", "other & <b>")
    assert len(world.gates.rounds(large)) == 1
    assert world.gates.view(large).decisions == ()


def test_the_schemas_words_stand_at_the_field(log_in: LogIn, large: str) -> None:
    """The field that does not fit is marked, and its words belong to it."""
    page = html.fromstring(send(log_in(), large, "change", amount="lots").text)
    (wrong,) = page.xpath('//*[@aria-invalid="true"]')
    assert wrong.get("name") == "arguments.amount"
    told = wrong.get("aria-describedby").split()[0]
    assert "valid decimal" in page.get_element_by_id(told).text_content()


def test_who_may_not_change_is_led_to_where_it_says_why(
    log_in: LogIn, world: World, large: str
) -> None:
    """Neither the one whom the agent acts for, nor somebody who is not asked, nor afterwards."""
    for person in ("sam", "tess"):
        answer = log_in(person).get(f"/requests/{large}/change")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{large}")
        assert "Approve with changes" not in log_in(person).get(f"/requests/{large}").text
    client = log_in()
    page = client.get(f"/requests/{large}/change").text
    world.decide(large, "mika", "reject", "no")
    filled = fields(page, f"/requests/{large}/change") | {"arguments.amount": "1.00"}
    late = client.post(f"/requests/{large}/change", data=filled)
    assert late.status_code == 409
    assert "What you had typed" in late.text
    assert "1.00" in late.text
    assert "Approve with these changes" not in late.text


def test_a_session_that_ends_while_changing_does_not_lose_the_text(
    log_in: LogIn, world: World, large: str
) -> None:
    """What was typed is on the page that asks for a log-in."""
    client = log_in()
    filled = fields(client.get(f"/requests/{large}/change").text, f"/requests/{large}/change")
    world.clock.advance(hours=13)
    answer = client.post(f"/requests/{large}/change", data=filled | {"arguments.amount": "7.77"})
    assert answer.status_code == 401
    assert "7.77" in answer.text


def test_what_may_have_happened_is_neither_changed_nor_sent_back(
    log_in: LogIn, world: World
) -> None:
    """In doubt the page offers yes and no, and the form's address leads back."""
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    world.till.reachable = False
    lost = AttemptReport(state="in_doubt", fence=job.grant.fence, error="the line went dead")
    world.work.report(world.executor, job.grant.attempt_id, lost)
    world.clock.advance(minutes=1)
    asks = world.lease()
    assert asks is not None
    doubt = world.perform(asks).view.request.id
    client = log_in()
    page = client.get(f"/requests/{doubt}").text
    assert "Send back" not in page
    assert "Approve with changes" not in page
    assert client.get(f"/requests/{doubt}/change").status_code == 303


# -- who must agree, and why a round was voided ----------------------------------------------


def test_one_of_each_group_is_told_with_who_is_missing(log_in: LogIn, world: World) -> None:
    """Who could stand for which group; after one approval the other group is still missing."""
    huge = world.propose(HUGE).view.request.id
    client = log_in("tess")
    page = shown(client.get(f"/requests/{huge}").text)
    assert "one of each: controllers (Dana Okafor, Mika Lindqvist), treasury (Tess Laurent)" in page
    assert "An approval holds for 2 h" in page
    world.decide(huge, "dana")
    page = shown(client.get(f"/requests/{huge}").text)
    assert "controllers agreed Dana Okafor (agreed), Mika Lindqvist" in page
    assert "treasury still missing Tess Laurent" in page
    assert "Still asked: 1 of treasury (Tess Laurent)" in page
    assert "1 of treasury (Tess Laurent)" in shown(client.get("/").text)


@pytest.mark.parametrize("why", ["lapsed", "left", "stricter", "other proposal"])
def test_a_voided_round_says_why(log_in: LogIn, world: World, why: str) -> None:
    """Not only that the world has changed."""
    first = world.propose("5000.00").view.request.id
    world.decide(first, "dana")
    told = {
        "lapsed": "Voided: the approval has lapsed",
        "left": "Voided: an approver has left",
        "stricter": "Voided: the policy has changed",
        "other proposal": "Voided: the agent proposes something else",
    }[why]
    if why == "lapsed":
        world.clock.advance(hours=25)
    elif why == "left":
        people = "{id: tess, name: Tess Laurent, groups: [controllers, treasury]}"
        world.rule(
            people="version: 1\ngroups: {controllers: C, treasury: T, clerks: K}\npeople:\n"
            f"  - {people}\n  - {{id: dana, name: Dana Okafor, groups: [clerks]}}\n"
            "  - {id: mika, name: Mika Lindqvist, groups: [controllers]}\n"
        )
    elif why == "stricter":
        policy = POLICY.replace("amount.minor >= 1000000\n", "amount.minor >= 400000\n")
        world.rule(policy)
    world.propose("6000.00" if why == "other proposal" else "5000.00")
    outcome = world.gates.view(first).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.VOIDED
    page = shown(log_in("mika").get(f"/requests/{first}").text)
    assert told in page
    assert " by time" not in page
    assert " by directory" not in page


# -- in a browser -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.browser
def test_sending_back_in_a_browser(world: World, url: str, large: str, browser: Browser) -> None:
    """The browser itself insists on guidance; with some, the round ends as sent back."""
    with browser.new_context(java_script_enabled=False, viewport=PHONE) as context:
        page = enter(context, world, url)
        page.goto(f"{url}/requests/{large}")
        page.get_by_role("button", name="Send back").click()
        assert world.gates.view(large).decisions == ()
        page.get_by_label("What should the agent do instead?").fill("half of it")
        page.get_by_role("button", name="Send back").click()
        assert "Your guidance is recorded" in page.get_by_role("status").inner_text()
        assert "half of it" in page.locator(".outcome").inner_text()
    assert str(world.gates.view(large).outcome) == "sent back by Dana Okafor: half of it"


@pytest.mark.browser
def test_changing_in_a_browser_until_it_is_approved(
    world: World, url: str, large: str, browser: Browser
) -> None:
    """A value that does not fit is told at its field and kept; the corrected one is asked as the
    new round, which the second person approves as it is.
    """
    with browser.new_context(java_script_enabled=False, viewport=DESKTOP) as context:
        page = enter(context, world, url)
        page.goto(f"{url}/requests/{large}")
        page.get_by_role("link", name="Approve with changes").click()
        page.get_by_label("Amount").fill("lots")
        page.get_by_role("button", name="Approve with these changes").click()
        assert "Not recorded" in page.get_by_role("alert").inner_text()
        assert page.get_by_label("Amount").input_value() == "lots"
        assert "valid decimal" in page.locator(".wrong .trouble").inner_text()
        page.get_by_label("Amount").fill("12000.00")
        page.get_by_role("button", name="Approve with these changes").click()
        assert "new round" in page.get_by_role("status").inner_text()
        second = page.url.split("/requests/")[1].split("?")[0]
    assert second == world.gates.rounds(large)[-1].request.id
    with browser.new_context(viewport=PHONE) as context:
        page = enter(context, world, url, "mika")
        page.goto(f"{url}/requests/{second}")
        assert "changed by Dana Okafor" in page.locator(".before").inner_text()
        page.get_by_role("button", name="Approve", exact=True).click()
        assert "The run goes on" in page.get_by_role("status").inner_text()
    assert world.propose(LARGE).view.request.action.arguments["amount"] == "12000.00"


@pytest.mark.browser
def test_an_untouched_form_is_sent_as_it_was(world: World, url: str, browser: Browser) -> None:
    """A real browser brings every line end, blank and odd character back: nothing differs."""
    odd = {"to": " two\n\nlines ", "text": "\nleading", "data": {"a": ["x\ny", None]}, "no": 7}
    request_id = world.propose(name="memo", in_process=True, arguments=odd).view.request.id
    with browser.new_context(java_script_enabled=False, viewport=PHONE) as context:
        page = enter(context, world, url)
        page.goto(f"{url}/requests/{request_id}/change")
        assert page.locator("html").evaluate("e => e.scrollWidth") <= PHONE["width"]
        page.get_by_role("button", name="Approve with these changes").click()
        assert "nothing differs" in page.get_by_role("alert").inner_text()
