"""/v1, the part about people in command: freezes, holds, stops, and the versions of the rules."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, Field

from gates.access import Access
from gates.commanding import Commander, Commanding
from gates.core.errors import NotAuthenticated
from gates.core.freezes import Freeze, Hold, Scope
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
    commanding: Commanding, access: Access, waiters: Waiters
) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["command"])

    def commander(authorization: Annotated[str, Header()] = "") -> Commander:
        """A person in command, or an admin's process."""
        kind, _, secret = authorization.partition(" ")
        if kind == "Session":
            return commanding.person(access.session(secret).person_id)
        if kind == "Bearer":
            return commanding.key(access.key_holder(secret))
        raise NotAuthenticated("This is for people in command: log in with `gates login LINK`.")

    def person(authorization: Annotated[str, Header()] = "") -> str:
        kind, _, secret = authorization.partition(" ")
        if kind != "Session":
            raise NotAuthenticated("This is for people: log in with `gates login LINK`.")
        return access.session(secret).person_id

    def reader(authorization: Annotated[str, Header()] = "") -> None:
        if authorization.startswith("Bearer "):
            access.key_holder(authorization.removeprefix("Bearer ")).refuse_unless("admin")
        else:
            person(authorization)

    Who = Annotated[Commander, Depends(commander)]  # noqa: N806 - a type

    @api.get("/freezes", dependencies=[Depends(reader)])
    def orders() -> Orders:
        """What is frozen and held now."""
        found = commanding.in_force()
        return Orders(freezes=found.freezes, holds=found.holds)

    @api.post("/freezes")
    def freeze(who: Who, body: FreezeIn) -> Freeze:
        """Nothing that matches starts from now on."""
        return commanding.freeze(who, body.scope, body.reason)

    @api.post("/freezes/{freeze_id}/thaw")
    def thaw(who: Annotated[str, Depends(person)], freeze_id: str, body: ReasonIn) -> Thawed:
        """Lift a freeze that somebody else has made, or ask for it where that needs four eyes."""
        found = commanding.thaw(who, freeze_id, body.reason)
        waiters.ring(WORK)
        return Thawed(freeze=found)

    @api.post("/runs/{run}/hold")
    def hold(who: Who, run: str, body: ReasonIn) -> Hold:
        """Put the run's next step to people."""
        return commanding.hold(who, run, body.reason)

    @api.post("/runs/{run}/stop")
    def stop(who: Who, run: str, body: ReasonIn) -> Stopped:
        """End a run for good."""
        return Stopped(withdrawn=commanding.stop(who, run, body.reason))

    return api
