"""/v1, the part about the server's own health, for admins."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from gates.access import Access
from gates.health import Finding, findings
from gates.service import Gates
from gates.store import shadows
from gates.web.callers import Callers


class Health(BaseModel):
    """`now`: the server's clock, for the caller to compare with."""

    now: datetime
    findings: list[Finding]


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["admins"])
    callers = Callers(access)

    @api.get("/admin/health", dependencies=[Depends(callers.admin)])
    def health() -> Health:
        """What this server finds amiss, with the cures."""
        return Health(findings=findings(gates), now=gates.clock())

    @api.get("/admin/shadow", dependencies=[Depends(callers.admin)])
    def shadow() -> dict[str, Any]:
        """What the policy that looks on would have answered otherwise; no digest: there is none."""
        if not gates.shadow:
            return {"digest": ""}
        with gates.database.read() as session:
            return shadows.summary(session, gates.shadow)

    return api
