"""The real system of a storm: a till in a process of its own, with books that outlive kill -9.

    POST /pay    books under a key, once: a repeated key gets the first entry
    POST /hand   knows no keys: each call is an entry
    POST /own    likewise, for what flows do in their own process
    GET  /entries?kind=..&key=..    GET /accounts/PAYEE    POST /accounts/PAYEE

Every call that reached it is written down too, with what it asked for.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from pydantic import BaseModel, ConfigDict

from gates.actions import Reconciled, action

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL,
    payee TEXT NOT NULL, amount TEXT NOT NULL, reference TEXT NOT NULL, at REAL NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS entry_once ON entry (key) WHERE kind = 'pay';
CREATE TABLE IF NOT EXISTS call (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS account (payee TEXT PRIMARY KEY, number TEXT NOT NULL);
"""
BOOKING = ("pay", "hand", "own")


class Payout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    payee: str
    amount: Decimal
    reference: str


class Receipt(BaseModel):
    entry: int


class Till:
    """The client, as the gates server, executors and flows hold it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=10, trust_env=False)

    def account(self, payee: str) -> str:
        return str(self._asked("GET", f"/accounts/{payee}")["number"])

    def find(self, kind: str, key: str) -> int | None:
        found = self._asked("GET", "/entries", params={"kind": kind, "key": key})
        return int(found[0]) if found else None

    def book(self, kind: str, payout: Payout, key: str) -> Receipt:
        body = payout.model_dump(mode="json") | {"key": key}
        return Receipt(entry=self._asked("POST", f"/{kind}", json=body)["entry"])

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        return self._http.request(method, path, **more).raise_for_status().json()


def _state(till: Till, payout: Payout) -> dict[str, Any]:
    return {"account": till.account(payout.payee)}


def _found(kind: str):
    def find(till: Till, _payout: Payout, *, idempotency_key: str) -> Reconciled:
        entry = till.find(kind, idempotency_key)
        if entry is None:
            return Reconciled(state="absent")
        return Reconciled(state="done", result={"entry": entry})

    return find


def _amount(payout: Payout) -> tuple[Decimal, str]:
    return payout.amount, "EUR"


def _payee(payout: Payout) -> list[str]:
    return [f"payee:{payout.payee}"]


@action(
    "till.pay", title="Pay", subject=_payee, amount=_amount, facts=_state, precondition=_state,
    reconcile=_found("pay"),
)  # fmt: skip
def pay(till: Till, payout: Payout, *, idempotency_key: str) -> Receipt:
    return till.book("pay", payout, idempotency_key)


@action(
    "till.hand", title="Hand out", subject=_payee, amount=_amount, facts=_state,
    precondition=_state, reconcile=_found("hand"),
)  # fmt: skip
def hand(till: Till, payout: Payout, *, idempotency_key: str) -> Receipt:
    """The till recognizes nothing here, so the action looks before it books."""
    there = till.find("hand", idempotency_key)
    return till.book("hand", payout, idempotency_key) if there is None else Receipt(entry=there)


@action("till.burn", title="Burn", subject=_payee, amount=_amount)
def burn(till: Till, payout: Payout, *, idempotency_key: str) -> Receipt:
    return till.book("hand", payout, idempotency_key)


ACTIONS = (pay, hand, burn)


# -- the server ---------------------------------------------------------------------------------


class Books:
    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._database.executescript(SCHEMA)

    def book(self, kind: str, told: dict[str, str]) -> int:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            self._write(
                "INSERT INTO call (kind, key, at) VALUES (?, ?, ?)", kind, told["key"], time.time()
            )
            known = self._database.execute(
                "SELECT id FROM entry WHERE kind = 'pay' AND ? = 'pay' AND key = ?",
                (kind, told["key"]),
            ).fetchone()
            entry = known[0] if known else self._enter(kind, told)
            self._database.execute("COMMIT")
        return int(entry)

    def _enter(self, kind: str, told: dict[str, str]) -> int:
        return self._write(
            "INSERT INTO entry (kind, key, payee, amount, reference, at) VALUES (?, ?, ?, ?, ?, ?)",
            kind, told["key"], told["payee"], told["amount"], told["reference"], time.time(),
        )  # fmt: skip

    def _write(self, statement: str, *values: object) -> int:
        return self._database.execute(statement, values).lastrowid or 0

    def find(self, kind: str, key: str) -> list[int]:
        with self._lock:
            query = "SELECT id FROM entry WHERE kind = ? AND key = ? ORDER BY id"
            return [row[0] for row in self._database.execute(query, (kind, key))]

    def account(self, payee: str) -> str:
        with self._lock:
            query = "SELECT number FROM account WHERE payee = ?"
            found = self._database.execute(query, (payee,)).fetchone()
        return str(found[0]) if found else "NL00"

    def move(self, payee: str, number: str) -> None:
        with self._lock:
            self._write("INSERT OR REPLACE INTO account VALUES (?, ?)", payee, number)


def serve(file: Path, port: int) -> None:
    books = Books(file)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """The books say it all."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/entries":
                asked = parse_qs(parts.query)
                self._answer(books.find(asked["kind"][0], asked["key"][0]))
            else:
                self._answer({"number": books.account(parts.path.rsplit("/", 1)[1])})

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            parts = self.path.strip("/").split("/")
            if parts[0] in BOOKING:
                self._answer({"entry": books.book(parts[0], told)})
            else:
                books.move(parts[1], told["number"])
                self._answer({})

        def _answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response_only(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.serve_forever()
