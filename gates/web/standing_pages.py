"""The page that lists standing approvals, with a button that ends one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from gates.core.standing import covers
from gates.service import Gates
from gates.standing import StandingDesk
from gates.web import forms
from gates.web.door import Door
from gates.web.showing import HEADERS, PageRoute, page


class StandingPages:
    """Plain functions, as all pages are."""

    def __init__(self, gates: Gates, door: Door) -> None:
        self.clock = gates.clock
        self.door = door
        self.desk = StandingDesk(gates.database, lambda: gates.asking, gates.clock)

    def standing(self, request: Request) -> Response:
        if self.door.comes_from_elsewhere(request):
            return page("hop.html", target="/standing")
        session, now = self.door.session(request), self.clock()
        found = [(one, covers(one), one.over(now)) for one in self.desk.all()]
        return page("standing.html", session=session, found=found)

    def revoke(
        self, request: Request, standing_id: str, csrf: Annotated[str, Form()] = ""
    ) -> Response:
        session = self.door.session(request)
        forms.check(session, csrf)
        self.desk.revoke(standing_id, session.person_id)
        return RedirectResponse("/standing", 303, HEADERS)


def router(gates: Gates, door: Door) -> APIRouter:
    pages = StandingPages(gates, door)
    made = APIRouter(route_class=PageRoute, include_in_schema=False)
    made.get("/standing")(pages.standing)
    made.post("/standing/{standing_id}/revoke")(pages.revoke)
    return made
