"""The inbox: pages for people, made on the server, whole without a script.

Rules:
1. A GET changes nothing: a program that follows links neither uses up a log-in link nor decides.
2. Every form that does something carries the session's CSRF token, and a decision also the
   revision of the request that its reader saw.
3. A refusal is a page with its sentence, and what the person typed is on it.
4. Nothing is loaded from another host, and no script runs at all (Content-Security-Policy).
"""

import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError

from gates.core.errors import (
    GatesError,
    InvalidArguments,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    Refused,
    Unavailable,
)
from gates.core.model import (
    MOST_MORE,
    Assurance,
    DecisionKind,
    Json,
    LoopAnswer,
    LoopLabel,
    RequestView,
)
from gates.web import changing, lines
from gates.web.errors import HEADER
from gates.web.inquiring import inquiring
from gates.web.listing import inbox, row
from gates.web.looking import look
from gates.web.rendering import request_page
from gates.web.values import visible
from gates.web.words import choice, said

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
LONGEST_REASON = 2_000  # characters; the field of the form and the server agree on it
LONGEST_CATEGORY = 100
RECENT = 40
BY_BUTTON = (
    DecisionKind.APPROVE,
    DecisionKind.REJECT,
    DecisionKind.SEND_BACK,
    DecisionKind.ESCALATE,
    DecisionKind.SKIP,
)
TYPED = (*BY_BUTTON, "review", "question", "answer")  # what a refused form's words belong to
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
BAR: ContextVar[Callable[["Session"], list[str]]] = ContextVar("bar", default=lambda _: [])


class Session(Protocol):
    """Who is logged in, and the token that this person's forms carry."""

    @property
    def person_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def csrf(self) -> str: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def stepped_up(self) -> bool: ...


class Sessions(Protocol):
    """Log-in links and sessions; each call raises NotAuthenticated for what it does not know."""

    def redeem_link(self, token: str) -> str: ...
    def session(self, token: str) -> Session: ...
    def end_session(self, token: str) -> None: ...


class Steps(Protocol):
    """Codes of authenticators."""

    def enrolled(self, person_id: str) -> bool: ...
    def step_up(self, token: str, code: str) -> None: ...


class Requests(Protocol):
    """What the inbox needs of the service; `clock` is the one that deadlines go by."""

    @property
    def clock(self) -> Callable[[], datetime]: ...
    def waiting(self) -> list[RequestView]: ...
    def recent(self, limit: int = ...) -> list[RequestView]: ...
    def view(self, request_id: str) -> RequestView: ...
    def rounds(self, request_id: str) -> list[RequestView]: ...
    def decide(
        self,
        request_id: str,
        *,
        person_id: str,
        kind: DecisionKind,
        reason: str = ...,
        channel: str,
        assurance: str,
        card_revision: int | None = ...,
        verified_by: Json | None = ...,
        changes: Json | None = ...,
        refused: Mapping[str, str] | None = ...,
        loop: LoopAnswer | None = ...,
    ) -> RequestView: ...


class Looks(Protocol):
    """What the inbox needs of gates/reviews.py."""

    def mine(self, person_id: str) -> list[RequestView]: ...
    def may(self, view: RequestView, person_id: str) -> bool: ...
    def say(
        self,
        request_id: str,
        *,
        person_id: str,
        word: Literal["fine", "wrong"],
        reason: str = ...,
        category: str = ...,
        channel: str,
        assurance: str,
        verified_by: Json | None = ...,
    ) -> RequestView: ...


class Informs(Protocol):
    """What the inbox needs of gates/informing.py."""

    def ask(
        self, request_id: str, *, person_id: str, question: str, channel: str
    ) -> RequestView: ...
    def answer(
        self, request_id: str, *, person_id: str, text: str, channel: str
    ) -> RequestView: ...
    def may_answer(self, view: RequestView, person_id: str) -> bool: ...


class DecisionForm(BaseModel):
    """All text, and nothing required: what is missing or off is told in our own words."""

    decision: str = ""
    reason: str = ""
    revision: str = ""
    csrf: str = ""
    code: str = ""
    more: str = ""
    label: str = ""
    freeze: str = ""


class ReasonForm(BaseModel):
    reason: str = ""
    csrf: str = ""


class ReviewForm(ReasonForm):
    word: str = ""
    category: str = ""


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
            return refusal(error, typed=await _typed(request))

        return shown


async def _sent(request: Request) -> dict[str, str]:
    """The fields of a form whose names depend on the request."""
    return {name: text for name, text in (await request.form()).items() if isinstance(text, str)}


class Pages:
    """The endpoints; plain functions, so that FastAPI runs them in its thread pool."""

    def __init__(
        self,
        service: Requests,
        access: Sessions,
        steps: Steps,
        *,
        base_url: str,
        reviews: Looks,
        informing: Informs,
    ) -> None:
        self.service = service
        self.reviews = reviews
        self.informing = informing
        self.access = access
        self.steps = steps
        self.secure = urlsplit(base_url).scheme == "https"
        self.cookie = cookie_name(base_url)

    # -- logging in and out -----------------------------------------------------------------

    def login_page(self, token: str) -> Response:  # noqa: ARG002 - used by the POST alone
        return page("login.html")

    def login(self, request: Request, token: str) -> Response:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused("Another site sent you here to log in: open the link itself instead.")
        try:
            session_token = self.access.redeem_link(token)
        except NotAuthenticated as error:
            return refusal(error, heading="This link does not work any more")
        response = RedirectResponse("/", 303, HEADERS)
        left = self.access.session(session_token).expires_at - self.service.clock()
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
        session = self._session(request)
        check_form(session, csrf)
        self.access.end_session(request.cookies[self.cookie])
        words = "You can close this window. A new log-in needs a new link."
        response = page(
            "message.html", heading="Goodbye", message=words, typed="", cure="", home=""
        )
        response.delete_cookie(self.cookie, secure=self.secure, httponly=True, samesite="strict")
        return response

    # -- requests ---------------------------------------------------------------------------

    def index(self, request: Request, state: str = "all") -> Response:
        if self._comes_from_elsewhere(request):
            return page("hop.html", target="/")
        session = self._session(request)
        waiting, recent = self.service.waiting(), self.service.recent(RECENT)
        me, now = session.person_id, self.service.clock()
        found = inbox(waiting, recent, me, now, state)
        looks = [row(view, me, now) for view in self.reviews.mine(me)] if state == "all" else []
        return page("inbox.html", session=session, page=found, looks=looks)

    def detail(self, request: Request, request_id: str, said: str = "") -> Response:
        if self._comes_from_elsewhere(request):
            return page("hop.html", target=f"/requests/{_only_id(request_id)}")
        session = self._session(request)
        view = self.service.view(_only_id(request_id))
        if view.request.id != request_id:
            return RedirectResponse(f"/requests/{view.request.id}", 303, HEADERS)
        return self._request_page(session, view, flash=bool(said))

    def change_page(self, request: Request, request_id: str) -> Response:
        """The arguments as a form. Whoever may not change them is led to where it says why."""
        if self._comes_from_elsewhere(request):
            return page("hop.html", target=f"/requests/{_only_id(request_id)}/change")
        session = self._session(request)
        view = self.service.view(_only_id(request_id))
        if not choice(view, session.person_id).may_change:
            return RedirectResponse(f"/requests/{view.request.id}", 303, HEADERS)
        return self._change_page(session, view, changing.form(view.request.action.arguments))

    def change(
        self, request: Request, request_id: str, sent: Annotated[dict[str, str], Depends(_sent)]
    ) -> Response:
        """Approve with changes; the answer is the round that asks for the changed action."""
        session = self._session(request)
        view = self.service.view(_only_id(request_id))
        arguments = view.request.action.arguments
        fields = changing.form(arguments)
        try:
            fields = changing.typed(fields, sent)
            check_form(session, sent.get("csrf", ""))
            changes, fields = changing.values(arguments, fields)
            if any(field.error for field in fields):
                raise InvalidInput("Some of it cannot be read: look at what is marked below.")
            fresh = self._decided(request, session, view.request.id, sent, changes)
        except GatesError as error:
            if isinstance(error, InvalidArguments):
                fields = changing.with_errors(fields, error.details.get("fields", {}))
            view = self.service.view(_only_id(request_id))
            reason = sent.get("reason", "")
            return self._change_page(session, view, fields, error=error, reason=reason)
        return RedirectResponse(f"/requests/{fresh.request.id}?said=1", 303, HEADERS)

    def _decided(
        self,
        request: Request,
        session: Session,
        request_id: str,
        sent: Mapping[str, str],
        changes: Json,
    ) -> RequestView:
        return self.service.decide(
            request_id,
            person_id=session.person_id,
            kind=DecisionKind.APPROVE_WITH_CHANGES,
            reason=_reason(sent.get("reason", "")),
            channel="inbox",
            assurance=self._assurance(request, session, sent.get("code", "")),
            card_revision=_revision(sent.get("revision", "")),
            verified_by={"session": _trace(request.cookies[self.cookie])},
            changes=changes,
        )

    def decide(
        self,
        request: Request,
        request_id: str,
        form: Annotated[DecisionForm, Form()],
        sent: Annotated[dict[str, str], Depends(_sent)],
    ) -> Response:
        session = self._session(request)
        try:
            check_form(session, form.csrf)
            no = {line: _reason(why) for line, why in lines.refused(sent).items()}
            self.service.decide(
                _only_id(request_id),
                person_id=session.person_id,
                kind=_kind(form.decision),
                reason=_reason(form.reason),
                channel="inbox",
                assurance=self._assurance(request, session, form.code),
                card_revision=_revision(form.revision),
                verified_by={"session": _trace(request.cookies[self.cookie])},
                refused=no if form.decision == DecisionKind.APPROVE.value else {},
                loop=_loop(form),
            )
        except NotFound:
            raise
        except GatesError as error:
            view = self.service.view(_only_id(request_id))
            return self._request_page(session, view, error, form=form, sent=sent)
        return RedirectResponse(f"/requests/{_only_id(request_id)}?said=1", 303, HEADERS)

    def review(
        self, request: Request, request_id: str, form: Annotated[ReviewForm, Form()]
    ) -> Response:
        """Say what one thinks of something that ran by itself."""

        def say(session: Session, found: str) -> None:
            self.reviews.say(
                found,
                person_id=session.person_id,
                word="fine" if form.word == "fine" else "wrong",
                reason=_reason(form.reason),
                category=form.category[:LONGEST_CATEGORY],
                channel="inbox",
                assurance="session",
                verified_by={"session": _trace(request.cookies[self.cookie])},
            )

        return self._told(request, request_id, form, "review", say)

    def ask(
        self, request: Request, request_id: str, form: Annotated[ReasonForm, Form()]
    ) -> Response:
        """Ask for information first."""

        def say(session: Session, found: str) -> None:
            question = _reason(form.reason)
            self.informing.ask(
                found, person_id=session.person_id, question=question, channel="inbox"
            )

        return self._told(request, request_id, form, "question", say)

    def answer(
        self, request: Request, request_id: str, form: Annotated[ReasonForm, Form()]
    ) -> Response:
        """Answer what somebody wants to know."""

        def say(session: Session, found: str) -> None:
            text = _reason(form.reason)
            self.informing.answer(found, person_id=session.person_id, text=text, channel="inbox")

        return self._told(request, request_id, form, "answer", say)

    def _told(
        self,
        request: Request,
        request_id: str,
        form: ReasonForm,
        what: str,
        say: Callable[[Session, str], None],
    ) -> Response:
        """Words that decide nothing: back to the page, which keeps them where they are refused."""
        session = self._session(request)
        found = self.service.view(_only_id(request_id)).request.id
        try:
            check_form(session, form.csrf)
            say(session, found)
        except GatesError as error:
            typed = DecisionForm(decision=what, reason=form.reason)
            view = self.service.view(found)
            return self._request_page(session, view, error, form=typed)
        return RedirectResponse(f"/requests/{found}", 303, HEADERS)

    def _assurance(self, request: Request, session: Session, code: str) -> str:
        """How surely it is known who this is; a code that comes along is used up."""
        if code.strip() and not session.stepped_up:
            self.steps.step_up(request.cookies[self.cookie], code)
            return "step_up"
        return "step_up" if session.stepped_up else "session"

    def _confirming(self, session: Session, view: RequestView) -> str:
        """What an approval wants beside the button: `code`, or to `enrol` first; or nothing."""
        wanted = view.request.requirement
        if wanted is None or wanted.assurance is not Assurance.STEP_UP or session.stepped_up:
            return ""
        return "code" if self.steps.enrolled(session.person_id) else "enrol"

    # -- shared -----------------------------------------------------------------------------

    def _request_page(
        self,
        session: Session,
        view: RequestView,
        error: GatesError | None = None,
        *,
        flash: bool = False,
        form: DecisionForm | None = None,
        sent: Mapping[str, str] | None = None,
    ) -> Response:
        rounds = self.service.rounds(view.request.id)
        return page(
            "request.html",
            error.http_status if error else 200,
            session=session,
            page=request_page(view, rounds, session.person_id, self.service.clock()),
            table=lines.lines_table(view, sent or {}),
            info=inquiring(
                view,
                session.person_id,
                self.service.clock(),
                may_answer=self.informing.may_answer(view, session.person_id),
            ),
            look=look(view, self.service.clock(), may=self.reviews.may(view, session.person_id)),
            refusal=visible(error.message) if error else "",
            said=said(view, session.person_id, _before(view, rounds)) if flash else "",
            typed=form.reason if form else "",
            typed_for=form.decision if form and form.decision in TYPED else "reject",
            confirming=self._confirming(session, view),
            longest=LONGEST_REASON,
        )

    def _change_page(
        self,
        session: Session,
        view: RequestView,
        fields: tuple[changing.ArgumentField, ...],
        *,
        error: GatesError | None = None,
        reason: str = "",
    ) -> Response:
        rounds = self.service.rounds(view.request.id)
        return page(
            "change.html",
            error.http_status if error else 200,
            session=session,
            page=request_page(view, rounds, session.person_id, self.service.clock()),
            fields=fields,
            refusal=visible(error.message) if error else "",
            typed=reason,
            longest=LONGEST_REASON,
            confirming=self._confirming(session, view),
        )

    def _session(self, request: Request) -> Session:
        return logged_in(request, self.access, self.cookie)

    def _comes_from_elsewhere(self, request: Request) -> bool:
        """Followed from another site, so that the browser kept the strict cookie to itself."""
        foreign = request.headers.get("sec-fetch-site") == "cross-site"
        return foreign and self.cookie not in request.cookies


def logged_in(request: Request, sessions: Sessions, cookie: str) -> Session:
    """Raises NotAuthenticated."""
    token = request.cookies.get(cookie)
    if not token:
        raise NotAuthenticated("This page is for people who are known here: log in first.")
    return sessions.session(token)


def cookie_name(base_url: str) -> str:
    """The name that begins with __Host- is one that only an https site can set."""
    return "__Host-gates-session" if urlsplit(base_url).scheme == "https" else "gates-session"


async def _typed(request: Request) -> str:
    """What the person wrote into the form that was refused; it is parsed already."""
    forms = ("/decision", "/change", "/review", "/question", "/answer")
    if request.method != "POST" or not request.url.path.endswith(forms):
        return ""
    sent = await _sent(request)
    written = [f"{name}: {text}" for name, text in sent.items() if name.startswith(changing.PREFIX)]
    return "\n".join(filter(None, [sent.get("reason", ""), *written]))


def _before(view: RequestView, rounds: Sequence[RequestView]) -> RequestView | None:
    return next((one for one in rounds if one.request.round == view.request.round - 1), None)


def check_form(session: Session, csrf: str) -> None:
    if not hmac.compare_digest(session.csrf.encode(), csrf.encode()):
        raise Refused("This form was made for another log-in: look at the page again and resend.")


def _kind(decision: str) -> DecisionKind:
    if decision not in BY_BUTTON:
        known = " or ".join(kind.value for kind in BY_BUTTON)
        raise InvalidInput(f"decision = {decision[:40]!r} is not {known}: use a button.")
    return DecisionKind(decision)


def _reason(reason: str) -> str:
    if len(reason) > LONGEST_REASON:
        raise InvalidInput(
            f"reason has {len(reason)} characters: shorten it to {LONGEST_REASON:,}."
        )
    return reason.replace("\r\n", "\n")


def _loop(form: DecisionForm) -> LoopAnswer | None:
    """What the form says of a loop; None where it says nothing."""
    more, label = form.more.strip(), form.label
    if not more and not label and not form.freeze:
        return None
    whole = more.isascii() and more.isdigit() and 0 < int(more[:9]) <= MOST_MORE
    if more and not whole:
        raise InvalidInput(f"more = {more[:40]!r}: write a whole number from 1 to {MOST_MORE}.")
    if label and label not in list(LoopLabel):
        known = ", ".join(LoopLabel)
        raise InvalidInput(f"label = {label[:40]!r}: choose one of {known}.")
    return LoopAnswer(
        more=int(more) if more else None,
        label=LoopLabel(label) if label else None,
        freeze=bool(form.freeze),
    )


def _revision(revision: str) -> int:
    """A decision without the revision that was seen is not taken from a page."""
    if not revision.isascii() or not revision.isdigit() or len(revision) > 9:  # noqa: PLR2004
        raise InvalidInput("The form does not say which version you saw: load the page again.")
    return int(revision)


def _only_id(request_id: str) -> str:
    """Ids are hex; anything else is not looked for, nor put into an address."""
    if not request_id.isascii() or not request_id.isalnum() or len(request_id) > 64:  # noqa: PLR2004
        raise NotFound("This address names no request: open the list and choose one.")
    return request_id


def _trace(token: str) -> str:
    """Tells sessions apart in the log without giving one away."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _static(name: str) -> Response:
    if name not in STATIC:
        raise NotFound("There is no such file.")
    headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(HERE / "static" / name, media_type=STATIC[name], headers=headers)


def router(
    service: Requests,
    access: Sessions,
    steps: Steps,
    *,
    base_url: str,
    reviews: Looks,
    informing: Informs,
) -> APIRouter:
    """All pages. `base_url` is the address that people use; https makes the cookie Secure."""
    pages = Pages(service, access, steps, base_url=base_url, reviews=reviews, informing=informing)
    made = APIRouter(route_class=PageRoute, include_in_schema=False)
    made.get("/")(pages.index)
    made.get("/login/{token}")(pages.login_page)
    made.post("/login/{token}")(pages.login)
    made.post("/logout")(pages.logout)
    made.get("/requests/{request_id}")(pages.detail)
    made.post("/requests/{request_id}/decision")(pages.decide)
    made.post("/requests/{request_id}/review")(pages.review)
    made.post("/requests/{request_id}/question")(pages.ask)
    made.post("/requests/{request_id}/answer")(pages.answer)
    made.get("/requests/{request_id}/change")(pages.change_page)
    made.post("/requests/{request_id}/change")(pages.change)
    made.get("/static/{name}")(_static)
    return made
