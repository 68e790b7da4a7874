"""How a page gets to its reader: templates, the headers that all have, the bar above them, errors
as pages. The rules are those of gates/web/pages.py.
"""

import hashlib
import logging
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import OperationalError

from gates.core.errors import GatesError, InvalidInput, NotAuthenticated, NotFound, Unavailable
from gates.web import forms
from gates.web.errors import HEADER
from gates.web.ports import Session
from gates.web.values import visible

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
STATIC = {"style.css": "text/css", "icon.svg": "image/svg+xml"}
HOW_TO_LOG_IN = (
    "A link works once and for a short time. Whoever runs this server makes a new one for you: "
    "gates login-link YOU"
)
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'none'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers older than frame-ancestors
    "Cache-Control": "no-store",
}
HEADINGS = {
    "not_authenticated": "You are not logged in",
    "not_found": "No such request",
    "unavailable": "Not reachable right now",
    "retry_later": "Not reachable right now",
}

# What stands above every page of the application that answers just now.
BAR: ContextVar[Callable[[Session], list[str]]] = ContextVar("bar", default=lambda _: [])


def bar(session: Session) -> list[str]:
    """What stands above the page, whichever application shows it."""
    return BAR.get()(session)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = b"".join((HERE / "static" / name).read_bytes() for name in STATIC)
    made.globals["version"] = hashlib.sha256(content).hexdigest()[:10]
    made.globals["session"] = None
    made.globals["confirming"] = ""
    made.globals["bar"] = bar
    return made


TEMPLATES = _environment()


def page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page with the headers that every page has."""
    return HTMLResponse(TEMPLATES.get_template(template).render(**context), status, HEADERS)


def refusal(error: GatesError, **context: Any) -> HTMLResponse:
    """The page of an error: its sentence, and what the person can do."""
    cure = HOW_TO_LOG_IN if isinstance(error, NotAuthenticated) else ""
    heading = HEADINGS.get(error.code, "That did not work")
    words = {"heading": heading, "message": visible(error.message), "cure": cure, "typed": ""}
    words["home"] = "" if cure else "/"
    answer = page("message.html", error.http_status, **(words | context))
    answer.headers[HEADER] = error.code
    return answer


class PageRoute(APIRoute):
    """Shows errors as pages; the API's own handler would answer with JSON."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            BAR.set(getattr(request.app.state, "bar", lambda _: []))
            try:
                return await handle(request)  # type: ignore[no-any-return,unused-ignore]
            except RequestValidationError:
                error: GatesError = InvalidInput("This form is incomplete: load the page again.")
            except OperationalError:
                log.warning("the store does not answer", exc_info=True)
                error = Unavailable("The store does not answer just now: try again in a moment.")
            except GatesError as refused:
                error = refused
            return refusal(error, typed=await forms.typed(request))

        return shown


def static(name: str) -> Response:
    """A file that the pages use; its address changes with what is in it."""
    if name not in STATIC:
        raise NotFound("There is no such file.")
    headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(HERE / "static" / name, media_type=STATIC[name], headers=headers)
