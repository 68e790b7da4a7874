"""Aggregates in and out of the tables, inside the caller's transaction.

A `Unit` is the view of one transaction: it loads a request with all that happened to it,
writes what a command decided, and puts the same facts into the log and the outbox.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from pydantic import TypeAdapter
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from gates.core.errors import InvalidInput, NotFound
from gates.core.events import Decided, Event
from gates.core.execution import standing as standing_of
from gates.core.lifecycle import outcome as fold
from gates.core.loops import Call
from gates.core.model import (
    ApprovalRequest,
    Attempt,
    Decision,
    Execution,
    ExecutionState,
    Json,
    Outcome,
    RequestView,
    Standing,
)
from gates.store.database import WISHED
from gates.store.tables import (
    AttemptRow,
    EventRow,
    ExecutionRow,
    LogRow,
    LoopCallRow,
    OutboxRow,
    RequestRow,
    Row,
    RunRow,
)

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
ROUND_SPAN = 1_000_000  # versions of one round stay below this, so a gate's version only grows


@dataclass
class Aggregate:
    """One request as it is now. `outcome` is the fold over `events`, kept beside the row."""

    row: RequestRow
    request: ApprovalRequest
    events: tuple[Event, ...]
    execution: Execution | None

    @property
    def outcome(self) -> Outcome | None:
        return Outcome.model_validate_json(self.row.outcome_body) if self.row.outcome_body else None

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return tuple(event.decision for event in self.events if isinstance(event, Decided))

    @property
    def version(self) -> int:
        return self.request.round * ROUND_SPAN + self.row.version

    def standing(self, attempt_id: str | None = None) -> Standing:
        return standing_of(self.request, self.outcome, self.execution, attempt_id)

    def view(self, base_url: str) -> RequestView:
        return RequestView(
            request=self.request,
            decisions=self.decisions,
            outcome=self.outcome,
            execution=self.execution,
            revision=self.row.revision,
            url=f"{base_url}/requests/{self.request.id}",
            suspended=self.row.asleep,
            woken=self.row.woken,
        )


class Unit:
    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now
        self._seen: list[Row] = []  # the session itself forgets rows that nobody holds

    # -- requests ---------------------------------------------------------------------------

    def load(self, request_id: str, *, lock: bool = False) -> Aggregate:
        """Raises NotFound. With `lock` nobody else changes it before this transaction ends."""
        return self._aggregate(self.row(request_id, lock=lock))

    def row(self, request_id: str, *, lock: bool = False) -> RequestRow:
        """A request without what happened to it. Raises NotFound."""
        query = select(RequestRow).where(RequestRow.id == request_id)
        row = self.session.exec(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotFound(f"There is no request {request_id[:64]!r}: see `gates list`.")
        return row

    def gate(self, gate_id: str, *, lock: bool = False) -> list[Aggregate]:
        """All rounds of a gate, oldest first."""
        query = select(RequestRow).where(RequestRow.gate_id == gate_id)
        query = query.with_for_update() if lock else query
        rows = self.session.exec(query.order_by(col(RequestRow.round))).all()
        return [self._aggregate(row) for row in rows]

    def matching(self, prefix: str) -> list[str]:
        """Ids that begin with `prefix`, at most two: enough to know whether it is unique."""
        query = select(RequestRow.id).where(col(RequestRow.id).startswith(prefix, autoescape=True))
        return list(self.session.exec(query.limit(2)).all())

    def asked(self, *, waiting: bool, limit: int) -> list[Aggregate]:
        """What people were asked: open questions by deadline, or settled ones, newest first."""
        query = select(RequestRow).where(RequestRow.asks_people)
        if waiting:
            query = query.where(col(RequestRow.outcome).is_(None))
            query = query.order_by(col(RequestRow.deadline_at))
        else:
            query = query.where(col(RequestRow.outcome).is_not(None))
            query = query.order_by(col(RequestRow.settled_at).desc())
        return [self._aggregate(row) for row in self.session.exec(query.limit(limit)).all()]

    def overdue(self, limit: int = 100) -> list[str]:
        query = select(RequestRow.id).where(
            col(RequestRow.outcome).is_(None), col(RequestRow.deadline_at) <= self.now
        )
        return list(self.session.exec(query.limit(limit)).all())

    def open(self, request: ApprovalRequest) -> Aggregate:
        """Insert a new round; the policy's own outcome, if it has one, comes with it."""
        requirement = request.requirement
        row = RequestRow(
            id=request.id,
            gate_id=request.gate_id,
            round=request.round,
            root_run_id=request.run.root_run_id,
            purpose=request.purpose.value,
            action=request.action.name,
            fingerprint=request.action.fingerprint,
            asks_people=requirement is not None,
            opened_at=request.opened_at,
            deadline_at=requirement.deadline_at if requirement else None,
            body=request.model_dump_json(),
        )
        aggregate = Aggregate(row, request, (), None)
        self._settle(aggregate)
        self.session.add(row)
        return aggregate

    def append(self, aggregate: Aggregate, events: Iterable[Event]) -> bool:
        """Write what happened and fold the outcome anew. True if the outcome changed."""
        for event in events:
            self.session.add(
                EventRow(
                    request_id=aggregate.request.id,
                    seq=len(aggregate.events) + 1,
                    kind=event.kind,
                    person=event.decision.person if isinstance(event, Decided) else None,
                    at=event.at,
                    body=event.model_dump_json(),
                )
            )
            aggregate.events = (*aggregate.events, event)
        aggregate.row.revision += 1
        changed = self._settle(aggregate)
        self.touch(aggregate)
        return changed

    def touch(self, aggregate: Aggregate) -> None:
        aggregate.row.version += 1
        self.session.add(aggregate.row)

    def _settle(self, aggregate: Aggregate) -> bool:
        found = fold(aggregate.request, aggregate.events)
        if found is None or found.kind.value == aggregate.row.outcome:
            return False
        aggregate.row.outcome = found.kind.value
        aggregate.row.outcome_body = found.model_dump_json()
        aggregate.row.settled_at = self.now
        return True

    def _aggregate(self, row: RequestRow) -> Aggregate:
        events: tuple[Event, ...] = ()
        if row.asks_people:
            query = select(EventRow).where(EventRow.request_id == row.id)
            stored = self.session.exec(query.order_by(col(EventRow.seq))).all()
            events = tuple(EVENT.validate_json(one.body) for one in stored)
        request = ApprovalRequest.model_validate_json(row.body)
        return Aggregate(row, request, events, self.execution(row.id))

    # -- executions -------------------------------------------------------------------------

    def execution(self, request_id: str) -> Execution | None:
        row = self.session.get(ExecutionRow, request_id)
        if row is None:
            return None
        query = select(AttemptRow).where(AttemptRow.request_id == request_id)
        attempts = self.session.exec(query.order_by(col(AttemptRow.number))).all()
        self._seen += [row, *attempts]
        return Execution(
            request_id=request_id,
            state=ExecutionState(row.state),
            attempts=tuple(Attempt(**_without(one, "request_id")) for one in attempts),
            result=orjson.loads(row.result) if row.result else None,
            differences=tuple(orjson.loads(row.differences)),
        )

    def attempt_request(self, attempt_id: str) -> str:
        """The request that an attempt belongs to. Raises NotFound."""
        # The id alone: a row read before its request is locked could be an old one.
        query = select(AttemptRow.request_id).where(AttemptRow.id == attempt_id)
        found = self.session.exec(query).one_or_none()
        if found is None:
            raise NotFound(f"There is no attempt {attempt_id[:64]!r}: claim the request first.")
        return found

    def save(self, aggregate: Aggregate, execution: Execution) -> None:
        """Write an execution; its last attempt is the only one that can have changed."""
        row = None
        if aggregate.execution is not None:
            row = self.session.get(ExecutionRow, execution.request_id)
        if row is None:
            row = ExecutionRow(
                request_id=execution.request_id, state=execution.state.value, queued_at=self.now
            )
        row.state = execution.state.value
        row.result = None if execution.result is None else _dumps(execution.result)
        row.differences = _dumps(list(execution.differences))
        self.session.add(row)
        last = execution.last
        if last is not None:
            self._save(execution.request_id, last)
        aggregate.execution = execution
        self.touch(aggregate)

    def _save(self, request_id: str, attempt: Attempt) -> None:
        """Raises InvalidInput where the attempt's id is that of another request's."""
        with self.session.no_autoflush:  # one flush, at the end, writes it all
            row = self.session.get(AttemptRow, attempt.id)
        if row is not None and row.request_id != request_id:
            raise InvalidInput(
                f"attempt_id = {attempt.id[:12]!r} belongs to another request: "
                "make a new one for each call."
            )
        if row is None:
            row = AttemptRow(request_id=request_id, **attempt.model_dump())
        for name, value in attempt.model_dump(exclude={"id"}).items():
            setattr(row, name, value)
        self.session.add(row)

    def holder_of(self, attempt_id: str) -> Aggregate | None:
        """The request that an attempt belongs to, if there is such an attempt."""
        row = self.session.get(AttemptRow, attempt_id)
        return None if row is None else self.load(row.request_id)

    def leasable(self, names: Sequence[str], settled_before: datetime) -> list[tuple[str, int]]:
        """Requests that an executor may take, with their version: queued ones, and those in
        doubt whose last attempt ended before `settled_before`, when its call can no longer land.
        """
        fresh = select(AttemptRow.id).where(
            AttemptRow.request_id == ExecutionRow.request_id,
            col(AttemptRow.ended_at).is_(None) | (col(AttemptRow.ended_at) >= settled_before),
        )
        later = aliased(RequestRow)
        query = (
            select(ExecutionRow.request_id, RequestRow.version)
            .join(RequestRow, col(RequestRow.id) == ExecutionRow.request_id)
            .where(col(RequestRow.action).in_(names), RequestRow.outcome == "approved")
            .where(
                (col(ExecutionRow.state) == "queued")
                | ((col(ExecutionRow.state) == "in_doubt") & ~fresh.exists())
            )
            .where(
                ~select(later.id)
                .where(later.gate_id == RequestRow.gate_id, later.round > RequestRow.round)
                .exists()  # what a later round asks people about is theirs to answer
            )
            .order_by(col(ExecutionRow.queued_at))
        )
        return list(self.session.exec(query.limit(5)).all())

    def lock_run(self, root_run_id: str) -> None:
        """Nobody else counts this run's failures before this transaction ends. Taken after the
        request's own lock, and never before one.
        """
        query = select(RunRow).where(RunRow.root_run_id == root_run_id)
        self.session.exec(query.with_for_update(key_share=True)).one()

    def lapsed(self, limit: int = 100) -> list[str]:
        query = select(AttemptRow.request_id).where(
            col(AttemptRow.ended_at).is_(None), col(AttemptRow.lease_until) <= self.now
        )
        return list(self.session.exec(query.limit(limit)).all())

    # -- loops ------------------------------------------------------------------------------

    def calls(self, root_run_id: str, action: str) -> list[Call]:
        query = select(LoopCallRow).where(
            LoopCallRow.root_run_id == root_run_id, LoopCallRow.action == action
        )
        rows = self.session.exec(query.order_by(col(LoopCallRow.seq).desc()).limit(100)).all()
        return [
            Call(
                **_without(row, "seq", "root_run_id", "arguments"),
                arguments=orjson.loads(row.arguments),
            )
            for row in reversed(rows)
        ]

    def add_call(self, root_run_id: str, call: Call) -> None:
        values = call.model_dump(exclude={"arguments"})
        self.session.add(
            LoopCallRow(**values, root_run_id=root_run_id, arguments=_dumps(call.arguments))
        )

    def loop_rounds(self, root_run_id: str, action: str) -> list[Aggregate]:
        """Approved loop requests of a run: each allowed some more attempts."""
        query = select(RequestRow).where(
            RequestRow.root_run_id == root_run_id,
            RequestRow.action == action,
            RequestRow.purpose == "loop",
            RequestRow.outcome == "approved",
        )
        return [self._aggregate(row) for row in self.session.exec(query).all()]

    # -- log and outbox ---------------------------------------------------------------------

    def log(self, actor: str, kind: str, subject: str, **body: object) -> None:
        self.session.add(
            LogRow(at=self.now, actor=actor, kind=kind, subject=subject, body=_dumps(body))
        )

    def wish(self, request_id: str, *kinds: str) -> None:
        """Ask the outbox to bring `kinds` up to date for a request, now."""
        query = select(OutboxRow).where(
            col(OutboxRow.kind).in_(kinds), OutboxRow.request_id == request_id
        )
        found = {row.kind: row for row in self.session.exec(query.with_for_update()).all()}
        for kind in kinds:
            row = found.get(kind)
            if row is None:
                row = OutboxRow(kind=kind, request_id=request_id, wanted=0, due_at=self.now)
            row.wanted += 1
            row.state, row.tries, row.due_at, row.last_error = "pending", 0, self.now, ""
            self.session.add(row)
        self.session.info.setdefault(WISHED, set()).update(kinds)


def _without(row: object, *names: str) -> dict[str, object]:
    values = row.model_dump()  # type: ignore[attr-defined] # every row is a SQLModel
    return {name: value for name, value in values.items() if name not in names}


def _dumps(value: Json | list[str] | dict[str, object]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
