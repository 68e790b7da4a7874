"""What a request says of itself, in the same words on every surface. Pure.

Who still has to agree, how it ended, what was changed. Names of people and groups, reasons and
values stand in these words as they are: whoever shows them makes them harmless in its own way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gates.core.asked import Assurance, PersonId, Requirement
from gates.core.drift import walk
from gates.core.model import (
    RUN_ENDED,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Json,
    OutcomeKind,
    RequestView,
    Verdict,
)
from gates.core.quorum import missing, open_groups, seats_of, unmet, votes

LEFT_UNUSED = "left_unused"  # in a question's evidence
MOST = 12  # names before "and n more"

VOIDED_BY = {  # who finds that an approval no longer holds, and what that means
    "time": "the approval has lapsed",
    "directory": "an approver has left",
    "standing approval": "what was approved beforehand has ended",
    "precondition": "the real system has changed",
    "policy": "the policy has changed",
    "the agent": "the agent proposes something else",
    "the run": "the run has done the same since",
    RUN_ENDED: "its run has ended",
}


@dataclass(frozen=True)
class Place:
    """A group of which somebody must agree. `open`: nobody stands for it yet for sure; `could`
    and `stood` are the names of its people who have not agreed, and who have.
    """

    group: str
    could: tuple[str, ...]
    stood: tuple[str, ...]
    open: bool


def places(requirement: Requirement, agreed: Collection[str] = ()) -> tuple[Place, ...]:
    """The groups that each must agree; none where a number of people is enough."""
    counted = seats_of(requirement, agreed)
    still = open_groups(requirement.groups, counted)
    found = []
    for group, members in requirement.groups.items():
        may = [
            one for one in requirement.people if not set(members).isdisjoint(requirement.seats(one))
        ]
        could = tuple(requirement.people[one] for one in may if one not in counted)
        stood = tuple(requirement.people[one] for one in may if one in counted)
        found.append(Place(group, could, stood, open=group in still))
    return tuple(found)


def unless_objected(request: ApprovalRequest) -> bool:
    """Whether it runs at the end of a window in which people may object."""
    return request.judgement.verdict is Verdict.VETO_WINDOW


def asks(requirement: Requirement, agreed: Collection[str] = ()) -> str:
    """Who still has to agree: `2 of Dana, Mika, Sam`, or `one of each: controllers (Dana, Mika),
    treasury (Tess)`. `agreed`: ids of those who have.
    """
    left = max(missing(requirement, agreed), 1)
    free = [requirement.people[one] for one in _free(requirement, agreed)]
    wanted = [place for place in places(requirement, agreed) if place.open]
    if not wanted:
        return _some(left, free)
    told = [f"{place.group} ({_names(place.could)})" for place in wanted]
    lacking = len(unmet(requirement.groups, seats_of(requirement, agreed)))
    if lacking < len(told):  # who has agreed could stand for either
        each = f"{lacking} of {' or '.join(told)}"
    elif lacking == 1:
        each = f"1 of {told[0]}"
    else:
        each = f"one of each: {', '.join(told)}"
    return f"{_some(left, free)}, among them {each}" if left > lacking else each


def _free(requirement: Requirement, agreed: Collection[str]) -> list[PersonId]:
    """Those whose agreement would be one vote more: not whom somebody has decided for."""
    left = [one for one in requirement.people if one not in agreed]
    if not requirement.stands_for:
        return left
    seats = seats_of(requirement, agreed)
    given = votes(seats)
    return [one for one in left if votes(seats | {one: requirement.seats(one)}) > given]


def surely(requirement: Requirement | None) -> str:
    """How it must be known who approves; nothing where any surface does."""
    wanted = requirement.assurance if requirement else Assurance.ANY
    return f"{_SURELY[wanted]}, in the inbox or at the command line." if wanted in _SURELY else ""


_SURELY = {
    Assurance.INBOX_SESSION: "Approving wants a log-in",
    Assurance.STEP_UP: "Approving wants a code of an authenticator app",
}


def approvers(view: RequestView) -> list[str]:
    """The ids of those who have agreed to what is asked here."""
    return [one.person for one in view.decisions if one.kind is DecisionKind.APPROVE]


def answer_of(view: RequestView, person: PersonId) -> Decision | None:
    """What this person has answered; who has only escalated has not."""
    escalates = DecisionKind.ESCALATE
    return next(
        (one for one in view.decisions if one.person == person and one.kind is not escalates), None
    )


def changer(view: RequestView) -> Decision | None:
    """The decision that has ended this round by approving something else."""
    changes = DecisionKind.APPROVE_WITH_CHANGES
    return next((one for one in view.decisions if one.kind is changes), None)


def ended(view: RequestView) -> str:
    """How it ended: `rejected by Dana: not ours`, `voided: the approval has lapsed: ...`; empty
    while it is open.
    """
    outcome, decision = view.outcome, changer(view)
    if outcome is None:
        return ""
    if outcome.kind is not OutcomeKind.VOIDED:
        return str(outcome)
    if decision is not None:
        return f"changed by {decision.who}" + (f": {decision.reason}" if decision.reason else "")
    return f"voided: {outcome.reason}"


def left_unused(view: RequestView) -> list[str]:
    """Questions about the very same that this run has left under other keys, a line for each."""
    left = view.request.evidence.get(LEFT_UNUSED)
    lines = []
    for one in left if isinstance(left, list) else ():
        found = one if isinstance(one, dict) else {}
        told = str(found.get("outcome"))
        was = "asked" if told == "None" else told
        lines.append(f"the same was {was} under the key {found.get('key')!r}, and that is not used")
    return lines


def changed(view: RequestView, decision: Decision) -> list[str]:
    """What somebody approved instead: `amount: 20000.00 -> 12000.00`, a line for each value."""
    if decision.changes is None:
        return []
    return walk("", view.request.action.arguments, decision.changes)


def _some(number: int, names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{number} of {_names(names)}"


def _names(names: Sequence[str]) -> str:
    if not names:
        return "nobody left"
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def proof(decision: Decision) -> Json:
    """For auditors: who that was, how that is known, and which revision of the card they saw."""
    seen = {} if decision.card_revision is None else {"card_revision": decision.card_revision}
    known: Json = {"person": decision.person, "assurance": decision.assurance, **seen}
    if decision.stands_for:
        known["stands_for"] = list(decision.stands_for)
    return known | decision.verified_by
