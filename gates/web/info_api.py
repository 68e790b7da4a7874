"""/v1/requests/ID/question and /answer: information that people want before they decide."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from gates.access import Access, Session
from gates.core.model import RequestView
from gates.informing import Informing
from gates.service import Gates, KeyHolder
from gates.web.callers import Callers


class QuestionIn(BaseModel):
    question: str = Field(max_length=5_000)


class AnswerIn(BaseModel):
    text: str = Field(max_length=5_000)


def router(gates: Gates, access: Access) -> APIRouter:
    api = APIRouter(prefix="/v1", tags=["people"])
    callers = Callers(access)
    informing = Informing(gates)

    @api.post("/requests/{request_id}/question")
    def ask(
        who: Annotated[Session, Depends(callers.person)], request_id: str, body: QuestionIn
    ) -> RequestView:
        """Ask for information as the person who is logged in; the clock stands still."""
        found = gates.find(request_id)
        return informing.ask(found, person_id=who.person_id, question=body.question, channel="cli")

    @api.post("/requests/{request_id}/answer")
    def answer(
        who: Annotated[Session | KeyHolder, Depends(callers.person_or_admin)],
        request_id: str,
        body: AnswerIn,
    ) -> RequestView:
        """Answer it; the clock goes on."""
        found, text = gates.find(request_id), body.text
        if isinstance(who, KeyHolder):
            return informing.answer_by_key(found, caller=who, text=text, channel="cli")
        return informing.answer(found, person_id=who.person_id, text=text, channel="cli")

    return api
