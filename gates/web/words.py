"""The words, times and amounts that stand for a request, wherever it is shown. Pure.

An address is only followed where it is http or https: the addresses of runs come from flows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from gates.core.asked import PersonId, Requirement
from gates.core.care import wants_reason
from gates.core.lifecycle import silent
from gates.core.loops import Kind, barred, counts_tries
from gates.core.loops.telling import whole
from gates.core.model import (
    DecisionKind,
    ExecutionState,
    LoopLabel,
    OutcomeKind,
    Purpose,
    RequestView,
    Verdict,
)
from gates.core.wording import VOIDED_BY, answer_of, changer, unless_objected
from gates.web.values import visible

SHORT_DIGEST = 12
SOON = timedelta(hours=1)

State = Literal["open", "approved", "rejected", "sent_back", "expired", "cancelled", "voided"]
Tone = Literal["wait", "good", "bad", "warn", "quiet"]

PURPOSE_WORDS = {
    Purpose.ACTION: "",
    Purpose.LOOP: "Stopped: going in circles",
    Purpose.IN_DOUBT: "In doubt: did it happen?",
}
QUESTIONS = {
    Purpose.ACTION: "May this run?",
    Purpose.LOOP: "May the agent go on trying?",
    Purpose.IN_DOUBT: "Nobody knows how the last attempt ended. May it run again?",
}
WINDOWED = "This runs unless somebody objects. May it?"
AGAIN, ONCE_MORE = "The run has done this before. May it be done again?", "Do it once more"
OBJECT, RUN_NOW = "Object", "Let it run now"
OUTCOME_WORDS: dict[OutcomeKind, tuple[str, Tone]] = {
    OutcomeKind.APPROVED: ("Approved", "good"),
    OutcomeKind.REJECTED: ("Rejected", "bad"),
    OutcomeKind.SENT_BACK: ("Sent back", "warn"),
    OutcomeKind.EXPIRED: ("Expired", "quiet"),
    OutcomeKind.CANCELLED: ("Withdrawn", "quiet"),
    OutcomeKind.VOIDED: ("Voided", "warn"),
}
EXECUTION_WORDS: dict[ExecutionState, tuple[str, Tone]] = {
    ExecutionState.QUEUED: ("Waiting for an executor", "wait"),
    ExecutionState.RUNNING: ("Running now", "wait"),
    ExecutionState.SUCCEEDED: ("Done", "good"),
    ExecutionState.FAILED: ("Failed, and left nothing behind", "bad"),
    ExecutionState.IN_DOUBT: ("In doubt: nobody knows how it ended", "warn"),
    ExecutionState.WITHDRAWN: ("Withdrawn from the queue: nothing was done", "quiet"),
}
ASKED: tuple[str, Tone] = ("asked", "wait")
SEND_BACK = "Send back"
ESCALATE = "Escalate"
SKIP = "Skip this step"
LABELS = (
    (LoopLabel.LOOP.value, "a loop"),
    (LoopLabel.NOT_A_LOOP.value, "not a loop: a false alarm"),
    (LoopLabel.HARMFUL.value, "harmful: it did damage or tried to"),
)
SAID = {
    DecisionKind.SEND_BACK: "Your guidance is recorded. The run is told, and the agent may propose "
    "again.",
    DecisionKind.SKIP: "Your answer is recorded. The run is told, and may go on without this step.",
    DecisionKind.REJECT: "Your answer is recorded. The run is told, with your reason.",
}
WAS_ASKED: tuple[str, Tone] = ("was asked", "quiet")
VERDICT_WORDS = {
    Verdict.ALLOW: "may run",
    Verdict.REVIEW_LATER: "may run, looked at later",
    Verdict.VETO_WINDOW: "runs unless somebody objects",
    Verdict.REQUIRE_APPROVAL: "people must agree",
    Verdict.FORBID: "never allowed",
}


@dataclass(frozen=True)
class Moment:
    """`relative` is "in 3 h" or "12 min ago" as of the clock that the page was drawn with;
    `absolute` is in UTC, and names the year where it is another one.
    """

    iso: str
    absolute: str
    relative: str
    past: bool
    soon: bool


@dataclass(frozen=True)
class Status:
    state: State
    words: str
    tone: Tone


@dataclass(frozen=True)
class Amount:
    number: str
    currency: str


@dataclass(frozen=True)
class Choice:
    """What this reader may do. `why_not` says why there are no buttons; `send_back` is empty
    where the question admits only yes and no. `escalate` is empty where there is nobody to escalate
    to; `reason`: an approval has to say why. `skip`: empty where nothing goes in circles; `more`:
    how many tries the policy would allow there; `labels`: what it may be called. `approve` is empty
    where nobody may let it go on as it is.
    """

    may_decide: bool
    why_not: str
    approve: str
    reject: str
    hint: str
    send_back: str
    may_change: bool
    escalate: str
    reason: bool
    skip: str = ""
    more: int = 0
    labels: tuple[tuple[str, str], ...] = ()


def moment(at: datetime, now: datetime) -> Moment:
    away = at - now
    past = away <= timedelta()
    words = duration(abs(away))
    relative = f"{words} ago" if past else f"in {words}"
    if past and away > -timedelta(minutes=1):
        relative = "just now"
    stamp = at.astimezone(UTC)
    year = f" {stamp.year}" if stamp.year != now.astimezone(UTC).year else ""
    absolute = f"{stamp.day} {stamp:%b}{year}, {stamp:%H:%M} UTC"
    return Moment(stamp.isoformat(), absolute, relative, past, not past and away < SOON)


def duration(span: timedelta) -> str:
    """The two largest units that matter: `3 h 12 min`, `2 days 4 h`."""
    minutes = int(span.total_seconds()) // 60
    if minutes < 1:
        return "less than a minute"
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if hours < 1:
        return f"{minute} min"
    if days < 1:
        return f"{hour} h {minute} min" if minute else f"{hour} h"
    unit = "day" if days == 1 else "days"
    return f"{days} {unit} {hour} h" if hour and days < 7 else f"{days} {unit}"  # noqa: PLR2004 - a week


def amount(view: RequestView) -> Amount | None:
    if view.request.amount is None:
        return None
    number, currency = str(view.request.amount).rsplit(" ", 1)
    return Amount(number, currency)


def short(digest: str) -> str:
    return visible(digest)[:SHORT_DIGEST]


def safe_link(url: str) -> str:
    """The address where a browser may be sent; empty for any other scheme."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""


def question(view: RequestView) -> str:
    """What people are asked."""
    if view.request.evidence.get("detector") == Kind.SAME_WRITE:
        return AGAIN
    return WINDOWED if unless_objected(view.request) else QUESTIONS[view.request.purpose]


def status(view: RequestView) -> Status:
    outcome = view.outcome
    if outcome is None:
        words = "Runs soon" if unless_objected(view.request) else "Waiting"
        return Status("open", words, "wait")
    words, tone = OUTCOME_WORDS[outcome.kind]
    purpose = view.request.purpose
    if outcome.kind is OutcomeKind.VOIDED:
        words = _voided(view) or words
    elif silent(outcome):
        words = "Nobody objected"
    elif outcome.kind is OutcomeKind.REJECTED and unless_objected(view.request):
        words = "Objected to"
    elif outcome.by == ("policy",):
        words = "Allowed by policy" if outcome.kind is OutcomeKind.APPROVED else "Forbidden"
    elif outcome.kind is OutcomeKind.APPROVED and purpose is Purpose.LOOP:
        words = "More attempts allowed"
    elif outcome.kind is OutcomeKind.REJECTED and purpose is Purpose.LOOP:
        words = "Run stopped"
    elif outcome.kind is OutcomeKind.APPROVED and purpose is Purpose.IN_DOUBT:
        words = "Allowed to run again"
    elif outcome.kind is OutcomeKind.REJECTED and purpose is Purpose.IN_DOUBT:
        words = "Not run again"
    return Status(outcome.kind.value, words, tone)


def _voided(view: RequestView) -> str:
    decision = changer(view)
    if decision is not None:
        return f"Changed by {visible(decision.who)}"
    found = VOIDED_BY.get(view.outcome.by[0], "") if view.outcome and view.outcome.by else ""
    return f"Voided: {found}" if found else ""


def ended_by(view: RequestView) -> tuple[str, ...]:
    """Whose word it was, where the status does not name them already."""
    if view.outcome is None or (view.outcome.kind is OutcomeKind.VOIDED and _voided(view)):
        return ()
    if silent(view.outcome):
        return ()
    return tuple(visible(name) for name in view.outcome.by)


def holds(requirement: Requirement) -> str:
    span = duration(timedelta(seconds=requirement.valid_seconds))
    return f"An approval holds for {span}; if it is not used by then, people are asked again."


def is_mine(view: RequestView, person: PersonId) -> bool:
    """Whether this request waits for this person."""
    return choice(view, person).may_decide


def execution_status(view: RequestView) -> Status | None:
    if view.execution is None:
        return None
    words, tone = EXECUTION_WORDS[view.execution.state]
    if view.execution.differences:
        words, tone = "Done, but not as approved", "bad"
    return Status(status(view).state, words, tone)


def choice(view: RequestView, person: PersonId) -> Choice:
    approve, reject, hint = _buttons(view)
    why_not = _why_not(view, person)
    doubt = view.request.purpose is Purpose.IN_DOUBT  # that may have happened already
    alters = not doubt and not view.request.own_matter
    may_change = alters and not why_not and bool(view.request.action.arguments)
    may_change = may_change and not view.request.lines  # those are refused line by line instead
    requirement = view.request.requirement
    return Choice(
        may_decide=not why_not,
        why_not=why_not,
        approve=approve,
        reject=reject,
        hint=hint,
        send_back=SEND_BACK if alters else "",
        may_change=may_change,
        escalate=ESCALATE if requirement and requirement.escalation else "",
        reason=wants_reason(view.request),
        skip=SKIP if view.request.purpose is Purpose.LOOP else "",
        more=_more(view),
        labels=LABELS if view.request.purpose is Purpose.LOOP else (),
    )


def _more(view: RequestView) -> int:
    evidence, loop = view.request.evidence, view.request.purpose is Purpose.LOOP
    return whole(evidence.get("allow_more")) if loop and counts_tries(evidence) else 0


def _why_not(view: RequestView, person: PersonId) -> str:
    requirement = view.request.requirement
    mine = answer_of(view, person)
    if view.outcome is not None:
        return "This is decided."
    if requirement is None or person not in requirement.people:
        return "You are not among those asked here. You can read along."
    if view.request.requester.is_one(person):
        return "The agent acts for you, so somebody else has to decide this."
    if mine is not None:
        return "You have decided. Others are still asked."
    return ""


GOES_ON = "After so many more tries people are asked again."
ONCE_AND_ASKED = "It runs once; the next time people are asked again."


def _buttons(view: RequestView) -> tuple[str, str, str]:
    """The words of both buttons, and what follows from the first."""
    purpose = view.request.purpose
    if purpose is Purpose.LOOP:
        if why := barred(view.request):
            return "", "Stop the run", f"Nobody may let it go on: {why}. Say what to do instead."
        hint = GOES_ON if counts_tries(view.request.evidence) else ONCE_AND_ASKED
        return _go_on(view), "Stop the run", hint
    if purpose is Purpose.IN_DOUBT:
        hint = "Look into the real system first: running it again could do it twice."
        return "It did not happen: run it again", "Do not run it again", hint
    exactly = "Exactly what is shown here will run, once."
    if unless_objected(view.request):
        return RUN_NOW, OBJECT, f"{exactly} Without an objection it runs when the window ends."
    return "Approve", "Reject", exactly


def _go_on(view: RequestView) -> str:
    evidence, more = view.request.evidence, _more(view)
    if not counts_tries(evidence):
        return ONCE_MORE if evidence.get("detector") == Kind.SAME_WRITE else "Let it run once"
    if more:
        return f"Allow {more} more attempt{'' if more == 1 else 's'}"
    return "Allow more attempts"


def said(view: RequestView, person: PersonId, before: RequestView | None = None) -> str:
    """What this person's decision has led to; empty where there is none of theirs. `before`: the
    round before, which they may have changed into this one.
    """
    mine = answer_of(view, person)
    change = changer(before) if before else None
    if change is not None and change.person == person and view.outcome is None:
        counts = "Your approval counts for it" if mine else "Your approval does not count for it"
        return f"Your changes are asked as this new round. {counts}; others are still asked."
    if mine is None:
        escalated = view.decisions and view.decisions[-1].kind is DecisionKind.ESCALATE
        told = escalated and view.decisions[-1].person == person
        return "Your escalation is recorded. More people are asked now." if told else ""
    if mine.kind in SAID:
        return SAID[mine.kind]
    if view.outcome is not None:
        rest = "The run goes on."
    elif unless_objected(view.request):
        rest = "It runs when enough agree, or when the window ends."
    else:
        rest = "Others are still asked before anything runs."
    return f"Your approval is recorded. {rest}"


def approvals(view: RequestView) -> int:
    return sum(one.kind is DecisionKind.APPROVE for one in view.decisions)
