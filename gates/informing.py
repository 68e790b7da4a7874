"""Information that people want before they decide: each word one transaction, under the row's lock.

Nobody decides anything by it. What time has to say first is written with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gates.commanding import Commander, Commanding
from gates.core import informing, lifecycle, pausing
from gates.core.asked import PersonId, Requirement
from gates.core.errors import GatesError, NotEntitled, RequestClosed
from gates.core.events import DeadlinePassed, Event
from gates.core.model import RequestView
from gates.service import Gates, KeyHolder
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit


@dataclass(frozen=True)
class Informing:
    gates: Gates

    def ask(
        self, request_id: str, *, person_id: PersonId, question: str, channel: str
    ) -> RequestView:
        """The same question once more changes nothing.

        Raises NotFound, UnknownPerson, what `core.informing.ask` raises, and RetryLater or
        Unavailable where the directory cannot say now who is asked.
        """
        person = self.gates.asking.directory.person(person_id)
        with self.gates.database.read() as session:
            loaded = Unit(session, self.gates.clock()).load(request_id)
        gone = self._gone(loaded, person_id)

        def told(current: Aggregate, unit: Unit) -> list[Event]:
            open_now = pausing.waiting(_asked(current))
            given = open_now and (open_now.person, open_now.question)
            if given == (person.id, question.strip()):
                return []
            who = (person.id, person.name)
            made = informing.ask(current.request, current.events, who, question, unit.now)
            if gone:
                raise NotEntitled(f"{person.name}, you are no longer among those asked here.")
            return made

        return self._written(request_id, person.id, channel, told)

    def answer(
        self, request_id: str, *, person_id: PersonId, text: str, channel: str
    ) -> RequestView:
        """The same answer once more changes nothing. Raises as `ask`."""
        found = self.gates.asking.directory.person(person_id)
        who = Commander(found.id, found.name)
        commands = self._commands(found.id)
        return self._answered(request_id, who, text, channel, commands=commands)

    def answer_by_key(
        self, request_id: str, *, caller: KeyHolder, text: str, channel: str
    ) -> RequestView:
        """By an admin's process. Raises NotEntitled for any other."""
        who = Commanding.key(caller)
        return self._answered(request_id, who, text, channel, commands=True)

    def _answered(
        self, request_id: str, who: Commander, text: str, channel: str, *, commands: bool
    ) -> RequestView:

        def told(current: Aggregate, unit: Unit) -> list[Event]:
            asked = _asked(current)
            last = asked.inquiries[-1:] if asked else ()
            if last and (last[0].answered_by, last[0].answer) == (who.id, text.strip()):
                return []
            person, events = (who.id, who.name), current.events
            return informing.answer(
                current.request, events, person, text, unit.now, commands=commands
            )

        return self._written(request_id, who.id, channel, told)

    def may_answer(self, view: RequestView, person_id: PersonId) -> bool:
        """Whether something waits for an answer that this person may give."""
        asked = view.request.requirement
        if asked is None or view.outcome is not None or pausing.waiting(asked) is None:
            return False
        near = person_id in asked.people or person_id == view.request.requester.on_behalf_of
        return near or self._commands(person_id)

    def _commands(self, person_id: PersonId) -> bool:
        try:
            Commanding(self.gates).person(person_id)
        except GatesError:  # or nobody can say now: then they are not
            return False
        return True

    def _gone(self, loaded: Aggregate, person_id: PersonId) -> bool:
        """Whether who was asked may no longer decide, as the directory says now."""
        seen = lifecycle.widened(loaded.request, loaded.events)
        asked = seen.requirement
        if asked is None or loaded.outcome is not None or person_id not in asked.people:
            return False
        return not self.gates.asking.seats(seen, person_id, self.gates.clock())

    def _written(
        self,
        request_id: str,
        actor: str,
        channel: str,
        told: Callable[[Aggregate, Unit], list[Event]],
    ) -> RequestView:
        gates = self.gates
        refusal: GatesError | None = None
        events: list[Event] = []
        with gates.database.write() as session:
            unit = Unit(session, gates.clock())
            current = unit.load(request_id, lock=True)
            try:
                events = told(current, unit)
                if events:
                    gates.record(unit, current, events, actor=actor)
            except GatesError as error:
                refusal = error
                unit.log(actor, "info.refused", request_id, code=error.code, channel=channel)
            view = current.view(gates.base_url)
        if refusal is not None:
            raise refusal
        if events:
            gates.woken(current.row.gate_id)
        if any(isinstance(event, DeadlinePassed) for event in events):
            raise RequestClosed(f"The deadline was faster: {view.outcome}.")
        return view


def _asked(current: Aggregate) -> Requirement | None:
    return lifecycle.widened(current.request, current.events).requirement
