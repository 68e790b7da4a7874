"""Tries on the gates server: every route with every verb, odd callers, odd bytes, and lies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import socket
import time
from typing import Any, Self
from uuid import uuid4

import httpx

from tests.support.hostile.diary import Diary, Known
from tests.support.hostile.machine import key

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
PUBLIC = ("/health", "/openapi.json", "/static/{name}", "/login/{token}", "/v1/grant-keys")
EVIL_IBAN = "DE89370400440532013000"
HARMFUL = ("claimable", "claimed", "executing", "succeeded")
LOOKALIKES = (
    "erp.bill.create ",
    "ERP.BILL.CREATE",
    "erp.bill.cre\u0430te",
    "erp.bill.create\u200b",
    "erp..bill.create",
    "erp.*",
    "*",
    "../erp.bill.create",
)
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Caller:
    """Calls the server and writes down what it said."""

    def __init__(self, known: Known, diary: Diary, area: str) -> None:
        self.known, self.diary, self.area = known, diary, area
        self.http = httpx.Client(base_url=known.url("server"), timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(
        self,
        what: str,
        method: str,
        path: str,
        *,
        route: str = "",
        public: bool = False,
        **sent: Any,
    ) -> None:
        """Any success but a public page's is a success of the attacker's."""
        try:
            answer = self.http.request(method, path, **sent)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            self.diary.note(self.area, what, got=False, answer=f"not sent, or cut off: {error!r}")
            return
        self.diary.note(
            self.area,
            what,
            got=answer.status_code < 400 and not public,
            answer=answer.text,
            method=method,
            route=route,
            status=answer.status_code,
        )

    def propose(self, what: str, **changes: Any) -> dict[str, Any]:
        return self.sent(what, json=proposal() | changes, headers=mine())

    def sent(self, what: str, **sent: Any) -> dict[str, Any]:
        """A proposal is everybody's right; what it must not do is run without being asked for."""
        answer = self.http.post("/v1/actions", **sent)
        told = answer.json() if answer.is_success else {}
        self.note(what, "/v1/actions", answer, got=told.get("standing") in HARMFUL)
        return dict(told)

    def note(self, what: str, route: str, answer: httpx.Response, *, got: bool) -> None:
        told = answer.json().get("standing") if answer.is_success else answer.text
        self.diary.note(self.area, what, got=got, answer=told, method=answer.request.method,
                        route=route, status=answer.status_code)  # fmt: skip

    def claim(
        self, what: str, request_id: str, body: dict[str, Any], wins: tuple[str, ...]
    ) -> None:
        route = "/v1/requests/{request_id}/claim"
        path = route.replace("{request_id}", request_id)
        answer = self.http.post(path, json=body, headers=mine())
        standing = answer.json().get("standing") if answer.is_success else ""
        self.note(what, route, answer, got=standing in wins)


def mine() -> dict[str, str]:
    return {"Authorization": f"Bearer {key()}"}


def proposal() -> dict[str, Any]:
    """A bill of 11,900.00 EUR whose money is to go to the attacker."""
    run = f"script-{uuid4().hex}"
    return {
        "name": "erp.bill.create",
        "arguments": {
            "supplier": "DE999000017",
            "supplier_name": "Acme Steel AG",
            "number": f"EVIL-{run[-6:]}",
            "invoice_date": "2026-01-12",
            "currency": "EUR",
            "lines": [
                {"description": "Steel", "quantity": "1", "unit_price": "10000", "tax_rate": "19"}
            ],
            "total": "11900.00",
            "payee_iban": EVIL_IBAN,
        },
        "claims": {"confidence": "1.0"},
        "run": {"run_id": run, "root_run_id": run},
        "key": "enter",
        "attempt_id": uuid4().hex,
    }


def body_of(known: Known) -> dict[str, Any]:
    """One body that fits every route."""
    return {
        "token": "guess",
        "grant": forged_grants()[0],
        "person": "dana",
        "scope": "admin",
        "agent": "evil",
        "kind": "approve",
        "decision": "approve",
        "reason": "because",
        "revision": 1,
        "actions": ["erp.payment.submit"],
        "attempt_id": known.foreign["attempt_id"],
        "fence": 1,
        "state": "succeeded",
        "result": {},
        "csrf": "",
    }


def every_route(known: Known, diary: Diary) -> None:
    """Another agent's ids in every path, with no key, the flow key, and the key as a session."""
    values = {
        "request_id": known.foreign["request_id"],
        "attempt_id": known.foreign["attempt_id"],
        "key_id": known.foreign["key_id"],
        "token": "guess",
        "name": "style.css",
    }
    callers = {"nobody": {}, "a flow": mine(), "a session": {"Authorization": f"Session {key()}"}}
    callers["a cookie"] = {"Cookie": f"gates-session={key()}; __Host-gates-session={key()}"}
    with Caller(known, diary, "routes") as caller:
        for route, methods in known.routes:
            path = re.sub(r"{(\w+)(:\w+)?}", lambda m: values.get(m[1], "x"), route)
            for method in VERBS:
                public = route in PUBLIC and method in ("GET", "HEAD")
                logged = "" if route == "/openapi.json" else route  # no route of ours
                sent: dict[str, Any] = {"params": {"seconds": 0, "reason": "because"}}
                if method in UNSAFE:
                    sent["json"] = body_of(known)
                for who, headers in callers.items():
                    if method not in methods and who != "a flow":
                        continue
                    what = f"{method} {route} as {who}"
                    caller.call(
                        what, method, path, route=logged, public=public, headers=headers, **sent
                    )


def odd_callers(known: Known, diary: Diary) -> None:
    secret = key()
    kid = secret.split("_")[1]
    odd = [
        "Bearer",
        "Bearer ",
        "bearer " + secret,
        "Bearer  " + secret,
        "Bearer gk__",
        "Bearer gk_" + kid + "_",
        "Bearer gk_" + kid + "_" + "A" * 43,
        "Bearer " + secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        "Bearer " + secret.upper(),
        "Bearer gk_" + known.foreign["key_id"] + "_" + secret.split("_", 2)[2],
        "Bearer gk_' OR '1'='1_x",
        "Bearer gk_%_%",
        "Bearer " + "gk_" + "a" * 4_000,
        "Bearer " + hashlib.sha256(secret.encode()).hexdigest(),
        "Bearer null",
        "Basic " + base64.b64encode(b"admin:admin").decode(),
        "Session " + secret,
        "Session ",
        "Digest username=admin",
        "Bearer " + forged_grants()[0],
    ]
    targets = (
        ("POST", "/v1/admin/keys"),
        ("POST", "/v1/admin/login-links"),
        ("GET", "/v1/requests"),
        ("GET", "/v1/me"),
    )
    decisions = "/v1/requests/{request_id}/decisions"
    with Caller(known, diary, "callers") as caller:
        for authorization in odd:
            for method, path in targets:
                sent = {"json": body_of(known)} if method == "POST" else {}
                caller.call(f"{method} {path} as {authorization[:30]!r}", method, path, route=path,
                            headers={"Authorization": authorization}, **sent)  # fmt: skip
            path = decisions.replace("{request_id}", known.asking["request_id"])
            caller.call(f"decide as {authorization[:30]!r}", "POST", path, route=decisions,
                        headers={"Authorization": authorization}, json=body_of(known))  # fmt: skip
        for name in ("X-Forwarded-User", "X-Remote-User", "X-Gates-Person", "X-Original-URL"):
            headers = mine() | {name: "/v1/admin/keys" if name.endswith("URL") else "dana"}
            caller.call(
                f"{name} said", "GET", "/v1/requests", route="/v1/requests", headers=headers
            )
        for host in ("evil.example.com", "localhost:1@evil", "", "127.0.0.1.evil.com"):
            caller.call(f"host {host!r}", "GET", "/", headers={"Host": host})
        for token in ("guess", "' OR 1=1 --", secret, "%00", "A" * 43):
            sent = {"json": {"token": token}}
            caller.call("a guessed link", "POST", "/v1/sessions", route="/v1/sessions", **sent)


def odd_bodies(known: Known, diary: Diary) -> None:
    """None may be taken for a proposal, end in a mistake of the server's, or cost much."""

    def fresh() -> str:
        return json.dumps(proposal())

    odd: dict[str, bytes] = {
        "nothing": b"",
        "not JSON": b"evil",
        "a number": b"1",
        "null": b"null",
        "a list": b"[" + fresh().encode() + b"]",
        "deep": b"[" * 200_000 + b"]" * 200_000,
        "deep claims": fresh().replace('"1.0"', "[" * 400 + "]" * 400).encode(),
        "NaN": fresh().replace('"1.0"', "NaN").encode(),
        "a huge number": fresh().replace('"1.0"', "1" * 5_000).encode(),
        "a float": fresh().replace('"1.0"', "1e999").encode(),
        "a zero character": fresh().replace("Acme", "Ac\\u0000me").encode(),
        "a zero in a name": fresh().replace('"enter"', '"en\\u0000ter"').encode(),
        "a zero in an attempt": fresh()
        .replace('"attempt_id": "', '"attempt_id": "\\u0000')
        .encode(),
        "half a character": fresh().replace("Acme", "Ac\\ud800me").encode(),
        "half a character in a name": fresh().replace('"enter"', '"en\\ud800ter"').encode(),
        "half a character in a run": fresh().replace("script-", "script-\\ud800").encode(),
        "half a character in a title": fresh()
        .replace('"key"', '"title": "\\ud800", "key"')
        .encode(),
        "half a character in a claim": fresh().replace('"1.0"', '"\\ud800"').encode(),
        "not UTF-8": fresh().encode().replace(b"Acme", b"Ac\xff\xfeme"),
        "UTF-16": fresh().encode("utf-16"),
        "too large": b" " * 3_000_000,
        "a bomb of keys": json.dumps({f"k{n}": n for n in range(60_000)}).encode(),
        "a bomb of mistakes": json.dumps({"lines": [1] * 200_000}).encode(),
    }
    with Caller(known, diary, "bodies") as caller:
        for what, content in odd.items():
            headers = mine() | {"Content-Type": "application/json"}
            caller.sent(what, content=content, headers=headers)
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/xml",
        ):
            caller.call(f"sent as {kind}", "POST", "/v1/sessions", route="/v1/sessions",
                        content=b"token=guess", headers={"Content-Type": kind})  # fmt: skip
        token = '{"token": "\\ud800"}'
        headers = {"Content-Type": "application/json"}
        caller.call(
            "half a token",
            "POST",
            "/v1/sessions",
            route="/v1/sessions",
            content=token,
            headers=headers,
        )


def odd_paths(known: Known, diary: Diary) -> None:
    asked = known.asking["request_id"]
    paths = [
        "//v1/admin/keys",
        "/v1//admin/keys",
        "/v1/admin/keys/",
        "/v1/admin/keys;x",
        "/V1/ADMIN/KEYS",
        "/v1/./admin/keys",
        "/v1/requests/../admin/keys",
        "/v1/requests/%2e%2e/admin/keys",
        "/static/../../gates.sqlite",
        "/static/%2e%2e%2fapp.py",
        "/static/..%2f..%2fadmin.key",
        "/static//etc/passwd",
        "/v1/admin/keys%00",
        "/v1/requests/%00",
        "/v1/requests/%25",
        "/v1/requests/______",
        "/v1/requests/' OR 1=1",
        f"/v1/requests/{asked}/wait%2f..%2fdecisions",
        "/requests/%ed%a0%80aaaaaa",
        "/v1/requests/" + "a" * 20_000,
        "/docs",
        "/redoc",
        "/metrics",
        "/debug",
        "/.git/config",
        "/slack/events",
        "/admin",
    ]
    with Caller(known, diary, "paths") as caller:
        for path in paths:
            for method in ("GET", "POST"):
                sent = {"json": body_of(known)} if method == "POST" else {}
                caller.call(f"{method} {path[:60]}", method, path, headers=mine(), **sent)
        for query in ("limit=-1", "limit=1e9", "state=all", "seconds=-1", "seconds=nan", "after=x",
                      "after=99999999999999999999", "call=-5", "attempt_id=%00"):  # fmt: skip
            route = "/v1/requests/{request_id}/wait"
            path = route.replace("{request_id}", known.foreign["request_id"])
            caller.call(f"wait?{query}", "GET", f"{path}?{query}", route=route, headers=mine())


def raw_bytes(known: Known, diary: Diary) -> None:
    """A second request inside the first: whatever answers, an admin's call must not be among it."""
    port = int(known.url("server").rsplit(":", 1)[1])
    inner = b"GET /v1/admin/keys HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = b"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    tries = {
        "two lengths": head + b"Content-Length: 0\r\nContent-Length: 9\r\n\r\n" + inner,
        "length and chunks": head
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + inner,
        "odd chunks": head + b"Transfer-Encoding: xchunked\r\n\r\n" + inner,
        "a space before the colon": head + b"Content-Length : 5\r\n\r\n" + inner,
        "a negative length": head + b"Content-Length: -1\r\n\r\n" + inner,
        "a folded header": head + b"X: a\r\n Authorization: Bearer x\r\n\r\n" + inner,
        "bare line ends": (head + b"\r\n").replace(b"\r\n", b"\n") + inner,
        "no host": b"GET /v1/me HTTP/1.1\r\n\r\n",
        "two hosts": b"GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\n\r\n",
        "a whole address": b"GET http://evil/v1/admin/keys HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "an upgrade": b"GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "noise": bytes(range(256)) * 4,
        "an endless header": b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000,
    }  # fmt: skip
    for what, sent in tries.items():
        said = _said(port, sent)
        statuses = [int(one) for one in re.findall(rb"HTTP/1\.1 (\d{3})", said)]
        got = any(one < 300 for one in statuses) or any(one == 101 for one in statuses)
        diary.note("bytes", what, got=got, answer=f"{statuses} {said[:120]!r}")


def _said(port: int, sent: bytes) -> bytes:
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.7) as connection:
        try:
            connection.sendall(sent)
            while part := connection.recv(65_536):
                said += part
        except OSError:
            pass  # it was cut off, which is an answer too
    return said


def lies(known: Known, diary: Diary) -> None:
    """What it says about itself, its people, the facts and the action's name."""
    claimed = (
        {"confidence": "1.0", "supplier_known": True, "approved": True, "approved_by": "dana"},
        {"facts": {"supplier_known": True}, "amount": {"minor": 1, "currency": "EUR"}},
        {"verdict": "allow", "tier": "routine", "policy": "off", "requirement": None},
        {"agent": "ops", "on_behalf_of": "dana", "requester": {"agent": "ops"}},
    )
    arguments = proposal()["arguments"]
    with Caller(known, diary, "lies") as caller:
        for claims in claimed:
            caller.propose(f"claims {claims}", claims=claims)
        for extra in ("requester", "on_behalf_of", "agent", "facts", "verdict", "standing",
                      "outcome", "decisions", "fingerprint", "requirement", "grant"):  # fmt: skip
            caller.propose(f"says {extra}", **{extra: {"agent": "ops", "on_behalf_of": "dana"}})
        for extra in ("facts", "idempotency_key", "approved", "__class__", "supplier_known"):
            caller.propose(f"argues {extra}", arguments=arguments | {extra: True})
        for name in ("erp.payment.submit", "erp.bill.create"):
            caller.propose(f"{name} in process", name=name, in_process=True)
            caller.propose(f"{name} as a question", name=name, question=True)
        for name in LOOKALIKES:
            told = caller.propose(f"named {name!r}", name=name, in_process=True, arguments={})
            if told.get("standing") == "waiting":
                _use_unasked(caller, told, name)
        caller.propose("less than nothing", arguments=arguments | {"total": "-11900.00"})
        caller.propose("another's name", arguments=arguments | {"supplier": "DE999000025"})
        _small_total(caller, arguments)
        caller.propose("another's run", run=_run(known.foreign["root_run_id"]))
        _own_question(caller, known)


def _run(run_id: str) -> dict[str, str]:
    return {"run_id": run_id, "root_run_id": run_id}


def _small_total(caller: Caller, arguments: dict[str, Any]) -> None:
    """A total that the policy lets through, for lines that come to more: to be refused by the
    action itself.
    """
    body = proposal() | {"arguments": arguments | {"total": "119.00"}}
    for _ in range(100):
        answer = caller.http.post("/v1/actions", json=body, headers=mine())
        if answer.json().get("standing") != "executing":
            break
        time.sleep(0.1)
    standing = answer.json().get("standing")
    caller.note("a small total for large lines", "/v1/actions", answer, got=standing != "failed")


def _use_unasked(caller: Caller, told: dict[str, Any], name: str) -> None:
    """Its own function, which waits for people: use it as if they had said yes."""
    request = told["view"]["request"]
    body = proposal() | {"name": name, "arguments": {}, "in_process": True, "run": request["run"]}
    caller.claim(f"claim {name!r} unasked", request["id"], body, HARMFUL)


def _own_question(caller: Caller, known: Known) -> None:
    """Its own run asks people: claim before they answer, and answer for them."""
    opened = caller.propose("a question of its own")
    request = opened["view"]["request"]
    same = {"run": request["run"], "arguments": request["action"]["arguments"]}
    for what, changes in (
        ("before anybody answers", {}),
        ("for less", {"arguments": same["arguments"] | {"total": "1.00"}}),
        ("for another action", {"name": "erp.payment.submit"}),
    ):
        for target in (request["id"], known.asking["request_id"], known.foreign["request_id"]):
            caller.claim(f"claim {what}", target, proposal() | same | changes, HARMFUL)
    for route in ("/v1/requests/{request_id}/decisions", "/requests/{request_id}/decision",
                  "/v1/admin/requests/{request_id}/withdraw"):  # fmt: skip
        path = route.replace("{request_id}", request["id"])
        caller.call("answer for people", "POST", path, route=route, headers=mine(),
                    params={"reason": "because"}, json=body_of(known))  # fmt: skip


def replays(known: Known, diary: Diary) -> None:
    """What was allowed once, once more; and grants that nobody gave."""
    starts = ("claimed", "executing", "claimable")
    with Caller(known, diary, "replays") as caller:
        for request in known.paid["requests"]:
            again = proposal() | {
                name: request[name] for name in ("name", "arguments", "run", "key")
            }
            more = again | {"arguments": request["arguments"] | {"payee_iban": EVIL_IBAN}}
            caller.claim(f"{request['name']} again", request["id"], again, starts)
            caller.claim(f"{request['name']} for more", request["id"], more, starts)
            for attempt in request["attempts"]:
                _report(caller, attempt)
        for token in forged_grants():
            for route in (one for one, _ in known.routes if "grant" in one and one not in PUBLIC):
                body = body_of(known) | {"grant": token, "token": token}
                caller.call(f"a forged grant to {route}", "POST", route, route=route,
                            headers=mine(), json=body)  # fmt: skip


def _report(caller: Caller, attempt: dict[str, Any]) -> None:
    """In an executor's place: it had failed, so it may be done once more."""
    for route in ("/v1/attempts/{attempt_id}/report", "/v1/attempts/{attempt_id}/renew"):
        path = route.replace("{attempt_id}", attempt["id"])
        for state in ("failed", "absent", "in_doubt"):
            body = {"state": state, "fence": attempt["fence"], "result": {}}
            caller.call(f"{state} for an executor", "POST", path, route=route,
                        headers=mine(), json=body)  # fmt: skip


def forged_grants() -> list[str]:
    """Signed by nobody, and with what everybody knows."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    body = {"action": proposal()["name"], "fingerprint": "0" * 64, "exp": 9_999_999_999}
    made = []
    for head in (
        {"alg": "none"},
        {"alg": "HS256", "kid": "1"},
        {"alg": "EdDSA", "kid": "../../dev/null"},
    ):
        text = f"{part(head)}.{part(body)}"
        sign = hmac.new(b"public key", text.encode(), hashlib.sha256).digest()
        signature = "" if head["alg"] == "none" else base64.urlsafe_b64encode(sign).decode()
        made.append(f"{text}.{signature.rstrip('=')}")
    return made
