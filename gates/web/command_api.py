"""/v1, the part about people in command: freezes, holds, stops, and the versions of the rules."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel, Field

from gates import versioned
from gates.access import Access, Session
from gates.commanding import Commander
from gates.core.errors import NotAuthenticated
from gates.core.freezes import Freeze, Hold, Scope
from gates.four_eyes import FourEyes
from gates.web.callers import Callers
from gates.web.waiters import WORK, Waiters


class ReasonIn(BaseModel):
    reason: str = Field(default="", max_length=5_000)


class FreezeIn(ReasonIn):
    scope: Scope


class Orders(BaseModel):
    """`holds`: runs that are held at their next gate."""

    freezes: tuple[Freeze, ...]
    holds: tuple[Hold, ...]


class Stopped(BaseModel):
    """`withdrawn`: requests that were taken back."""

    withdrawn: list[str]


class Thawed(BaseModel):
    """`freeze`, lifted; or `request`, where people are asked first."""

    freeze: Freeze
    request: str = ""


class VersionOut(BaseModel):
    digest: str
    files: tuple[tuple[str, str], ...]
    people_digest: str
    first_seen_at: datetime
    activated_at: datetime | None
    by: str


def router(  # noqa: C901 - a table of routes
    eyes: FourEyes, access: Access, waiters: Waiters
) -> APIRouter:
    commanding = eyes.commanding
    api = APIRouter(prefix="/v1", tags=["command"])
    callers = Callers(access)

    def commander(authorization: Annotated[str, Header()] = "") -> Commander:
        """A person in command, or an admin's process."""
        kind, _, secret = authorization.partition(" ")
        if kind == "Session":
            return commanding.person(access.session(secret).person_id)
        if kind == "Bearer":
            return commanding.key(access.key_holder(secret))
        raise NotAuthenticated("This is for people in command: log in with `gates login LINK`.")

    Who = Annotated[Commander, Depends(commander)]  # noqa: N806 - a type

    @api.get("/freezes", dependencies=[Depends(callers.person_or_admin)])
    def orders() -> Orders:
        """What is frozen and held now."""
        found = commanding.in_force()
        return Orders(freezes=found.freezes, holds=found.holds)

    @api.post("/freezes")
    def freeze(who: Who, body: FreezeIn) -> Freeze:
        """Nothing that matches starts from now on."""
        return commanding.freeze(who, body.scope, body.reason)

    @api.post("/freezes/{freeze_id}/thaw")
    def thaw(
        who: Annotated[Session, Depends(callers.person)], freeze_id: str, body: ReasonIn
    ) -> Thawed:
        """Lift a freeze that somebody else has made, or ask for it where that needs four eyes."""
        found, asked = eyes.thaw(who.person_id, freeze_id, body.reason)
        waiters.ring(WORK)
        return Thawed(freeze=found, request=asked)

    @api.post("/runs/{run}/hold")
    def hold(who: Who, run: str, body: ReasonIn) -> Hold:
        """Put the run's next step to people."""
        return commanding.hold(who, run, body.reason)

    @api.post("/runs/{run}/stop")
    def stop(who: Who, run: str, body: ReasonIn) -> Stopped:
        """End a run for good."""
        return Stopped(withdrawn=commanding.stop(who, run, body.reason))

    @api.get("/policies", dependencies=[Depends(callers.person_or_admin)])
    def policies(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[VersionOut]:
        """Policies that were ever in force or asked for, the newest first."""
        return [VersionOut(**one._asdict()) for one in versioned.newest(eyes.gates, limit)]

    @api.get("/policies/{digest}", dependencies=[Depends(callers.person_or_admin)])
    def policy(digest: str) -> VersionOut:
        """One of them as it is written, by six or more characters of its digest."""
        return VersionOut(**versioned.find(eyes.gates, digest)._asdict())

    return api
