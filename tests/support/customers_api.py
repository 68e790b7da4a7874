"""Somebody else's HTTP API, as a process: customers in memory, a token, no idea of gates.

    python -m tests.support.customers_api PORT

`GET /log` tells every write that arrived: method, path, headers, body.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CUSTOMERS: dict[str, dict[str, Any]] = {"7": {"name": "Acme", "limit": "1000.00"}}
ARRIVED: list[dict[str, Any]] = []
TOKEN = "Bearer of-the-api"


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _body(self) -> str:
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        if self.path == "/log":
            self._answer(200, ARRIVED)
            return
        found = CUSTOMERS.get(self.path.partition("?")[0].rsplit("/", 1)[1])
        self._answer(200 if found else 404, found)

    def _write(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        ARRIVED.append(
            {"method": self.command, "path": self.path, "headers": headers, "body": body}
        )
        if self.path.endswith("/silence"):
            self.close_connection = True
            return
        if headers.get("authorization") != TOKEN:
            self._answer(401, {"error": "who are you?"})
            return
        if self.path == "/customers/7":
            CUSTOMERS["7"] |= json.loads(body or "{}")
        self._answer(200, CUSTOMERS["7"])

    do_PUT = do_POST = do_DELETE = do_PATCH = _write  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
