"""/v1/reviews: a sample of what ran by itself, and what people say of it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from gates.access import Access, Session
from gates.core.model import RequestView
from gates.reviews import Reviews
from gates.service import Gates
from gates.web.callers import Callers


class ReviewIn(BaseModel):
    verdict: Literal["fine", "wrong"]
    reason: str = Field(default="", max_length=5_000)
    category: str = Field(default="", max_length=100)


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["people"])
    callers = Callers(access)
    reviews = Reviews(gates)

    @api.get("/reviews", dependencies=[Depends(callers.person_or_admin)])
    def listed(
        state: Literal["wanted", "done"] = "wanted",
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
    ) -> list[RequestView]:
        """Actions that were drawn: yet to be looked at, or looked at with what was said."""
        return reviews.wanted(limit) if state == "wanted" else reviews.done(limit)

    @api.post("/requests/{request_id}/reviews")
    def say(
        who: Annotated[Session, Depends(callers.person)], request_id: str, body: ReviewIn
    ) -> RequestView:
        """Say that it was fine or wrong, as the person who is logged in."""
        return reviews.say(
            gates.find(request_id),
            person_id=who.person_id,
            word=body.verdict,
            reason=body.reason,
            category=body.category,
            channel="cli",
            assurance="session",
            verified_by={"how": "session"},
        )

    return api
