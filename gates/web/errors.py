"""Errors as one sentence with a code, whoever asked."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import PydanticSerializationError
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from gates.core.errors import GatesError, InvalidInput, NotFound, RetryLater, Unavailable
from gates.web.limits import TooLarge

log = logging.getLogger(__name__)

MOST_TOLD = 5  # mistakes of one body: it may have a hundred thousand
HEADER = "gates-error"  # the error's code, for who sees answers go by


def told(error: GatesError) -> Response:
    body = {"code": error.code, "message": error.message, "details": error.details}
    return JSONResponse({"error": body}, error.http_status, {HEADER: error.code})


def away(error: OperationalError) -> Response:
    log.warning("the store does not answer: %s", error)
    words = "The store does not answer just now: try again in a moment."
    return _answer(Unavailable.code, words, 503)


def busy(error: PoolTimeout) -> Response:
    """All connections to the store are in use: whoever asks again finds one free."""
    log.warning("the store is busy: %s", error)
    words = "The server is busy, all its connections to the store are in use: try again."
    return _answer(RetryLater.code, words, 503)


def unstorable(error: DataError) -> Response:
    log.warning("the store cannot hold a value: %s", error.orig)
    words = "A value cannot be stored: send plain text without control characters."
    return _answer(InvalidInput.code, words, 422)


def unfit(error: RequestValidationError) -> Response:
    return _answer(InvalidInput.code, _sentence(error.errors()), 422)


def large(error: TooLarge) -> Response:
    return _answer(InvalidInput.code, error.detail, error.status_code)


def half(error: ValueError) -> Response:
    """JSON can spell half a character; it cannot be stored, sent or digested."""
    if "surrogates not allowed" not in str(error):
        raise error
    words = "A value holds half a character (a lone surrogate): send whole ones."
    return _answer(InvalidInput.code, words, 422)


KNOWN: dict[type[Exception], Callable[[Any], Response]] = {
    GatesError: told,
    OperationalError: away,
    PoolTimeout: busy,
    DataError: unstorable,
    RequestValidationError: unfit,
    TooLarge: large,
    UnicodeEncodeError: half,
    PydanticSerializationError: half,
}


def answer(error: Exception) -> Response:
    """Raises what is nobody's fault but ours."""
    for kind, say in KNOWN.items():
        if isinstance(error, kind):
            return say(error)
    raise error


def install(app: FastAPI) -> None:
    for kind, say in KNOWN.items():
        app.add_exception_handler(kind, _handler(say))

    @app.exception_handler(HTTPException)
    async def astray(request: Request, error: HTTPException) -> Response:
        words = f"{request.method} {request.url.path[:200]!r}: {error.detail}; see /openapi.json."
        code = NotFound.code if error.status_code == NotFound.http_status else InvalidInput.code
        body = {"code": code, "message": words, "details": {}}
        headers = {HEADER: code} | dict(error.headers or {})
        return JSONResponse({"error": body}, error.status_code, headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        words = "The server made a mistake: its log says more; the call is safe to repeat."
        return _answer(GatesError.code, words, 500)


def _handler(say: Callable[[Any], Response]) -> Callable[[Request, Any], Awaitable[Response]]:
    async def handle(_request: Request, error: Any) -> Response:
        return say(error)

    return handle


def _answer(code: str, words: str, status: int) -> Response:
    body: dict[str, Any] = {"code": code, "message": words, "details": {}}
    later = {"Retry-After": "1"} if status == Unavailable.http_status else {}
    return JSONResponse({"error": body}, status, {HEADER: code} | later)


def _sentence(errors: Sequence[Any]) -> str:
    parts = [
        f"{'.'.join(str(step) for step in one['loc'][1:]) or 'body'}"
        f" = {str(one.get('input'))[:80]!r}: {one['msg']}"
        for one in errors[:MOST_TOLD]
    ]
    return "; ".join(parts) + "."
