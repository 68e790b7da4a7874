"""One call to the server: through a proxy where the environment names one, and without."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gates.calling import Caller
from gates.core.errors import GatesError, InvalidInput, Unavailable


@contextmanager
def server(status: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """Answers everything alike; its address, and the targets that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", asked
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def caller(base_url: str) -> Caller:
    return Caller(base_url, "Bearer gk_a_b", patience=0, longest=5)


def test_a_proxy_of_the_environment_is_told_the_whole_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy has to know where a call is to go."""
    with server(200, b"{}") as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        calling = caller("http://gates.example:99/base")
        assert calling.call("GET", "/v1/me", params={"a": 1}) == b"{}"
        assert asked == ["http://gates.example:99/base/v1/me?a=1"]
        calling.close()


def test_what_the_proxy_is_not_for_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """no_proxy counts; a path in the address stays before each call's own."""
    with server(200, b"{}") as (address, asked):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        calling = caller(f"{address}/base")
        assert calling.answers("/health")
        assert asked == ["/base/health"]
        calling.close()


@pytest.mark.parametrize("address", ["gates.example", "ftp://gates.example", "http://", ""])
def test_an_address_that_is_none_is_named(address: str) -> None:
    """Before anything is called."""
    with pytest.raises(InvalidInput, match="GATES_URL"):
        caller(address)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "no"}', b'{"error": {}}'])
def test_an_answer_of_somebody_else_is_shown(body: bytes) -> None:
    """Whatever stands at that address is not a gates server: its own words help to see what."""
    with server(404, body) as (address, _):
        calling = caller(address)
        with pytest.raises(GatesError, match="HTTP 404"):
            calling.call("GET", "/v1/me")
        calling.close()


def test_nobody_there_is_said_with_the_cure() -> None:
    """After the patience, which is none here."""
    with server(200, b"") as (address, _):
        pass
    calling = caller(address)
    assert not calling.answers("/health")
    with pytest.raises(Unavailable, match="GATES_URL"):
        calling.call("GET", "/v1/me")
    calling.close()
