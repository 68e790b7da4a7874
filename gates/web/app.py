"""The FastAPI application: the API, the inbox, health; errors as one sentence with a code."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gates.access import Access
from gates.core.errors import InvalidInput
from gates.four_eyes import FourEyes
from gates.informing import Informing
from gates.reviews import Reviews
from gates.service import Gates
from gates.step_up import StepUp
from gates.web import (
    alarms_api,
    api,
    command_api,
    command_pages,
    door,
    errors,
    grant_api,
    health_api,
    info_api,
    outbox_api,
    pages,
    people_api,
    people_pages,
    policy_api,
    reviews_api,
    standing_api,
    standing_pages,
)
from gates.web.direct import Direct
from gates.web.limits import LimitsBodies
from gates.web.refusals import NotesRefusals, Refusals, into
from gates.web.waiters import WORK, Waiters
from gates.work import Work

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
    refusals = Refusals(into(gates))

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        started()
        flushing = asyncio.create_task(refusals.keep_flushing())
        try:
            yield
        finally:
            flushing.cancel()
            await refusals.flush()
            stopped()

    app = FastAPI(
        title="prefect-gates", lifespan=life, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    hosts = {urlsplit(gates.base_url).hostname or "localhost", *LOCAL_NAMES}
    direct = Direct()
    app.include_router(api.router(gates, work, access, waiters, reread, direct))
    app.add_middleware(direct.before)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts))  # DNS rebinding
    app.add_middleware(LimitsBodies)
    entrance = door.Door(access, gates.clock, base_url=gates.base_url)
    app.add_middleware(NotesRefusals, refusals=refusals, access=access, cookie=entrance.cookie)
    app.include_router(grant_api.router(gates, access))
    app.include_router(health_api.router(gates, access))
    app.include_router(outbox_api.router(gates, access))
    app.include_router(alarms_api.router(gates, access))
    eyes = FourEyes(gates)
    app.include_router(command_api.router(eyes, access, waiters))
    command = command_pages.CommandPages(eyes, entrance, lambda: waiters.ring(WORK))
    app.state.bar = command.bar
    app.include_router(command_pages.router(command))
    app.include_router(standing_api.router(gates, access))
    app.include_router(policy_api.router(gates, access))
    app.include_router(reviews_api.router(gates, access))
    app.include_router(info_api.router(gates, access))
    app.include_router(door.router(entrance))
    steps, reviews = StepUp(gates.database, gates.clock), Reviews(gates)
    app.include_router(
        pages.router(gates, entrance, steps, reviews=reviews, informing=Informing(gates))
    )
    app.include_router(people_pages.router(gates, entrance, steps))
    app.include_router(people_api.router(access, steps))
    app.include_router(standing_pages.router(gates, entrance))
    for one in routers:
        app.include_router(one)

    @app.get("/health", tags=["machines"])
    def health() -> dict[str, str]:
        """Answers once the store does."""
        gates.waiting(limit=1)
        return {"status": "ok"}

    errors.install(app)
    return app
