"""How good the loop detector is, by the word of those whom it called.

Every answer to an alarm is a label. What nobody labelled is read off the answer itself: who lets
an agent go on says that it was no loop; who steers, skips or stops it says that it was one; who
freezes the agent says that it did harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from gates.core.model import Decision, DecisionKind, LoopLabel, RequestView, Value
from gates.store.database import Database
from gates.store.repository import Unit

LEAST_LABELLED = 5  # alarms before anything is proposed
POOR, PERFECT = 0.5, 1.0  # precision below and at which other thresholds are proposed
PAGE = 200


class Alarms(Value):
    """The alarms of one detector about one action. `precision`: of those labelled, the part that
    were loops or harmful, None where nobody labelled any; `tried`: attempts that they had cost by
    then; `answered_seconds`: the median until the answer; `proposal`: what to change, or nothing.
    """

    action: str
    detector: str
    alarms: int
    loops: int
    harmful: int
    not_loops: int
    open: int
    tried: int
    precision: float | None
    answered_seconds: float | None
    proposal: str


@dataclass
class _Count:
    labels: list[LoopLabel | None] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    tried: int = 0


def label_of(decisions: Sequence[Decision]) -> LoopLabel | None:
    """What people said of an alarm: the last word on it; None where nobody has answered."""
    for one in reversed(decisions):
        if one.loop is not None and one.loop.label is not None:
            return one.loop.label
        if one.loop is not None and one.loop.freeze:
            return LoopLabel.HARMFUL
        if one.kind is DecisionKind.APPROVE:
            return LoopLabel.NOT_A_LOOP
        if one.kind is not DecisionKind.ESCALATE:
            return LoopLabel.LOOP
    return None


def report(views: Iterable[RequestView]) -> list[Alarms]:
    """`views`: questions about loops. By action and detector, the most alarms first."""
    counts: defaultdict[tuple[str, str], _Count] = defaultdict(_Count)
    for view in views:
        request = view.request
        detector = str(request.evidence.get("detector") or "same_failure")
        count = counts[request.action.name, detector]
        count.labels.append(label_of(view.decisions))
        tried = request.evidence.get("total")
        count.tried += tried if isinstance(tried, int) else 0
        if view.outcome is not None and view.decisions:
            count.waits.append((view.outcome.at - request.opened_at).total_seconds())
    rows = [_row(*key, count) for key, count in counts.items()]
    return sorted(rows, key=lambda row: (-row.alarms, row.action, row.detector))


def of_store(database: Database, now: datetime, since: timedelta) -> Iterator[RequestView]:
    """Questions about loops that were opened within `since`, oldest first."""
    after, last = now - since, ""
    while True:
        with database.read() as session:
            page = Unit(session, now).loop_questions(after, last, PAGE)
        yield from (one.view("") for one in page)
        if len(page) < PAGE:
            return
        after, last = page[-1].request.opened_at, page[-1].request.id


def _row(action: str, detector: str, count: _Count) -> Alarms:
    said = [label for label in count.labels if label is not None]
    right = [label for label in said if label is not LoopLabel.NOT_A_LOOP]
    precision = len(right) / len(said) if said else None
    return Alarms(
        action=action,
        detector=detector,
        alarms=len(count.labels),
        loops=said.count(LoopLabel.LOOP),
        harmful=said.count(LoopLabel.HARMFUL),
        not_loops=said.count(LoopLabel.NOT_A_LOOP),
        open=len(count.labels) - len(said),
        tried=count.tried,
        precision=precision,
        answered_seconds=median(count.waits) if count.waits else None,
        proposal=_proposal(len(said), precision),
    )


def _proposal(labelled: int, precision: float | None) -> str:
    if precision is None or labelled < LEAST_LABELLED:
        return ""
    if precision < POOR:
        return "one more before it asks: most of its alarms were none"
    if precision >= PERFECT:
        return "one fewer before it asks: all of its alarms were right"
    return ""
