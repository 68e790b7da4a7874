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
6. At the deadline the request expires, whoever is late, or goes on where the policy keeps it open;
   silence never approves. In a veto window
   alone, which the policy grants, it consents: at its end it may run, unless somebody objected
   (rejected it) or sent it back. A quorum that agrees need not wait for the end.
7. Who approves something else than was asked voids the round (votes for what was asked are no
   votes for what was not). What may have happened already is not changed any more.
8. A step is skipped only where it went in circles (what was never tried can be rejected).
9. An escalation is no answer: it only adds people, those whom the policy names for it, once
   (nobody picks who decides). Where somebody of each group must agree they may stand for any of
   the groups, and as ever for one alone. Who has escalated may still decide. Whoever escalates a
   veto window will not let it pass by silence: from then on it wants an approval, for which there
   is as long again as the window was.
10. A delegate takes the seat of somebody else, as far as they still may when they decide; one seat
   is one vote (an absence must not change how many have to agree).
11. An approval of somebody who is known less surely than the requirement wants is refused; what
   stops something is not (whoever sees a danger may say so from anywhere).
12. An approval holds for a while, and as long as those who gave it could still give it.
13. While somebody waits for information the clock stands still (core.pausing). Who asked ends that
    by deciding, and anybody by an escalation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from gates.core import ladder, pausing, reminding
from gates.core.asked import Assurance, PersonId, Requirement
from gates.core.batches import refuse_wrong_lines
from gates.core.care import wants_reason
from gates.core.errors import (
    AlreadyDecided,
    AssuranceTooLow,
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
    InfoAnswered,
    InfoAsked,
    KeptOpen,
    Reminded,
    Withdrawn,
)
from gates.core.loops.levels import barred, counts_tries, level_of
from gates.core.model import (
    RUN_ENDED,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Outcome,
    OutcomeKind,
    Purpose,
    Verdict,
)
from gates.core.quorum import satisfied
from gates.core.spans import span

RUNS_AT_ONCE = (Verdict.ALLOW, Verdict.REVIEW_LATER)
BY_TIME = ("time",)  # whose word it was where a veto window has passed
ENDS_THE_ROUND = {
    DecisionKind.REJECT: OutcomeKind.REJECTED,
    DecisionKind.SEND_BACK: OutcomeKind.SENT_BACK,
    DecisionKind.APPROVE_WITH_CHANGES: OutcomeKind.VOIDED,  # the next round asks for the changed
    DecisionKind.SKIP: OutcomeKind.REJECTED,
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
    """The request with those who are asked now, escalations and the ladder included, and with the
    seats that those who have decided could take when they did.
    """
    for event in events:
        if isinstance(event, Escalated | Climbed | Reminded | KeptOpen):
            request = _with(request, event)
        elif isinstance(event, InfoAsked | InfoAnswered):
            request = pausing.told(request, event)
        elif isinstance(event, Decided):
            request = pausing.left(request, event.at, event.decision.person)
            request = _seated(request, event.decision)
    return request


def _seated(request: ApprovalRequest, decision: Decision) -> ApprovalRequest:
    asked, person = request.requirement, decision.person
    if asked is None:
        return request
    seats = asked.seats(person)
    told = decision.stands_for or {person: decision.name}
    then = {one: name for one, name in told.items() if one in seats}  # no more than was asked
    if len(then) == len(seats):
        return request
    stands_for = asked.stands_for | {person: then}
    changed = asked.model_copy(update={"stands_for": stands_for})
    return request.model_copy(update={"requirement": changed})


def _with(
    request: ApprovalRequest, event: Escalated | Climbed | Reminded | KeptOpen
) -> ApprovalRequest:
    if isinstance(event, Escalated):
        request = pausing.left(request, event.at)
    asked, judgement = request.requirement, request.judgement
    if asked is None:
        return request
    if not isinstance(event, Escalated):
        return request.model_copy(update={"requirement": _in_time(asked, event)})
    changes: dict[str, object] = {"escalation": {}}
    if judgement.verdict is Verdict.VETO_WINDOW:
        changes["deadline_at"] = event.at + window(request)
        judgement = judgement.model_copy(update={"verdict": Verdict.REQUIRE_APPROVAL})
    wider = ladder.widen(asked, event.people).model_copy(update=changes)
    return request.model_copy(update={"requirement": wider, "judgement": judgement})


def _in_time(asked: Requirement, event: Climbed | Reminded | KeptOpen) -> Requirement:
    if isinstance(event, Climbed):
        return ladder.climbed(asked, event)
    if isinstance(event, KeptOpen):
        return reminding.kept(asked, event)
    return asked.model_copy(update={"reminded": event.number})


def window(request: ApprovalRequest) -> timedelta:
    """How long people have for their answer, without the time for which the clock stood still."""
    asked = request.requirement
    return asked.deadline_at - asked.moved - request.opened_at if asked else timedelta()


def _by_policy(request: ApprovalRequest) -> Outcome | None:
    judgement, covered = request.judgement, request.covered
    if covered is not None:
        words = f"line {covered.line} of batch {covered.request_id[:8]}"
        at = request.opened_at
        return Outcome(kind=OutcomeKind.APPROVED, by=covered.by, reason=words, at=at)
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
    if isinstance(event, DeadlinePassed) and request.judgement.verdict is Verdict.VETO_WINDOW:
        words = f"nobody objected within {span(window(request))}"
        return Outcome(kind=OutcomeKind.APPROVED, by=BY_TIME, reason=words, at=event.at)
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
        return Outcome(
            kind=kind,
            by=(decision.who,),
            reason=decision.reason,
            at=decision.at,
            skipped=decision.kind is DecisionKind.SKIP,
        )
    approvals[decision.person] = decision
    if request.requirement is None or not satisfied(request.requirement, approvals.keys()):
        return None
    counted = [one for one in approvals.values() if one.person in request.requirement.people]
    names = tuple(one.who for one in counted)
    words = "; ".join(one.reason for one in counted if one.reason)
    return Outcome(kind=OutcomeKind.APPROVED, by=names, reason=words, at=decision.at)


def decide(request: ApprovalRequest, events: Sequence[Event], decision: Decision) -> list[Event]:
    """One person's answer.

    Raises RequestClosed, SelfApproval, NotEntitled, AssuranceTooLow, AlreadyDecided, or
    InvalidInput where the question does not admit such an answer (ReasonNeeded where it lacks a
    reason); where the deadline has passed unnoticed, the answer is that event, and the decision is
    not counted.
    """
    _refuse_closed(request, events)
    late = [one for one in expire(request, events, decision.at) if isinstance(one, KeptOpen)]
    return [*late, *_answered(request, [*events, *late], decision)]


def _answered(request: ApprovalRequest, events: Sequence[Event], decision: Decision) -> list[Event]:
    request = widened(request, events)
    if request.purpose is Purpose.IN_DOUBT and decision.kind in _ALTERS:
        raise InvalidInput(
            f"kind = {decision.kind.value!r}: what is asked may have happened already, so it can "
            "be approved (tried again) or rejected, and not be changed."
        )
    if request.requester.is_one(decision.person):
        raise SelfApproval(
            f"{decision.name}, the agent acts for you, so somebody else has to decide this."
        )
    requirement = request.requirement
    if requirement is None or decision.person not in requirement.people:
        asked = ", ".join(requirement.people.values()) if requirement else "nobody"
        raise NotEntitled(f"{decision.name} is not among those asked here ({asked}).")
    refuse_wrong_lines(request, _decisions(events), decision)
    if decision.at >= requirement.deadline_at:
        return [DeadlinePassed(at=requirement.deadline_at)]
    if decision.kind is DecisionKind.ESCALATE:
        return [Escalated(decision=decision, people=_added(requirement, events))]
    for event in events:
        if isinstance(event, Decided) and event.decision.person == decision.person:
            raise AlreadyDecided(
                f"{decision.name} has decided this already: {event.decision.kind.told}."
            )
    _refuse_foreign(request, decision)
    if decision.kind in _AGREES:
        _refuse_unsure(requirement, decision)
    if decision.kind in _AGREES and not decision.reason and wants_reason(request):
        raise ReasonNeeded(
            f"reason is empty: an approval of tier {request.judgement.tier.value} counts only with "
            "one here; say why."
        )
    return [Decided(decision=decision)]


def _decisions(events: Sequence[Event]) -> list[Decision]:
    return [event.decision for event in events if isinstance(event, Decided)]


def _refuse_unsure(requirement: Requirement, decision: Decision) -> None:
    words = too_unsure(requirement, decision.assurance)
    if words:
        wanted = requirement.assurance.value
        raise AssuranceTooLow(f"{decision.name}, {words}", needs=wanted)


def too_unsure(requirement: Requirement, assurance: str) -> str:
    """What to do instead where an approval so assured does not count; nothing where it does."""
    wanted = requirement.assurance
    return "" if Assurance.of(assurance).strength >= wanted.strength else _CURES[wanted]


def _refuse_foreign(request: ApprovalRequest, decision: Decision) -> None:
    """What is said of a loop belongs to the question about one."""
    if request.purpose is Purpose.LOOP:
        if decision.loop and decision.loop.more and decision.kind is not DecisionKind.APPROVE:
            raise InvalidInput(
                f"more = {decision.loop.more}: only an approval allows more tries; leave it out."
            )
        if decision.loop and decision.loop.freeze and decision.kind is not DecisionKind.REJECT:
            raise InvalidInput(
                f"freeze with kind = {decision.kind.value!r}: an agent is frozen by whoever stops "
                "its run: reject it."
            )
        if decision.kind is DecisionKind.APPROVE:
            _refuse_more(request, decision)
        return
    if decision.kind is DecisionKind.SKIP:
        raise InvalidInput(
            "kind = 'skip': only a step that goes in circles can be skipped; reject it instead."
        )
    if decision.loop is not None:
        raise InvalidInput(
            "Nobody was stopped for going in circles here: leave out tries, label and freeze."
        )


def _refuse_more(request: ApprovalRequest, decision: Decision) -> None:
    """What came back after guidance is not let go on for ever: each level says how long at most."""
    if why := barred(request):
        raise InvalidInput(
            f"kind = 'approve': {why}: send it back, approve it with changes, skip the step, or "
            "stop the run."
        )
    more, most = decision.loop.more if decision.loop else None, request.evidence.get("allow_more")
    if more is not None and more > 1 and not counts_tries(request.evidence):
        raise InvalidInput(
            f"more = {more}: one approval lets it run once, and then it is asked about again; "
            "leave it out."
        )
    level = level_of(request.evidence)
    if level > 1 and more is not None and isinstance(most, int) and more > most:
        raise InvalidInput(
            f"more = {more}: on level {level} nobody allows more than {most}: it came back after "
            "guidance."
        )


def _added(requirement: Requirement, events: Sequence[Event]) -> dict[str, str]:
    """Whom an escalation adds. Raises InvalidInput where there is nobody (any more)."""
    before = [event.decision.name for event in events if isinstance(event, Escalated)]
    if before:
        raise InvalidInput(f"{before[-1]} has escalated this already: {_all(requirement)} decide.")
    if requirement.kept and not requirement.escalation:
        raise InvalidInput(
            "The deadline has come, and whomever the policy names to escalate this to is asked "
            f"already: {_all(requirement)} decide."
        )
    if not requirement.escalation:
        raise InvalidInput(
            "The policy names nobody to escalate this to: decide it, or send it back. Whoever "
            "writes the policy can add `escalate_to` to its `ask`."
        )
    return requirement.escalation


def _all(requirement: Requirement) -> str:
    return ", ".join(requirement.people.values())


def expire(request: ApprovalRequest, events: Sequence[Event], now: datetime) -> list[Event]:
    """What time has to say: the deadline's own event, or rungs of the ladder and reminders; nothing
    where none has come or it no longer matters.
    """
    requirement = widened(request, events).requirement
    if outcome(request, events) or requirement is None:
        return []
    if now < requirement.deadline_at:
        rungs = ladder.climb(requirement, events, now)
        return [*rungs, *reminding.remind(requirement, now)]
    if not requirement.keep_open:
        return [DeadlinePassed(at=requirement.deadline_at)]
    kept = reminding.keep_open(requirement, now)
    return [kept, *expire(request, [*events, kept], now)]


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


def silent(found: Outcome | None) -> bool:
    """Whether it was time that consented, and nobody has to stand for it."""
    return found is not None and found.kind is OutcomeKind.APPROVED and found.by == BY_TIME


def too_early(found: Outcome, now: datetime) -> bool:
    """Whether a window is still open by this clock, which is not the one that closed it."""
    return silent(found) and now < found.at


def approvers(events: Sequence[Event]) -> dict[str, str]:
    """Ids and names of those whose approval stands."""
    return {
        event.decision.person: event.decision.name
        for event in events
        if isinstance(event, Decided) and event.decision.kind is DecisionKind.APPROVE
    }


def sure(requirement: Requirement, events: Sequence[Event]) -> list[PersonId]:
    """Whose approval stands and is as sure as this requirement wants it."""
    return [
        event.decision.person
        for event in events
        if isinstance(event, Decided)
        and event.decision.kind is DecisionKind.APPROVE
        and not too_unsure(requirement, event.decision.assurance)
    ]


def disentitled(
    request: ApprovalRequest,
    events: Sequence[Event],
    entitled: Mapping[PersonId, Mapping[PersonId, str]],
) -> list[str]:
    """What an approval has lost if those who gave it could only take the seats `entitled` names:
    the names of those who lost one, or nothing where enough remains.
    """
    requirement = widened(request, events).requirement
    if requirement is None or silent(outcome(request, events)):
        return []
    gave = approvers(events)
    still = {one: dict(entitled[one]) for one in gave if entitled.get(one)}
    stands_for = requirement.stands_for | still
    if satisfied(requirement.model_copy(update={"stands_for": stands_for}), still.keys()):
        return []
    return [
        f"{name} may no longer approve this"
        for one, name in gave.items()
        if not set(requirement.seats(one)) <= still.get(one, {}).keys()
    ]


_AGREES = (DecisionKind.APPROVE, DecisionKind.APPROVE_WITH_CHANGES)
_ALTERS = (DecisionKind.APPROVE_WITH_CHANGES, DecisionKind.SEND_BACK)


_CURES = {
    Assurance.SLACK_CLICK: "this approval wants you to be known by your Slack account or a log-in: "
    "decide it in Slack or in the inbox.",
    Assurance.INBOX_SESSION: "this approval wants you to be logged in: decide it in the inbox, or "
    "with `gates approve`.",
    Assurance.STEP_UP: "this approval wants a code of your authenticator app: decide it in the "
    "inbox, or with `gates approve ID --code CODE`.",
}


def _refuse_closed(request: ApprovalRequest, events: Sequence[Event]) -> None:
    found = outcome(request, events)
    if found is not None:
        raise RequestClosed(f"This request has its answer already: {found}.")
