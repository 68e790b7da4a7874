"""/v1, the part about the policy: why it said what it said."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header

from gates.access import Access
from gates.core.errors import NotAuthenticated
from gates.explaining import Explained, explained
from gates.service import Gates


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["people"])

    def reader(authorization: Annotated[str, Header()] = "") -> None:
        """A person, or an admin's process."""
        kind, _, secret = authorization.partition(" ")
        if kind == "Session":
            access.session(secret)
        elif kind == "Bearer":
            access.key_holder(secret).refuse_unless("admin")
        else:
            raise NotAuthenticated("Log in with `gates login LINK`, or send an admin's API key.")

    @api.get("/requests/{request_id}/explanation", dependencies=[Depends(reader)])
    def explanation(request_id: str) -> Explained:
        """Every rule, matched or not, with the values that it saw."""
        return explained(gates, request_id)

    return api
