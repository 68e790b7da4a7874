"""The reverse proxy before somebody else's API, which is a real process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from gates.client import GatesClient
from gates.core.errors import InvalidPolicy
from gates.core.messages import AttemptReport
from gates.core.model import Purpose, Standing
from gates.grants.trusted_keys import TrustedKeys
from gates.store.database import Database
from gates.store.tables import LogRow
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.grant_proxy.app import GrantProxy
from integrations.grant_proxy.rules import load_rules
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.ports import free_port
from tests.support.prefect import until
from tests.support.world import World

RULES = """
version: 1
headers: [X-Request-Id]
writes:
  - {action: crm.customer.limit, method: PUT, path: "/customers/{customer:int}"}
  - {action: crm.customer.close, method: DELETE, path: "/customers/{customer:int}", body: none}
  - {action: crm.note, method: POST, path: "/notes/{topic}"}
  - {action: crm.customer.rename, method: PUT, path: "/customers/{customer:int}"}
"""
LIMIT = {"customer": 7, "limit": "5000.00"}


class Place:
    """The API, its proxy, and a gates server whose people say yes."""

    def __init__(self, world: World, api: str) -> None:
        self.world, self.api, self.url, self.number = world, api, "", 0

    def grant(
        self, arguments: dict[str, Any] | None = None, name: str = "crm.customer.limit"
    ) -> Any:
        """A grant that Dana has approved."""
        self.number += 1
        asked = {
            "name": name,
            "in_process": True,
            "arguments": LIMIT if arguments is None else arguments,
            "key": f"gate-{self.number}",
        }
        self.world.decide(self.world.propose(**asked).view.request.id, "dana")
        found = self.world.propose(**asked).grant
        assert found is not None
        return found

    def send(self, method: str, path: str, grant: Any = None, **options: Any) -> httpx.Response:
        headers = {"Gates-Grant": grant.token} if grant else {}
        headers |= options.pop("headers", {})
        return httpx.request(method, self.url + path, headers=headers, timeout=20, **options)

    def put(self, grant: Any = None, **options: Any) -> httpx.Response:
        return self.send("PUT", "/customers/7", grant, **{"json": {"limit": "5000.00"}} | options)

    def arrived(self) -> list[dict[str, Any]]:
        """The writes that reached the API."""
        return list(httpx.get(f"{self.api}/log").json())

    def kinds(self) -> list[str]:
        with self.world.database.read() as session:
            found = session.exec(select(LogRow.kind)).all()
        return [kind for kind in found if kind.startswith("grant.re")]


@pytest.fixture
def api() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.support.customers_api", str(port)]
    with subprocess.Popen(command) as process:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/customers/7"))
        yield url
        process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@pytest.fixture
def place(tmp_path: Path, api: str) -> Iterator[Place]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    world = World(database)
    made = Place(world, api)
    key = world.access.create_key("executor", "crm-proxy")
    server = create_app(world.gates, world.work, world.access, Waiters())
    with serving(server, free_socket()) as url, GatesClient(url, key=key, patience=5) as client:
        proxy = GrantProxy(
            upstream=api,
            rules=load_rules(RULES, "rules.yaml"),
            client=client,
            keys=TrustedKeys(client.grant_keys, url),
            authorization="Bearer of-the-api",
            clock=world.clock,
        )
        with serving(proxy.application(), free_socket()) as made.url:
            yield made
    database.close()


def error(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


# -- what passes --------------------------------------------------------------------------------


def test_reads_pass_as_they_are(place: Place) -> None:
    """Status, body and headers of the API, doubled ones too."""
    answer = place.send("GET", "/customers/7?expand=all")
    assert (answer.status_code, answer.json()["name"]) == (200, "Acme")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert place.send("GET", "/customers/8").status_code == 404


def test_an_approved_write_passes_once(place: Place) -> None:
    """The approved bytes reach the API with the proxy's own credential; a second time nothing."""
    grant = place.grant()
    answer = place.put(grant, headers={"X-Request-Id": "r1", "X-Tenant": "other", "Cookie": "a=1"})
    assert (answer.status_code, answer.json()["limit"]) == (200, "5000.00")
    again = place.put(grant)
    assert (again.status_code, error(again)) == (403, "invalid_grant")
    assert "counts once" in again.json()["error"]["message"]
    (write,) = place.arrived()
    assert (write["path"], write["body"]) == ("/customers/7", '{"limit":"5000.00"}')
    headers = write["headers"]
    assert headers["authorization"] == "Bearer of-the-api"
    assert headers["idempotency-key"].startswith("GATE-")
    assert headers["x-request-id"] == "r1"
    assert headers.keys() & {"gates-grant", "x-tenant", "cookie"} == set()
    assert place.kinds() == ["grant.redeemed", "grant.replayed"]


def test_a_body_may_be_written_in_any_order(place: Place) -> None:
    """It means the same; what goes on is canonical."""
    grant = place.grant({"topic": "a b", "text": "x", "urgent": True}, "crm.note")
    body = '{ "urgent" : true,\n "text":"\\u0078" }'
    assert place.send("POST", "/notes/a%20b", grant, content=body).status_code == 200
    (write,) = place.arrived()
    assert (write["path"], write["body"]) == ("/notes/a%20b", '{"text":"x","urgent":true}')


def test_a_write_without_a_body(place: Place) -> None:
    """`body: none`: the path says it all."""
    grant = place.grant({"customer": 7}, "crm.customer.close")
    assert place.send("DELETE", "/customers/7", grant, content=b"{}").status_code == 422
    assert place.send("DELETE", "/customers/7", grant).status_code == 200


def test_ten_at_once_with_one_grant_write_once(place: Place) -> None:
    """The server decides who was first."""
    grant, answers = place.grant(), []
    threads = [
        threading.Thread(target=lambda: answers.append(place.put(grant).status_code))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [403] * 9
    assert len(place.arrived()) == 1


# -- what does not ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_grant_no_write(place: Place, method: str) -> None:
    """Whatever the method, unless the rules call it a read."""
    body = b"" if method == "DELETE" else b'{"limit": "9"}'
    answer = place.send(method, "/customers/7", content=body)
    assert answer.status_code == 403
    assert error(answer) in ("invalid_grant", "not_entitled")
    assert place.arrived() == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/customers/8", '{"limit": "5000.00"}'),
        ("PUT", "/customers/7", '{"limit": "9000.00"}'),
        ("PUT", "/customers/7", '{"limit": "5000.00", "vip": true}'),
        ("PUT", "/customers/7", "{}"),
        ("PUT", "/customers/7", '{"limit": "5000.00", "customer": 7}'),
        ("PUT", "/customers/7", '{"limit": "9", "limit": "5000.00"}'),
        ("PUT", "/customers/7", '{"limit": 5000.00}'),
        ("PUT", "/customers/7", '{"limit": NaN}'),
        ("PUT", "/customers/7", '["limit"]'),
        ("PUT", "/customers/7", ""),
        ("PUT", "/customers/7", "[" * 100_000),
        ("PUT", "/customers/7?limit=9", '{"limit": "5000.00"}'),
        ("PUT", "/customers/07", '{"limit": "5000.00"}'),
        ("PUT", "/customers/%37", '{"limit": "5000.00"}'),
        ("PUT", "/customers/7/", '{"limit": "5000.00"}'),
        ("PUT", "//customers/7", '{"limit": "5000.00"}'),
        ("PUT", "/customers/x/%2e%2e/7", '{"limit": "5000.00"}'),
        ("PUT", "/customers/7;a=b", '{"limit": "5000.00"}'),
        ("POST", "/customers/7", '{"limit": "5000.00"}'),
        ("DELETE", "/customers/7", ""),
        ("PUT", "/customers/7", '{"limit": "' + "9" * 2_000_000 + '"}'),
    ],
)
def test_what_was_not_approved_does_not_pass(
    place: Place, method: str, path: str, body: str
) -> None:
    """Nothing reaches the API, and the grant is not used up: the right request passes after it."""
    grant = place.grant()
    answer = place.send(method, path, grant, content=body.encode())
    assert answer.status_code in (403, 422), answer.text
    assert place.arrived() == []
    assert place.put(grant).status_code == 200


def test_a_path_text_has_one_spelling(place: Place) -> None:
    """Steps that other readers would take apart are no arguments."""
    for topic, path in (("..", "%2e%2e"), ("a/b", "a%2Fb"), ("a\\b", "a%5Cb"), ("x", "%78")):
        grant = place.grant({"topic": topic, "text": "x"}, "crm.note")
        answer = place.send("POST", f"/notes/{path}", grant, json={"text": "x"})
        assert answer.status_code in (403, 422), path
    assert place.arrived() == []


def test_a_grant_for_another_action_at_the_same_address(place: Place) -> None:
    """Two actions share an address: the grant says which of them it is."""
    rename = place.grant({"customer": 7, "name": "Acme Ltd"}, "crm.customer.rename")
    refused = place.put(rename)
    assert "other arguments" in refused.json()["error"]["message"]
    assert place.put(rename, json={"name": "Acme Ltd"}).status_code == 200
    note = place.grant({"topic": "x", "text": "y"}, "crm.note")
    assert "'crm.note', and this request is" in place.put(note).json()["error"]["message"]


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_a_read_is_not_made_a_write_by_a_header(place: Place, name: str) -> None:
    """Old frameworks would delete here."""
    assert place.send("GET", "/customers/7", headers={name: "DELETE"}).status_code == 422


def test_two_grants_are_none(place: Place) -> None:
    """Which of them would the next reader take?"""
    one, two = place.grant(), place.grant()
    headers = [("Gates-Grant", one.token), ("Gates-Grant", two.token)]
    body = b'{"limit":"5000.00"}'
    answer = httpx.put(f"{place.url}/customers/7", headers=headers, content=body)
    assert (answer.status_code, error(answer)) == (403, "invalid_grant")


def test_an_expired_or_retired_grant_does_not_pass(place: Place) -> None:
    """The proxy finds the one out by itself, and hears of the other from the server."""
    grant = place.grant()
    ring = place.world.gates.ring
    assert place.put(place.grant()).status_code == 200  # the proxy knows the key
    ring.retire(ring.signer()[0], "ops")
    assert "none of the known keys" in place.put(grant).json()["error"]["message"]
    slow = place.grant()
    place.world.clock.advance(seconds=120)
    assert "expired" in place.put(slow).json()["error"]["message"]
    assert len(place.arrived()) == 1


# -- trouble ------------------------------------------------------------------------------------


def test_an_api_that_does_not_answer_leaves_a_doubt(place: Place) -> None:
    """The reply says so, the grant is used up, and the flow's word alone gets no second one."""
    grant = place.grant({"topic": "silence", "text": "x"}, "crm.note")
    answer = place.send("POST", "/notes/silence", grant, json={"text": "x"})
    assert (answer.status_code, error(answer)) == (502, "in_doubt")
    assert len(place.arrived()) == 1
    told = AttemptReport(state="failed", fence=grant.fence, error="502", error_class="HTTPError")
    reply = place.world.work.report(place.world.flow, grant.attempt_id, told)
    assert reply.standing is Standing.WAITING
    assert reply.view.request.purpose is Purpose.IN_DOUBT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "version: 2\nwrites: [{action: a, method: PUT, path: /x}]",
            "rules.yaml:1:10: the version",
        ),
        ("version: 1", "has no 'writes'"),
        ("version: 1\nreads: [GET, POST]\nwrites: [{action: a, method: PUT, path: /x}]", "2:14"),
        ("version: 1\nwrites: [{action: a, method: GET, path: /x}]", "passes as a read"),
        ("version: 1\nwrites: [{action: a, method: put, path: /x}]", "in capitals"),
        ("version: 1\nwrites: [{action: a, method: PUT, path: x}]", "does not begin with /"),
        ("version: 1\nwrites: [{action: a, method: PUT, path: /x/../y}]", "neither a plain word"),
        ("version: 1\nwrites: [{action: a, method: PUT, path: '/{a}/{a}'}]", "stands twice"),
        ("version: 1\nwrites: [{action: a, method: PUT, path: '/{a:float}'}]", "neither a plain"),
        ("version: 1\nwrites: [{action: a, method: PUT, path: /x, body: all}]", "rest or none"),
        ("version: 1\nwrites: [{acton: a, method: PUT, path: /x}]", "did you mean 'action'"),
        ("version: 1\nheaders: [Cookie]\nwrites: [{action: a, method: PUT, path: /x}]", "2:11"),
    ],
)
def test_a_mistake_in_the_rules_is_told_with_its_place(text: str, words: str) -> None:
    """Before anything is served."""
    with pytest.raises(InvalidPolicy) as mistake:
        load_rules(text, "rules.yaml")
    assert words in str(mistake.value)
