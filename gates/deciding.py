"""What people and deadlines say of a request: each one transaction, each under the row's lock."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from gates.core import lifecycle
from gates.core.asked import Person, PersonId
from gates.core.errors import (
    GatesError,
    InvalidInput,
    NotEntitled,
    ReasonNeeded,
    RequestClosed,
    StaleCard,
)
from gates.core.events import DeadlinePassed, Decided, Event
from gates.core.freezes import Scope
from gates.core.model import (
    ApprovalRequest,
    Decision,
    DecisionKind,
    Json,
    LoopAnswer,
    OutcomeKind,
    RequestView,
)
from gates.orders import write_freeze
from gates.recording import Recording
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit

log = logging.getLogger(__name__)


class Deciding(Recording):
    def decide(
        self,
        request_id: str,
        *,
        person_id: str,
        kind: DecisionKind,
        reason: str = "",
        channel: str,
        assurance: str,
        card_revision: int | None = None,
        verified_by: Json | None = None,
        changes: Json | None = None,
        refused: Mapping[str, str] | None = None,
        loop: LoopAnswer | None = None,
    ) -> RequestView:
        """One person's answer, in one transaction. `changes`: all arguments, as they are approved;
        the answer is then the round that asks for the changed action. `refused`: lines of a batch
        that are not to run, with the reason for each. The same answer once more
        (a double click, a reply that was lost) changes nothing and is told what became of it.
        `card_revision`: what the person saw; a decision counts for what was asked there, whoever
        else has decided since. `loop`: what it says of an agent that went in circles.

        Raises NotFound, UnknownPerson, NotEntitled, SelfApproval, AlreadyDecided, RequestClosed,
        StaleCard, InvalidArguments, InvalidInput (no reason or guidance, nothing changed, nobody to
        escalate to), ReasonNeeded, and RetryLater or Unavailable where the directory cannot say
        now who may decide.
        """
        person = self.asking.directory.person(person_id)
        _refuse_incomplete(kind, reason, changes)
        fresh = None
        lines = {number: why.strip() for number, why in (refused or {}).items()}
        answer = (person.id, kind, reason.strip(), changes, lines)
        with self.database.read() as session:
            unit = Unit(session, self.clock())
            loaded = unit.load(request_id)
            given = self._given(unit, loaded, *answer)
        if given is not None:
            return given
        seen = lifecycle.widened(loaded.request, loaded.events)
        seats, left = self._seats(seen, person)
        there: dict[PersonId, str] = {}  # in the round that a change opens
        if changes is not None:
            fresh = self.asking.changed(seen, changes, person.name, self.clock())
            there, _ = self._seats(fresh, person)
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            given = self._given(unit, current, *answer)
            if given is not None:
                return given
            decision = Decision(
                person=person.id,
                name=person.name,
                kind=kind,
                reason=reason.strip(),
                at=unit.now,
                channel=channel,
                assurance=assurance,
                card_revision=card_revision,
                verified_by=verified_by or {},
                changes=changes,
                refused=lines,
                stands_for=seats,
                loop=loop,
            )
            refusal: GatesError | None = None
            events: list[Event] = []
            try:
                events = lifecycle.decide(current.request, current.events, decision)
                if left:
                    raise NotEntitled(left)
                if card_revision is not None and not current.showed(card_revision):
                    raise StaleCard("This request has changed since you opened it: look again.")
                self.record(unit, current, events, actor=person.id)
                _freeze_agent(unit, current, events)
                if fresh is not None and _is_voided(current):
                    current = self._ask_changed(unit, current, fresh, decision, there)
            except GatesError as error:
                refusal = error
                unit.log(
                    person.id, "decision.refused", request_id, code=error.code, channel=channel
                )
            view = current.view(self.base_url)
        if refusal is not None:
            raise refusal
        self.orders.drop()
        self.woken(current.row.gate_id)
        if any(isinstance(event, DeadlinePassed) for event in events):
            raise RequestClosed(f"The deadline was faster: {view.outcome}.")
        return view

    def _given(
        self,
        unit: Unit,
        current: Aggregate,
        person: PersonId,
        kind: DecisionKind,
        reason: str,
        changes: Json | None,
        refused: Mapping[str, str],
    ) -> RequestView | None:
        """What has become of this very answer, where that person has given it already."""
        for one in current.decisions:
            same = (one.person, one.kind, one.changes) == (person, kind, changes)
            if same and one.refused == refused and reason in ("", one.reason):
                if kind is DecisionKind.APPROVE_WITH_CHANGES:  # it became the next round
                    current = unit.gate(current.row.gate_id)[current.request.round]
                return current.view(self.base_url)
        return None

    def _seats(self, request: ApprovalRequest, person: Person) -> tuple[dict[PersonId, str], str]:
        """Whose seats they may take, empty for their own alone; and why they no longer may. Who was
        asked must still be of those whom the policy asks, or decide for one: the directory says it
        now. Raises RetryLater or Unavailable where it cannot; whoever was never asked hears only
        that.
        """
        asked = request.requirement
        if asked is None or person.id not in asked.people | asked.escalation:
            return {}, ""
        seats = self.asking.seats(request, person.id, self.clock())
        if not seats:
            lets = asked.stands_for.get(person.id, {})
            whose = f" nor lets {', '.join(lets.values())} you decide for them" if lets else ""
            words = "you are no longer in a group that may decide"
            return {}, f"{person.name}, you were asked, but {words}{whose}."
        return ({} if seats.keys() == {person.id} else seats), ""

    def _ask_changed(
        self,
        unit: Unit,
        before: Aggregate,
        fresh: ApprovalRequest,
        decision: Decision,
        seats: dict[PersonId, str],
    ) -> Aggregate:
        """The next round, with the approval of the person who changed it, if it may count there,
        for the `seats` that they may take there. A run that sleeps goes on sleeping, now for this
        round.
        """
        changed = self.ask(unit, fresh)
        changed.row.asleep, before.row.asleep = before.row.asleep, False
        changed.row.suspensions = before.row.suspensions
        changed.row.restored = before.row.restored
        before.row.collected = True
        approval = decision.model_copy(
            update={
                "kind": DecisionKind.APPROVE,
                "changes": None,
                "card_revision": None,
                "stands_for": seats,
            }
        )
        try:
            events = lifecycle.decide(fresh, (), approval)
        except (NotEntitled, ReasonNeeded):  # what they changed it into asks others, or more
            return changed
        self.record(unit, changed, events, actor=decision.person)
        return changed

    def withdraw(self, request_id: str, by: str, reason: str) -> RequestView:
        """Take the question back. Raises NotFound or RequestClosed."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            events = lifecycle.withdraw(current.request, current.events, by, reason, unit.now)
            self.record(unit, current, events, actor=by)
            view = current.view(self.base_url)
        self.woken(current.row.gate_id)
        return view

    def expire(self) -> int:
        """Settle what has passed its deadline; how many. The timer's command."""
        with self.database.read() as session:
            overdue = Unit(session, self.clock()).overdue()
        settled = 0
        for request_id in overdue:
            try:
                settled += self._expire(request_id)
            except Exception:  # one that cannot be settled must not hold up the others
                log.exception("request %s could not expire; trying again", request_id[:8])
        return settled

    def _expire(self, request_id: str) -> bool:
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            current = unit.load(request_id, lock=True)
            events = lifecycle.expire(current.request, current.events, unit.now)
            if events:
                self.record(unit, current, events, actor="deadline")
        self.woken(current.row.gate_id)
        return bool(events)


def _refuse_incomplete(kind: DecisionKind, reason: str, changes: Json | None) -> None:
    if kind is DecisionKind.REJECT and not reason.strip():
        raise InvalidInput("reason is empty: say why, so that the requester can do better.")
    if kind is DecisionKind.SKIP and not reason.strip():
        raise InvalidInput("reason is empty: say why the run can do without this step.")
    if kind is DecisionKind.SEND_BACK and not reason.strip():
        raise InvalidInput("reason is empty: it is the guidance that the agent gets; write some.")
    if kind is DecisionKind.ESCALATE and not reason.strip():
        raise InvalidInput("reason is empty: say what you cannot decide, to those who now can.")
    if (kind is DecisionKind.APPROVE_WITH_CHANGES) != (changes is not None):
        raise InvalidInput(
            f"kind = {kind.value!r} and changes contradict: send all arguments under `changes` "
            "with approve_with_changes, and with no other answer."
        )


def _freeze_agent(unit: Unit, current: Aggregate, events: Sequence[Event]) -> None:
    """Where whoever stops an agent that goes in circles wants that: the right comes with the
    question. An answer that came too late freezes nothing.
    """
    for one in (event.decision for event in events if isinstance(event, Decided)):
        if one.loop is not None and one.loop.freeze:
            agent = Scope(agent=current.request.requester.agent)
            write_freeze(unit, (one.person, one.name), agent, one.reason)


def _is_voided(current: Aggregate) -> bool:
    return current.outcome is not None and current.outcome.kind is OutcomeKind.VOIDED
