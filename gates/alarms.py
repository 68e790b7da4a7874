"""How good the loop detector is, by the word of those whom it called.

Every answer to an alarm is a label. What nobody labelled is read off the answer itself: who lets
an agent go on says that it was no loop; who steers, skips or stops it says that it was one; who
freezes the agent says that it did harm.

What was saved is counted from below: each alarm that was right has stopped one attempt at least,
and that one would have cost what those before it did on average.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import add
from statistics import median

from gates.core.errors import InvalidInput
from gates.core.loops import Thresholds
from gates.core.loops.over_runs import key_of
from gates.core.loops.telling import whole
from gates.core.model import (
    Decision,
    DecisionKind,
    Json,
    LoopLabel,
    Money,
    OutcomeKind,
    RequestView,
)
from gates.core.policy import LoopPolicy
from gates.core.policy.sections import LEAST_FAILURES, MOST_FAILURES
from gates.core.value import Value
from gates.store.database import Database
from gates.store.repository import Unit

LEAST_LABELLED = 5  # alarms before anything is proposed
POOR, PERFECT = 0.5, 1.0  # precision below and at which other thresholds are proposed
PAGE = 200
RIGHT = (LoopLabel.LOOP, LoopLabel.HARMFUL)
PRICES = ("cost_minor", "tokens")
OVER_RUNS = "same_failure_over_runs"  # counted from the store, not by a run's detector
BUDGET_OVER_RUNS = "budget_over_runs"  # and not the run's own
RENAMED = {"failing_retry": "same_failing_call", "cycle": "laps"}  # others obey one of their name


class Alarms(Value):
    """The alarms of one detector about one action. `precision`: of those labelled, the part that
    were loops or harmful, None where nobody labelled any; `tried`: attempts that they had cost by
    then; `cost_minor` and `tokens`: what those have cost, as their agents reported it; `saved_...`:
    what the attempt would have cost, at least, that each right alarm has stopped; `held_back`: sums
    that would have moved a second time; `answered_seconds`: the median until the answer;
    `proposal`: what to change in the policy, or nothing.
    """

    action: str
    detector: str
    alarms: int
    loops: int
    harmful: int
    not_loops: int
    open: int
    tried: int
    cost_minor: int = 0
    tokens: int = 0
    saved_cost_minor: int = 0
    saved_tokens: int = 0
    held_back: tuple[Money, ...] = ()
    precision: float | None
    answered_seconds: float | None
    proposal: str


@dataclass
class _Count:
    labels: list[LoopLabel | None] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    tried: int = 0
    spent: Counter[str] = field(default_factory=Counter)
    saved: Counter[str] = field(default_factory=Counter)
    held_back: Counter[str] = field(default_factory=Counter)  # minor units by currency

    def add(self, view: RequestView) -> None:
        evidence, label = view.request.evidence, label_of(view.decisions)
        self.labels.append(label)
        tried, spent = whole(evidence.get("total")), evidence.get("spent")
        counted = max if key_of(evidence) else add  # windows over runs overlap: the largest, once
        self.tried = counted(self.tried, tried)
        stopped = label in RIGHT and not _let_on(view)
        for name in PRICES:
            price = whole(spent.get(name)) if isinstance(spent, dict) else 0
            self.spent[name] = counted(self.spent[name], price)
            self.saved[name] += price // max(tried, 1) if stopped else 0
        if stopped and evidence.get("detector") == "same_write" and view.request.amount:
            self.held_back[view.request.amount.currency] += view.request.amount.minor
        if view.outcome is not None and view.decisions:
            waited = view.outcome.at - view.request.opened_at
            self.waits.append(waited.total_seconds())


def label_of(decisions: Sequence[Decision]) -> LoopLabel | None:
    """What people said of an alarm: the last who said it, or what the last answer comes to where
    nobody did; None where nobody has answered.
    """
    said = [label for one in decisions if (label := _said(one)) is not None]
    if said:
        return said[-1]
    kinds = [one.kind for one in decisions if one.kind is not DecisionKind.ESCALATE]
    if not kinds:
        return None
    return LoopLabel.NOT_A_LOOP if kinds[-1] is DecisionKind.APPROVE else LoopLabel.LOOP


def _said(decision: Decision) -> LoopLabel | None:
    if decision.loop is None:
        return None
    return decision.loop.label or (LoopLabel.HARMFUL if decision.loop.freeze else None)


def report(views: Iterable[RequestView], loops: LoopPolicy) -> list[Alarms]:
    """`views`: questions about loops; `loops`: what the policy says of them now. By action and
    detector, the most alarms first.
    """
    counts: defaultdict[tuple[str, str], _Count] = defaultdict(_Count)
    for view in views:
        detector = _detector(view.request.evidence)
        counts[view.request.action.name, detector].add(view)
    rows = [_row(*key, count, loops) for key, count in counts.items()]
    return sorted(rows, key=lambda row: (-row.alarms, row.action, row.detector))


def _detector(evidence: Json) -> str:
    if key_of(evidence):
        return BUDGET_OVER_RUNS
    return str(evidence.get("detector") or OVER_RUNS)


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


def _row(action: str, detector: str, count: _Count, loops: LoopPolicy) -> Alarms:
    said = [label for label in count.labels if label is not None]
    right = [label for label in said if label in RIGHT]
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
        cost_minor=count.spent["cost_minor"],
        tokens=count.spent["tokens"],
        saved_cost_minor=count.saved["cost_minor"],
        saved_tokens=count.saved["tokens"],
        held_back=tuple(
            Money(minor=minor, currency=currency)
            for currency, minor in sorted(count.held_back.items())
        ),
        precision=precision,
        answered_seconds=median(count.waits) if count.waits else None,
        proposal=_proposal(action, detector, loops, len(said), precision),
    )


def _let_on(view: RequestView) -> bool:
    """Whether it went on as it was, whatever people called it."""
    return view.outcome is None or view.outcome.kind is OutcomeKind.APPROVED


def _proposal(
    action: str, detector: str, loops: LoopPolicy, labelled: int, precision: float | None
) -> str:
    """As it would be written in the policy; nothing where too little was said, where it is right
    as it is, or where the threshold is at its end.
    """
    if precision is None or labelled < LEAST_LABELLED:
        return ""
    if precision >= PERFECT:
        step, why = -1, "all of its alarms were right"
    elif precision < POOR:
        step, why = 1, "most of its alarms were none"
    else:
        return ""
    if detector == OVER_RUNS:
        wanted = loops.same_failure + step
        allowed = LEAST_FAILURES <= wanted <= MOST_FAILURES
        return f"loops.same_failure: {wanted} ({why})" if allowed else ""
    name = RENAMED.get(detector, detector)
    limits = loops.thresholds.of_action(action)
    of_action = name in type(limits).model_fields
    if not of_action and name not in type(loops.thresholds).model_fields:
        return ""  # a second write and a refusal have no threshold, and a budget is a choice
    wanted = getattr(limits if of_action else loops.thresholds, name) + step
    changed = {"actions": {action: {name: wanted}}} if of_action else {name: wanted}
    try:
        Thresholds.of(changed)
    except InvalidInput:
        return ""
    where = f"actions: {{{action}: {{{name}: {wanted}}}}}" if of_action else f"{name}: {wanted}"
    return f"loops.thresholds: {{{where}}} ({why})"
