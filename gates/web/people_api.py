"""/v1, the part about people, for admins."""

from typing import Annotated

from fastapi import APIRouter, Depends

from gates.access import Access
from gates.core.errors import NotFound
from gates.service import KeyHolder
from gates.step_up import StepUp
from gates.web.callers import Callers


def router(access: Access, steps: StepUp) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["admins"])
    callers = Callers(access)

    @api.delete("/admin/people/{person_id}/totp", status_code=204)
    def reset_totp(caller: Annotated[KeyHolder, Depends(callers.admin)], person_id: str) -> None:
        """Forget this person's authenticator, so that they can set up another one."""
        if not steps.reset(person_id, caller.requester.agent):
            raise NotFound(f"{person_id!r} has no authenticator: there is nothing to reset.")

    return api
