"""A person's own page: who they are here, and their authenticator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import segno
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from gates.core.errors import GatesError
from gates.service import Gates
from gates.step_up import Secret, StepUp
from gates.web import forms
from gates.web.door import Door
from gates.web.ports import Session
from gates.web.showing import HEADERS, PageRoute, page
from gates.web.values import visible
from gates.web.words import moment

SCALE = 5  # pixels of a cell


def router(gates: Gates, door: Door, steps: StepUp) -> APIRouter:
    made = APIRouter(route_class=PageRoute, include_in_schema=False)

    def shown(
        session: Session, secret: Secret | None = None, error: GatesError | None = None
    ) -> Response:
        return page(
            "me.html",
            error.http_status if error else 200,
            session=session,
            ends=moment(session.expires_at, gates.clock()),
            enrolled=steps.enrolled(session.person_id),
            secret=_spaced(secret.text) if secret else "",
            picture=_picture(secret.uri) if secret else "",
            confirming=error is not None,
            refusal=visible(error.message) if error else "",
        )

    def guarded(session: Session, csrf: str, act: Callable[[], Response]) -> Response:
        try:
            forms.check(session, csrf)
            return act()
        except GatesError as error:
            return shown(session, error=error)

    @made.get("/people/me")
    def me(request: Request) -> Response:
        return shown(door.session(request))

    @made.post("/people/me/totp")
    def enrol(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        session = door.session(request)
        return guarded(session, csrf, lambda: shown(session, steps.enrol(session.person_id)))

    @made.post("/people/me/totp/confirm")
    def confirm(
        request: Request, csrf: Annotated[str, Form()] = "", code: Annotated[str, Form()] = ""
    ) -> Response:
        session = door.session(request)

        def act() -> Response:
            steps.confirm(session.person_id, code)
            return RedirectResponse("/people/me", 303, HEADERS)

        return guarded(session, csrf, act)

    return made


def _picture(uri: str) -> Markup:
    """Black on white whatever the page's colors are: cameras want it so. Drawn here, so that no
    rule for the page's other pictures can thicken its lines.
    """
    rows = [bytes(row) for row in segno.make(uri, error="m", micro=False).matrix_iter(border=4)]
    cells = "".join(
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark
    )
    size = len(rows)
    return Markup(  # noqa: S704 - numbers alone
        f'<svg class="qr" width="{size * SCALE}" height="{size * SCALE}" '
        f'viewBox="0 0 {size} {size}" role="img" aria-label="The same as a picture">'
        f'<path fill="#fff" stroke="none" d="M0 0h{size}v{size}h-{size}z"/>'
        f'<path fill="#000" stroke="none" d="{cells}"/></svg>'
    )


def _spaced(text: str) -> str:
    """In fours, as one types it."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))
