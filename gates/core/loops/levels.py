"""How far up a loop has gone. Pure: settled questions in, a level and its words out.

A loop is found on level 1. Each time it comes back although people have said what to do instead,
and each time it is pushed against their question, it goes one level up: to whom the policy names
there, who may allow fewer tries, or none. A plain yes or no moves it nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from gates.core.loops.circles import Kind
from gates.core.loops.telling import whole
from gates.core.model import (
    ApprovalRequest,
    Decision,
    DecisionKind,
    Json,
    Outcome,
    OutcomeKind,
    Reason,
)
from gates.core.value import Value

REMEMBERED = timedelta(days=7)  # so long a failure counts, whichever run it was in, and guidance
MOST_SHOWN = 3  # of those who gave guidance
LONGEST_SAID = 300  # characters of it
ONCE = WRITE, REFUSED = Kind.SAME_WRITE.value, "refused_again"  # what stands in the evidence


class Guidance(Value):
    """What somebody said an agent should do instead."""

    by: str
    said: str
    at: datetime


def guidance(decisions: Sequence[Decision], outcome: Outcome | None) -> Guidance | None:
    """The guidance with which a question about a loop ended; None where it ended otherwise. What a
    changed world voids is nobody's word.
    """
    if outcome is None or not decisions:
        return None
    last = decisions[-1]
    changed = last.kind is DecisionKind.APPROVE_WITH_CHANGES
    if outcome.kind is OutcomeKind.VOIDED and changed:
        return Guidance(by=last.who, said=last.reason or "other arguments", at=outcome.at)
    if outcome.kind is OutcomeKind.SENT_BACK:
        return Guidance(by=last.who, said=last.reason, at=outcome.at)
    return None


def climbed(given: Iterable[Guidance], level: int = 0) -> Json:
    """The evidence of a level: where `level` is not known otherwise, one up for each guidance."""
    listed = sorted(given, key=lambda one: one.at)
    return {
        "level": max(level, 1 + len(listed)),
        "guidance": [one.model_dump(mode="json") for one in listed[-MOST_SHOWN:]],
    }


def level_of(evidence: Json) -> int:
    return max(whole(evidence.get("level")), 1)


def why_up(evidence: Json) -> str:
    """Why a loop is no longer on level 1; empty while it is."""
    level = level_of(evidence)
    if level == 1:
        return ""
    listed = evidence.get("guidance")
    said = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if not said:
        return f"Level {level}: it was tried again and again although people were asked"
    names = " and ".join(dict.fromkeys(str(one.get("by")) for one in said))
    words = str(said[-1].get("said"))
    short = words if len(words) <= LONGEST_SAID else f"{words[: LONGEST_SAID - 3]}..."
    return f"Level {level}: it came back after guidance by {names}: {short}"


def level_reasons(evidence: Json) -> tuple[Reason, ...]:
    """The same as a reason of a judgement."""
    words = why_up(evidence)
    return (Reason(rule="loop.level", text=words),) if words else ()


def counts_tries(evidence: Json) -> bool:
    """Whether an answer may say how many more: of a circle in a run, and of a failure that was
    counted over runs. What was done already, or refused, is let through once for each approval.
    """
    return evidence.get("detector") not in ONCE


def barred(request: ApprovalRequest) -> str:
    """Why nobody may let this loop go on as it is; empty where they may."""
    evidence = request.evidence
    if evidence.get("refused_by") == "policy":
        return "the policy forbids this, and no word of people changes that"
    if evidence.get("allow_more") == 0:
        return (
            f"on level {level_of(evidence)} the policy lets nobody allow more tries of what came "
            "back after guidance"
        )
    return ""
