"""How Slack reaches us and how we come back: signatures, sockets, cuts, silence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from gates.core.errors import RetryLater, Unavailable
from gates.replays import Replays
from gates.store.database import Database
from gates.store.tables import ClickRow, LogRow, SignedRow
from integrations.slack.blocks import APPROVE
from integrations.slack.socket_mode import SocketMode
from integrations.slack.transport import WINDOW, asking, bolt_app, web_client
from tests.support.empty import empty_sqlite
from tests.support.slack import Office, office, open_desk
from tests.support.slack_server import Limits


@pytest.fixture
def over_http(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, mode="http") as opened, open_desk(opened):
        yield opened


@pytest.fixture
def over_socket(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as opened, open_desk(opened):
        yield opened


def post(company: Office, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(str(company.slack.app_url), content=body, headers=headers, timeout=5)


def signed_click(company: Office, at: float | None = None) -> tuple[bytes, dict[str, str]]:
    company.ask()
    payload = company.slack.click_payload(company.people["amara"], company.card(), APPROVE)
    return company.slack.signed(payload, at=at)


def rows(company: Office, table: Any) -> list[Any]:
    with company.database.read() as session:
        return list(session.exec(select(table)).all())


def spoil(headers: dict[str, str], name: str, value: str | None) -> dict[str, str]:
    kept = {key: text for key, text in headers.items() if key != name}
    return kept if value is None else kept | {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Slack-Signature", "v0=" + "0" * 64),
        ("X-Slack-Signature", None),
        ("X-Slack-Signature", ""),
        ("X-Slack-Request-Timestamp", None),
        ("X-Slack-Request-Timestamp", "soon"),
        ("X-Slack-Request-Timestamp", "-1"),
        ("X-Slack-Request-Timestamp", "9" * 400),
    ],
)
def test_a_request_without_a_true_signature_is_refused(
    over_http: Office, name: str, value: str | None
) -> None:
    """A forged or missing signature or time: 401, and nothing is stored."""
    body, headers = signed_click(over_http)
    assert post(over_http, body, spoil(headers, name, value)).status_code == 401
    assert over_http.cards.clicks_unprocessed() == []


def test_a_changed_body_is_refused(over_http: Office) -> None:
    """The signature covers every byte of the body."""
    body, headers = signed_click(over_http)
    assert post(over_http, body + b"&x=1", headers).status_code == 401


@pytest.mark.parametrize("age", [-400, 400])
def test_an_old_or_future_request_is_refused(over_http: Office, age: int) -> None:
    """Outside five minutes a true signature is worth nothing."""
    body, headers = signed_click(over_http, at=time.time() + age)
    assert post(over_http, body, headers).status_code == 401


def test_a_replayed_request_changes_nothing(over_http: Office) -> None:
    """Within five minutes bolt would take it again: 200, no click, no word to anybody; logged."""
    body, headers = signed_click(over_http)
    request_id = over_http.gates.waiting()[0].request.id
    assert post(over_http, body, headers).status_code == 200
    over_http.wait_decided(request_id)
    for _ in range(12):
        again = post(over_http, body, headers)
        assert (again.status_code, again.text) == (200, "")
    assert len(rows(over_http, ClickRow)) == 1
    assert over_http.slack.told(over_http.people["amara"]) == []
    replayed = [row.body for row in rows(over_http, LogRow) if row.kind == "request.replayed"]
    assert ['"times":1}' in replayed[0], '"times":10}' in replayed[1], len(replayed)] == [
        True
    ] * 2 + [2]


def test_a_replay_at_another_server_is_one_too(over_http: Office) -> None:
    """What one server has taken, all that share its store have taken."""
    body, headers = signed_click(over_http)
    other = Database(str(over_http.database.engine.url))
    stamp, signature = headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"]
    try:
        assert Replays(other, "slack", WINDOW).first(stamp, signature)
        assert post(over_http, body, headers).status_code == 200
    finally:
        other.close()
    assert rows(over_http, ClickRow) == []


def test_the_same_click_twice_at_once_is_taken_once(over_http: Office) -> None:
    """Copies that race each other leave one click."""
    body, headers = signed_click(over_http)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(over_http, body, headers).status_code, range(8)))
    assert answers == [200] * 8
    assert len(rows(over_http, ClickRow)) == 1


def test_what_was_taken_is_forgotten_when_it_counts_no_more(tmp_path: Path) -> None:
    """Bolt refuses it by its time by then."""
    database = Database(empty_sqlite(tmp_path / "gates.db"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    replays = Replays(database, "slack", WINDOW, lambda: now)
    stamp = str(int(now.timestamp()))
    assert replays.first(stamp, "v0=a")
    now += timedelta(minutes=9)
    assert not replays.first(stamp, "v0=a")
    assert replays.first(stamp, "v0=b")
    now += timedelta(minutes=2)
    assert replays.first(str(int(now.timestamp())), "v0=c")
    with database.read() as session:
        assert len(session.exec(select(SignedRow)).all()) == 1
    database.close()


def test_an_unsigned_ssl_check_is_not_answered(over_http: Office) -> None:
    """bolt would say 200 to anybody who asks; here nothing unsigned is answered."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": str(int(time.time())),
        "X-Slack-Signature": "v0=forged",
    }
    assert post(over_http, b"ssl_check=1", headers).status_code == 401


def test_bodies_that_no_slack_would_send_are_turned_away(over_http: Office) -> None:
    """Too large or not UTF-8: refused before anything is parsed."""
    _, headers = signed_click(over_http)
    assert post(over_http, b"x" * 1_000_001, headers).status_code == 413
    assert post(over_http, b"\xff\xfe", headers).status_code == 400


@pytest.mark.parametrize("how", ["cut", "refresh_requested"])
def test_socket_mode_comes_back(over_socket: Office, how: str) -> None:
    """After a lost network or Slack's own refresh a new connection stands within 2 s."""
    asked = over_socket.ask()
    card = over_socket.card()
    before = len(over_socket.slack.calls("apps.connections.open"))
    began = time.monotonic()
    if how == "cut":
        assert over_socket.slack.cut_sockets() == 1
    else:
        over_socket.slack.sockets.ask_to_leave(how)
    over_socket.slack.wait_for(
        lambda: len(over_socket.slack.calls("apps.connections.open")) > before, "a new address"
    )
    over_socket.slack.wait_connected()
    assert time.monotonic() - began < 2
    assert over_socket.slack.click(over_socket.people["amara"], card, APPROVE).acked
    assert over_socket.wait_decided(asked.request.id).outcome is not None
    assert len(over_socket.slack.calls("apps.connections.open")) == before + 1


@pytest.mark.parametrize("refusing", ["addresses", "connections"])
def test_after_an_outage_it_is_back_within_seconds(over_socket: Office, refusing: str) -> None:
    """Slack gives no addresses, or takes no connections, for 5 s: back within 3.5 s of its end,
    and without a storm of tries.
    """
    slack = over_socket.slack
    before = len(slack.calls("apps.connections.open"))
    slack.outage(on=True, addresses=refusing == "connections")
    with pytest.raises(TimeoutError):
        slack.wait_connected(seconds=5)
    slack.outage(on=False)
    began = time.monotonic()
    slack.wait_connected()
    assert time.monotonic() - began < 3.5
    assert len(slack.calls("apps.connections.open")) - before < 12


def test_every_refresh_is_followed_at_once(over_socket: Office) -> None:
    """Slack takes connections back all day: each time the next one stands within seconds."""
    for _ in range(8):
        over_socket.slack.sockets.ask_to_leave("refresh_requested")
        over_socket.slack.wait_connected(seconds=20)


def test_clicks_in_an_outage_fail_visibly_and_work_afterwards(over_socket: Office) -> None:
    """While Slack cannot reach us the person sees trouble; afterwards the same button works."""
    asked = over_socket.ask()
    card, amara = over_socket.card(), over_socket.people["amara"]
    over_socket.slack.outage(on=True)
    assert over_socket.slack.click(amara, card, APPROVE).error is not None
    over_socket.slack.outage(on=False)
    over_socket.slack.wait_connected(seconds=60)
    assert over_socket.slack.click(amara, card, APPROVE).acked
    assert over_socket.wait_decided(asked.request.id).outcome is not None


def test_a_slack_that_is_away_at_start_is_waited_for(tmp_path: Path) -> None:
    """The desk starts without Slack and takes clicks once it is there."""
    with office(tmp_path) as company:
        company.slack.fail_next("apps.connections.open", "status", times=2)
        asked = company.ask()
        with open_desk(company):
            assert company.slack.click(company.people["amara"], company.card(), APPROVE).acked
            assert company.wait_decided(asked.request.id).outcome is not None


def test_a_connection_that_fell_silent_is_replaced(tmp_path: Path) -> None:
    """A socket whose pings are not answered is given up for a new one."""
    with office(tmp_path) as company:
        mode = SocketMode(bolt_app(company.settings), company.settings, ping=0.3)
        mode.start()
        try:
            company.slack.wait_connected()
            company.slack.sockets.fall_silent()
            company.slack.wait_connected(seconds=60)
        finally:
            mode.stop()


@pytest.mark.parametrize(
    ("kind", "more", "error"),
    [
        ("ratelimited", {"retry_after": 7}, RetryLater),
        ("status", {"status": 500}, Unavailable),
        ("drop", {}, Unavailable),
        ("lose_reply", {}, Unavailable),
        ("error", {"error": "fatal_error"}, Unavailable),
    ],
)
def test_passing_trouble_has_a_type(
    tmp_path: Path, kind: str, more: dict[str, Any], error: type[Exception]
) -> None:
    """Patience and absence are told from refusals, and the SDK repeats nothing by itself."""
    with office(tmp_path, limits=Limits(post_interval=0)) as company:
        client = web_client(company.settings)
        company.slack.fail_next("chat.postMessage", kind, **more)
        with pytest.raises(error) as caught, asking("chat.postMessage"):
            client.chat_postMessage(channel=company.channel.id, text="hello")
        assert len(company.slack.messages(company.channel)) == (kind == "lose_reply")
        if isinstance(caught.value, RetryLater):
            assert caught.value.seconds == 7
