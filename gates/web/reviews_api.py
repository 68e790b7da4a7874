"""/v1/reviews: a sample of what ran by itself, and what people say of it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from gates.access import Access, Session
from gates.core.errors import NotAuthenticated
from gates.core.model import RequestView
from gates.reviews import Reviews
from gates.service import Gates


class ReviewIn(BaseModel):
    verdict: Literal["fine", "wrong"]
    reason: str = Field(default="", max_length=5_000)
    category: str = Field(default="", max_length=100)


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["people"])
    reviews = Reviews(gates)

    def person(authorization: Annotated[str, Header()] = "") -> Session:
        kind, _, secret = authorization.partition(" ")
        if kind != "Session":
            raise NotAuthenticated("This is for people: log in with `gates login LINK`.")
        return access.session(secret)

    async def reader(authorization: Annotated[str, Header()] = "") -> None:
        """A person, or an admin's process: a flow is not told what is looked at."""
        kind, _, secret = authorization.partition(" ")
        if kind == "Bearer":
            (await run_in_threadpool(access.key_holder, secret)).refuse_unless("admin")
        else:
            await run_in_threadpool(person, authorization)

    @api.get("/reviews", dependencies=[Depends(reader)])
    def listed(
        state: Literal["wanted", "done"] = "wanted",
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
    ) -> list[RequestView]:
        """Actions that were drawn: yet to be looked at, or looked at with what was said."""
        return reviews.wanted(limit) if state == "wanted" else reviews.done(limit)

    @api.post("/requests/{request_id}/reviews")
    def say(
        who: Annotated[Session, Depends(person)], request_id: str, body: ReviewIn
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
