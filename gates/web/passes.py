"""/v1/runs: what a flow says of all gates of its pass at once."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.concurrency import run_in_threadpool

from gates.core.messages import Awaited
from gates.core.model import GateReply, Name, Suspension
from gates.passes import Passes
from gates.service import KeyHolder
from gates.web.waiters import LONGEST_WAIT, STILL, Waiters, rung

MOST = 1000  # gates of one pass


class WaitIn(BaseModel):
    awaited: list[Awaited] = Field(min_length=1, max_length=MOST)
    seconds: float = Field(default=LONGEST_WAIT, ge=0, le=LONGEST_WAIT)


class RequestsIn(BaseModel):
    request_ids: list[Name] = Field(min_length=1, max_length=MOST)


class SuspendingIn(RequestsIn):
    wake_at: AwareDatetime | None = None


class LeavingIn(RequestsIn):
    withdraw: bool = False
    reason: str = Field(default="", max_length=1_000)


def passes_router(
    passes: Passes,
    waiters: Waiters,
    key_holder: Callable[[str], Awaitable[KeyHolder]],
    reread: float,
) -> APIRouter:
    api = APIRouter(prefix="/runs", tags=["flows"])

    async def flow(caller: Annotated[KeyHolder, Depends(key_holder)]) -> KeyHolder:
        caller.refuse_unless("flow")
        return caller

    Flow = Annotated[KeyHolder, Depends(flow)]  # noqa: N806 - a type

    @api.post("/wait")
    async def wait(line: Request, caller: Flow, body: WaitIn) -> list[GateReply]:
        """The gates that have changed, once there is something to do for one of them, or after
        `seconds`.
        """
        until = time.monotonic() + body.seconds
        names = await run_in_threadpool(passes.gates_of, caller, body.awaited)
        async with waiters.on(*names) as bell:
            while True:
                news = await run_in_threadpool(passes.news, caller, body.awaited)
                left = until - time.monotonic()
                if any(reply.standing not in STILL for reply in news) or left <= 0:
                    if not await line.is_disconnected():
                        await run_in_threadpool(passes.told, news)
                    return news
                await rung(bell, min(left, waiters.pause(reread)))

    @api.post("/suspending")
    def suspending(caller: Flow, body: SuspendingIn) -> Suspension:
        """Ask for leave to suspend; refused by an empty key where an outcome was faster."""
        wake_at: datetime | None = body.wake_at
        return passes.suspending(caller, body.request_ids, wake_at)

    @api.post("/staying")
    def staying(caller: Flow, body: RequestsIn) -> Suspension:
        """Say that Prefect would not suspend the run; there is no suspension."""
        passes.staying(caller, body.request_ids)
        return Suspension()

    @api.post("/leaving")
    def leaving(caller: Flow, body: LeavingIn) -> Suspension:
        """Say that the run waits no longer for these; there is no suspension."""
        passes.leaving(caller, body.request_ids, withdraw=body.withdraw, reason=body.reason)
        return Suspension()

    return api
