"""The calls that every action makes, answered without a framework's detours.

FastAPI documents these routes and answers all others; its routing, dependencies, validation
twice and hops between threads cost a routine action more than its two commits do. What is
called here is the same function, with the same caller and the same models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from gates.service import KeyHolder
from gates.web import errors

THREADS = 40  # as many commands may wait at once for facts, which other systems are asked for
JSON = b"application/json"
PARTS = 5  # of "/v1/requests/ID/claim"
ROUTE = "gates.route"  # in an ASGI scope: which of them answers
Command = Callable[..., Response]


@dataclass(frozen=True)
class _Route:
    path: str
    command: Command
    body: type[BaseModel] | None


@dataclass
class Direct:
    """A table of routes, and the middleware that answers them. `caller` is set by the routes."""

    caller: Callable[[str], Awaitable[KeyHolder]] | None = None
    _routes: dict[tuple[str, ...], _Route] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="command")
    )

    def add(self, path: str, command: Command, body: type[BaseModel] | None = None) -> None:
        """`path` may have one {name} in the third place. The command takes the caller, that
        name, and the body if there is one.
        """
        self._routes[_pattern(path.split("/"))] = _Route(path, command, body)

    def before(self, app: ASGIApp) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "POST":
                parts = scope["path"].split("/")
                route = self._routes.get(_pattern(parts))
                headers = dict(scope["headers"])
                fits = route is not None and (
                    route.body is None or headers.get(b"content-type") == JSON
                )
                if route is not None and fits:
                    scope[ROUTE] = route.path
                    response = await self._answer(route, parts, headers, receive)
                    await response(scope, receive, send)
                    return
            await app(scope, receive, send)

        return serve

    async def _answer(
        self, route: _Route, parts: list[str], headers: dict[bytes, bytes], receive: Receive
    ) -> Response:
        try:
            assert self.caller is not None  # noqa: S101 - set when the routes were added
            caller = await self.caller(headers.get(b"authorization", b"").decode("latin-1"))
            given: list[Any] = parts[3:4] if len(parts) == PARTS else []
            if route.body is not None:
                given.append(_parsed(route.body, await _body(receive)))
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, route.command, caller, *given)
        except Exception as error:  # noqa: BLE001 - what is not known is raised again
            return errors.answer(error)


def _pattern(parts: list[str]) -> tuple[str, ...]:
    return (*parts[:3], *parts[4:]) if len(parts) == PARTS else tuple(parts)


async def _body(receive: Receive) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise asyncio.CancelledError  # the caller has gone
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _parsed(model: type[BaseModel], body: bytes) -> BaseModel:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(found) from error
