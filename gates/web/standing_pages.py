"""The page that lists standing approvals, with a button that ends one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from gates.access import Access
from gates.core.standing import covers
from gates.informing import Informing
from gates.reviews import Reviews
from gates.service import Gates
from gates.standing import StandingDesk
from gates.step_up import StepUp
from gates.web.pages import HEADERS, PageRoute, Pages, check_form, page


class StandingPages(Pages):
    """Plain functions, as all pages are."""

    def __init__(self, gates: Gates, access: Access, steps: StepUp, reviews: Reviews) -> None:
        super().__init__(
            gates,
            access,
            steps,
            base_url=gates.base_url,
            reviews=reviews,
            informing=Informing(gates),
        )
        self.desk = StandingDesk(gates.database, lambda: gates.asking, gates.clock)

    def standing(self, request: Request) -> Response:
        if self._comes_from_elsewhere(request):
            return page("hop.html", target="/standing")
        session, now = self._session(request), self.service.clock()
        found = [(one, covers(one), one.over(now)) for one in self.desk.all()]
        return page("standing.html", session=session, found=found)

    def revoke(
        self, request: Request, standing_id: str, csrf: Annotated[str, Form()] = ""
    ) -> Response:
        session = self._session(request)
        check_form(session, csrf)
        self.desk.revoke(standing_id, session.person_id)
        return RedirectResponse("/standing", 303, HEADERS)


def router(gates: Gates, access: Access, steps: StepUp, reviews: Reviews) -> APIRouter:
    pages = StandingPages(gates, access, steps, reviews)
    made = APIRouter(route_class=PageRoute, include_in_schema=False)
    made.get("/standing")(pages.standing)
    made.post("/standing/{standing_id}/revoke")(pages.revoke)
    return made
