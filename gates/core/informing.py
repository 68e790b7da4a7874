"""Asking for information before one decides, and answering. Pure: values in, events out.

Rules, each with what it protects from:
1. Only who is asked may ask, and nobody for whom the agent acts (a requester who stalls).
2. One question at a time (two would stop one clock).
3. Whom the agent acts for may answer, whoever is asked, and who is in command (an answer of
   somebody who has nothing to do with it).
4. What time had to say before is said first (a question must not save what was over).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gates.core import lifecycle, pausing
from gates.core.asked import PersonId, Requirement
from gates.core.errors import (
    AlreadyAsked,
    InvalidInput,
    NotEntitled,
    NothingAsked,
    RequestClosed,
    SelfApproval,
)
from gates.core.events import DeadlinePassed, Event, InfoAnswered, InfoAsked
from gates.core.model import ApprovalRequest


def ask(
    request: ApprovalRequest,
    events: Sequence[Event],
    who: tuple[PersonId, str],
    question: str,
    now: datetime,
) -> list[Event]:
    """Somebody wants to know something; where the deadline has passed unnoticed, that event alone.

    Raises RequestClosed, SelfApproval, NotEntitled, AlreadyAsked, InvalidInput.
    """
    if not question.strip():
        raise InvalidInput("question is empty: say what you want to know before you decide.")
    late, asked = _by_now(request, events, now)
    if asked is None:
        return late
    person, name = who
    if request.requester.is_one(person):
        raise SelfApproval(
            f"{name}, the agent acts for you, so it is others who may ask for information here."
        )
    if person not in asked.people:
        raise NotEntitled(
            f"{name} is not among those asked here ({', '.join(asked.people.values())})."
        )
    first = pausing.waiting(asked)
    if first is not None:
        raise AlreadyAsked(
            f"{first.name} waits for information already: {first.question[:200]!r}. Ask again "
            "once that is answered."
        )
    until = pausing.latest(request, asked, now)
    made = InfoAsked(by=person, name=name, question=question.strip(), until=until, at=now)
    return [*late, made]


def answer(
    request: ApprovalRequest,
    events: Sequence[Event],
    who: tuple[PersonId, str],
    text: str,
    now: datetime,
    *,
    commands: bool = False,
) -> list[Event]:
    """The answer, as `ask`. `commands`: it is somebody in command.

    Raises RequestClosed, NotEntitled, NothingAsked, InvalidInput.
    """
    if not text.strip():
        raise InvalidInput("text is empty: write the answer.")
    late, asked = _by_now(request, events, now)
    if asked is None:
        return late
    person, name = who
    if not commands and person not in asked.people and person != request.requester.on_behalf_of:
        raise NotEntitled(
            f"{name} cannot answer this: whom the agent acts for can, those who are asked "
            f"({', '.join(asked.people.values())}), and who is in command."
        )
    if pausing.waiting(asked) is None:
        names = [one.answered_name for one in asked.inquiries if one.answered_at is not None]
        words = f" any more: {names[-1]} has answered" if names else ""
        raise NothingAsked(f"Nobody waits for information here{words}.")
    return [*late, InfoAnswered(by=person, name=name, text=text.strip(), at=now)]


def _by_now(
    request: ApprovalRequest, events: Sequence[Event], now: datetime
) -> tuple[list[Event], Requirement | None]:
    """What time has to say first, and the requirement then; none where that ends it."""
    found = lifecycle.outcome(request, events)
    if found is not None:
        raise RequestClosed(f"This request has its answer already: {found}.")
    late = lifecycle.expire(request, events, now)
    if any(isinstance(one, DeadlinePassed) for one in late):
        return late, None
    return late, lifecycle.widened(request, [*events, *late]).requirement
