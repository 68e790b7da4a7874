"""A real HTTP proxy before one server: it lets everything through, and holds chosen calls.

A held call shows where a process is; ended there, the process is ended at exactly that point.
A refused call is answered with 503 and never reaches the server.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
LONGEST = 150.0  # seconds of one held or answered call


class Call(NamedTuple):
    """`answer` is empty before the call was passed on."""

    method: str
    path: str
    body: bytes
    answer: bytes = b""

    def says(self, *words: str) -> bool:
        text = b" ".join((self.method.encode(), self.path.encode(), self.body, self.answer))
        return all(word.encode() in text for word in words)


class Hold:
    """The first call that fits, stopped before it reaches the server or before its answer
    reaches the caller.
    """

    def __init__(self, wanted: Callable[[Call], bool], moment: Literal["before", "after"]) -> None:
        self.wanted, self.moment = wanted, moment
        self.reached = threading.Event()
        self.lost = False
        self.status = 0  # what the caller is told instead, where the call is lost
        self._free = threading.Event()

    def wait(self, seconds: float = 120.0) -> None:
        """Until a call is held here."""
        assert self.reached.wait(seconds), f"no such call within {seconds} s"

    def release(self) -> None:
        """It goes on, whoever may have died meanwhile."""
        self._free.set()

    def lose(self) -> None:
        """The connection breaks: the call, or its answer, is gone."""
        self.lost = True
        self._free.set()

    def pause(self) -> bool:
        """For the proxy: False where the connection is to be broken."""
        self.reached.set()
        self._free.wait(LONGEST)
        return not self.lost


class Proxy:
    """Listens on a free port of the loopback; `upstream` may be set later. `refuse` says which
    calls are answered with 503, `seen` is told of each call with its answer.
    """

    def __init__(
        self,
        upstream: str = "",
        refuse: Callable[[Call], bool] = lambda _call: False,
        seen: Callable[[Call], None] = lambda _call: None,
    ) -> None:
        self.upstream = upstream
        self.refuse = refuse
        self.seen = seen
        self._holds: list[Hold] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for hold in self._holds:
            hold.lose()
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def hold(
        self, wanted: Callable[[Call], bool], moment: Literal["before", "after"] = "before"
    ) -> Iterator[Hold]:
        hold = Hold(wanted, moment)
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            with self._lock:
                if hold in self._holds:
                    self._holds.remove(hold)
            hold.release()

    def held(self, call: Call, moment: str) -> Hold | None:
        with self._lock:
            for hold in self._holds:
                if hold.moment == moment and not hold.reached.is_set() and hold.wanted(call):
                    hold.reached.set()
                    return hold
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers here are killed in mid-call, and servers too: nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Proxy

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """The servers behind have logs of their own."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, self.path, body)
        if self._stopped(call, "before"):
            return
        if self.owner.refuse(call):
            self._send(503, [], b'{"detail": "busy"}')
            return
        try:
            status, headers, answer = self._ask(body)
        except (OSError, http.client.HTTPException):  # the server is away: so is its connection
            self.close_connection = True
            return
        self.owner.seen(call._replace(answer=answer))
        if self._stopped(call._replace(answer=answer), "after"):
            return
        self._send(status, headers, answer)

    def _send(self, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _stopped(self, call: Call, moment: str) -> bool:
        hold = self.owner.held(call, moment)
        if hold is None or hold.pause():
            return False
        if hold.status:
            self.send_response_only(hold.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.close_connection = True
        return True

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        where = urlsplit(self.owner.upstream)
        assert where.hostname is not None
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=LONGEST)
        headers = {n: v for n, v in self.headers.items() if n.lower() not in HOP}
        headers["Accept-Encoding"] = "identity"  # holds look into answers
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            # Tryton calls a long answer gzip even where it was asked for identity, and sent it.
            told = [one for one in answer.getheaders() if one[0].lower() != "content-encoding"]
            return answer.status, told, answer.read()
        finally:
            connection.close()

    do_GET = do_POST = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the base class's names


__all__ = ["Call", "Hold", "Proxy"]
