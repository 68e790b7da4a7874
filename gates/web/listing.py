"""The list: what waits for this reader, for others, and what was decided lately. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gates.core.asked import PersonId
from gates.core.model import RequestView
from gates.core.wording import approvers, asks, unless_objected
from gates.web.values import text, visible
from gates.web.words import (
    PURPOSE_WORDS,
    Amount,
    Moment,
    Status,
    amount,
    approvals,
    ended_by,
    execution_status,
    is_mine,
    moment,
    status,
)

NAMES = 3  # people named in a row before "and n more"


@dataclass(frozen=True)
class Row:
    id: str
    title: str
    action: str
    subject: str
    amount: Amount | None
    tier: str
    eyebrow: str
    why: str
    more_reasons: int
    status: Status
    execution: Status | None
    deadline: Moment | None
    asked: str
    progress: str
    ended: Moment | None
    ended_by: str
    round: int
    mine: bool
    windowed: bool


@dataclass(frozen=True)
class Filter:
    key: str
    words: str
    count: int
    chosen: bool


@dataclass(frozen=True)
class InboxPage:
    mine: tuple[Row, ...]
    others: tuple[Row, ...]
    decided: tuple[Row, ...]
    filters: tuple[Filter, ...]
    chosen: str

    @property
    def shown(self) -> int:
        return len(self.mine) + len(self.others) + len(self.decided)


def row(view: RequestView, person: PersonId, now: datetime) -> Row:
    request, requirement = view.request, view.request.requirement
    reasons = request.judgement.reasons
    return Row(
        id=request.id,
        title=text(request.action.title or request.action.name, 120).short,
        action=visible(request.action.name),
        subject=_subject(view),
        amount=amount(view),
        tier=request.judgement.tier.value,
        eyebrow=PURPOSE_WORDS[request.purpose],
        why=text(reasons[0].text, 120).short if reasons else "",
        more_reasons=max(len(reasons) - 1, 0),
        status=status(view),
        execution=execution_status(view),
        deadline=moment(requirement.deadline_at, now) if requirement else None,
        asked=_asked(view),
        progress=_progress(view),
        ended=moment(view.outcome.at, now) if view.outcome else None,
        ended_by=_names(ended_by(view)),
        round=request.round,
        mine=is_mine(view, person),
        windowed=unless_objected(request),
    )


def _subject(view: RequestView) -> str:
    """Names that the server found (`supplier_name`), then the business objects, each once:
    of supplier:DE1 and invoice:DE1/17 only the second one is told, as invoice 17.
    """
    names = [str(one) for key, one in view.request.facts.items() if key.endswith("_name") and one]
    objects = [one.partition(":") for one in view.request.action.subject]
    values = [value or kind for kind, _, value in objects]
    told = []
    for kind, colon, value in objects:
        owner = next((one for one in values if value.startswith(f"{one}/")), "")
        owns = any(one.startswith(f"{value or kind}/") for one in values)
        if not (owns and names):
            told.append(
                f"{kind} {value.removeprefix(f'{owner}/' if names else '')}" if colon else kind
            )
    words = " · ".join((*names, *told))
    return text(words, 160).short if words else ""


def _names(names: Sequence[str]) -> str:
    if len(names) > NAMES:
        return f"{', '.join(names[: NAMES - 1])} and {len(names) - NAMES + 1} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def _asked(view: RequestView) -> str:
    requirement = view.request.requirement
    if requirement is None:
        return ""
    if requirement.groups:
        return visible(asks(requirement, approvers(view)))
    return _names([visible(name) for name in requirement.people.values()])


def _progress(view: RequestView) -> str:
    requirement = view.request.requirement
    if requirement is None:
        return ""
    if unless_objected(view.request):
        return "runs unless somebody objects"
    return f"{approvals(view)} of {requirement.quorum} agreed"


FILTERS = {
    "all": "Everything",
    "mine": "For me",
    "open": "All open",
    "approved": "Approved",
    "rejected": "Rejected",
    "ended": "Ended otherwise",
}


def inbox(
    waiting: Sequence[RequestView],
    recent: Sequence[RequestView],
    person: PersonId,
    now: datetime,
    chosen: str = "all",
) -> InboxPage:
    """What waits for this person, what waits for others, what was decided; nearest first."""
    chosen = chosen if chosen in FILTERS else "all"
    views = {view.request.id: view for view in (*recent, *waiting)}
    rows = [row(view, person, now) for view in views.values()]
    counts = {key: sum(_belongs(one, key) for one in rows) for key in FILTERS}
    kept = [one for one in rows if _belongs(one, chosen)]
    open_ = sorted((one for one in kept if one.status.state == "open"), key=_by_deadline)
    decided = sorted((one for one in kept if one.ended), key=_by_end, reverse=True)
    return InboxPage(
        mine=tuple(one for one in open_ if one.mine),
        others=tuple(one for one in open_ if not one.mine),
        decided=tuple(decided),
        filters=tuple(Filter(key, FILTERS[key], counts[key], key == chosen) for key in FILTERS),
        chosen=chosen,
    )


def _belongs(one: Row, key: str) -> bool:
    state = one.status.state
    if key == "mine":
        return one.mine
    if key == "ended":
        return state in ("sent_back", "expired", "cancelled", "voided")
    return key in ("all", state)


def _by_deadline(one: Row) -> str:
    return one.deadline.iso if one.deadline else "9999"


def _by_end(one: Row) -> str:
    return one.ended.iso if one.ended else ""
