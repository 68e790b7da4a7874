"""The inbox: pages for people, made on the server, whole without a script.

Rules:
1. A GET changes nothing: a program that follows links neither uses up a log-in link nor decides.
2. Every form that does something carries the session's CSRF token, and a decision also the
   revision of the request that its reader saw.
3. A refusal is a page with its sentence, and what the person typed is on it.
4. Nothing is loaded from another host, and no script runs at all (Content-Security-Policy).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from gates.core.asked import Assurance
from gates.core.errors import GatesError, InvalidArguments, InvalidInput, NotFound
from gates.core.model import DecisionKind, Json, RequestView
from gates.web import changing, forms, lines
from gates.web.door import Door
from gates.web.forms import LONGEST_REASON, DecisionForm, ReasonForm, ReviewForm
from gates.web.inquiring import inquiring
from gates.web.listing import inbox, row
from gates.web.looking import look
from gates.web.ports import Informs, Looks, Requests, Session, Steps
from gates.web.rendering import request_page
from gates.web.showing import HEADERS, PageRoute, page, static
from gates.web.values import visible
from gates.web.words import choice, said

RECENT = 40


class Pages:
    """The endpoints; plain functions, so that FastAPI runs them in its thread pool."""

    def __init__(
        self, service: Requests, door: Door, steps: Steps, *, reviews: Looks, informing: Informs
    ) -> None:
        self.service = service
        self.door = door
        self.steps = steps
        self.reviews = reviews
        self.informing = informing

    def index(self, request: Request, state: str = "all") -> Response:
        if self.door.comes_from_elsewhere(request):
            return page("hop.html", target="/")
        session = self.door.session(request)
        waiting, recent = self.service.waiting(), self.service.recent(RECENT)
        me, now = session.person_id, self.service.clock()
        found = inbox(waiting, recent, me, now, state)
        looks = [row(view, me, now) for view in self.reviews.mine(me)] if state == "all" else []
        return page("inbox.html", session=session, page=found, looks=looks)

    def detail(self, request: Request, request_id: str, said: str = "") -> Response:
        if self.door.comes_from_elsewhere(request):
            return page("hop.html", target=f"/requests/{_only_id(request_id)}")
        session = self.door.session(request)
        view = self.service.view(_only_id(request_id))
        if view.request.id != request_id:
            return RedirectResponse(f"/requests/{view.request.id}", 303, HEADERS)
        return self._request_page(session, view, flash=bool(said))

    def change_page(self, request: Request, request_id: str) -> Response:
        """The arguments as a form. Whoever may not change them is led to where it says why."""
        if self.door.comes_from_elsewhere(request):
            return page("hop.html", target=f"/requests/{_only_id(request_id)}/change")
        session = self.door.session(request)
        view = self.service.view(_only_id(request_id))
        if not choice(view, session.person_id).may_change:
            return RedirectResponse(f"/requests/{view.request.id}", 303, HEADERS)
        return self._change_page(session, view, changing.form(view.request.action.arguments))

    def change(
        self,
        request: Request,
        request_id: str,
        sent: Annotated[dict[str, str], Depends(forms.sent)],
    ) -> Response:
        """Approve with changes; the answer is the round that asks for the changed action."""
        session = self.door.session(request)
        view = self.service.view(_only_id(request_id))
        arguments = view.request.action.arguments
        fields = changing.form(arguments)
        try:
            fields = changing.typed(fields, sent)
            forms.check(session, sent.get("csrf", ""))
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
            reason=forms.reason(sent.get("reason", "")),
            channel="inbox",
            assurance=self._assurance(request, session, sent.get("code", "")),
            card_revision=forms.revision(sent.get("revision", "")),
            verified_by={"session": self.door.trace(request)},
            changes=changes,
        )

    def decide(
        self,
        request: Request,
        request_id: str,
        form: Annotated[DecisionForm, Form()],
        sent: Annotated[dict[str, str], Depends(forms.sent)],
    ) -> Response:
        session = self.door.session(request)
        try:
            forms.check(session, form.csrf)
            no = {line: forms.reason(why) for line, why in lines.refused(sent).items()}
            self.service.decide(
                _only_id(request_id),
                person_id=session.person_id,
                kind=forms.kind(form.decision),
                reason=forms.reason(form.reason),
                channel="inbox",
                assurance=self._assurance(request, session, form.code),
                card_revision=forms.revision(form.revision),
                verified_by={"session": self.door.trace(request)},
                refused=no if form.decision == DecisionKind.APPROVE.value else {},
                loop=forms.loop(form),
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
                reason=forms.reason(form.reason),
                category=form.category[: forms.LONGEST_CATEGORY],
                channel="inbox",
                assurance="session",
                verified_by={"session": self.door.trace(request)},
            )

        return self._told(request, request_id, form, "review", say)

    def ask(
        self, request: Request, request_id: str, form: Annotated[ReasonForm, Form()]
    ) -> Response:
        """Ask for information first."""

        def say(session: Session, found: str) -> None:
            question = forms.reason(form.reason)
            self.informing.ask(
                found, person_id=session.person_id, question=question, channel="inbox"
            )

        return self._told(request, request_id, form, "question", say)

    def answer(
        self, request: Request, request_id: str, form: Annotated[ReasonForm, Form()]
    ) -> Response:
        """Answer what somebody wants to know."""

        def say(session: Session, found: str) -> None:
            text = forms.reason(form.reason)
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
        session = self.door.session(request)
        found = self.service.view(_only_id(request_id)).request.id
        try:
            forms.check(session, form.csrf)
            say(session, found)
        except GatesError as error:
            typed = DecisionForm(decision=what, reason=form.reason)
            view = self.service.view(found)
            return self._request_page(session, view, error, form=typed)
        return RedirectResponse(f"/requests/{found}", 303, HEADERS)

    def _assurance(self, request: Request, session: Session, code: str) -> str:
        """How surely it is known who this is; a code that comes along is used up."""
        if code.strip() and not session.stepped_up:
            self.steps.step_up(self.door.token(request), code)
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
            typed_for=form.decision if form and form.decision in forms.TYPED else "reject",
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


def _before(view: RequestView, rounds: Sequence[RequestView]) -> RequestView | None:
    return next((one for one in rounds if one.request.round == view.request.round - 1), None)


def _only_id(request_id: str) -> str:
    """Ids are hex; anything else is not looked for, nor put into an address."""
    if not request_id.isascii() or not request_id.isalnum() or len(request_id) > 64:  # noqa: PLR2004
        raise NotFound("This address names no request: open the list and choose one.")
    return request_id


def router(
    service: Requests, door: Door, steps: Steps, *, reviews: Looks, informing: Informs
) -> APIRouter:
    """The inbox and what belongs to a request."""
    pages = Pages(service, door, steps, reviews=reviews, informing=informing)
    made = APIRouter(route_class=PageRoute, include_in_schema=False)
    made.get("/")(pages.index)
    made.get("/requests/{request_id}")(pages.detail)
    made.post("/requests/{request_id}/decision")(pages.decide)
    made.post("/requests/{request_id}/review")(pages.review)
    made.post("/requests/{request_id}/question")(pages.ask)
    made.post("/requests/{request_id}/answer")(pages.answer)
    made.get("/requests/{request_id}/change")(pages.change_page)
    made.post("/requests/{request_id}/change")(pages.change)
    made.get("/static/{name}")(static)
    return made
