"""/v1, the part about how good the loop detector is, for admins."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from gates.access import Access
from gates.alarms import Alarms, of_store, report
from gates.service import Gates
from gates.web.callers import Callers

LONGEST = 3_660  # days


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["admins"])
    callers = Callers(access)

    @api.get("/admin/alarms", dependencies=[Depends(callers.admin)])
    def alarms(days: Annotated[int, Query(ge=1, le=LONGEST)] = 90) -> list[Alarms]:
        """By action and detector, what people said of the alarms of so many days."""
        found = of_store(gates.database, gates.clock(), timedelta(days=days))
        return report(found, gates.asking.policy.loops)

    return api
