"""Commands about standing approvals: give, revoke, list; what covers a question; what was spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gates.asking import Asking
from gates.circumstances import Overtaken
from gates.core.asked import PersonId
from gates.core.errors import NotEntitled, NotFound, RequestClosed
from gates.core.model import ApprovalRequest
from gates.core.policy import Question
from gates.core.standing import (
    Limits,
    StandingApproval,
    number_of,
    refuse_unsound,
    uncovered,
)
from gates.store import standing as store
from gates.store.database import Database
from gates.store.repository import Unit


@dataclass(frozen=True)
class Held:
    """The standing approvals of a store, for those who judge."""

    database: Database

    def covering(self, question: Question, now: datetime) -> Sequence[StandingApproval]:
        with self.database.read() as session:
            holding = store.holding(session, now)
        return [one for one in holding if not uncovered(one, question, now)]


@dataclass(frozen=True)
class StandingDesk:
    """What people do with them. `asking` is asked each time: its policy may change."""

    database: Database
    asking: Callable[[], Asking]
    clock: Callable[[], datetime]

    def give(self, person_id: PersonId, limits: Limits, reason: str) -> StandingApproval:
        """Raises InvalidInput, UnknownPerson, or NotEntitled where this person could not approve
        what it would lift by themselves.
        """
        person, now = self.asking().directory.person(person_id), self.clock()
        for rule in refuse_unsound(limits, reason, self.asking().policy, now):
            if rule.ask is not None and max(rule.ask.quorum, len(rule.ask.from_each)) > 1:
                raise NotEntitled(f"Rule {rule.name!r} asks more than one person: nobody lifts it.")
            if rule.ask is None or not self._could(person_id, rule.ask.who):
                whom = ", ".join(rule.ask.who) if rule.ask else "nobody"
                raise NotEntitled(
                    f"{person.name} is not among those whom {rule.name!r} asks: {whom}."
                )
        with self.database.write() as session:
            unit = Unit(session, now)
            made = store.add(session, limits, person.id, person.name, reason.strip(), now)
            told = limits.model_dump(mode="json")
            unit.log(person.id, "standing.given", made.id, reason=made.reason, limits=told)
        return made

    def revoke(self, standing_id: str, by: str, *, admin: bool = False) -> None:
        """By the one who gave it, anybody who could have, or an admin. Raises NotFound,
        NotEntitled, or RequestClosed where it has been revoked.
        """
        number, now = number_of(standing_id), self.clock()
        with self.database.read() as session:
            held = store.found(session, [number])
        if not held:
            raise NotFound(f"There is no {standing_id!r}: see `gates standing list`.")
        name = by if admin else self._name(by, held[0])
        with self.database.write() as session:
            unit = Unit(session, now)
            if not store.revoke(session, number, name, now):
                raise RequestClosed(f"{held[0].over(now)}: there is nothing to revoke.")
            unit.log(by, "standing.revoked", held[0].id)

    def all(self) -> list[StandingApproval]:
        with self.database.read() as session:
            return store.all_(session)

    def _name(self, person_id: PersonId, held: StandingApproval) -> str:
        person, policy = self.asking().directory.person(person_id), self.asking().policy
        rules = [rule for rule in policy.rules if rule.name in held.limits.rules and rule.ask]
        could = any(self._could(person_id, rule.ask.who) for rule in rules if rule.ask)
        if person_id != held.given_by and not could:
            raise NotEntitled(f"{person.name} neither gave {held.id} nor could have.")
        return person.name

    def _could(self, person_id: PersonId, groups: Sequence[str]) -> bool:
        return person_id in {one.id for one in self.asking().directory.members(groups)}


def spent(unit: Unit, request: ApprovalRequest) -> None:
    """Spend what the request rests on, in the transaction that opens it. Raises Overtaken where
    somebody else has spent it, or it has ended meanwhile.
    """
    for number in store.numbers(request):
        if not store.spend(unit.session, number, request, unit.now):
            raise Overtaken(f"S-{number} has no use left for this: try again.")
        unit.log(request.requester.agent, "standing.used", f"S-{number}", request=request.id)


def gone(
    database: Database, asking: Asking, request: ApprovalRequest, now: datetime
) -> tuple[str, ...]:
    """What a request rests on and no longer holds, in words. Raises what the directory raises."""
    if not request.lifted:
        return ()
    with database.read() as session:
        held = store.found(session, store.numbers(request))
    words = [over for one in held if (over := one.over(now))]
    for one in held:
        rules = [rule for rule in asking.policy.rules if request.lifted.get(rule.name) == one.id]
        groups = [group for rule in rules if rule.ask for group in rule.ask.who]
        could = {person.id for person in asking.directory.members(groups)} if groups else set()
        if groups and one.given_by not in could:
            words.append(f"{one.name}, who gave {one.id}, may no longer approve this")
    return tuple(words)
