"""What time has done to an open question, and what it does next, in words. Pure.

Nothing is said of a question that only has a deadline: that is told wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from gates.core.asked import PersonId, Requirement, RungStep
from gates.core.model import RequestView
from gates.core.wording import unless_objected

STEPS: Mapping[RungStep, str] = {
    "widen": "{} asked as well",
    "replace": "{} asked instead",
    "page": "{} asked as well and told directly",
}


def in_time(view: RequestView, spell: Callable[[datetime], str]) -> str:
    """One line; `spell` writes a moment. Nothing where there is nothing to say."""
    asked = view.request.requirement
    if asked is None or view.outcome is not None:
        return ""
    done = ", ".join(_done(asked))
    told = (f"So far: {done}. " if done else "") + _stands_still(asked, spell)
    if not (asked.keep_open or asked.ladder[asked.climbed :] or _reminders(asked)):
        return told.strip()
    at, words = _following(asked, "it runs" if unless_objected(view.request) else at_end(asked))
    return f"{told}Next, {spell(at)}: {words}."


def _stands_still(asked: Requirement, spell: Callable[[datetime], str]) -> str:
    """It must be true after the latest moment as well: nothing is drawn again then."""
    return "".join(
        f"{one.name} waits for information: the clock stands still until there is an answer, at "
        f"the latest until {spell(one.until)}. "
        for one in asked.inquiries
        if one.open and one.until > one.at
    )


def at_end(asked: Requirement) -> str:
    """What the deadline does where silence does not consent."""
    return "it stays open" if asked.keep_open else "it expires"


def _done(asked: Requirement) -> Iterator[str]:
    if asked.reminded:
        yield f"reminder {asked.reminded} of {len(asked.reminders)} given"
    for climb in asked.ladder[: asked.climbed]:
        yield STEPS[climb.step].format(_names(climb.people))
    if heard := sum(one.answered_at is not None for one in asked.inquiries):
        yield f"information given {heard} {'time' if heard == 1 else 'times'}"
    if asked.kept:
        yield f"kept open {asked.kept} {'time' if asked.kept == 1 else 'times'}"


def _following(asked: Requirement, end: str) -> tuple[datetime, str]:
    if asked.keep_open and asked.escalation:
        end += f", {_names(asked.escalation)} asked as well"
    found = [(asked.deadline_at, end)]
    found += [
        (climb.at, STEPS[climb.step].format(_names(climb.people)))
        for climb in asked.ladder[asked.climbed :][:1]
    ]
    found += [(at, "whoever has not decided is reminded") for at in _reminders(asked)[:1]]
    return min(found)


def _reminders(asked: Requirement) -> tuple[datetime, ...]:
    return asked.reminders[asked.reminded :]


def _names(people: Mapping[PersonId, str]) -> str:
    return f"{', '.join(people.values())} {'is' if len(people) == 1 else 'are'}"
