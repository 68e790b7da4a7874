"""/v1/requests/ID/question and /answer: information that people want before they decide."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, Field

from gates.access import Access, Session
from gates.core.errors import NotAuthenticated
from gates.core.model import RequestView
from gates.informing import Informing
from gates.service import Gates, KeyHolder


class QuestionIn(BaseModel):
    question: str = Field(max_length=5_000)


class AnswerIn(BaseModel):
    text: str = Field(max_length=5_000)


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["people"])
    informing = Informing(gates)

    def person(authorization: Annotated[str, Header()] = "") -> Session:
        kind, _, secret = authorization.partition(" ")
        if kind != "Session":
            raise NotAuthenticated("This is for people: log in with `gates login LINK`.")
        return access.session(secret)

    def teller(authorization: Annotated[str, Header()] = "") -> Session | KeyHolder:
        """A person, or an admin's process."""
        kind, _, secret = authorization.partition(" ")
        if kind == "Bearer":
            caller = access.key_holder(secret)
            caller.refuse_unless("admin")
            return caller
        return person(authorization)

    @api.post("/requests/{request_id}/question")
    def ask(
        who: Annotated[Session, Depends(person)], request_id: str, body: QuestionIn
    ) -> RequestView:
        """Ask for information as the person who is logged in; the clock stands still."""
        found = gates.find(request_id)
        return informing.ask(found, person_id=who.person_id, question=body.question, channel="cli")

    @api.post("/requests/{request_id}/answer")
    def answer(
        who: Annotated[Session | KeyHolder, Depends(teller)], request_id: str, body: AnswerIn
    ) -> RequestView:
        """Answer it; the clock goes on."""
        found, text = gates.find(request_id), body.text
        if isinstance(who, KeyHolder):
            return informing.answer_by_key(found, caller=who, text=text, channel="cli")
        return informing.answer(found, person_id=who.person_id, text=text, channel="cli")

    return api
