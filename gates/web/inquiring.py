"""What the page of a request says of information that people want before they decide. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gates.core.asked import PersonId
from gates.core.model import RequestView
from gates.core.pausing import waiting
from gates.web.values import visible
from gates.web.words import Moment, choice, moment


@dataclass(frozen=True)
class InquiryShown:
    name: str
    question: str
    at: Moment
    answered_by: str
    answer: str
    answered: Moment | None


@dataclass(frozen=True)
class Info:
    """`may_ask`, `may_answer`: what the reader can do about it now."""

    told: tuple[InquiryShown, ...]
    waits: bool
    may_ask: bool
    may_answer: bool


def inquiring(
    view: RequestView, person: PersonId, now: datetime, *, may_answer: bool
) -> Info | None:
    """None where there is nothing to read and nothing to do."""
    asked = view.request.requirement
    if asked is None:
        return None
    waits = view.outcome is None and waiting(asked) is not None
    may_ask = view.outcome is None and not waits and choice(view, person).may_decide
    told = tuple(
        InquiryShown(
            visible(one.name),
            visible(one.question),
            moment(one.at, now),
            visible(one.answered_name),
            visible(one.answer),
            moment(one.answered_at, now) if one.answered_at else None,
        )
        for one in asked.inquiries
    )
    if not (told or may_ask or may_answer):
        return None
    return Info(told, waits, may_ask, may_answer)
