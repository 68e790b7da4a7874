"""The FastAPI application: the API, the inbox, health; errors as one sentence with a code."""

import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gates.access import Access
from gates.core.errors import GatesError, InvalidInput, NotFound, Unavailable
from gates.service import Gates
from gates.web import api, pages
from gates.web.waiters import Waiters
from gates.work import Work

log = logging.getLogger(__name__)

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def refuse_unsafe(host: str, base_url: str) -> None:
    """Raises InvalidInput for a server that would take passwords' place in the clear."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and urlsplit(base_url).scheme != "https":
        raise InvalidInput(
            f"GATES_HOST = {host!r} is reachable from other machines, but GATES_BASE_URL = "
            f"{base_url!r} is not https: put a TLS proxy before the server and name its address, "
            "or listen on 127.0.0.1."
        )


def create_app(
    gates: Gates,
    work: Work,
    access: Access,
    waiters: Waiters,
    *,
    routers: Sequence[APIRouter] = (),
    reread: float = api.REREAD,
    started: Callable[[], None] = lambda: None,
    stopped: Callable[[], None] = lambda: None,
) -> FastAPI:
    """`started` and `stopped` run around the serving: outbox, timers, Slack. `reread`: seconds
    after which those who wait look for what another server has changed.
    """

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        started()
        try:
            yield
        finally:
            stopped()

    app = FastAPI(title="prefect-gates", lifespan=life, docs_url=None, redoc_url=None)
    hosts = {urlsplit(gates.base_url).hostname or "localhost", *LOCAL_NAMES}
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts))  # DNS rebinding
    app.include_router(api.router(gates, work, access, waiters, reread))
    app.include_router(pages.router(gates, access, base_url=gates.base_url))
    for one in routers:
        app.include_router(one)

    @app.get("/health", tags=["machines"])
    def health() -> dict[str, str]:
        """Answers once the store does."""
        gates.waiting(limit=1)
        return {"status": "ok"}

    @app.exception_handler(GatesError)
    async def told(_request: Request, error: GatesError) -> Response:
        body = {"code": error.code, "message": error.message, "details": error.details}
        return JSONResponse({"error": body}, status_code=error.http_status)

    @app.exception_handler(OperationalError)
    async def away(_request: Request, error: OperationalError) -> Response:
        log.warning("the store does not answer: %s", error)
        words = "The store does not answer just now: try again in a moment."
        body = {"code": Unavailable.code, "message": words, "details": {}}
        return JSONResponse({"error": body}, status_code=503)

    @app.exception_handler(DataError)
    async def unstorable(_request: Request, error: DataError) -> Response:
        log.warning("the store cannot hold a value: %s", error.orig)
        words = "A value cannot be stored: send plain text without control characters."
        body = {"code": InvalidInput.code, "message": words, "details": {}}
        return JSONResponse({"error": body}, status_code=422)

    @app.exception_handler(HTTPException)
    async def astray(request: Request, error: HTTPException) -> Response:
        words = f"{request.method} {request.url.path[:200]!r}: {error.detail}; see /openapi.json."
        code = NotFound.code if error.status_code == NotFound.http_status else InvalidInput.code
        body = {"code": code, "message": words, "details": {}}
        return JSONResponse({"error": body}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        words = "The server made a mistake: its log says more; the call is safe to repeat."
        body = {"code": GatesError.code, "message": words, "details": {}}
        return JSONResponse({"error": body}, status_code=500)

    @app.exception_handler(RequestValidationError)
    async def unfit(_request: Request, error: RequestValidationError) -> Response:
        body = {"code": InvalidInput.code, "message": _sentence(error.errors()), "details": {}}
        return JSONResponse({"error": body}, status_code=422)

    return app


def _sentence(errors: Sequence[Any]) -> str:
    parts = [
        f"{'.'.join(str(step) for step in one['loc'][1:]) or 'body'}"
        f" = {str(one.get('input'))[:80]!r}: {one['msg']}"
        for one in errors
    ]
    return "; ".join(parts) + "."
