"""One request from the question to its outcome. Pure: values in, events out.

Rules, each with what it protects from:
1. `outcome` is the only place where an outcome comes about (two ways to the same answer drift
   apart).
2. The first event that settles wins; a later decision is refused. A drift alone may follow an
   approval, and only to take it back (an approval holds for the world that was shown, and for a
   run that lives).
3. Only people named in the requirement decide, each once a round (a quorum of one person).
4. Nobody decides for an agent that acts for them (self-approval).
5. One rejection ends the round: people who disagree should talk, not outvote each other. So does
   one that sends it back.
6. At the deadline the request expires, whoever is late; silence never approves.
7. Who approves something else than was asked voids the round (votes for what was asked are no
   votes for what was not). What may have happened already is not changed any more.
8. An escalation is no answer: it only adds people, those whom the policy names for it, once
   (nobody picks who decides). Where somebody of each group must agree they may stand for any of
   the groups, and as ever for one alone. Who has escalated may still decide.
9. An approval holds for a while, and as long as those who gave it could still give it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from gates.core import ladder
from gates.core.care import wants_reason
from gates.core.errors import (
    AlreadyDecided,
    InvalidInput,
    NotEntitled,
    ReasonNeeded,
    RequestClosed,
    SelfApproval,
)
from gates.core.events import (
    Climbed,
    DeadlinePassed,
    Decided,
    Drifted,
    Escalated,
    Event,
    Withdrawn,
)
from gates.core.model import (
    RUN_ENDED,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Outcome,
    OutcomeKind,
    Purpose,
    Requirement,
    Verdict,
)
from gates.core.quorum import satisfied

RUNS_AT_ONCE = (Verdict.ALLOW, Verdict.REVIEW_LATER)
ENDS_THE_ROUND = {
    DecisionKind.REJECT: OutcomeKind.REJECTED,
    DecisionKind.SEND_BACK: OutcomeKind.SENT_BACK,
    DecisionKind.APPROVE_WITH_CHANGES: OutcomeKind.VOIDED,  # the next round asks for the changed
}


def outcome(request: ApprovalRequest, events: Sequence[Event]) -> Outcome | None:
    """The fold: None while the question is open."""
    found = _by_policy(request)
    approvals: dict[str, Decision] = {}
    for event in events:
        if found is None:
            request = widened(request, [event])
            found = _settled_by(request, event, approvals)
        elif isinstance(event, Drifted) and found.kind is OutcomeKind.APPROVED:
            found = _voided(event)
    return found


def widened(request: ApprovalRequest, events: Sequence[Event]) -> ApprovalRequest:
    """The request with those who are asked now, escalations and the ladder included."""
    for event in events:
        if isinstance(event, Escalated | Climbed):
            request = _with(request, event)
    return request


def _with(request: ApprovalRequest, event: Escalated | Climbed) -> ApprovalRequest:
    asked = request.requirement
    if asked is None:
        return request
    if isinstance(event, Climbed):
        asked = ladder.climbed(asked, event)
    else:
        asked = ladder.widen(asked, event.people).model_copy(update={"escalation": {}})
    return request.model_copy(update={"requirement": asked})


def _by_policy(request: ApprovalRequest) -> Outcome | None:
    judgement = request.judgement
    kinds = {Verdict.FORBID: OutcomeKind.REJECTED} | dict.fromkeys(
        RUNS_AT_ONCE, OutcomeKind.APPROVED
    )
    if judgement.verdict not in kinds:
        return None
    words = "; ".join(reason.text for reason in judgement.reasons)
    return Outcome(
        kind=kinds[judgement.verdict], by=("policy",), reason=words, at=request.opened_at
    )


def _settled_by(
    request: ApprovalRequest, event: Event, approvals: dict[str, Decision]
) -> Outcome | None:
    if isinstance(event, Decided):
        return _counted(request, event.decision, approvals)
    if isinstance(event, DeadlinePassed):
        words = "nobody decided in time" if not approvals else "too few decided in time"
        return Outcome(kind=OutcomeKind.EXPIRED, by=("deadline",), reason=words, at=event.at)
    if isinstance(event, Withdrawn):
        return Outcome(kind=OutcomeKind.CANCELLED, by=(event.by,), reason=event.reason, at=event.at)
    return _voided(event) if isinstance(event, Drifted) else None


def _voided(event: Drifted) -> Outcome:
    words = f"{event.because}: " + "; ".join(event.differences)
    return Outcome(kind=OutcomeKind.VOIDED, by=(event.by,), reason=words, at=event.at)


def _counted(
    request: ApprovalRequest, decision: Decision, approvals: dict[str, Decision]
) -> Outcome | None:
    if decision.kind is not DecisionKind.APPROVE:
        kind = ENDS_THE_ROUND[decision.kind]
        return Outcome(kind=kind, by=(decision.name,), reason=decision.reason, at=decision.at)
    approvals[decision.person] = decision
    if request.requirement is None or not satisfied(request.requirement, approvals.keys()):
        return None
    counted = [one for one in approvals.values() if one.person in request.requirement.people]
    names = tuple(one.name for one in counted)
    words = "; ".join(one.reason for one in counted if one.reason)
    return Outcome(kind=OutcomeKind.APPROVED, by=names, reason=words, at=decision.at)


def decide(request: ApprovalRequest, events: Sequence[Event], decision: Decision) -> list[Event]:
    """One person's answer.

    Raises RequestClosed, SelfApproval, NotEntitled, AlreadyDecided, or InvalidInput where the
    question does not admit such an answer (ReasonNeeded where it lacks a reason); where the
    deadline has passed unnoticed, the answer is that event, and the decision is not counted.
    """
    _refuse_closed(request, events)
    request = widened(request, events)
    if request.purpose is Purpose.IN_DOUBT and decision.kind in _ALTERS:
        raise InvalidInput(
            f"kind = {decision.kind.value!r}: what is asked may have happened already, so it can "
            "be approved (tried again) or rejected, and not be changed."
        )
    if decision.person == request.requester.on_behalf_of:
        raise SelfApproval(
            f"{decision.name}, the agent acts for you, so somebody else has to decide this."
        )
    requirement = request.requirement
    if requirement is None or decision.person not in requirement.people:
        asked = ", ".join(requirement.people.values()) if requirement else "nobody"
        raise NotEntitled(f"{decision.name} is not among those asked here ({asked}).")
    if decision.at >= requirement.deadline_at:
        return [DeadlinePassed(at=requirement.deadline_at)]
    if decision.kind is DecisionKind.ESCALATE:
        return [Escalated(decision=decision, people=_added(requirement, events))]
    for event in events:
        if isinstance(event, Decided) and event.decision.person == decision.person:
            raise AlreadyDecided(
                f"{decision.name} has decided this already: {event.decision.kind.told}."
            )
    if decision.kind in _AGREES and not decision.reason and wants_reason(request):
        raise ReasonNeeded(
            f"reason is empty: an approval of tier {request.judgement.tier.value} counts only with "
            "one here; say why."
        )
    return [Decided(decision=decision)]


def _added(requirement: Requirement, events: Sequence[Event]) -> dict[str, str]:
    """Whom an escalation adds. Raises InvalidInput where there is nobody (any more)."""
    before = [event.decision.name for event in events if isinstance(event, Escalated)]
    if before:
        raise InvalidInput(f"{before[-1]} has escalated this already: {_all(requirement)} decide.")
    if not requirement.escalation:
        raise InvalidInput(
            "The policy names nobody to escalate this to: decide it, or send it back. Whoever "
            "writes the policy can add `escalate_to` to its `ask`."
        )
    return requirement.escalation


def _all(requirement: Requirement) -> str:
    return ", ".join(requirement.people.values())


def expire(request: ApprovalRequest, events: Sequence[Event], now: datetime) -> list[Event]:
    """What time has to say: the deadline's own event, or rungs of the ladder; nothing where none
    has come or it no longer matters.
    """
    requirement = request.requirement
    if outcome(request, events) or requirement is None:
        return []
    if now >= requirement.deadline_at:
        return [DeadlinePassed(at=requirement.deadline_at)]
    return ladder.climb(requirement, events, now)


def withdraw(
    request: ApprovalRequest, events: Sequence[Event], by: str, reason: str, now: datetime
) -> list[Event]:
    """Take the question back. Raises RequestClosed where it has its answer."""
    _refuse_closed(request, events)
    return [Withdrawn(by=by, reason=reason, at=now)]


def run_ended(
    request: ApprovalRequest,
    events: Sequence[Event],
    reason: str,
    now: datetime,
    *,
    queued: bool = False,
) -> list[Event]:
    """The run is over: the question is taken back, or the approval, which the caller knows to be
    unused, or `queued` for an executor that has not begun. Any other answer stands.
    """
    found = outcome(request, events)
    if found is None:
        return [Withdrawn(by=RUN_ENDED, reason=reason, at=now)]
    if found.kind is not OutcomeKind.APPROVED or (request.requirement is None and not queued):
        return []
    because = "nobody began its work" if queued else "nobody used it in time"
    return [Drifted(differences=(reason,), at=now, by=RUN_ENDED, because=because)]


def drift(
    request: ApprovalRequest,
    events: Sequence[Event],
    differences: Sequence[str],
    now: datetime,
    *,
    by: str = "precondition",
    because: str = "changed since people were asked",
) -> list[Event]:
    """Void the round because what people agreed to no longer holds."""
    found = outcome(request, events)
    if found is not None and found.kind is not OutcomeKind.APPROVED:
        return []
    return [Drifted(differences=tuple(differences), at=now, by=by, because=because)]


def lapsed(request: ApprovalRequest, found: Outcome, now: datetime) -> str:
    """Why people's approval is too old to be used, or nothing. What the policy allows by itself
    is judged again instead.
    """
    if request.requirement is None or found.kind is not OutcomeKind.APPROVED:
        return ""
    valid = timedelta(seconds=request.requirement.valid_seconds)
    if now < found.at + valid:
        return ""
    return f"approved at {found.at:%Y-%m-%d %H:%M} UTC and not used within {valid}"


def approvers(events: Sequence[Event]) -> dict[str, str]:
    """Ids and names of those whose approval stands."""
    return {
        event.decision.person: event.decision.name
        for event in events
        if isinstance(event, Decided) and event.decision.kind is DecisionKind.APPROVE
    }


def disentitled(
    request: ApprovalRequest, events: Sequence[Event], entitled: Collection[str]
) -> list[str]:
    """What an approval has lost if only `entitled` may still give it: the names of those who left,
    or nothing where enough of them remain.
    """
    requirement = widened(request, events).requirement
    if requirement is None:
        return []
    gave = approvers(events)
    if satisfied(requirement, [one for one in gave if one in entitled]):
        return []
    return [
        f"{name} may no longer approve this" for one, name in gave.items() if one not in entitled
    ]


_AGREES = (DecisionKind.APPROVE, DecisionKind.APPROVE_WITH_CHANGES)
_ALTERS = (DecisionKind.APPROVE_WITH_CHANGES, DecisionKind.SEND_BACK)


def _refuse_closed(request: ApprovalRequest, events: Sequence[Event]) -> None:
    found = outcome(request, events)
    if found is not None:
        raise RequestClosed(f"This request has its answer already: {found}.")
