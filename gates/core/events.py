"""What can happen to a request: frozen, past tense, told apart by `kind`.

The same list of events becomes rows of the store, entries of the log and work of the outbox.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gates.core.asked import PersonId, RungStep
from gates.core.model import Decision, Review
from gates.core.value import Value


class Decided(Value):
    kind: Literal["decided"] = "decided"
    decision: Decision

    @property
    def at(self) -> datetime:
        return self.decision.at


class DeadlinePassed(Value):
    kind: Literal["deadline_passed"] = "deadline_passed"
    at: datetime


class Withdrawn(Value):
    """The requester or an admin took the question back."""

    kind: Literal["withdrawn"] = "withdrawn"
    by: str
    reason: str
    at: datetime


class Drifted(Value):
    """What people agreed to no longer holds; `differences` in words. `by` found it out."""

    kind: Literal["drifted"] = "drifted"
    differences: tuple[str, ...]
    at: datetime
    by: str = "precondition"
    because: str = "changed since people were asked"


class Escalated(Value):
    """Somebody who was asked wants others to decide: `people`, ids and names, are asked as well."""

    kind: Literal["escalated"] = "escalated"
    decision: Decision
    people: dict[PersonId, str]

    @property
    def at(self) -> datetime:
        return self.decision.at


class Reviewed(Value):
    """Somebody has looked at what ran by itself. It changes no outcome."""

    kind: Literal["reviewed"] = "reviewed"
    review: Review

    @property
    def at(self) -> datetime:
        return self.review.at


class Climbed(Value):
    """Nobody has answered for a while: rung `number`, from 1, asks `people` as well or instead."""

    kind: Literal["climbed"] = "climbed"
    number: int
    step: RungStep
    people: dict[PersonId, str]
    at: datetime


class Reminded(Value):
    """Those who are asked are reminded: `number`, from 1, is that of the last reminder that was
    due, those that were missed included.
    """

    kind: Literal["reminded"] = "reminded"
    number: int
    at: datetime


class KeptOpen(Value):
    """The deadline has come and ends nothing: `people` are asked as well, and all `until` then."""

    kind: Literal["kept_open"] = "kept_open"
    until: datetime
    people: dict[PersonId, str]
    at: datetime


class InfoAsked(Value):
    """Somebody who is asked wants to know something first: the clock stands still, at the latest
    `until` then.
    """

    kind: Literal["info_asked"] = "info_asked"
    by: PersonId
    name: str
    question: str
    until: datetime
    at: datetime


class InfoAnswered(Value):
    """The answer to that; the clock goes on. It is no word about the action."""

    kind: Literal["info_answered"] = "info_answered"
    by: PersonId
    name: str
    text: str
    at: datetime


Event = Annotated[
    Decided
    | Escalated
    | Climbed
    | Reminded
    | KeptOpen
    | InfoAsked
    | InfoAnswered
    | DeadlinePassed
    | Withdrawn
    | Drifted
    | Reviewed,
    Field(discriminator="kind"),
]
