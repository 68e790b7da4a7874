"""How much one call may send: nothing that is sent here is large, and memory is everybody's."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1_000_000


class TooLarge(HTTPException):
    """FastAPI lets this kind pass where it reads a body."""


class LimitsBodies:
    """ASGI middleware: reading more than MOST_BYTES of a body ends with 413.

    What a caller says about the length is not believed; what comes is counted.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_BYTES) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        had = 0

        async def counted() -> Message:
            nonlocal had
            message = await receive()
            had += len(message.get("body", b""))
            if had > self.most:
                raise TooLarge(413, f"The body has more than {self.most:,} bytes: send less.")
            return message

        await self.app(scope, counted, send)
