"""Who is asked, as frozen values: what a policy wants, in groups and roles and seconds (`Ask`), and
what that came to when the question was put, in people and moments (`Requirement`).
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field

from gates.core.calendars import Calendar, later
from gates.core.value import Value

PersonId = str
RungStep = Literal["widen", "replace", "page"]


class Person(Value):
    id: PersonId
    name: str
    email: str = ""
    groups: tuple[str, ...] = ()
    slack: tuple[str, ...] = ()  # "TEAM/USER" each
    roles: tuple[str, ...] = ()


class Assurance(StrEnum):
    """How surely it is known who decided, from the weakest to the strongest. A decision keeps the
    word of its surface (`slack`, `session`, `step_up`); what is unknown here counts as nothing.
    """

    ANY = "any"
    SLACK_CLICK = "slack_click"
    INBOX_SESSION = "inbox_session"  # of the command line, too: it holds the same session
    STEP_UP = "step_up"

    @property
    def strength(self) -> int:
        return list(Assurance).index(self)

    @classmethod
    def of(cls, recorded: str) -> "Assurance":
        """What the word that a decision keeps is worth."""
        return _WORTH.get(recorded, cls.ANY)


_WORTH = {one.value: one for one in Assurance} | {
    "slack": Assurance.SLACK_CLICK,
    "session": Assurance.INBOX_SESSION,
}


class RoleAsked(Value):
    """Somebody in this role must agree, out of one of these groups."""

    role: str
    among: tuple[str, ...]


class Limit(Value):
    """So many seconds, counted in a calendar where there is one."""

    seconds: int = Field(ge=1)
    calendar: Calendar | None = None

    def after(self, start: datetime) -> datetime:
        return later(start, self.seconds, self.calendar)


class Rung(Value):
    """Whom a policy wants asked once so much of the deadline's time has passed: as well, or
    instead.
    """

    seconds: int = Field(ge=1)
    step: RungStep
    who: tuple[str, ...]


class Beside(Value):
    """People who must agree beside others: what each field says is as in Ask."""

    who: tuple[str, ...]
    quorum: int = Field(default=1, ge=1)
    from_each: tuple[str, ...] = ()
    roles: tuple[RoleAsked, ...] = ()


class Ask(Value):
    """Whom a policy wants to hear: groups, how many of them, for how long in seconds. An approval
    that is not used within `valid_seconds` has lapsed. `from_each`: groups each of which must
    agree, nobody for two of them. `notify`: where they are asked, in the channel or each of them
    directly; `channel`: its id, empty for the usual one. `escalate_to`: groups whose people are
    asked as well once somebody escalates. `reason`: an approval without one does not count.
    `roles`: each must agree, nobody in two of them. `assurance`: an approval of somebody who is
    known less surely does not count. `calendar`: the deadline counts its working time. `limits`:
    deadlines of other rules that hold as well, where they count another time, so that nobody can
    say which is shorter. `ladder`: who is asked when nobody answers. `remind`: after how many
    seconds those who are asked are reminded. `keep_open`: the deadline does not end the question.
    `beside`: whom rules want to hear, too, that rest on what the requester says; as far as they can
    be found beside the others.
    """

    who: tuple[str, ...]
    quorum: int = Field(default=1, ge=1)
    deadline_seconds: int = Field(default=86_400, ge=1)
    valid_seconds: int = Field(default=86_400, ge=1)
    from_each: tuple[str, ...] = ()
    notify: tuple[Literal["channel", "direct"], ...] = ("channel",)
    channel: str = ""
    escalate_to: tuple[str, ...] = ()
    reason: bool = False
    roles: tuple[RoleAsked, ...] = ()
    assurance: Assurance = Assurance.ANY
    beside: tuple[Beside, ...] = ()
    calendar: Calendar | None = None
    limits: tuple[Limit, ...] = ()
    ladder: tuple[Rung, ...] = ()
    remind: tuple[int, ...] = ()
    keep_open: bool = False

    @property
    def limit(self) -> Limit:
        return Limit(seconds=self.deadline_seconds, calendar=self.calendar)

    def deadline(self, now: datetime) -> datetime:
        """When the first of the deadlines has come."""
        return min(self._ends(now))

    def window(self, now: datetime) -> datetime:
        """When the last of them has: time must not consent before that."""
        return max(self._ends(now))

    def _ends(self, now: datetime) -> list[datetime]:
        return [limit.after(now) for limit in (self.limit, *self.limits)]


class Climb(Value):
    """A rung, resolved when the question was put."""

    at: datetime
    step: RungStep
    people: dict[PersonId, str]


class Inquiry(Value):
    """What somebody who is asked wants to know first. The clock stands still from `at` `until`
    then, which is the latest moment while nobody has answered. `open`: it waits for an answer.
    """

    person: PersonId
    name: str
    question: str
    at: datetime
    until: datetime
    open: bool = True
    answer: str = ""
    answered_by: PersonId = ""
    answered_name: str = ""
    answered_at: datetime | None = None


class Requirement(Value):
    """Who must agree, resolved when the question was put: `people` maps eligible ids to names.
    `groups`, where somebody of each must agree: its eligible ids. `escalation`: whom an escalation
    would add. `stands_for`: whose seat somebody may take who decides for others, the own one only
    where it is among them; everybody else has their own. An approval of less than `assurance` does
    not count. `ladder`: whom time adds, in its order, `climbed` rungs of it so far; `paged`: those
    whom it has told directly. `reminders`: when people are reminded; of these `reminded` are over.
    `keep_open`: at the deadline the question goes on for as long again, by the first of `limits`;
    it has `kept` times. `inquiries`: what was asked first; by the time that it stood still for
    them the deadline has `moved`.
    """

    people: dict[PersonId, str]
    quorum: int = Field(ge=1)
    deadline_at: datetime
    valid_seconds: int = 86_400
    groups: dict[str, tuple[PersonId, ...]] = Field(default_factory=dict)
    escalation: dict[PersonId, str] = Field(default_factory=dict)
    stands_for: dict[PersonId, dict[PersonId, str]] = Field(default_factory=dict)
    assurance: Assurance = Assurance.ANY
    ladder: tuple[Climb, ...] = ()
    climbed: int = 0
    paged: tuple[PersonId, ...] = ()
    reminders: tuple[datetime, ...] = ()
    reminded: int = 0
    limits: tuple[Limit, ...] = ()
    keep_open: bool = False
    kept: int = 0
    inquiries: tuple[Inquiry, ...] = ()
    moved: timedelta = timedelta()

    def seats(self, person: PersonId) -> tuple[PersonId, ...]:
        """Whose place this person may take; one vote for one seat, however many could take it."""
        return tuple(self.stands_for.get(person, (person,)))
