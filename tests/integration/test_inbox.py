"""The inbox on a real server over a real store: first by plain HTTP, then in a browser."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from gates.core.messages import AttemptReport
from gates.core.model import DecisionKind, OutcomeKind
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.forms import LONGEST_REASON
from gates.web.waiters import Waiters
from tests.support.browser import DESKTOP, PHONE, chromium, enter, free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FORM = r'name="(csrf|revision)" value="([^"]*)"'
LogIn = Callable[..., httpx.Client]
EVIL = "<script>document.title='owned'</script>"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    yield World(database)
    database.close()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serving(_app(world), free_socket()) as address:
        yield address


def _app(world: World, base_url: str = "http://127.0.0.1") -> FastAPI:
    world.gates.base_url = base_url
    return create_app(world.gates, world.work, world.access, Waiters())


@pytest.fixture
def asked(world: World) -> str:
    """A payment that one controller may approve; its text is not to be trusted."""
    return world.propose("5000.00", claims={"note": EVIL}).view.request.id


@pytest.fixture
def log_in(world: World, url: str) -> Iterator[LogIn]:
    """Opens a session for a person by a fresh link."""
    with contextlib.ExitStack() as clients:

        def enter_as(person: str = "dana") -> httpx.Client:
            client = clients.enter_context(httpx.Client(base_url=url))
            link = world.access.create_link(person)
            assert client.post(f"/login/{link}").status_code == 303
            return client

        yield enter_as


def decide(client: httpx.Client, request_id: str, **changes: str) -> httpx.Response:
    """What the form of the page sends, with `changes`."""
    page = client.get(f"/requests/{request_id}").text
    form = {"decision": "approve", "reason": "", **dict(re.findall(FORM, page))}
    return client.post(f"/requests/{request_id}/decision", data=form | changes)


# -- over plain HTTP ----------------------------------------------------------------------


def test_a_link_scanner_does_not_use_up_the_link(world: World, url: str) -> None:
    """Looking at the link changes nothing; the button logs in, once; then it says what to do."""
    link = f"/login/{world.access.create_link('dana')}"
    with httpx.Client(base_url=url) as client:
        assert client.get(link).status_code == client.get(link).status_code == 200
        used = client.post(link)
        assert (used.status_code, used.headers["location"]) == (303, "/")
        cookie = used.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "; secure" not in cookie
        assert "wait for you" in client.get("/").text or "Nothing waits" in client.get("/").text
    again = httpx.post(url + link)
    assert again.status_code == 401
    assert "ask for a new one" in again.text


def test_over_https_the_cookie_never_travels_in_the_clear(world: World) -> None:
    """Where people use https the cookie is Secure and bound to this host."""
    with serving(_app(world, "https://gates.example"), free_socket()) as url:
        cookie = httpx.post(f"{url}/login/{world.access.create_link('dana')}").headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "secure" in cookie.lower()


def test_another_site_cannot_log_anybody_in(world: World, url: str) -> None:
    """A form on a foreign page neither starts a session nor uses up the link."""
    link = f"/login/{world.access.create_link('dana')}"
    foreign = httpx.post(url + link, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    assert "set-cookie" not in foreign.headers
    assert httpx.post(url + link).status_code == 303


@pytest.mark.parametrize("path", ["/", "/people/me", "/requests/abcdef", "/?state=open"])
def test_strangers_see_nothing(url: str, asked: str, path: str) -> None:
    """Without a session every page says how to log in, and nothing else."""
    answer = httpx.get(url + path.replace("abcdef", asked))
    assert answer.status_code == 401
    assert "Pay out" not in answer.text
    assert "gates login-link" in answer.text


def test_every_page_forbids_scripts_frames_and_other_hosts(log_in: LogIn, asked: str) -> None:
    """The policy is on pages, refusals, redirects and files alike."""
    client = log_in()
    paths = ["/", f"/requests/{asked}", f"/requests/{asked[:8]}", "/requests/ffffff", "/people/me"]
    for path in [*paths, "/static/style.css", "/static/none", "/login/x"]:
        policy = client.get(path).headers["content-security-policy"]
        for rule in ("default-src 'self'", "script-src 'none'", "frame-ancestors 'none'"):
            assert rule in policy, path
        assert "form-action 'self'" in policy


def test_what_an_agent_says_reaches_the_page_as_text(log_in: LogIn, asked: str) -> None:
    """Markup from a claim is shown with its brackets."""
    page = log_in().get(f"/requests/{asked}").text
    assert EVIL not in page
    assert "&lt;script&gt;" in page


def test_the_start_of_an_id_leads_to_the_request(log_in: LogIn, asked: str) -> None:
    """As on the command line; the address then shows the whole id."""
    answer = log_in().get(f"/requests/{asked[:8]}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{asked}")


def test_a_decision_is_recorded_with_how_it_was_made(
    log_in: LogIn, world: World, asked: str
) -> None:
    """Person, channel, assurance, and the revision of the page that they saw."""
    answer = decide(log_in(), asked, reason="fits the order")
    assert answer.status_code == 303
    [recorded] = world.gates.view(asked).decisions
    assert (recorded.person, recorded.kind) == ("dana", DecisionKind.APPROVE)
    assert (recorded.channel, recorded.assurance) == ("inbox", "session")
    assert recorded.reason == "fits the order"
    assert recorded.card_revision is not None
    assert set(recorded.verified_by) == {"session"}


def test_the_page_asks_for_a_reason_where_an_approval_wants_one(
    log_in: LogIn, world: World
) -> None:
    """The field stands open and is required; without it nothing is recorded."""
    asked = world.propose("777.00").view.request.id
    client = log_in()
    assert "this approval counts only with a reason" in client.get(f"/requests/{asked}").text
    refused = decide(client, asked)
    assert refused.status_code == 422
    assert "counts only with one" in refused.text
    assert decide(client, asked, reason="seen the letter").status_code == 303
    assert len(world.gates.view(asked).decisions) == 1


def test_an_escalation_asks_more_people(log_in: LogIn, world: World) -> None:
    """Treasury may decide from then on; who escalated still may; the form is gone."""
    asked = world.propose("777.00").view.request.id
    dana, tess = log_in(), log_in("tess")
    assert "You are not among those asked" in tess.get(f"/requests/{asked}").text
    assert "Tess Laurent would be asked as well" in dana.get(f"/requests/{asked}").text
    assert decide(dana, asked, decision="escalate", reason="beyond me").status_code == 303
    shown = dana.get(f"/requests/{asked}?said=1").text
    assert "Your escalation is recorded" in shown
    assert 'value="escalate"' not in shown
    assert 'value="approve"' in shown
    assert decide(tess, asked, reason="ours").status_code == 303
    found = world.gates.view(asked).outcome
    assert found is not None
    assert found.by == ("Tess Laurent",)


def inform(client: httpx.Client, request_id: str, what: str, words: str) -> httpx.Response:
    found = dict(re.findall(FORM, client.get(f"/requests/{request_id}").text))
    form = {"csrf": found.get("csrf", ""), "reason": words}
    return client.post(f"/requests/{request_id}/{what}", data=form)


def test_somebody_asks_for_information_first(log_in: LogIn, asked: str) -> None:
    """Whom the agent acts for answers, and reads the question as it was written, escaped; the form
    is there for whoever can use it.
    """
    dana, mika, sam, tess = log_in(), log_in("mika"), log_in("sam"), log_in("tess")
    ask, answer = f'action="/requests/{asked}/question"', f'action="/requests/{asked}/answer"'
    assert ask in dana.get(f"/requests/{asked}").text
    assert ask not in sam.get(f"/requests/{asked}").text
    assert inform(dana, asked, "question", "<b>what</b> for?").status_code == 303
    shown = sam.get(f"/requests/{asked}").text
    assert "&lt;b&gt;what&lt;/b&gt; for?" in shown
    assert answer in shown
    assert "Dana Okafor waits for information: the clock stands still" in (
        mika.get(f"/requests/{asked}").text
    )
    assert answer not in tess.get(f"/requests/{asked}").text
    again = inform(mika, asked, "question", "kept, this is")
    assert (again.status_code, "kept, this is" in again.text) == (409, True)
    assert inform(tess, asked, "answer", "mine").status_code == 403
    forged = sam.post(f"/requests/{asked}/answer", data={"csrf": "forged", "reason": "kept, it is"})
    assert (forged.status_code, "kept, it is" in forged.text) == (403, True)
    assert inform(sam, asked, "answer", "<i>roof</i>").status_code == 303
    shown = dana.get(f"/requests/{asked}").text
    assert "&lt;i&gt;roof&lt;/i&gt;" in shown
    assert "Sam Rivera" in shown
    assert ask in shown
    assert decide(dana, asked).status_code == 303


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"csrf": "forged"}, 403, "another log-in"),
        ({"csrf": ""}, 403, "another log-in"),
        ({"revision": "99"}, 409, "changed since"),
        ({"revision": ""}, 422, "which version you saw"),
        ({"revision": "-1"}, 422, "which version you saw"),
        ({"decision": "maybe"}, 422, "is not approve or reject"),
        ({"decision": "reject", "reason": "   "}, 422, "say why"),
        ({"reason": "kept " + "x" * LONGEST_REASON}, 422, "shorten it to 2,000"),
    ],
)
def test_a_refused_form_changes_nothing_and_loses_nothing(
    log_in: LogIn, world: World, asked: str, changes: dict[str, str], status: int, words: str
) -> None:
    """Each refusal has its status and its sentence; what was typed is still on the page."""
    answer = decide(log_in(), asked, **({"reason": "kept, this is"} | changes))
    assert answer.status_code == status
    assert words in answer.text
    assert ("kept" in answer.text) is ("kept" in changes.get("reason", "kept"))
    assert world.gates.view(asked).decisions == ()


def test_who_may_not_decide_is_told_why(log_in: LogIn, asked: str) -> None:
    """The one whom the agent acts for, and a second try, are refused in words."""
    own = decide(log_in("sam"), asked, revision="1", reason="it is mine")
    assert own.status_code == 403
    assert "somebody else has to decide" in own.text
    assert "it is mine" in own.text
    assert decide(log_in(), asked).status_code == 303
    late = decide(log_in("mika"), asked, revision="1", reason="I object")
    assert late.status_code in (403, 409)
    assert "I object" in late.text


def test_a_deadline_that_passed_is_faster_than_a_decision(
    log_in: LogIn, world: World, asked: str
) -> None:
    """Deciding on a page that was open for too long ends as expired, and says so."""
    client = log_in()
    form = re.findall(
        r'name="(csrf|revision)" value="([^"]*)"', client.get(f"/requests/{asked}").text
    )
    world.clock.advance(hours=2)
    data = {**dict(form), "decision": "reject", "reason": "too late?"}
    answer = client.post(f"/requests/{asked}/decision", data=data)
    assert answer.status_code == 409
    assert "deadline" in answer.text
    assert "too late?" in answer.text
    outcome = world.gates.view(asked).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.EXPIRED


def test_a_session_that_ends_while_typing_does_not_lose_the_text(
    log_in: LogIn, world: World, asked: str
) -> None:
    """The refusal shows what was typed, so that it can be pasted after the next log-in."""
    client = log_in()
    world.clock.advance(seconds=timedelta(hours=13).total_seconds())
    answer = client.post(f"/requests/{asked}/decision", data={"reason": "a long thought"})
    assert answer.status_code == 401
    assert "a long thought" in answer.text


def test_a_store_that_does_not_answer_loses_no_text(
    log_in: LogIn, world: World, asked: str
) -> None:
    """A failing database is told as a page, with what was typed; later the same form works."""
    client = log_in()
    form = dict(re.findall(FORM, client.get(f"/requests/{asked}").text))
    data = form | {"decision": "approve", "reason": "a long thought"}
    with world.database.write() as session:
        session.execute(text("ALTER TABLE session RENAME TO away"))
    answer = client.post(f"/requests/{asked}/decision", data=data)
    assert answer.status_code == 503
    assert "try again" in answer.text
    assert "a long thought" in answer.text
    with world.database.write() as session:
        session.execute(text("ALTER TABLE away RENAME TO session"))
    assert client.post(f"/requests/{asked}/decision", data=data).status_code == 303


def test_logging_out_ends_the_session_itself(log_in: LogIn, url: str) -> None:
    """A copied cookie is worth nothing afterwards; a forged log-out does nothing."""
    client = log_in()
    copied = dict(client.cookies)
    assert client.post("/logout", data={"csrf": "forged"}).status_code == 403
    token = dict(re.findall(FORM, client.get("/").text))["csrf"]
    assert "Goodbye" in client.post("/logout", data={"csrf": token}).text
    with httpx.Client(base_url=url, cookies=copied) as thief:
        assert thief.get("/").status_code == 401


def test_two_at_once_give_one_outcome(log_in: LogIn, world: World, asked: str) -> None:
    """An approval and a rejection that race: one is recorded, the other one is told so."""
    clients = [log_in("dana"), log_in("mika")]
    pages = [client.get(f"/requests/{asked}").text for client in clients]
    barrier = threading.Barrier(2)

    def send(client: httpx.Client, page: str, decision: str) -> int:
        form = dict(re.findall(FORM, page))
        barrier.wait()
        data = form | {"decision": decision, "reason": "because"}
        return client.post(f"/requests/{asked}/decision", data=data).status_code

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(send, clients, pages, ("approve", "reject")))
    assert sorted(answers) == [303, 409]
    assert len(world.gates.view(asked).decisions) == 1


def test_a_loop_shows_its_attempts_and_asks_to_go_on(log_in: LogIn, world: World) -> None:
    """The third same failure: attempts side by side, and buttons in the words of the question."""
    world.till.broken = "overpays line 17"
    for call in (1, 2, 3):
        world.propose("500.00", call=call)
        job = world.lease()
        assert job is not None
        world.clock.advance(seconds=5)
        world.perform(job)
    [waiting] = world.gates.waiting()
    client = log_in()
    page = client.get(f"/requests/{waiting.request.id}").text
    for words in (
        "Stopped: going in circles",
        "Failed 3 times in the same way: TillError.",
        "Attempt 3",
        "Allow 2 more attempts",
        "Stop the run",
    ):
        assert words in page
    assert "Stopped: going in circles" in client.get("/?state=mine").text
    assert decide(client, waiting.request.id).status_code == 303
    assert "More attempts allowed" in client.get(f"/requests/{waiting.request.id}").text


def test_an_unknown_end_shows_the_attempt_and_asks_whether_it_happened(
    log_in: LogIn, world: World
) -> None:
    """An attempt that nobody can tell about: what is known of it, and both answers in words."""
    world.propose("500.00")
    job = world.lease()
    assert job is not None
    world.till.reachable = False
    lost = AttemptReport(state="in_doubt", fence=job.grant.fence, error="the line went dead")
    world.work.report(world.executor, job.grant.attempt_id, lost)
    world.clock.advance(minutes=1)
    asks = world.lease()
    assert asks is not None
    world.perform(asks)
    [waiting] = world.gates.waiting()
    page = log_in().get(f"/requests/{waiting.request.id}").text
    for words in (
        "In doubt: did it happen?",
        "What is known about the last attempt",
        "the line went dead",
        "the till does not answer",
        "It did not happen: run it again",
        "Do not run it again",
    ):
        assert words in page


def test_a_drift_shows_what_changed_and_links_both_rounds(log_in: LogIn, world: World) -> None:
    """The payee's account changed after the approval: the next round shows both values."""
    old = world.propose("5000.00").view.request.id
    world.decide(old, "dana")
    world.till.accounts["acme"] = "LT99"
    new = world.propose("5000.00").view.request.id
    assert new != old
    client = log_in()
    page = client.get(f"/requests/{new}").text
    assert "What changed since round 1" in page
    assert "NL01" in page
    assert "LT99" in page
    assert f'href="/requests/{old}"' in page
    before = client.get(f"/requests/{old}").text
    assert "Voided" in before
    assert f'href="/requests/{new}"' in before


# -- in a browser -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.browser
def test_approving_works_without_javascript(
    world: World, url: str, asked: str, browser: Browser
) -> None:
    """Log in by link, open what waits, read it, approve with a note, see it confirmed."""
    with browser.new_context(java_script_enabled=False, viewport=DESKTOP) as context:
        page = enter(context, world, url)
        assert page.get_by_role("heading", level=1).inner_text() == "1 waits for you"
        page.get_by_role("link", name="Pay out").click()
        assert "5,000.00 EUR" in page.locator(".head .sum").inner_text()
        page.get_by_text("Add a note").click()
        page.get_by_label("Note for the record").fill("as ordered")
        page.get_by_role("button", name="Approve", exact=True).click()
        assert "Your approval is recorded" in page.get_by_role("status").inner_text()
        assert page.get_by_role("button", name="Approve").count() == 0
        page.get_by_role("link", name="Inbox").click()
        assert page.get_by_role("heading", level=1).inner_text() == "Nothing waits for you"
        assert "Approved" in page.locator("#decided + ul").inner_text()
    outcome = world.gates.view(asked).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.APPROVED
    assert outcome.reason == "as ordered"


@pytest.mark.browser
def test_rejecting_asks_for_a_reason(world: World, url: str, asked: str, browser: Browser) -> None:
    """The browser itself insists on a reason; with one the rejection and its words stand."""
    with browser.new_context(viewport=PHONE) as context:
        page = enter(context, world, url)
        page.get_by_role("link", name="Pay out").click()
        page.get_by_role("link", name="Decide").click()
        page.get_by_role("button", name="Reject").click()
        assert world.gates.view(asked).decisions == ()
        page.get_by_label("Why not?").fill("We never ordered this.")
        page.get_by_role("button", name="Reject").click()
        assert "Your answer is recorded" in page.get_by_role("status").inner_text()
        assert "We never ordered this." in page.locator(".outcome").inner_text()
    outcome = world.gates.view(asked).outcome
    assert outcome is not None
    assert str(outcome) == "rejected by Dana Okafor: We never ordered this."


@pytest.mark.browser
def test_two_people_on_one_request(world: World, url: str, browser: Browser) -> None:
    """What the second one's page shows is still what is asked once the first has approved: the
    click counts.
    """
    request_id = world.propose("20000.00").view.request.id
    with browser.new_context() as hers, browser.new_context() as his:
        dana, mika = enter(hers, world, url), enter(his, world, url, "mika")
        for page in (dana, mika):
            page.goto(f"{url}/requests/{request_id}")
        dana.get_by_role("button", name="Approve", exact=True).click()
        assert "Others are still asked" in dana.get_by_role("status").inner_text()
        mika.get_by_role("button", name="Approve", exact=True).click()
        assert "The run goes on" in mika.get_by_role("status").inner_text()
    outcome = world.gates.view(request_id).outcome
    assert outcome is not None
    assert outcome.by == ("Dana Okafor", "Mika Lindqvist")


@pytest.mark.browser
def test_a_page_of_another_store_is_stale(world: World, url: str, browser: Browser) -> None:
    """A page from before a restore says so, keeps the note, and the same click then counts."""
    request_id = world.propose("5000.00").view.request.id
    with browser.new_context() as context:
        page = enter(context, world, url)
        page.goto(f"{url}/requests/{request_id}")
        with world.database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE request SET revision = revision + 10000")
        page.get_by_text("Add a note").click()
        page.get_by_label("Note for the record").fill("me too")
        page.get_by_role("button", name="Approve", exact=True).click()
        assert "changed since you opened it" in page.get_by_role("alert").inner_text()
        assert page.get_by_label("Note for the record").input_value() == "me too"
        page.get_by_role("button", name="Approve", exact=True).click()
        assert "The run goes on" in page.get_by_role("status").inner_text()
    assert len(world.gates.view(request_id).decisions) == 1


@pytest.mark.browser
def test_no_request_leaves_the_host(world: World, url: str, asked: str, browser: Browser) -> None:
    """All that a page needs comes from its own server, and nothing is missing or blocked."""
    seen: list[str] = []
    trouble: list[str] = []
    with browser.new_context() as context:
        context.on("request", lambda request: seen.append(request.url))
        page = enter(context, world, url)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        for path in ("/", f"/requests/{asked}", "/people/me"):
            page.goto(url + path)
        assert page.title() != "owned"
    assert any("style.css" in one for one in seen)
    assert [one for one in seen if not one.startswith(f"{url}/")] == []
    assert trouble == []


@pytest.mark.browser
def test_a_phone_never_scrolls_sideways(world: World, url: str, browser: Browser) -> None:
    """At 375 pixels every page fits, whatever an agent sends; wide tables scroll in themselves."""
    wide = {"one_very_long_key_" * 6: "W" * 900, "rows": [dict.fromkeys("abcdef", "x" * 40)] * 12}
    deep = {"a": {"b": {"c": {"d": [[1, 2], {"e": "f" * 200}]}}}}
    changes = {"claims": {**wide, **deep}, "key": "k" * 190}
    request_id = world.propose("20000.00", **changes).view.request.id
    with browser.new_context(viewport=PHONE) as context:
        page = enter(context, world, url)
        for path in ("/", "/?state=rejected", f"/requests/{request_id}", "/people/me", "/login/x"):
            page.goto(url + path)
            for summary in page.locator("details:not([open]) > summary").all():
                if summary.is_visible():
                    summary.click()
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], path


@pytest.mark.browser
def test_a_link_in_a_chat_arrives_logged_in(
    world: World, url: str, asked: str, browser: Browser
) -> None:
    """The strict cookie is not sent when another site leads here; the page still opens."""
    elsewhere = url.replace("127.0.0.1", "localhost")
    with browser.new_context() as context:
        page = enter(context, world, url)
        page.goto(f"{elsewhere}/login/x")
        page.evaluate(
            "to => { const a = document.createElement('a'); a.href = to; a.id = 'chat';"
            " a.textContent = 'chat'; document.body.append(a); }",
            f"{url}/requests/{asked}",
        )
        page.locator("#chat").click()
        page.get_by_role("button", name="Approve", exact=True).wait_for()
    with browser.new_context() as context:  # and whoever has no session is told so, once
        page = context.new_page()
        page.goto(f"{elsewhere}/login/x")
        page.evaluate(f"location.href = '{url}/requests/{asked}'")
        page.get_by_role("heading", name="You are not logged in").wait_for()


CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1); const d = canvas.getImageData(0, 0, 1, 1).data;
    return [d[0], d[1], d[2], d[3] / 255]; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
  const light = c => { const [r, g, b] = c.map(v => { v /= 255;
    return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { const chain = []; for (let n = e; n; n = n.parentElement) chain.push(n);
    return chain.reverse().reduce((c, n) => over(rgb(getComputedStyle(n).backgroundColor), c),
      [255, 255, 255]); };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility()) continue;
    const back = ground(e), front = over(rgb(getComputedStyle(e).color), back);
    const [hi, lo] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (hi + .05) / (lo + .05);
    if (ratio < 4.5) bad.push(`${walk.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return bad;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_light_and_in_dark(
    world: World, url: str, asked: str, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    """Every text has a contrast of 4.5 or more; fields have labels; pages have landmarks."""
    world.propose("20000.00", key="other")
    world.decide(world.propose("3000.00", key="gone").view.request.id, "mika", "reject")
    with browser.new_context(color_scheme=scheme, viewport=DESKTOP) as context:
        page = enter(context, world, url)
        for path in ("/", f"/requests/{asked}", "/people/me", "/requests/ffffff", "/login/x"):
            page.goto(url + path)
            assert page.evaluate(CONTRASTS) == [], path
            assert page.get_by_role("main").count() == 1
            assert page.get_by_role("heading", level=1).count() == 1
            for field in page.locator("textarea, input:not([type=hidden])").all():
                assert field.evaluate("e => e.labels.length") == 1


@pytest.mark.browser
def test_the_keyboard_reaches_the_decision(
    world: World, url: str, asked: str, browser: Browser
) -> None:
    """Tab moves a visible focus, and the buttons can be reached and pressed without a mouse."""
    with browser.new_context(viewport=DESKTOP) as context:
        page = enter(context, world, url)
        page.goto(f"{url}/requests/{asked}")
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.className") == "approve":
                break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.get_by_role("status").wait_for()
    assert world.gates.view(asked).outcome is not None
