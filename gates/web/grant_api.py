"""/v1, the part about signed grants: the keys for everybody, redeeming for proxies, the life of
keys for admins.
"""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from gates.access import Access
from gates.core.messages import Redemption
from gates.grants.redeeming import Redeeming
from gates.grants.token import LONGEST_TOKEN
from gates.service import Gates, KeyHolder
from gates.web.callers import Callers

LONGEST_DELAY = 30 * 86_400  # seconds


class KeySet(BaseModel):
    """RFC 7517, section 5."""

    keys: list[dict[str, str]]


class RedeemIn(BaseModel):
    """`method`: what the grant is used for, such as `POST /invoices`; goes into the log."""

    token: str = Field(max_length=LONGEST_TOKEN)
    method: str = Field(default="", max_length=500)


class RotateIn(BaseModel):
    delay_seconds: int = Field(default=0, ge=0, le=LONGEST_DELAY)


class RotateOut(BaseModel):
    kid: str


class KnownSigningKey(BaseModel):
    kid: str
    server: str
    created_at: datetime
    signs_from: datetime
    superseded_at: datetime | None
    retired_at: datetime | None
    published: bool


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["grants"])
    callers = Callers(access)
    redeeming = Redeeming(gates)

    Admin = Annotated[KeyHolder, Depends(callers.admin)]  # noqa: N806 - a type

    @api.get("/grant-keys")
    def grant_keys() -> KeySet:
        """The public keys whose grants count, of all servers; for everybody."""
        return KeySet(keys=[dict(key.jwk) for key in gates.ring.published()])

    @api.post("/grants/redeem")
    def redeem(
        caller: Annotated[KeyHolder, Depends(callers.key_holder)], body: RedeemIn
    ) -> Redemption:
        """Use a grant up, once; the answer is what was approved."""
        return redeeming.redeem(caller, body.token, body.method)

    @api.get("/admin/grant-keys")
    def signing_keys(_admin: Admin) -> list[KnownSigningKey]:
        """All signing keys, also those that no longer count."""
        now = gates.clock()
        return [
            KnownSigningKey.model_validate(key._asdict() | {"published": key.published(now)})
            for key in gates.ring.all()
        ]

    @api.post("/admin/grant-keys")
    def rotate(caller: Admin, body: RotateIn) -> RotateOut:
        """Sign with a new key at this server, from `delay_seconds` on."""
        delay = timedelta(seconds=body.delay_seconds)
        return RotateOut(kid=gates.ring.rotate(caller.requester.agent, delay))

    @api.delete("/admin/grant-keys/{kid}", status_code=204)
    def retire(caller: Admin, kid: str) -> None:
        """Nothing that this key has signed counts any more."""
        gates.ring.retire(kid, caller.requester.agent)

    return api
