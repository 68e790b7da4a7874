"""/v1: what processes and the command line say to the server.

Flows and executors come with an API key (`Authorization: Bearer gk_...`), people with a
session (`Authorization: Session ...`). Every command is safe to repeat.
"""

import time
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from gates.access import MOST_PATTERNS, Access, Session
from gates.core.errors import NotAuthenticated
from gates.core.messages import AttemptReport, Proposal
from gates.core.model import (
    DecisionKind,
    GateReply,
    Grant,
    Job,
    Json,
    LoopAnswer,
    RequestView,
    Standing,
    Step,
)
from gates.passes import Passes
from gates.recording import ANY
from gates.service import Gates, KeyHolder
from gates.step_up import StepUp
from gates.web.callers import Callers
from gates.web.direct import Direct
from gates.web.passes import passes_router
from gates.web.waiters import LONGEST_WAIT, STILL, WORK, Waiters, rung
from gates.work import Work

REREAD = 1.0  # seconds: how late a change made by another server is seen


class DecisionIn(BaseModel):
    kind: DecisionKind
    reason: str = Field(default="", max_length=5_000)
    revision: int | None = None
    changes: Json | None = None
    refused: dict[str, str] = Field(default_factory=dict)
    code: str = Field(default="", max_length=20)
    loop: LoopAnswer | None = None


class LeaseIn(BaseModel):
    attempt_id: str = Field(min_length=8, max_length=200)
    actions: list[str] = Field(max_length=500)
    lease_seconds: int = Field(default=60, ge=1, le=3600)
    wait_seconds: float = Field(default=0, ge=0, le=LONGEST_WAIT)


class RenewIn(BaseModel):
    fence: int
    lease_seconds: int = Field(default=30, ge=1, le=3600)


class LinkIn(BaseModel):
    token: str


class PersonIn(BaseModel):
    person: str


class KeyIn(BaseModel):
    scope: Literal["flow", "executor", "admin"]
    agent: str = Field(min_length=1, max_length=200)
    on_behalf_of: str | None = None
    actions: tuple[str, ...] = Field(default=ANY, max_length=MOST_PATTERNS)


class RotateIn(BaseModel):
    overlap_seconds: int = Field(default=86_400, ge=0, le=30 * 86_400)


class SessionOut(BaseModel):
    token: str
    person: str
    name: str


class LinkOut(BaseModel):
    url: str


class KeyOut(BaseModel):
    key: str


class KnownKey(BaseModel):
    id: str
    scope: str
    agent: str
    on_behalf_of: str | None
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None
    actions: tuple[str, ...]


def router(  # noqa: C901, PLR0915 - a table of routes
    gates: Gates,
    work: Work,
    access: Access,
    waiters: Waiters,
    reread: float = REREAD,
    direct: Direct | None = None,
) -> APIRouter:
    """`direct` is told which of these it may answer by itself."""
    api = APIRouter(prefix="/v1")
    callers = Callers(access)
    steps = StepUp(gates.database, gates.clock)

    async def key_holder(authorization: Annotated[str, Header()] = "") -> KeyHolder:
        kind, _, secret = authorization.partition(" ")
        if kind != "Bearer":
            raise NotAuthenticated("Send `Authorization: Bearer <API key>` (GATES_API_KEY).")
        # A hop to a thread costs as much as the answer: only where the store has to be asked.
        remembered = access.remembered(secret)
        if remembered is not None:
            return remembered
        return await run_in_threadpool(access.key_holder, secret)

    async def reader(authorization: Annotated[str, Header()] = "") -> None:
        """A person, or an admin's process: flows read only through their own gates."""
        if authorization.startswith("Bearer "):
            (await key_holder(authorization)).refuse_unless("admin")
        else:
            await run_in_threadpool(callers.person, authorization)

    async def admin(caller: Annotated[KeyHolder, Depends(key_holder)]) -> KeyHolder:
        caller.refuse_unless("admin")
        return caller

    Caller = Annotated[KeyHolder, Depends(key_holder)]  # noqa: N806 - a type
    Person = Annotated[Session, Depends(callers.person)]  # noqa: N806

    # -- flows ------------------------------------------------------------------------------

    @api.post("/actions", response_model=GateReply, tags=["flows"])
    def propose(caller: Caller, proposal: Proposal) -> Response:
        """Propose an action, or read where its gate stands."""
        reply = gates.propose(caller, proposal)
        if reply.standing is Standing.EXECUTING:
            waiters.ring(WORK)
        return as_json(reply)

    @api.post("/requests/{request_id}/claim", response_model=GateReply, tags=["flows"])
    def claim(caller: Caller, request_id: str, proposal: Proposal) -> Response:
        """Use an approval; the world is read again before anything runs."""
        reply = gates.claim(caller, request_id, proposal)
        waiters.ring(WORK)
        return as_json(reply)

    @api.get("/requests/{request_id}/wait", response_model=GateReply, tags=["flows"])
    async def wait(
        line: Request,
        caller: Caller,
        request_id: str,
        attempt_id: str = "",
        call: int = 1,
        after: int = 0,
        seconds: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = LONGEST_WAIT,
    ) -> Response:
        """Answer when the gate's version is beyond `after` and there is something to do, or
        after `seconds`.
        """

        def read() -> GateReply:
            return gates.standing(caller, request_id, attempt_id, call)

        until = time.monotonic() + seconds
        reply = await run_in_threadpool(read)
        gates.hears(reply.view.request.run.root_run_id)
        async with waiters.on(reply.view.request.gate_id) as bell:
            while True:
                reply = await run_in_threadpool(read)
                left = until - time.monotonic()
                news = reply.version > after and reply.standing not in STILL
                if news or left <= 0:
                    if not await line.is_disconnected():
                        await run_in_threadpool(gates.told, reply)
                    return as_json(reply)
                await rung(bell, min(left, waiters.pause(reread)))

    @api.get("/requests/{request_id}/trail", tags=["flows"])
    def trail(caller: Caller, request_id: str) -> list[Step]:
        """What the request's run has done so far, and how each step is taken back."""
        return list(gates.trail(caller, request_id))

    @api.post("/attempts/{attempt_id}/renew", response_model=Grant, tags=["flows", "executors"])
    def renew(caller: Caller, attempt_id: str, body: RenewIn) -> Response:
        return as_json(work.renew(caller, attempt_id, body.fence, body.lease_seconds))

    @api.post("/attempts/{attempt_id}/report", response_model=GateReply, tags=["flows"])
    def report(caller: Caller, attempt_id: str, body: AttemptReport) -> Response:
        """How an attempt ended."""
        reply = work.report(caller, attempt_id, body)
        if body.state in ("absent", "in_doubt", "drifted"):
            waiters.ring(WORK)
        return as_json(reply)

    if direct is not None:
        direct.caller = key_holder
        direct.add("/v1/actions", propose, Proposal)
        direct.add("/v1/requests/{request_id}/claim", claim, Proposal)
        direct.add("/v1/attempts/{attempt_id}/renew", renew, RenewIn)
        direct.add("/v1/attempts/{attempt_id}/report", report, AttemptReport)

    # -- executors --------------------------------------------------------------------------

    @api.post("/jobs/lease", response_model=Job | None, tags=["executors"])
    async def lease(line: Request, caller: Caller, body: LeaseIn) -> Response:
        """The next job for these actions, waited for at most `wait_seconds`; null if none."""

        def take() -> Job | None:
            return work.lease(caller, body.attempt_id, body.actions, body.lease_seconds)

        until = time.monotonic() + body.wait_seconds
        async with waiters.on(WORK) as bell:
            while True:
                gone = await line.is_disconnected()  # what it took would wait for its lease to end
                job = None if gone else await run_in_threadpool(take)
                left = until - time.monotonic()
                if job is not None or gone or left <= 0:
                    return as_json(job) if job else Response("null", media_type="application/json")
                await rung(bell, min(left, waiters.pause(reread)))

    # -- people -----------------------------------------------------------------------------

    @api.get("/requests", tags=["people"], dependencies=[Depends(reader)])
    def requests(
        state: Literal["waiting", "settled"] = "waiting",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[RequestView]:
        return gates.waiting(limit) if state == "waiting" else gates.recent(limit)

    @api.get("/requests/{request_id}", tags=["people"], dependencies=[Depends(reader)])
    def request(request_id: str) -> RequestView:
        """By id, or by six or more of its first characters."""
        return gates.view(request_id)

    @api.post("/requests/{request_id}/decisions", tags=["people"])
    def decide(
        who: Person,
        request_id: str,
        body: DecisionIn,
        authorization: Annotated[str, Header()] = "",
    ) -> RequestView:
        """Decide as the person who is logged in; with a code, surely as that person."""
        if body.code and not who.stepped_up:
            steps.step_up(authorization.partition(" ")[2], body.code)
        sure = bool(body.code) or who.stepped_up
        return gates.decide(
            gates.find(request_id),
            person_id=who.person_id,
            kind=body.kind,
            reason=body.reason,
            channel="cli",
            assurance="step_up" if sure else "session",
            card_revision=body.revision,
            verified_by={"how": "session"},
            changes=body.changes,
            refused=body.refused,
            loop=body.loop,
        )

    @api.post("/sessions", tags=["people"])
    def log_in(body: LinkIn) -> SessionOut:
        """Redeem a one-time link's token for a session."""
        token = access.redeem_link(body.token)
        who = access.session(token)
        return SessionOut(token=token, person=who.person_id, name=who.name)

    @api.get("/me", tags=["people"])
    def me(who: Person) -> dict[str, str]:
        return {"person": who.person_id, "name": who.name}

    # -- admins -----------------------------------------------------------------------------

    @api.post("/admin/login-links", tags=["admins"], dependencies=[Depends(admin)])
    def login_link(body: PersonIn) -> LinkOut:
        """A one-time link with which this person can log in."""
        return LinkOut(url=f"{gates.base_url}/login/{access.create_link(body.person)}")

    @api.post("/admin/keys", tags=["admins"], dependencies=[Depends(admin)])
    def create_key(body: KeyIn) -> KeyOut:
        made = access.create_key(body.scope, body.agent, body.on_behalf_of, body.actions)
        return KeyOut(key=made)

    @api.get("/admin/keys", tags=["admins"], dependencies=[Depends(admin)])
    def keys() -> list[KnownKey]:
        """All keys, without their secrets."""
        known = access.keys()
        return [KnownKey(**key._asdict()) for key in known]

    @api.post("/admin/keys/{key_id}/rotate", tags=["admins"], dependencies=[Depends(admin)])
    def rotate_key(key_id: str, body: RotateIn) -> KeyOut:
        """A new key for the same holder; the old one ends after the overlap."""
        return KeyOut(key=access.rotate_key(key_id, timedelta(seconds=body.overlap_seconds)))

    @api.delete("/admin/keys/{key_id}", tags=["admins"], status_code=204)
    def revoke_key(_admin: Annotated[KeyHolder, Depends(admin)], key_id: str) -> None:
        access.revoke_key(key_id)

    @api.post("/admin/requests/{request_id}/withdraw", tags=["admins"])
    def withdraw(
        caller: Annotated[KeyHolder, Depends(admin)], request_id: str, reason: str
    ) -> RequestView:
        found = gates.view(request_id).request.id
        return gates.withdraw(found, caller.requester.agent, reason)

    api.include_router(passes_router(Passes(gates), waiters, key_holder, reread))
    return api


def as_json(value: BaseModel) -> Response:
    """Our own models need no second validation on their way out."""
    return Response(value.model_dump_json(), media_type="application/json")
