"""/v1, the part about the server's own health, for admins."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel

from gates.access import Access
from gates.core.errors import NotAuthenticated
from gates.health import Finding, findings
from gates.service import Gates


class Health(BaseModel):
    """`now`: the server's clock, for the caller to compare with."""

    now: datetime
    findings: list[Finding]


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["admins"])

    def admin(authorization: Annotated[str, Header()] = "") -> None:
        kind, _, secret = authorization.partition(" ")
        if kind != "Bearer":
            raise NotAuthenticated("Send `Authorization: Bearer <API key>` (GATES_API_KEY).")
        access.key_holder(secret).refuse_unless("admin")

    @api.get("/admin/health", dependencies=[Depends(admin)])
    def health() -> Health:
        """What this server finds amiss, with the cures."""
        return Health(findings=findings(gates), now=gates.clock())

    return api
