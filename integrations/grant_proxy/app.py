"""The proxy as an ASGI application. It holds the API's credential, so that nobody gets past it.

A read goes through. For a write the grant is verified here, the request compared with it, and
only then is the grant redeemed at the gates server, once; so a mistake uses nothing up. What the
API then answers goes back as it is. Where no answer comes after the grant was redeemed, nobody
knows whether the write landed, and the reply says so; nothing is sent twice.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from gates.client import GatesClient
from gates.core.canonical import canonical_json
from gates.core.errors import GatesError, InvalidGrant, InvalidInput, NotEntitled
from gates.core.messages import Redemption
from gates.grants.token import Claims
from gates.grants.trusted_keys import TrustedKeys
from integrations.grant_proxy.matching import Call, granted, understand
from integrations.grant_proxy.rules import Rules

log = logging.getLogger(__name__)

LARGEST_BODY = 1_048_576  # bytes
HOP_BY_HOP = {  # RFC 9110, 7.6.1, and what browsers and old servers add
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
OVERRIDES = {"x-http-method", "x-http-method-override", "x-method-override"}
OWN = {"host", "gates-grant", "content-length", "expect"}
OF_WRITES = {"accept", "accept-language", "user-agent", "authorization"}


@dataclass
class GrantProxy:
    """`upstream`: the API's address. `authorization`: what is sent there as Authorization; where
    it is empty the caller's own goes through. `client` has an executor's key.
    """

    upstream: str
    rules: Rules
    client: GatesClient
    keys: TrustedKeys
    authorization: str = ""
    timeout: float = 60.0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _http: httpx.AsyncClient = field(init=False)

    def application(self) -> Starlette:
        return Starlette(routes=[Mount("", app=self._serve)], lifespan=self._life)

    @asynccontextmanager
    async def _life(self, _app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(
            timeout=self.timeout, follow_redirects=False, trust_env=False
        ) as self._http:
            yield

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except GatesError as error:
            log.warning("%s %s: %s", request.method, request.url.path[:200], error)
            response = refusal(error.http_status, error.code, str(error), error.details)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, query = raw_target(request.scope)
        overriding = OVERRIDES & set(request.headers)
        if overriding:
            raise InvalidInput(f"{', '.join(overriding)}: send the method itself instead.")
        if request.method in self.rules.reads:
            target = f"{path}?{query}" if query else path
            return await self._forward(request.method, target, self._headers(request), b"")
        return await self._write(request, path, query)

    async def _write(self, request: Request, path: str, query: str) -> Response:
        """Raises GatesError before anything was used up, and answers by itself afterwards."""
        body = await limited(request)
        calls = understand(self.rules, request.method, path, query, body)
        if not calls:
            raise NotEntitled(f"No rule lets {request.method} {path[:200]} through.")
        token = the_grant(request)
        claims = await run_in_threadpool(self.keys.verify, token, self.clock())
        call = granted(calls, claims)
        method = f"{request.method} {path}"[:500]
        redeemed = await run_in_threadpool(self.client.redeem, token, method)
        refuse_another(call, claims, redeemed)
        headers = self._headers(request) | {"Idempotency-Key": redeemed.idempotency_key}
        if call.body:
            headers["Content-Type"] = "application/json"
        log.info("%s: %s, approved by %s", method, call.action, ", ".join(redeemed.by))
        try:
            return await self._forward(request.method, call.path, headers, call.body)
        except httpx.HTTPError as error:
            log.exception("%s: no answer", method)
            words = (
                f"The API did not answer ({type(error).__name__}: {error}). The grant is used up, "
                "and whether the write landed is not known: look into the API."
            )
            return refusal(502, "in_doubt", words, {"attempt": redeemed.attempt_id})

    def _headers(self, request: Request) -> dict[str, str]:
        named = {one.strip().lower() for one in request.headers.get("connection", "").split(",")}
        dropped = HOP_BY_HOP | OWN | named
        kept = {n: v for n, v in request.headers.items() if n not in dropped}
        if request.method not in self.rules.reads:
            allowed = OF_WRITES | self.rules.headers
            kept = {name: value for name, value in kept.items() if name in allowed}
        if self.authorization:
            kept["authorization"] = self.authorization
        return {"accept-encoding": "identity"} | kept

    async def _forward(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        url = httpx.URL(f"{self.upstream.rstrip('/')}{target}")
        if not url.raw_path.decode().endswith(target):
            raise InvalidInput(f"{target[:200]!r} is not spelled as an address is: encode it.")
        sent = self._http.build_request(method, url, headers=dict(headers), content=body or None)
        try:
            answer = await self._http.send(sent, stream=True)
        except httpx.HTTPError as error:
            if method not in self.rules.reads:
                raise
            return refusal(502, "unavailable", f"The API did not answer: {error}.", {})
        response = StreamingResponse(
            answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
        )
        response.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            if name.lower().decode("latin-1") not in HOP_BY_HOP
        ]
        return response


def raw_target(scope: Scope) -> tuple[str, str]:
    """Path and query as they came. Raises InvalidInput for what is not ASCII or has a fragment."""
    raw = scope["raw_path"]
    try:
        path, query = raw.partition(b"?")[0].decode("ascii"), scope["query_string"].decode("ascii")
    except UnicodeDecodeError:
        raise InvalidInput("The address is not ASCII: percent-encode it.") from None
    steps = path.lower().replace("%2e", ".").split("/")
    if not path.startswith("/") or "#" in path or "\\" in path or {".", ".."} & set(steps):
        raise InvalidInput(f"{path[:200]!r} is not an address of the API: write it out.")
    return path, query


def the_grant(request: Request) -> str:
    tokens = request.headers.getlist("gates-grant")
    if len(tokens) != 1:
        found = "none" if not tokens else f"{len(tokens)} of them"
        raise InvalidGrant(
            f"{request.method} changes something: send one grant in the header Gates-Grant "
            f"(there is {found})."
        )
    return tokens[0]


async def limited(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise InvalidInput(f"The body is longer than {LARGEST_BODY} bytes: send less.")
    return body


def refuse_another(call: Call, claims: Claims, redeemed: Redemption) -> None:
    """The store's copy and the token must say the same. Raises InvalidGrant."""
    action = redeemed.action
    same = (action.name, canonical_json(action.arguments)) == (
        call.action,
        canonical_json(call.arguments),
    )
    if not same or action.fingerprint != claims.fingerprint:
        raise InvalidGrant("The gates server answers for something else than the grant says.")


def refusal(status: int, code: str, message: str, details: Mapping[str, Any]) -> Response:
    body = {"error": {"code": code, "message": message, "details": dict(details)}}
    return JSONResponse(body, status)
