"""Aggregates in and out of the tables, inside the caller's transaction.

A `Unit` is the view of one transaction: it loads a request with all that happened to it,
writes what a command decided, and puts the same facts into the log and the outbox.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

import orjson
from sqlalchemy import update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from gates.core.errors import InvalidInput, NotFound
from gates.core.events import Decided, Event
from gates.core.freezes import Freeze, Start, stopping
from gates.core.gate_keys import UNDO
from gates.core.ladder import due
from gates.core.lifecycle import outcome as fold
from gates.core.lifecycle import widened
from gates.core.loops import Call
from gates.core.loops.over_runs import Scope, key_of
from gates.core.loops.pauses import Span
from gates.core.model import Action, ApprovalRequest, Attempt, Execution, Json
from gates.store import queries
from gates.store.aggregate import Aggregate, aggregates
from gates.store.database import OWNERS, UNITS, WISHED
from gates.store.rows import Kinds, Rows, new
from gates.store.tables import (
    AttemptRow,
    EventRow,
    ExecutionRow,
    LoopCallRow,
    RequestRow,
    RunRow,
)

DONE: Kinds = [ExecutionRow, AttemptRow]
LOOKED_AT = 5  # jobs that are tried for one executor that asks for work
MOST_TOLD = 20  # ended questions of one run that are drawn again when something is taken back


class First(NamedTuple):
    """What is known where a gate is asked for the first time."""

    rounds: list[Aggregate]
    alike: list[Aggregate]
    calls: list[tuple[int, Call]]


class Counted(NamedTuple):
    """Of one action in one run; `same_...`: with the same arguments, too."""

    failures: int
    same_failures: int
    same_writes: int


class Leasable(NamedTuple):
    """Work that nobody holds, as it was when it was looked for."""

    request_id: str
    version: int
    state: str
    queued_at: datetime


class Unit:
    """What it writes is sent before its next reading and before the commit, all at once."""

    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now
        self.rows = Rows(session.bind)  # type: ignore[arg-type] # Database binds connections
        session.info.setdefault(UNITS, []).append(self)

    def flush(self, *, commit: bool = False) -> None:
        self.rows.flush(commit=commit)

    # -- requests ---------------------------------------------------------------------------

    def load(self, request_id: str, *, lock: bool = False) -> Aggregate:
        """Raises NotFound. With `lock` nobody else changes it before this transaction ends."""
        found = self._read(queries.BY_ID, lock=lock, id=request_id)
        return found[0] if found else _missing(request_id)

    def load_of_attempt(self, attempt_id: str, *, lock: bool = False) -> Aggregate:
        """The request that an attempt belongs to. Raises NotFound."""
        found = self._read(queries.BY_ATTEMPT, lock=lock, attempt_id=attempt_id)
        if not found:
            raise NotFound(f"There is no attempt {attempt_id[:64]!r}: claim the request first.")
        return found[0]

    def row(self, request_id: str, *, lock: bool = False) -> RequestRow:
        """A request without what happened to it. Raises NotFound."""
        by = queries.BY_ID.locked if lock else queries.BY_ID.requests
        found: list[tuple[RequestRow]] = self.rows.read([RequestRow], by, id=request_id)
        return found[0][0] if found else _missing(request_id)

    def gate(self, gate_id: str, *, lock: bool = False) -> list[Aggregate]:
        """All rounds of a gate, oldest first."""
        return self._read(queries.BY_GATE, lock=lock, gate_id=gate_id)

    def first(self, gate_id: str, root_run_id: str, fingerprint: str, after: int) -> First:
        """All rounds of a gate; where it has none yet, what its run has done before: what it has
        proposed through other gates in the very same words, and its calls of a number above
        `after`. In one round trip.
        """
        wanted = {"gate_id": gate_id, "root_run_id": root_run_id, "fingerprint": fingerprint}
        rounds, alike, calls = self.rows.read_all(
            ([RequestRow], queries.BY_GATE.requests),
            ([RequestRow], queries.ALIKE.requests),
            ([LoopCallRow], queries.CALLS_BEFORE_A_GATE),
            after=after,
            **wanted,
        )
        if rounds:
            return First(self.gate(gate_id), [], [])
        numbered = [(row.seq, call_of(row)) for (row,) in calls]
        if len(calls) == queries.CALLS_AT_ONCE:
            numbered += self.calls_of_run(root_run_id, numbered[-1][0])
        return First([], self._whole(queries.ALIKE, alike, wanted), numbered)

    def calls_of_run(self, root_run_id: str, after: int) -> list[tuple[int, Call]]:
        """All of a number above `after`, oldest first."""
        found, full = list[tuple[int, Call]](), True
        while full:
            last = found[-1][0] if found else after
            rows = self.rows.read(
                [LoopCallRow], queries.CALLS_OF_RUN, root_run_id=root_run_id, after=last
            )
            found += [(row.seq, call_of(row)) for (row,) in rows]
            full = len(rows) == queries.CALLS_AT_ONCE
        return found

    def counted(self, root_run_id: str, action: str, arguments_digest: str) -> Counted:
        """What a run has done so far with an action."""
        wanted = {"root_run_id": root_run_id, "action": action}
        wanted |= {"arguments_digest": arguments_digest}
        self.flush()
        return Counted(*self.session.connection().execute(queries.COUNTED, wanted).one())

    def alike(self, request: ApprovalRequest) -> list[Aggregate]:
        """What a run has proposed before through other gates, word for word."""
        return self._read(queries.ALIKE, **_same(request))

    def begun_alike(self, request: ApprovalRequest) -> int:
        """Through how many other gates the run has done the same, or is about to. Nobody else
        begins it there before this transaction ends.
        """
        lock = [] if self._sqlite else [queries.LOCK_CALL]  # SQLite has one writer anyway
        call = f"{request.run.root_run_id} {request.action.fingerprint}"
        return int(self.rows.value(queries.BEGUN_ALIKE, *lock, call=call, **_same(request)))

    def pauses(self, root_run_id: str) -> list[Span]:
        """From when to when people were asked in a run, as far as that is over."""
        return self.rows.plain(queries.PAUSES, root_run_id=root_run_id)

    def loops_of_run(self, root_run_id: str) -> list[Aggregate]:
        """A run's questions about loops that have their answer, in the order of the answers."""
        return self._read(queries.LOOPS_OF_RUN, root_run_id=root_run_id)

    def _read(self, by: queries.Whole, *, lock: bool = False, **values: object) -> list[Aggregate]:
        """Only what is read under its lock is sure to be of one moment."""
        if not lock:
            return self._whole(by, self.rows.read([RequestRow], by.requests, **values), values)
        rows, done = self.rows.read_all(([RequestRow], by.locked), (DONE, by.executions), **values)
        return self._with_events(by, rows, done, values)

    def _whole(
        self, by: queries.Whole, rows: list[Any], values: Mapping[str, object]
    ) -> list[Aggregate]:
        """Requests that are read already, with what happened to them."""
        done = self.rows.read(DONE, by.executions, **values) if rows else []
        return self._with_events(by, rows, done, values)

    def _with_events(
        self, by: queries.Whole, rows: list[Any], done: list[Any], values: Mapping[str, object]
    ) -> list[Aggregate]:
        told: list[tuple[EventRow]] = []
        if any(row.asks_people or row.review == "done" for (row,) in rows):
            told = self.rows.read([EventRow], by.events, **values)
        return aggregates([row for (row,) in rows], done, [event for (event,) in told])

    def of_run(self, root_run_id: str, limit: int = 300) -> list[Aggregate]:
        """All rounds of all gates of a run, oldest first; of a very long run the last ones."""
        return self._read(queries.OF_RUN, root_run_id=root_run_id, limit=limit)[::-1]

    def matching(self, prefix: str) -> list[str]:
        """Ids that begin with `prefix`, at most two: enough to know whether it is unique."""
        query = select(RequestRow.id).where(col(RequestRow.id).startswith(prefix, autoescape=True))
        return list(self.session.exec(query.limit(2)).all())

    def asked(self, *, waiting: bool, limit: int) -> list[Aggregate]:
        """What people were asked: open questions by deadline, or settled ones, newest first."""
        by = queries.WAITING if waiting else queries.SETTLED
        return self._read(by, limit=limit)

    def looked_at(self, *, wanted: bool, limit: int) -> list[Aggregate]:
        """What ran by itself and was drawn: yet to be looked at, or looked at, newest first."""
        return self._read(queries.TO_REVIEW if wanted else queries.REVIEWED, limit=limit)

    def overdue(self, limit: int = 100) -> list[str]:
        query = select(RequestRow.id).where(
            col(RequestRow.outcome).is_(None), col(RequestRow.due_at) <= self.now
        )
        return list(self.session.exec(query.order_by(col(RequestRow.due_at)).limit(limit)).all())

    def open(self, request: ApprovalRequest) -> Aggregate:
        """Insert a new round; the policy's own outcome, if it has one, comes with it."""
        requirement = request.requirement
        row = new(
            RequestRow,
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
            due_at=due(requirement, ()) if requirement else None,
            body=request.model_dump_json(),
            agent=request.requester.agent,
            counterparty=request.counterparty,
            # a batch moves nothing itself: its lines do, and sums are made of them
            amount_minor=request.amount.minor if request.amount and not request.lines else None,
            currency=request.amount.currency if request.amount else "",
            business_key=" ".join(request.action.subject),
            budget=key_of(request.evidence) or None,
        )
        aggregate = Aggregate(row, request, (), None)
        self._settle(aggregate)
        self.rows.add(RequestRow, row)
        return aggregate

    def append(self, aggregate: Aggregate, events: Iterable[Event]) -> bool:
        """Write what happened and fold the outcome anew. True if the outcome changed."""
        for event in events:
            row = new(
                EventRow,
                request_id=aggregate.request.id,
                seq=len(aggregate.events) + 1,
                kind=event.kind,
                person=event.decision.person if isinstance(event, Decided) else None,
                at=event.at,
                body=event.model_dump_json(),
            )
            self.rows.add(EventRow, row)
            aggregate.events = (*aggregate.events, event)
        aggregate.row.revision += 1
        asked = widened(aggregate.request, aggregate.events).requirement
        aggregate.row.deadline_at = asked.deadline_at if asked else None
        aggregate.row.due_at = due(asked, aggregate.events) if asked else None
        changed = self._settle(aggregate)
        self.touch(aggregate)
        return changed

    def touch(self, aggregate: Aggregate) -> None:
        aggregate.row.version += 1

    def _settle(self, aggregate: Aggregate) -> bool:
        found = fold(aggregate.request, aggregate.events)
        if found is None or found.kind.value == aggregate.row.outcome:
            return False
        aggregate.row.outcome = found.kind.value
        aggregate.row.outcome_body = found.model_dump_json()
        aggregate.row.settled_at = self.now
        return True

    # -- executions -------------------------------------------------------------------------

    def save(self, aggregate: Aggregate, execution: Execution) -> None:
        """Write an execution; its last attempt is the only one that can have changed."""
        row = self.rows.known(ExecutionRow, execution.request_id)
        if row is None:
            row = new(
                ExecutionRow,
                request_id=execution.request_id,
                state=execution.state.value,
                queued_at=self.now,
            )
            self.rows.add(ExecutionRow, row)
        row.state = execution.state.value
        row.result = None if execution.result is None else _dumps(execution.result)
        row.differences = _dumps(list(execution.differences))
        last = execution.last
        if last is not None:
            self._save(execution.request_id, last)
        aggregate.execution = execution
        self.touch(aggregate)

    def _save(self, request_id: str, attempt: Attempt) -> None:
        """Where the attempt's id is that of another request's InvalidInput is raised, if only
        when it is written.
        """
        words = f"attempt_id = {attempt.id[:12]!r} belongs to another request: "
        taken = InvalidInput(words + "make a new one for each call.")
        row = self.rows.known(AttemptRow, attempt.id)
        if row is None:
            row = new(AttemptRow, request_id=request_id, **attempt.model_dump())
            self.rows.add(AttemptRow, row, taken=taken)
        elif row.request_id != request_id:
            raise taken
        for name, value in attempt:
            setattr(row, name, value)

    def holder_of(self, attempt_id: str) -> Aggregate | None:
        """The request that an attempt belongs to, if there is such an attempt."""
        found = self._read(queries.BY_ATTEMPT, attempt_id=attempt_id)
        return found[0] if found else None

    def leasable(
        self, names: Sequence[str], settled_before: datetime, freezes: Sequence[Freeze] = ()
    ) -> list[Leasable]:
        """Requests that an executor may take: queued ones that no freeze covers, and those in doubt
        whose last attempt ended before `settled_before`, when its call can no longer land.
        """
        fresh = select(AttemptRow.id).where(
            AttemptRow.request_id == ExecutionRow.request_id,
            col(AttemptRow.ended_at).is_(None) | (col(AttemptRow.ended_at) >= settled_before),
        )
        later = aliased(RequestRow)
        query = (
            select(
                ExecutionRow.request_id,
                RequestRow.version,
                ExecutionRow.state,
                ExecutionRow.queued_at,
            )
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
        if not freezes:
            return [Leasable(*row) for row in self.session.exec(query.limit(LOOKED_AT)).all()]
        return self._thawed(query, freezes)

    def _thawed(self, query: Any, freezes: Sequence[Freeze]) -> list[Leasable]:
        """The first that no freeze covers, however many of the others wait before them."""
        if any(freeze.scope.everything for freeze in freezes):
            query = query.where(ExecutionRow.state == "in_doubt")
        whom = query.add_columns(
            RequestRow.agent, RequestRow.action, RequestRow.counterparty, RequestRow.root_run_id
        )
        found: list[Leasable] = []
        for *work, agent, action, counterparty, run in self.session.exec(whom):
            start = Start(agent=agent, action=action, counterparty=counterparty, run=run)
            one = Leasable(*work)
            if one.state == "in_doubt" or stopping(freezes, start) is None:
                found.append(one)
            if len(found) == LOOKED_AT:
                break
        return found

    def lock_run(self, root_run_id: str) -> None:
        """Nobody else counts this run's failures before this transaction ends. Taken after the
        request's own lock, and never before one. SQLite has one writer anyway.
        """
        self._note_lock(root_run_id)
        self.flush()

    def _note_lock(self, root_run_id: str) -> None:
        """Taken with what is written next."""
        if self.rows.connection.dialect.name != "sqlite":
            self.rows.note(queries.LOCK_RUN, {"root_run_id": root_run_id})

    def lapsed(self, limit: int = 100) -> list[str]:
        query = select(AttemptRow.request_id).where(
            col(AttemptRow.ended_at).is_(None), col(AttemptRow.lease_until) <= self.now
        )
        return list(self.session.exec(query.limit(limit)).all())

    # -- loops ------------------------------------------------------------------------------

    def failures(self, like: Call, since: datetime) -> list[tuple[int, Call]]:
        """The latest of the same action about the same subject, in whatever run; without a subject,
        with the same arguments. With their numbers, oldest first.
        """
        by = queries.FAILURES_ABOUT if like.business_key else queries.FAILURES
        stored = self.rows.read([LoopCallRow], by, **dict(like) | {"since": since})
        return [(row.seq, call_of(row)) for (row,) in reversed(stored)]

    def add_call(self, root_run_id: str, call: Call) -> None:
        """With the run's lock, so that its calls are committed in the order of their numbers: who
        reads on from the last one that it knows would miss a lower one that comes late.
        """
        self._note_lock(root_run_id)
        values = dict(call) | {"root_run_id": root_run_id, "arguments": _dumps(call.arguments)}
        self.rows.note(queries.ADD_CALL, values)

    def loop_rounds(self, call: Call, fingerprint: str, since: datetime) -> list[Aggregate]:
        """Questions about loops that have their answer: of gates that have failed since then about
        this call's subject, in whatever run; where it has none, about just this call, and about any
        other of this run.
        """
        values = dict(call) | {"fingerprint": fingerprint, "since": since}
        about = queries.LOOP_ROUNDS_ABOUT if call.business_key else queries.LOOP_ROUNDS
        return self._read(about, **values)

    def loop_questions(self, after: datetime, last: str, limit: int) -> list[Aggregate]:
        """Those opened after `after`, or then and of an id above `last`; oldest first."""
        return self._read(queries.LOOP_QUESTIONS, after=after, last=last, limit=limit)

    def budget_answers(self, scope: Scope) -> list[Aggregate]:
        """Questions about a budget over runs that have their answer, the latest first."""
        return self._read(queries.BUDGET_ANSWERS, budget=scope.key)

    def lock_call(self, action: Action) -> None:
        """Nobody else counts failures of this action about its subject, or, where it has none, of
        just this call, before this transaction ends, in whatever run. Taken after the run's lock.
        SQLite has one writer anyway.
        """
        subject = " ".join(action.subject)
        if not self._sqlite:
            call = f"{action.name} {subject}" if subject else action.fingerprint
            self.rows.value(queries.LOCK_CALL, call=call)

    @property
    def _sqlite(self) -> bool:
        return self.session.get_bind().dialect.name == "sqlite"

    # -- runs -------------------------------------------------------------------------------

    def owner(self, root_run_id: str) -> str | None:
        """The id of the key that first proposed in a run; None for an unknown one."""
        mine = self.rows.known(RunRow, root_run_id)
        if mine is not None:  # not committed yet: nobody else may learn of it
            return mine.key_id
        owners: dict[str, str] = self.session.info[OWNERS]
        if root_run_id not in owners:
            found = self.rows.read([RunRow], queries.RUN, root_run_id=root_run_id)
            if not found:
                return None
            owners[root_run_id] = found[0][0].key_id
        return owners[root_run_id]

    def own(self, root_run_id: str, key_id: str) -> None:
        """The run is this key's from now on."""
        row = new(RunRow, root_run_id=root_run_id, key_id=key_id, opened_at=self.now)
        self.rows.add(RunRow, row)

    # -- log and outbox ---------------------------------------------------------------------

    def log(self, actor: str, kind: str, subject: str, **body: object) -> None:
        values = {"at": self.now, "actor": actor, "kind": kind, "subject": subject}
        self.rows.note(queries.LOG, values | {"body": _dumps(body)})

    def tell_again(self, aggregate: Aggregate, *kinds: str) -> None:
        """Where a gate takes something back, what its run's ended questions show has changed."""
        if not aggregate.request.gate_key.startswith(UNDO):
            return
        query = select(RequestRow.id).where(
            RequestRow.root_run_id == aggregate.row.root_run_id,
            RequestRow.asks_people,
            col(RequestRow.outcome).is_not(None),
            RequestRow.id != aggregate.request.id,
        )
        for request_id in self.session.exec(query.limit(MOST_TOLD)).all():
            raised = update(RequestRow).where(col(RequestRow.id) == request_id)
            self.session.exec(raised.values(revision=col(RequestRow.revision) + 1))
            self.wish(request_id, *kinds)

    def wish(
        self, request_id: str, *kinds: str, place: str = "", due: datetime | None = None
    ) -> None:
        """Ask the outbox to bring `kinds` up to date for a request, now or when it is `due`."""
        for kind in sorted(kinds):  # all lock these rows in the same order
            at = {"place": place, "due_at": due or self.now}
            values = {"kind": kind, "request_id": request_id} | at
            self.rows.note(queries.WISH, values)
        self.session.info.setdefault(WISHED, set()).update(kinds)


def _same(request: ApprovalRequest) -> dict[str, Any]:
    """What ALIKE asks for."""
    return {
        "gate_id": request.gate_id,
        "root_run_id": request.run.root_run_id,
        "fingerprint": request.action.fingerprint,
    }


def _missing(request_id: str) -> NoReturn:
    raise NotFound(f"There is no request {request_id[:64]!r}: see `gates list`.")


def call_of(row: LoopCallRow) -> Call:
    values = {name: getattr(row, name) for name in Call.model_fields}
    return Call(**values | {"arguments": orjson.loads(row.arguments)})


def _dumps(value: Json | list[str] | dict[str, object]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
