"""One request as it is now, and how it is read back out of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import orjson
from pydantic import TypeAdapter

from gates.core.events import Decided, Escalated, Event
from gates.core.execution import standing as standing_of
from gates.core.lifecycle import widened
from gates.core.model import (
    ApprovalRequest,
    Attempt,
    Decision,
    Execution,
    ExecutionState,
    Outcome,
    RequestView,
    Standing,
)
from gates.core.reviewing import said
from gates.store.tables import AttemptRow, EventRow, ExecutionRow, RequestRow

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
ROUND_SPAN = 1_000_000  # versions of one round stay below this, so a gate's version only grows
MOST_READ = 256  # requests whose stored form need not be read again: it never changes


@dataclass
class Aggregate:
    """One request as it is now. `outcome` is the fold over `events`, kept beside the row."""

    row: RequestRow
    request: ApprovalRequest
    events: tuple[Event, ...]
    execution: Execution | None

    @property
    def outcome(self) -> Outcome | None:
        return _outcome(self.row.outcome_body) if self.row.outcome_body else None

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What people have said, escalations included."""
        return tuple(
            event.decision for event in self.events if isinstance(event, Decided | Escalated)
        )

    @property
    def version(self) -> int:
        return self.request.round * ROUND_SPAN + self.row.version

    def showed(self, revision: int) -> bool:
        """Whether a reader of that revision saw what is asked here. What people have said since
        then changes nothing of it; a revision from before a restore, or one that never was, is no
        such one.
        """
        return self.row.revision - len(self.events) <= revision <= self.row.revision

    def standing(self, attempt_id: str | None = None) -> Standing:
        return standing_of(self.request, self.outcome, self.execution, attempt_id)

    def view(self, base_url: str) -> RequestView:
        return RequestView(
            request=widened(self.request, self.events),
            decisions=self.decisions,
            outcome=self.outcome,
            execution=self.execution,
            revision=self.row.revision,
            url=f"{base_url}/requests/{self.request.id}",
            suspended=self.row.asleep,
            woken=self.row.woken,
            review=_review(self.row.review),
            reviews=said(self.events),
        )


def aggregates(
    rows: Iterable[RequestRow],
    done: Iterable[tuple[ExecutionRow, AttemptRow | None]],
    told: Iterable[EventRow],
) -> list[Aggregate]:
    """One for each of `rows`, in their order; what belongs to others is passed over."""
    events: dict[str, list[Event]] = {}
    for event in told:
        events.setdefault(event.request_id, []).append(EVENT.validate_json(event.body))
    executions = _executions(done)
    return [
        Aggregate(row, _request(row.body), tuple(events.get(row.id, ())), executions.get(row.id))
        for row in rows
    ]


@lru_cache(maxsize=MOST_READ)
def _request(body: str) -> ApprovalRequest:
    return ApprovalRequest.model_validate_json(body)


@lru_cache(maxsize=MOST_READ)
def _outcome(body: str) -> Outcome:
    return Outcome.model_validate_json(body)


def _review(state: str | None) -> Literal["", "wanted", "done"]:
    return "wanted" if state == "wanted" else "done" if state == "done" else ""


def _executions(pairs: Iterable[tuple[ExecutionRow, AttemptRow | None]]) -> dict[str, Execution]:
    """By request; a row for each attempt, in their order."""
    rows: dict[str, ExecutionRow] = {}
    attempts: dict[str, list[Attempt]] = {}
    for row, attempt in pairs:
        rows[row.request_id] = row
        if attempt is not None:
            attempts.setdefault(row.request_id, []).append(_attempt(attempt))
    return {
        request_id: Execution(
            request_id=request_id,
            state=ExecutionState(row.state),
            attempts=tuple(attempts.get(request_id, ())),
            result=orjson.loads(row.result) if row.result else None,
            differences=tuple(orjson.loads(row.differences)),
        )
        for request_id, row in rows.items()
    }


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(**{name: getattr(row, name) for name in Attempt.model_fields})
