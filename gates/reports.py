"""What a report of an attempt means: for the attempt, for the loop detector, for the log."""

from __future__ import annotations

import hashlib

import orjson

from gates.core import execution as tries
from gates.core.canonical import digest
from gates.core.errors import InvalidGrant, InvalidInput
from gates.core.loops import Call, reported
from gates.core.messages import AttemptReport
from gates.core.model import ApprovalRequest, Attempt, Execution, ExecutionState, Json
from gates.recording import KeyHolder
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit

LONGEST_ANSWER = 500  # bytes of a result that the loop detector compares


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


def as_call(request: ApprovalRequest, attempt_id: str, told: AttemptReport, unit: Unit) -> Call:
    outcome: object = told.result
    if told.state != "succeeded":
        outcome = [told.error_class, told.error]
    return Call(
        request_id=request.id,
        attempt_id=attempt_id,
        action=request.action.name,
        arguments_digest=digest(request.action.arguments),
        outcome_digest=_digest(outcome),
        error_class=told.error_class,
        error=told.error,
        failed=told.state == "failed",
        at=unit.now,
        arguments=request.action.arguments,
        answer="" if told.result is None else _beginning(told.result),
        writes=not request.changes_nothing,
        cost=reported(request.claims, "cost_minor"),
        tokens=reported(request.claims, "tokens"),
        business_key=" ".join(request.action.subject),
        agent=request.requester.agent,
        root_run_id=request.run.root_run_id,
    )


def _beginning(result: Json) -> str:
    return orjson.dumps(result, option=orjson.OPT_SORT_KEYS)[:LONGEST_ANSWER].decode(
        errors="ignore"
    )


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
