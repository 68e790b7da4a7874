"""/v1, the part about standing approvals: people give them, people and admins see and end them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from gates.access import Access, Session
from gates.core.standing import Limits, StandingApproval
from gates.service import Gates, KeyHolder
from gates.standing import StandingDesk
from gates.web.callers import Callers


class GiveIn(BaseModel):
    limits: Limits
    reason: str = Field(max_length=2_000)


class StandingOut(BaseModel):
    """`over`: why it lifts nothing any more, empty while it does."""

    id: str
    given_by: str
    name: str
    reason: str
    given_at: datetime
    limits: Limits
    used: int
    used_minor: int
    over: str


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["standing approvals"])
    callers = Callers(access)
    desk = StandingDesk(gates.database, lambda: gates.asking, gates.clock)

    Caller = Annotated[Session | KeyHolder, Depends(callers.person_or_admin)]  # noqa: N806 - a type

    @api.get("/standing")
    def standing(_caller: Caller) -> list[StandingOut]:
        """All of them, the newest first."""
        return [shown(one, gates.clock()) for one in desk.all()]

    @api.post("/standing")
    def give(who: Annotated[Session, Depends(callers.person)], body: GiveIn) -> StandingOut:
        """Approve beforehand, as the person who is logged in."""
        made = desk.give(who.person_id, body.limits, body.reason)
        return shown(made, gates.clock())

    @api.delete("/standing/{standing_id}", status_code=204)
    def revoke(caller: Caller, standing_id: str) -> None:
        """Nothing is based on it any more; what was not yet begun asks people."""
        if isinstance(caller, KeyHolder):
            desk.revoke(standing_id, caller.requester.agent, admin=True)
        else:
            desk.revoke(standing_id, caller.person_id)

    return api


def shown(held: StandingApproval, now: datetime) -> StandingOut:
    return StandingOut(**held.model_dump(include=_SHOWN), id=held.id, over=held.over(now))


_SHOWN = {"given_by", "name", "reason", "given_at", "limits", "used", "used_minor"}
