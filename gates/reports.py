"""What a report of an attempt means: for the attempt, for the loop detector, for the log."""

from __future__ import annotations

import hashlib
from datetime import datetime

import orjson

from gates.core import execution as tries
from gates.core.canonical import digest
from gates.core.errors import InvalidGrant, InvalidInput
from gates.core.loops import CUT, Call, Limits, reported, steady, without
from gates.core.messages import AttemptReport
from gates.core.model import ApprovalRequest, Attempt, Execution, ExecutionState, Json
from gates.recording import KeyHolder
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit

LONGEST_ANSWER = 500  # bytes of a result that the loop detector compares word by word
LONGEST_READ = 50_000  # of a longer one ids and times count, too


def weighed(attempt: Attempt, told: AttemptReport) -> AttemptReport:
    """What a report means for the attempt that it is about: only a reconciliation finds that
    nothing happened, and its own failure proves nothing about the call that it asks after.
    """
    told = told.model_copy(
        update={"error": _plain(told.error), "error_class": _plain(told.error_class)}
    )
    if told.state == "failed" and attempt.redeemed_at is not None:
        words = f"a proxy let its call through at {attempt.redeemed_at:%H:%M:%S} UTC; {told.error}"
        told = told.model_copy(update={"state": "in_doubt", "error": words})
    if told.state in ("absent", "unclear") and not attempt.reconciling:
        raise InvalidInput(
            f"state = {told.state!r} answers a reconciliation, and attempt {attempt.number} was "
            "to execute: report succeeded, failed or in_doubt."
        )
    if attempt.reconciling and told.state in ("failed", "in_doubt"):
        return told.model_copy(update={"state": "unclear"})
    return told


def _plain(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's text knows no NUL


def _digest(value: object) -> str:
    """Unlike what is approved, a result may hold any JSON, floats too."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def as_end(told: AttemptReport, unasked: str = "") -> tries.Report:
    """`unasked`: why nobody is asked about a failure that people should see. The flow hears it with
    the error; to the loop detector it is the same failure all the same.
    """
    states = {
        "succeeded": ExecutionState.SUCCEEDED,
        "failed": ExecutionState.FAILED,
        "in_doubt": ExecutionState.IN_DOUBT,
        "absent": ExecutionState.QUEUED,  # nothing happened: safe to run again
        "unclear": ExecutionState.IN_DOUBT,
    }
    return tries.Report(
        state=states[told.state],
        result=told.result,
        error=f"{told.error} ({unasked})" if unasked else told.error,
        error_class=told.error_class,
        differences=told.differences,
    )


def as_call(
    request: ApprovalRequest,
    attempt_id: str,
    told: AttemptReport,
    unit: Unit,
    limits: Limits,
    began_at: datetime | None = None,
) -> Call:
    """What the loop detector learns of it. `limits`: those of its action; `began_at`: where it was
    not the proposal that began it.
    """
    outcome, answer = _digest([told.error_class, told.error]), ""
    if told.state == "succeeded":
        outcome, answer = _answer(told.result, limits)
    return Call(
        request_id=request.id,
        attempt_id=attempt_id,
        action=request.action.name,
        arguments_digest=digest(request.action.arguments),
        outcome_digest=outcome,
        error_class=told.error_class,
        error=told.error,
        failed=told.state == "failed",
        at=unit.now,
        arguments=request.action.arguments,
        answer=answer,
        writes=not request.changes_nothing,
        cost=reported(request.claims, "cost_minor"),
        tokens=reported(request.claims, "tokens"),
        business_key=" ".join(request.action.subject),
        agent=request.requester.agent,
        began_at=request.opened_at if began_at is None else began_at,
        root_run_id=request.run.root_run_id,
    )


def _answer(result: Json | None, limits: Limits) -> tuple[str, str]:
    """The digest that equal answers share, and the beginning. Of what is too long to be kept, and
    compared word by word, the declared patterns are left out here.
    """
    written = orjson.dumps(result, option=orjson.OPT_SORT_KEYS)
    if result is None or limits.exact or not LONGEST_ANSWER < len(written) <= LONGEST_READ:
        outcome = _digest(result)
    else:
        text = steady(without(written.decode(), limits.volatile))
        outcome = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    if len(written) <= LONGEST_ANSWER:
        return outcome, "" if result is None else written.decode()
    return outcome, written[:LONGEST_ANSWER].decode(errors="ignore") + CUT


def note(
    unit: Unit,
    caller: KeyHolder,
    current: Aggregate,
    told: AttemptReport,
    after: Execution,
    unasked: str = "",
) -> None:
    """The log's entry of a report, with an alarm where what it tells must not be."""
    unit.log(
        caller.requester.agent,
        f"attempt.{told.state}",
        current.request.id,
        attempt=after.attempts[-1].id,
        number=len(after.attempts),
        result=None if told.result is None else _digest(told.result),
        error_class=told.error_class,
    )
    if told.error_class == InvalidGrant.__name__ and told.state == "failed":
        unit.log(
            caller.requester.agent,
            "alarm.grant_not_verified",
            current.request.id,
            attempt=after.attempts[-1].id,
            why=told.error,
        )
    if told.differences:
        unit.log(
            caller.requester.agent,
            "alarm.booked_differs",
            current.request.id,
            differences=list(told.differences),
        )
    if unasked:
        unit.log(
            caller.requester.agent,
            "alarm.nobody_asked",
            current.request.id,
            attempt=after.attempts[-1].id,
            why=unasked,
        )
