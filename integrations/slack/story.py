"""What happened to a request, a line each, in its order: the thread below its card. Pure.

Only ever grows: what has been told is told by its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from gates.core.lifecycle import ENDS_THE_ROUND, silent
from gates.core.model import Attempt, ExecutionState, OutcomeKind, RequestView
from gates.core.quorum import satisfied
from gates.core.wording import approvers, changed, ended
from integrations.slack.text import clean, cut, spoken

LINE = 700  # characters of one line; a message takes some of them
MOST = 3_000  # of a plain-text object
CHANGES = 5

ENDED = {
    ExecutionState.SUCCEEDED: "Done",
    ExecutionState.FAILED: "Failed, and left nothing behind",
    ExecutionState.IN_DOUBT: "In doubt: nobody knows how it ended",
}


def story(view: RequestView, later: RequestView | None = None) -> list[str]:
    """`later`: the round that has come after this one, if any."""
    told = sorted(_lines(view), key=lambda one: one[0])
    lines = [f"{spoken(at)}  {cut(clean(words), LINE)}" for at, words in told]
    if later is not None:
        words = f"Asked anew as round {later.request.round}"
        lines.append(f"{spoken(later.request.opened_at)}  {words}")
    return lines


def _lines(view: RequestView) -> Iterator[tuple[datetime, str]]:
    for one in view.decisions:
        reason = f": {one.reason}" if one.reason else ""
        lines = changed(view, one)
        more = f" ({'; '.join(lines[:CHANGES])})" if lines else ""
        yield one.at, f"{one.who} {one.kind.told}{reason}{more}"
    outcome = view.outcome
    if outcome is None:
        return
    last = view.decisions[-1] if view.decisions else None
    if last is not None and _agreed(view):
        yield last.at, "Approved: it may run now, once"
    if silent(outcome):
        yield outcome.at, "Nobody objected: it may run now, once"
    approved = outcome.kind is OutcomeKind.APPROVED
    if not approved and (last is None or last.kind not in ENDS_THE_ROUND):
        yield outcome.at, ended(view).capitalize()
    for attempt in view.execution.attempts if view.execution else ():
        if attempt.ended_at is not None:
            yield attempt.ended_at, _attempt(attempt, view)


def _agreed(view: RequestView) -> bool:
    """Whether enough people have approved, whatever came after that."""
    requirement = view.request.requirement
    return requirement is not None and satisfied(requirement, approvers(view))


def _attempt(attempt: Attempt, view: RequestView) -> str:
    words = f"Attempt {attempt.number}: {ENDED.get(attempt.state, attempt.state.value)}"
    if attempt.state is ExecutionState.SUCCEEDED and view.execution is not None:
        words += "".join(f"; not as approved: {one}" for one in view.execution.differences[:3])
    return words + (f": {attempt.error}" if attempt.error else "")


def untold(lines: list[str], told: int) -> str:
    """What has not been told yet, as one message."""
    return cut("\n".join(lines[told:]), MOST)
