"""The door to the pages: log-in links, the cookie, and whose session a request comes with.

Rules:
1. A GET uses no link up: a program that follows links logs nobody in.
2. The cookie is strict and no script reads it; with https it is Secure, and its name begins with
   __Host-, which only an https site can set.
3. Another site can neither log somebody in here nor send a form.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from gates.core.errors import NotAuthenticated, Refused
from gates.web import forms
from gates.web.ports import Session, Sessions
from gates.web.showing import HEADERS, PageRoute, page, refusal


class Door:
    """Plain functions, as all pages are. `base_url` is the address that people use."""

    def __init__(self, sessions: Sessions, clock: Callable[[], datetime], *, base_url: str) -> None:
        self.sessions = sessions
        self.clock = clock
        self.secure = urlsplit(base_url).scheme == "https"
        self.cookie = "__Host-gates-session" if self.secure else "gates-session"

    def login_page(self, token: str) -> Response:  # noqa: ARG002 - used by the POST alone
        return page("login.html")

    def login(self, request: Request, token: str) -> Response:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused("Another site sent you here to log in: open the link itself instead.")
        try:
            session_token = self.sessions.redeem_link(token)
        except NotAuthenticated as error:
            return refusal(error, heading="This link does not work any more")
        response = RedirectResponse("/", 303, HEADERS)
        left = self.sessions.session(session_token).expires_at - self.clock()
        response.set_cookie(
            self.cookie,
            session_token,
            max_age=max(int(left.total_seconds()), 0),
            httponly=True,
            samesite="strict",
            secure=self.secure,
        )
        return response

    def logout(self, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        session = self.session(request)
        forms.check(session, csrf)
        self.sessions.end_session(self.token(request))
        words = "You can close this window. A new log-in needs a new link."
        response = page(
            "message.html", heading="Goodbye", message=words, typed="", cure="", home=""
        )
        response.delete_cookie(self.cookie, secure=self.secure, httponly=True, samesite="strict")
        return response

    def session(self, request: Request) -> Session:
        """Raises NotAuthenticated."""
        if not request.cookies.get(self.cookie):
            raise NotAuthenticated("This page is for people who are known here: log in first.")
        return self.sessions.session(self.token(request))

    def token(self, request: Request) -> str:
        """Of a request whose session is known."""
        return request.cookies[self.cookie]

    def trace(self, request: Request) -> str:
        """Tells sessions apart in the log without giving one away."""
        return hashlib.sha256(self.token(request).encode()).hexdigest()[:16]

    def comes_from_elsewhere(self, request: Request) -> bool:
        """Followed from another site, so that the browser kept the strict cookie to itself."""
        foreign = request.headers.get("sec-fetch-site") == "cross-site"
        return foreign and self.cookie not in request.cookies


def router(door: Door) -> APIRouter:
    made = APIRouter(route_class=PageRoute, include_in_schema=False)
    made.get("/login/{token}")(door.login_page)
    made.post("/login/{token}")(door.login)
    made.post("/logout")(door.logout)
    return made
