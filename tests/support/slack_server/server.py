"""The sandbox's two doors: HTTP for the Web API and response_urls, a websocket for Socket Mode.

Threads, not an event loop, so that a fault can close a socket at the exact moment it wants.
"""

from __future__ import annotations

import json
import math
import socket
import threading
import uuid
from concurrent.futures import Future
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.slack_server import methods_places  # noqa: F401 - brings its methods
from tests.support.slack_server.blockkit import check_message_blocks
from tests.support.slack_server.methods import authorize, call
from tests.support.slack_server.refusing import SlackError
from tests.support.slack_server.workspace import Ephemeral, Fault, Json, Workspace


class HttpDoor(ThreadingHTTPServer):
    """`/api/METHOD` and `/actions/...` (response_urls)."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, space: Workspace, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.space = space
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up early is no news."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
        """Quiet: tests read `calls` instead."""

    @property
    def space(self) -> Workspace:
        return cast("HttpDoor", self.server).space

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size).decode()
        path = urlsplit(self.path).path
        if path.startswith("/api/"):
            self._method(path.removeprefix("/api/"), body)
        elif path.startswith("/actions/"):
            self._response_url(path.rsplit("/", 1)[-1], body)
        else:
            self._answer(404, {"ok": False, "error": "not_found"})

    def _answer(self, status: int, body: Json, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _arguments(self, body: str) -> Json:
        if "json" in self.headers.get("Content-Type", ""):
            value = json.loads(body or "{}")
            return value if isinstance(value, dict) else {}
        query = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        return dict([*query, *parse_qsl(body, keep_blank_values=True)])

    def _method(self, method: str, body: str) -> None:
        try:
            args = self._arguments(body)
        except ValueError:
            self._answer(200, {"ok": False, "error": "invalid_json"})
            return
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        token = bearer or args.pop("token", None)
        args.pop("token", None)
        with self.space.lock:
            fault = self.space.take_fault(method)
            if fault and fault.kind != "lose_reply":
                self._misbehave(fault)
                return
            answer = self._run(method, token, args)
        if fault:
            self._hang_up()
        else:
            status, content, headers = answer
            self._answer(status, content, **headers)

    def _run(self, method: str, token: str | None, args: Json) -> tuple[int, Json, dict[str, str]]:
        try:
            authorize(self.space, method, token)
            wait = self.space.retry_after(method, args.get("channel"))
            if wait > 0:
                self.space.refused += 1
                seconds = str(max(1, math.ceil(wait)))
                return 429, {"ok": False, "error": "ratelimited"}, {"Retry_After": seconds}
            scopes = ",".join(sorted(self.space.tokens[str(token)]))
            return 200, call(self.space, method, token, args), {"X_OAuth_Scopes": scopes}
        except SlackError as error:
            return 200, error.body, {}

    def _misbehave(self, fault: Fault) -> None:
        if fault.kind == "drop":
            self._hang_up()
        elif fault.kind == "ratelimited":
            body = {"ok": False, "error": "ratelimited"}
            self._answer(429, body, Retry_After=str(fault.retry_after))
        elif fault.kind == "error":
            self._answer(200, {"ok": False, "error": fault.error})
        else:
            self._answer(fault.status, {"ok": False, "error": "internal_error"})

    def _response_url(self, name: str, body: str) -> None:
        space = self.space
        with space.lock:
            url = space.response_urls.get(name)
            if url is None or space.clock() - url.born > space.limits.response_url:
                self._answer(404, {"ok": False, "error": "expired_url"})
                return
            if url.uses >= space.limits.response_url_uses:
                self._answer(404, {"ok": False, "error": "used_url"})
                return
            url.uses += 1
            args = json.loads(body or "{}")
            blocks = args.get("blocks") or []
            if check_message_blocks(blocks):
                self._answer(500, {"ok": False, "error": "invalid_blocks"})
                return
            text = args.get("text", "")
            message = space.messages.get((url.channel, url.message_ts))
            if args.get("replace_original") and message is not None:
                message.versions.append({"text": text, "blocks": blocks})
            elif not args.get("delete_original"):
                space.ephemerals.append(Ephemeral(url.channel, url.user, text, blocks))
            space.changed.notify_all()
        self._answer(200, {"ok": True})


class _Line(ServerConnection):
    """A connection that can fall silent: open as far as TCP knows, and nothing comes back."""

    silent = False

    def send_data(self) -> None:
        if self.silent:
            self.protocol.data_to_send()  # into the void
        else:
            super().send_data()


class SocketDoor:
    """Socket Mode: hello, envelopes, acks, disconnects."""

    def __init__(self, space: Workspace, port: int = 0) -> None:
        self.space = space
        self._connections: list[ServerConnection] = []
        self._waiting: dict[str, Future[Json]] = {}
        self._server: Server = serve(
            self._attend,
            "127.0.0.1",
            port,
            ping_interval=None,
            close_timeout=0.5,
            create_connection=_Line,
        )
        self.base = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _attend(self, connection: ServerConnection) -> None:
        query = parse_qs(urlsplit(connection.request.path if connection.request else "").query)
        ticket = query.get("ticket", [""])[0]
        with self.space.lock:
            known = ticket in self.space.tickets and not self.space.refuse_sockets
            self.space.tickets.discard(ticket)  # an address is good for one connection
            number = len(self._connections) + 1
        if not known:
            connection.close(1008, "unknown ticket")
            return
        info = {"host": "sandbox", "build_number": 1, "approximate_connection_time": 18060}
        hello = {"type": "hello", "num_connections": number, "debug_info": info}
        try:
            connection.send(json.dumps(hello | {"connection_info": {"app_id": self.space.app_id}}))
            with self.space.lock:
                self._connections.append(connection)
                self.space.changed.notify_all()
            for frame in connection:
                self._acknowledge(frame)
        except ConnectionClosed:
            pass
        finally:
            with self.space.lock:
                if connection in self._connections:
                    self._connections.remove(connection)
                self.space.changed.notify_all()

    def _acknowledge(self, frame: str | bytes) -> None:
        try:
            answer = json.loads(frame)
        except ValueError:
            return
        waiting = self._waiting.pop(str(answer.get("envelope_id")), None)
        if waiting is not None:
            waiting.set_result(answer)

    @property
    def connected(self) -> int:
        with self.space.lock:
            return len(self._connections)

    def deliver(self, payload: Json, kind: str = "interactive") -> Future[Json] | None:
        """Send an interaction, event or command down the youngest connection; `None` if none."""
        envelope = str(uuid.uuid4())
        body = {"envelope_id": envelope, "type": kind, "payload": payload}
        future: Future[Json] = Future()
        with self.space.lock:
            if not self._connections:
                return None
            connection = self._connections[-1]
            self._waiting[envelope] = future
        try:
            connection.send(json.dumps(body | {"accepts_response_payload": True}))
        except ConnectionClosed:
            return None
        return future

    def ask_to_leave(self, reason: str) -> None:
        """Slack's own refresh: `warning` a little before; `refresh_requested` now, after which
        nothing more comes down these connections.
        """
        with self.space.lock:
            current = list(self._connections)
            if reason != "warning":
                self._connections = []
        for connection in current:
            connection.send(json.dumps({"type": "disconnect", "reason": reason, "debug_info": {}}))

    def fall_silent(self) -> None:
        """Answer nothing on the connections that stand, not even pings; new ones are well."""
        with self.space.lock:
            current, self._connections = self._connections, []
        for connection in current:
            connection.silent = True  # type: ignore[attr-defined]

    def cut(self) -> int:
        """Break every connection without a close frame, as a lost network does."""
        with self.space.lock:
            current, self._connections = self._connections, []
        for connection in current:
            with suppress(OSError):  # the other side has just left by itself
                connection.socket.shutdown(socket.SHUT_RDWR)
        return len(current)

    def close(self) -> None:
        self.cut()
        self._server.shutdown()
        self._thread.join()
