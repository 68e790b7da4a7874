"""The same proposal once more in one run: what is done already, or was refused before.

A first success tells an agent that it is done, and a refusal that it may not: one that proposes
the very same again has understood neither. What would do the same a second time is put to people
before it runs, always, and one yes lets it run once; what is under way counts as done, for two
that are proposed side by side would both run. What was refused twice is put to people at the third
try, instead of being refused for ever (in one recorded run a supervisor refused the same call 408
times).
"""

from __future__ import annotations

from collections.abc import Sequence

from gates.actions import Registry
from gates.core.canonical import canonical_json
from gates.core.errors import UnknownAction
from gates.core.loops import Guidance, climbed, guidance, reported, spent
from gates.core.loops.levels import REFUSED, WRITE
from gates.core.loops.telling import times, whole
from gates.core.messages import Proposal
from gates.core.model import (
    BEGUN,
    ApprovalRequest,
    ExecutionState,
    Json,
    OutcomeKind,
    Purpose,
    Verdict,
)
from gates.store.aggregate import Aggregate

MOST_REFUSED = 2  # refusals that an agent is simply told
MOST_SHOWN = 10
LONGEST_SAID = 300  # characters of what a write has brought


def evidence(
    request: ApprovalRequest, alike: Sequence[Aggregate], rounds: Sequence[Aggregate] = ()
) -> Json | None:
    """Why this proposal is put to people as a circle; None where it is not. `alike`: what the run
    has proposed before, word for word, through other gates; `rounds`: through this one.
    """
    if request.purpose is not Purpose.ACTION:
        return None
    guided = _guided((*alike, *rounds))
    done = begun(alike)
    if done and not request.changes_nothing and request.judgement.verdict is not Verdict.FORBID:
        over = all(_succeeded(one) for one in done)
        words = "it has been done" if over else "it has been done or is under way"
        return _told(WRITE, done, words) | climbed(guided)
    refused = [one for one in _in_order(alike) if _refused(one)]
    forbidden = request.judgement.verdict is Verdict.FORBID
    if len(_since_people_said_no(refused) if forbidden else refused) < MOST_REFUSED:
        return None
    found = _told(REFUSED, refused, "it was refused")
    return found | climbed(guided) | {"refused_by": "policy" if forbidden else "people"}


def changes_nothing(registry: Registry, proposal: Proposal) -> bool:
    """Whether doing it twice is doing it once. A flow's own function is a write unless it says
    otherwise: its body is the flow's own, and so is the harm.
    """
    if proposal.in_process:
        return proposal.question or proposal.changes_nothing
    try:
        return registry.find(proposal.name).changes_nothing
    except UnknownAction:
        return False


def known(request: ApprovalRequest) -> int | None:
    """How often the same had been done in the run, or was under way, by what people were shown;
    None where that does not matter: for what only looks, and for what asks how an attempt ended.
    """
    if request.changes_nothing or request.purpose not in (Purpose.ACTION, Purpose.LOOP):
        return None
    evidence = request.evidence
    return whole(evidence.get("count")) if evidence.get("detector") == WRITE else 0


def begun(alike: Sequence[Aggregate]) -> list[Aggregate]:
    """The latest round of each gate that has done it or may have, oldest first."""
    found = [one for one in _in_order(alike) if one.execution and one.execution.state in BEGUN]
    return list({one.request.gate_id: one for one in found}.values())


def in_words(done: Sequence[Aggregate]) -> tuple[str, ...]:
    return tuple(
        f"{one.request.gate_key} {'has done it' if _succeeded(one) else 'is under way'}"
        for one in done[-MOST_SHOWN:]
    )


def _succeeded(one: Aggregate) -> bool:
    return one.execution is not None and one.execution.state is ExecutionState.SUCCEEDED


def _refused(one: Aggregate) -> bool:
    """What people said of another circle is the detector's to weigh."""
    asked, outcome = one.request, one.outcome
    other = asked.purpose is not Purpose.ACTION and asked.evidence.get("detector") != REFUSED
    return outcome is not None and outcome.kind is OutcomeKind.REJECTED and not other


def _in_order(alike: Sequence[Aggregate]) -> list[Aggregate]:
    return sorted(alike, key=lambda one: one.request.opened_at)


def _since_people_said_no(refused: Sequence[Aggregate]) -> Sequence[Aggregate]:
    """What the policy has refused by itself since: people who said no to the circle are asked about
    it again each third time, and not each time. (Where people refuse, they are asked anyhow.)
    """
    asked = [at for at, one in enumerate(refused) if one.request.purpose is Purpose.LOOP]
    return refused[asked[-1] + 1 :] if asked else refused


def _guided(before: Sequence[Aggregate]) -> list[Guidance]:
    """What people have said about these very circles."""
    asked = [one for one in before if one.request.evidence.get("detector") in (WRITE, REFUSED)]
    return [given for one in asked if (given := guidance(one.decisions, one.outcome))]


def _came_of(one: Aggregate) -> str:
    """What an agent was told, or what stands there now."""
    if one.execution is None:
        return str(one.outcome or "")
    if not _succeeded(one):
        return "is under way"
    result = one.execution.result
    said = "" if result is None else canonical_json(result).decode()
    return f"done: {said[:LONGEST_SAID]}" if said else "done"


def _told(detector: str, before: Sequence[Aggregate], words: str) -> Json:
    count = len(before)
    attempts: list[Json] = [
        {
            "number": number,
            "request_id": one.request.id,
            "at": one.request.opened_at.isoformat(),
            "arguments": one.request.action.arguments,
            "error": _came_of(one),
        }
        for number, one in enumerate(before, start=1)
    ]
    return {
        "detector": detector,
        "count": count,
        "total": count,
        "attempts": [*attempts[-MOST_SHOWN:]],
        "words": f"{words} {times(count)} in this run, in the very same words",
        **spent(
            [one.request.opened_at for one in before],
            sum(reported(one.request.claims, "cost_minor") for one in before),
            sum(reported(one.request.claims, "tokens") for one in before),
        ),
    }
