"""Pages of people in command: what is frozen and held, with its buttons; the rules in force; the
bar on every page while something is frozen.

The rules of gates/web/pages.py hold here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from gates import versioned
from gates.commanding import Commander
from gates.core.errors import GatesError, InvalidInput
from gates.core.freezes import Freeze, Scope
from gates.four_eyes import FourEyes
from gates.web import forms
from gates.web.door import Door
from gates.web.forms import LONGEST_REASON, ReasonForm
from gates.web.ports import Session
from gates.web.showing import HEADERS, PageRoute, page
from gates.web.values import visible
from gates.web.words import Moment, moment


class FreezeForm(ReasonForm):
    agent: str = ""
    action: str = ""
    counterparty: str = ""
    run: str = ""
    everything: str = ""


class RunForm(ReasonForm):
    """`order`: hold or stop."""

    run: str = ""
    order: str = ""


@dataclass(frozen=True)
class OrderShown:
    """`thaw`: whether whoever looks may lift it."""

    id: str
    what: str
    name: str
    reason: str
    at: Moment
    thaw: bool = False
    why_not: str = ""


@dataclass(frozen=True)
class CommandPage:
    freezes: tuple[OrderShown, ...]
    holds: tuple[OrderShown, ...]
    in_command: str
    policy: str
    troubles: tuple[str, ...]
    four_eyes: bool


@dataclass
class CommandPages:
    """The endpoints; plain functions, so that FastAPI runs them in its thread pool."""

    eyes: FourEyes
    door: Door
    thawed: Callable[[], None]

    def command(self, request: Request) -> Response:
        return self._shown(self.door.session(request))

    def freeze(self, request: Request, form: Annotated[FreezeForm, Form()]) -> Response:
        def act(who: Commander) -> None:
            scope = form.model_dump(exclude={"reason", "csrf", "everything"})
            whole = Scope(
                everything=form.everything == "yes",
                **{name: value.strip()[:200] for name, value in scope.items()},
            )
            self.eyes.commanding.freeze(who, whole, form.reason)

        return self._done(request, form.csrf, form.reason, act)

    def thaw(
        self, request: Request, freeze_id: str, form: Annotated[ReasonForm, Form()]
    ) -> Response:
        def act(who: Commander) -> None:
            self.eyes.thaw(who.id, freeze_id, form.reason)
            self.thawed()

        return self._done(request, form.csrf, form.reason, act)

    def run(self, request: Request, form: Annotated[RunForm, Form()]) -> Response:
        def act(who: Commander) -> None:
            orders = {"hold": self.eyes.commanding.hold, "stop": self.eyes.commanding.stop}
            if form.order not in orders:
                raise InvalidInput(f"order = {form.order[:40]!r}: hold or stop; use a button.")
            orders[form.order](who, form.run.strip(), form.reason)

        return self._done(request, form.csrf, form.reason, act)

    def policy(self, request: Request, digest: str) -> Response:
        """A version of the policy as it is written."""
        session = self.door.session(request)
        found = versioned.find(self.eyes.gates, digest)
        now = self.eyes.gates.clock()
        return page(
            "policy.html",
            session=session,
            version_=found,
            files=[(visible(name), text) for name, text in found.files],
            seen=moment(found.first_seen_at, now),
            since=moment(found.activated_at, now) if found.activated_at else None,
            by=visible(found.by),
        )

    def bar(self, session: Session) -> list[str]:
        """What everybody is told on every page: what is frozen; those in command also what this
        server could not take of its files.
        """
        gates = self.eyes.gates
        with gates.database.read() as store:
            freezes = gates.orders.now(store).freezes
        told = [visible(str(one)) for one in freezes if not one.for_good]
        if gates.troubles and self._commander(session) is not None:
            told += [visible(words) for words in gates.troubles.values()]
        return told

    # -- shared -----------------------------------------------------------------------------

    def _commander(self, session: Session) -> Commander | None:
        try:
            return self.eyes.commanding.person(session.person_id)
        except GatesError:
            return None

    def _done(
        self, request: Request, csrf: str, reason: str, act: Callable[[Commander], None]
    ) -> Response:
        session = self.door.session(request)
        try:
            forms.check(session, csrf)
            if len(reason) > LONGEST_REASON:
                raise InvalidInput(f"reason has {len(reason)} characters: shorten it.")
            act(self.eyes.commanding.person(session.person_id))
        except GatesError as error:
            return self._shown(session, error, reason)
        return RedirectResponse("/command", 303, HEADERS)

    def _shown(
        self, session: Session, error: GatesError | None = None, typed: str = ""
    ) -> Response:
        return page(
            "command.html",
            error.http_status if error else 200,
            session=session,
            page=self._page(session),
            refusal=visible(error.message) if error else "",
            typed=typed,
            longest=LONGEST_REASON,
        )

    def _page(self, session: Session) -> CommandPage:
        gates, found = self.eyes.gates, self.eyes.commanding.in_force()
        now, who = gates.clock(), self._commander(session)
        return CommandPage(
            freezes=tuple(self._freeze(one, who) for one in found.freezes),
            holds=tuple(
                OrderShown(
                    one.id,
                    f"run {visible(one.run)}",
                    visible(one.name),
                    visible(one.reason),
                    moment(one.at, now),
                )
                for one in found.holds
            ),
            in_command=who.name if who else "",
            policy=gates.asking.policy.digest,
            troubles=tuple(visible(one) for one in gates.troubles.values()) if who else (),
            four_eyes="thaw" in gates.asking.policy.command.needs,
        )

    def _freeze(self, one: Freeze, who: Commander | None) -> OrderShown:
        why_not = ""
        if one.for_good:
            why_not = "A run that was stopped stays so."
        elif who is not None and one.by == who.id:
            why_not = "You have frozen this: somebody else in command thaws it."
        return OrderShown(
            one.id,
            visible(str(one.scope)),
            visible(one.name),
            visible(one.reason),
            moment(one.at, self.eyes.gates.clock()),
            thaw=who is not None and not why_not,
            why_not=why_not,
        )


def router(pages: CommandPages) -> APIRouter:
    made = APIRouter(route_class=PageRoute, include_in_schema=False)
    made.get("/command")(pages.command)
    made.post("/command/freezes")(pages.freeze)
    made.post("/command/freezes/{freeze_id}/thaw")(pages.thaw)
    made.post("/command/runs")(pages.run)
    made.get("/policies/{digest}")(pages.policy)
    return made
