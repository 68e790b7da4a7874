"""The page of one request: a view model, made of RequestViews and a clock. Pure.

Rules:
1. The list and the page of a request are made from the same words (gates/web/words.py).
2. What the server found, and what the agent said, never stand in one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from gates.core.asked import PersonId
from gates.core.canonical import canonical_json
from gates.core.loops import Kind, rows
from gates.core.loops.telling import times, whole
from gates.core.model import Attempt, Decision, DecisionKind, Json, Purpose, RequestView, Step
from gates.core.timeline import in_time
from gates.core.wording import (
    LEFT_UNUSED,
    answer_of,
    approvers,
    asks,
    left_unused,
    places,
    proof,
    surely,
    unless_objected,
)
from gates.web.listing import Row, row
from gates.web.values import (
    Comparison,
    Difference,
    Fields,
    Node,
    Text,
    compare,
    fields,
    shown,
    text,
    visible,
)
from gates.web.words import (
    ASKED,
    EXECUTION_WORDS,
    VERDICT_WORDS,
    WAS_ASKED,
    Choice,
    Moment,
    Status,
    Tone,
    approvals,
    choice,
    execution_status,
    holds,
    moment,
    question,
    safe_link,
    short,
    status,
)

VOICE_TONES: dict[DecisionKind, Tone] = {
    DecisionKind.APPROVE: "good",
    DecisionKind.APPROVE_WITH_CHANGES: "good",
    DecisionKind.REJECT: "bad",
    DecisionKind.SEND_BACK: "warn",
    DecisionKind.ESCALATE: "warn",
    DecisionKind.SKIP: "warn",
}
NOT_COMPARED = ("number", "request_id")  # of attempts: they differ without meaning anything
ATTEMPTS = 5  # attempts side by side; earlier ones are counted


@dataclass(frozen=True)
class Voice:
    """One person who is asked, and what they said."""

    name: str
    you: bool
    words: str
    tone: Tone
    at: Moment | None = None
    channel: str = ""
    reason: str = ""
    changes: tuple[Difference, ...] = ()
    proof: Fields | None = None  # who that was, how that is known, what they saw


@dataclass(frozen=True)
class PlaceShown:
    """A group that must agree. `people`: names, and whether each has agreed."""

    group: str
    words: str
    tone: Tone
    people: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class ExecutionShown:
    status: Status
    attempts: tuple[AttemptShown, ...]
    result: Node | None
    differences: tuple[str, ...]


@dataclass(frozen=True)
class AttemptShown:
    number: int
    status: Status
    holder: str
    started: Moment
    ended: Moment | None
    lease: Moment
    error: Text | None
    error_class: str
    reconciling: bool


@dataclass(frozen=True)
class RoundShown:
    id: str
    number: int
    status: Status
    reason: str
    at: Moment
    current: bool


@dataclass(frozen=True)
class StepShown:
    """What the run has done at another gate."""

    id: str
    words: str
    note: str
    status: Status
    differs: bool
    undo: str


@dataclass(frozen=True)
class ReasonShown:
    rule: str
    words: str


@dataclass(frozen=True)
class RequestPage:
    row: Row
    question: str
    windowed: bool
    in_time: str
    revision: int
    status: Status
    outcome_reason: str
    arguments: Fields
    exact: str
    fingerprint: str
    policy_digest: str
    policy: str
    frozen: str
    verdict: str
    reasons: tuple[ReasonShown, ...]
    facts: Fields
    precondition: Fields
    claims: Fields
    evidence: Fields
    more_evidence: Fields
    finding: str
    told: tuple[tuple[str, str], ...]
    last_tried: ExecutionShown | None
    attempts: Comparison | None
    attempts_left_out: int
    changed: Comparison | None
    changed_since: int
    before: tuple[str, ...]
    left_unused: tuple[str, ...]
    in_process: bool
    agent: str
    on_behalf_of: str
    opened: Moment
    run_words: str
    run_url: str
    suspended: bool
    woken: int
    voices: tuple[Voice, ...]
    places: tuple[PlaceShown, ...]
    wanted: str
    holds: str
    quorum: int
    approvals: int
    choice: Choice
    escalation: str
    execution: ExecutionShown | None
    stands: tuple[StepShown, ...]
    earlier: tuple[RoundShown, ...]
    newer: RoundShown | None


def request_page(
    view: RequestView, rounds: Sequence[RequestView], person: PersonId, now: datetime
) -> RequestPage:
    """`rounds` are all rounds of this gate, in any order; this one may be among them."""
    request, outcome = view.request, view.outcome
    attempts, left_out = _attempts(view)
    last_tried = _last_tried(view, rounds, now)
    evidence, more_evidence = _evidence(view, told_otherwise=bool(attempts or last_tried))
    changed = _changed(view, rounds)
    requirement = request.requirement
    return RequestPage(
        row=row(view, person, now),
        question=question(view),
        windowed=unless_objected(request),
        in_time=visible(in_time(view, lambda at: moment(at, now).absolute)),
        revision=view.revision,
        status=status(view),
        outcome_reason=visible(outcome.reason) if outcome else "",
        arguments=fields(request.action.arguments),
        exact=_exact(view),
        fingerprint=short(request.action.fingerprint),
        policy_digest=short(request.judgement.policy_digest),
        policy=request.judgement.policy_digest,
        frozen=visible(view.frozen),
        verdict=VERDICT_WORDS[request.judgement.verdict],
        reasons=tuple(
            ReasonShown(visible(one.rule), visible(one.text)) for one in request.judgement.reasons
        ),
        facts=fields(request.facts),
        precondition=fields(request.precondition),
        claims=fields(request.claims),
        evidence=fields(evidence),
        more_evidence=fields(more_evidence),
        finding=_finding(view),
        told=tuple((name, visible(words)) for name, words in _told(view)),
        last_tried=last_tried,
        attempts=attempts,
        attempts_left_out=left_out,
        changed=changed[0] if changed else None,
        changed_since=changed[1] if changed else request.round - 1,
        before=tuple(visible(one) for one in request.before),
        left_unused=tuple(visible(line) for line in left_unused(view)),
        in_process=request.in_process and not request.own_matter,
        agent=visible(request.requester.agent),
        on_behalf_of=_on_behalf_of(view),
        opened=moment(request.opened_at, now),
        run_words=visible(" / ".join(filter(None, (request.run.flow_name, request.run.run_name)))),
        run_url=safe_link(request.run.url),
        suspended=view.suspended,
        woken=view.woken,
        voices=_voices(view, person, now),
        places=_places(view),
        wanted=_wanted(view),
        holds=f"{holds(requirement)} {surely(requirement)}".strip() if requirement else "",
        quorum=requirement.quorum if requirement else 0,
        approvals=approvals(view),
        choice=choice(view, person),
        escalation=visible(", ".join(requirement.escalation.values())) if requirement else "",
        execution=_execution(view, now),
        stands=tuple(_step(one) for one in view.stands),
        earlier=_rounds(view, rounds, now, newer=False),
        newer=next(iter(_rounds(view, rounds, now, newer=True)), None),
    )


def _exact(view: RequestView) -> str:
    action = view.request.action
    exact: dict[str, JsonValue] = {
        "name": action.name,
        "subject": list(action.subject),
        "arguments": action.arguments,
    }
    return visible(canonical_json(exact).decode())


def _on_behalf_of(view: RequestView) -> str:
    person = view.request.requester.on_behalf_of or ""
    people = view.request.requirement.people if view.request.requirement else {}
    return visible(people.get(person, person))


def _attempts(view: RequestView) -> tuple[Comparison | None, int]:
    """The attempts that the evidence tells of, side by side; how many earlier ones are left out."""
    found = view.request.evidence.get("attempts")
    records = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    if not records:
        return None, 0
    left_out = max(len(records) - ATTEMPTS, 0)
    headings = [f"Attempt {_number(item, index)}" for index, item in enumerate(records, 1)]
    names = {} if _all_failed(view) else {"error": "came_back"}
    kept = [
        {names.get(key, key): one for key, one in item.items() if key not in NOT_COMPARED}
        for item in records
    ]
    return compare(headings[left_out:], kept[left_out:]), left_out


def _all_failed(view: RequestView) -> bool:
    """Whether what the attempts came back with is errors throughout."""
    detector = view.request.evidence.get("detector", Kind.SAME_FAILURE)
    return detector in (Kind.FAILING_RETRY, Kind.SAME_FAILURE, Kind.ERRORS)


def _number(record: dict[str, JsonValue], index: int) -> str:
    number = record.get("number", index)
    return visible(str(number))[:8]


def _evidence(view: RequestView, *, told_otherwise: bool) -> tuple[Json, Json]:
    """What stands out, and what is folded away because the page tells it in its own form."""
    told = ("allow_more", LEFT_UNUSED)
    given = {key: one for key, one in view.request.evidence.items() if key not in told}
    if view.request.purpose is Purpose.ACTION or not told_otherwise:
        return given, {}
    return {}, {key: one for key, one in given.items() if key != "attempts"}


def _finding(view: RequestView) -> str:
    """A loop's finding as a sentence; its numbers come from the server."""
    found = view.request.evidence
    count, total, told = found.get("count"), found.get("total"), found.get("words")
    if view.request.purpose is not Purpose.LOOP or not isinstance(count, int):
        return ""
    if isinstance(told, str) and told:
        named = "." in told.split(" ", 1)[0]  # begins with an action's name
        return visible(f"{told}." if named else f"{told[0].upper()}{told[1:]}.")
    total = max(whole(total), count)
    words = f"Failed {times(total)} in the same way"
    if total > count:
        words += f" ({times(count)} since people allowed more, or its cause was worked on)"
    kind = found.get("error_class")
    return visible(f"{words}: {kind}." if kind else f"{words}.")


def _told(view: RequestView) -> list[tuple[str, str]]:
    """What goes round in a loop, what it has cost, and what stands half done."""
    return rows(view.request.evidence) if view.request.purpose is Purpose.LOOP else []


def _last_tried(
    view: RequestView, rounds: Sequence[RequestView], now: datetime
) -> ExecutionShown | None:
    """For a question about an unknown end: the execution that it is about."""
    if view.request.purpose is not Purpose.IN_DOUBT:
        return None
    before = [one for one in rounds if one.execution and one.request.round < view.request.round]
    last = max(before, key=lambda one: one.request.round, default=None)
    return _execution(last, now) if last else None


def _changed(view: RequestView, rounds: Sequence[RequestView]) -> tuple[Comparison, int] | None:
    """What is not as it was in the round before; None where there is none or nothing changed."""
    before = [one for one in rounds if one.request.round < view.request.round]
    if not before:
        return None
    last = max(before, key=lambda one: one.request.round)
    columns = [_comparable(last), _comparable(view)]
    found = compare([f"Round {last.request.round}", f"Round {view.request.round}"], columns)
    return (found, last.request.round) if found.differing else None


def _comparable(view: RequestView) -> dict[str, JsonValue]:
    request = view.request
    return {
        "arguments": request.action.arguments,
        "real system": request.precondition,
        "found": request.facts,
    }


def _voices(view: RequestView, person: PersonId, now: datetime) -> tuple[Voice, ...]:
    """First those who have decided, in order; then those who are still asked."""
    asked = view.request.action.arguments
    said = [_voice(one, person, now, asked) for one in view.decisions]
    requirement = view.request.requirement
    decided = {one.person for one in view.decisions if answer_of(view, one.person)}
    words, tone = ASKED if view.outcome is None else WAS_ASKED
    silent = [
        Voice(visible(name), id_ == person, words, tone)
        for id_, name in (requirement.people.items() if requirement else ())
        if id_ not in decided
    ]
    return (*said, *silent)


def _voice(decision: Decision, person: PersonId, now: datetime, asked: Json) -> Voice:
    return Voice(
        name=visible(decision.who),
        you=decision.person == person,
        words=decision.kind.told,
        tone=VOICE_TONES[decision.kind],
        at=moment(decision.at, now),
        channel=visible(decision.channel),
        reason=visible(decision.reason),
        changes=compare(("asked", "approved"), (asked, decision.changes)).differing
        if decision.changes is not None
        else (),
        proof=fields(proof(decision)),
    )


def _places(view: RequestView) -> tuple[PlaceShown, ...]:
    """Where somebody of each group must agree: who could, and which group is still missing."""
    requirement = view.request.requirement
    found = places(requirement, approvers(view)) if requirement else ()
    return tuple(
        PlaceShown(
            group=visible(one.group),
            words=_place_words(view, missing=one.open),
            tone="wait" if one.open and view.outcome is None else "quiet" if one.open else "good",
            people=(
                *((visible(name), True) for name in one.stood),
                *((visible(name), False) for name in one.could),
            ),
        )
        for one in found
    )


def _place_words(view: RequestView, *, missing: bool) -> str:
    if not missing:
        return "agreed"
    return "still missing" if view.outcome is None else "was missing"


def _wanted(view: RequestView) -> str:
    """Who still has to agree, in one sentence's words; empty where it is plain or decided."""
    requirement = view.request.requirement
    if requirement is None or view.outcome is not None or not requirement.groups:
        return ""
    return visible(asks(requirement, approvers(view)))


def _execution(view: RequestView, now: datetime) -> ExecutionShown | None:
    execution, found = view.execution, execution_status(view)
    if execution is None or found is None:
        return None
    return ExecutionShown(
        status=found,
        attempts=tuple(_attempt(one, now) for one in execution.attempts),
        result=shown(execution.result) if execution.result is not None else None,
        differences=tuple(visible(one) for one in execution.differences),
    )


def _attempt(attempt: Attempt, now: datetime) -> AttemptShown:
    words, tone = EXECUTION_WORDS[attempt.state]
    return AttemptShown(
        number=attempt.number,
        status=Status("open", words, tone),
        holder=visible(attempt.holder),
        started=moment(attempt.started_at, now),
        ended=moment(attempt.ended_at, now) if attempt.ended_at else None,
        lease=moment(attempt.lease_until, now),
        error=text(attempt.error) if attempt.error else None,
        error_class=visible(attempt.error_class),
        reconciling=attempt.reconciling,
    )


STEP_WORDS: dict[str, Status] = {
    "done": Status("open", "done", "good"),
    "half_done": Status("open", "half done", "warn"),
    "undone": Status("open", "taken back", "quiet"),
}


def _step(step: Step) -> StepShown:
    undo = f"{step.undo.title} ({step.undo.name})" if step.undo else step.cannot_undo
    return StepShown(
        id=step.request_id,
        words=visible(step.summary),
        note=visible(step.note) if step.state != "undone" else "",
        status=STEP_WORDS[step.state],
        differs=bool(step.differences),
        undo=visible(undo) if step.state != "undone" else "",
    )


def _rounds(
    view: RequestView, rounds: Sequence[RequestView], now: datetime, *, newer: bool
) -> tuple[RoundShown, ...]:
    """The other rounds of the gate on one side of this one, latest first."""
    own = view.request.round
    others = [
        one for one in rounds if one.request.round != own and (one.request.round > own) is newer
    ]
    return tuple(
        RoundShown(
            id=one.request.id,
            number=one.request.round,
            status=status(one),
            reason=visible(one.outcome.reason) if one.outcome else "",
            at=moment(one.outcome.at if one.outcome else one.request.opened_at, now),
            current=one.outcome is None,
        )
        for one in sorted(others, key=lambda one: one.request.round, reverse=True)
    )
