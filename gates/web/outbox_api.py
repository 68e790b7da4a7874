"""/v1, the part about deliveries that are late or were given up, for admins."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from gates import deliveries
from gates.access import Access
from gates.service import Gates, KeyHolder
from gates.web.callers import Callers


class DeliveryOut(BaseModel):
    """`state`: dead (given up) or pending; `due_at`: when it was, or will be, due."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str
    request_id: str
    place: str
    state: str
    due_at: datetime
    tries: int
    last_error: str


class RetryIn(BaseModel):
    """Without ids: all that were given up."""

    ids: list[int] | None = None


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["admins"])
    callers = Callers(access)

    @api.get("/admin/outbox", dependencies=[Depends(callers.admin)])
    def outbox() -> list[DeliveryOut]:
        """Deliveries that were given up, that fail, or that are late."""
        return [DeliveryOut.model_validate(one) for one in deliveries.troubles(gates)]

    @api.post("/admin/outbox/retry")
    def retry(
        caller: Annotated[KeyHolder, Depends(callers.admin)], body: RetryIn
    ) -> list[DeliveryOut]:
        """Try them again now; what there was to try."""
        found = deliveries.retry(gates, body.ids, caller.requester.agent)
        return [DeliveryOut.model_validate(one) for one in found]

    return api
