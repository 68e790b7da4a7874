"""Who decides for whom at which moment: delegations, absences, turns on call. Pure.

Rules, each with what it protects from:
1. A delegation hands on a person's own right and nothing that was handed to them (who answers
   for a thing must be able to say who decides for them).
2. Who is away is not asked, and no delegate either who is away (a question to an empty chair).
3. Of a group on call exactly one is asked, whose turn it is when the question is put.
4. Turns change at the same time of day by the rota's own clock, whatever daylight saving does; a
   time that the clocks skip or show twice is one moment (nobody, or two, would be on call).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field

from gates.core.asked import PersonId
from gates.core.policy.patterns import matches
from gates.core.value import Value

EVERYTHING = ("*",)


class Span(Value):
    """From `starts` on, before `until`; open where one is left out."""

    starts: datetime | None = None
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        begun = self.starts is None or self.starts <= now
        return begun and (self.until is None or now < self.until)


class Delegation(Span):
    giver: PersonId
    taker: PersonId
    scope: tuple[str, ...] = EVERYTHING
    because: str = ""


class Absence(Span):
    person: PersonId


class OnCall(Value):
    """`starts` is a time on the wall of `zone`, at which the first of the rota takes over."""

    rota: tuple[PersonId, ...]
    starts: datetime
    every: int = Field(ge=1)  # days
    zone: str

    def turn(self, now: datetime) -> PersonId:
        """Whose turn it is. Before `starts` the rota is counted backwards: it is never empty."""
        wall = now.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        number = (wall - self.starts) // timedelta(days=self.every)
        while self._change(number) > now:
            number -= 1
        while self._change(number + 1) <= now:
            number += 1
        return self.rota[number % len(self.rota)]

    def _change(self, number: int) -> datetime:
        wall = self.starts + number * timedelta(days=self.every)
        return wall.replace(tzinfo=ZoneInfo(self.zone)).astimezone(ZoneInfo("UTC"))


class Cover(Value):
    """All that a people file says of it; `on_call` by group."""

    delegations: tuple[Delegation, ...] = ()
    absences: tuple[Absence, ...] = ()
    on_call: dict[str, OnCall] = Field(default_factory=dict)

    def away(self, person: PersonId, now: datetime) -> Absence | None:
        """The absence that ends last, of those that hold."""
        found = [one for one in self.absences if one.person == person and one.holds(now)]
        return max(found, key=_end, default=None)

    def deputies(self, giver: PersonId, action: str, now: datetime) -> Iterator[Delegation]:
        """Whom `giver` lets decide about this action, the absent ones too."""
        for one in self.delegations:
            if one.giver == giver and one.holds(now) and matches(one.scope, action):
                yield one

    def givers(self, taker: PersonId, action: str, now: datetime) -> set[PersonId]:
        """For whom this person may decide about the action."""
        return {
            one.giver
            for one in self.delegations
            if one.taker == taker and one.holds(now) and matches(one.scope, action)
        }


def _end(absence: Absence) -> tuple[bool, Any]:
    return absence.until is None, absence.until.timestamp() if absence.until else 0.0
