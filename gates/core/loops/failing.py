"""Finds an agent that runs in circles: the same trouble, again and again.

Pure: calls in, a finding out. Rules, each with what it protects from:
1. The same trouble is the same action about the same subject, whatever else its arguments say (a
   fresh memo); where an action names no subject, with the same arguments. The same way is the same
   class of error and the same message without what changes by itself (ids, times, durations).
   Word for word each failure counts; of what a run has tried with other arguments one does (the
   lines of one bill): how one run varies its calls is the step-by-step detector's business.
2. Failures are counted over runs, retries and resumes: whoever calls (a fresh run that starts
   from zero).
3. A success in between resets nothing (a call that works now and then is still a circle), and
   neither does another failure (an agent that alternates).
4. Work on the cause starts the count of its run anew: another write of the run has succeeded since
   the last failure, and the error says something else now (fix and retest, whose count falls).
5. A person's allowance starts the count anew, for that failure alone, and it is used up.
6. An attempt reported twice counts once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from gates.core.loops.pauses import Span, paused
from gates.core.loops.telling import priced
from gates.core.loops.volatile import failure_signature, wording
from gates.core.model import ApprovalRequest, Decision, DecisionKind, Json
from gates.core.value import Value

if TYPE_CHECKING:  # a flow's process uses the detector and needs no policy engine
    from gates.core.policy import LoopPolicy

MOST_SHOWN = 10
CUT = "\N{HORIZONTAL ELLIPSIS}"  # at the end of an answer that goes on: no JSON ends so


class Call(Value):
    """One finished call. `outcome_digest` names what came back, whether it failed or not; `answer`:
    the beginning of that. `writes`: a success changes the world. `cost` (minor units) and `tokens`,
    as its agent reports them. `business_key`: what it was about; empty for nothing in particular.
    `began_at`: when it was proposed, or tried again.
    `root_run_id`: the run that made it.
    """

    request_id: str
    attempt_id: str
    action: str
    arguments_digest: str
    outcome_digest: str = ""
    error_class: str = ""
    error: str = ""
    failed: bool
    at: datetime
    arguments: Json = Field(default_factory=dict)
    answer: str = ""
    writes: bool = True
    cost: int = 0
    tokens: int = 0
    business_key: str = ""
    agent: str = ""
    began_at: datetime | None = None
    root_run_id: str = ""


class Allowance(Value):
    """A person's word that this call, or what is about the same, may fail `more` times before it
    asks again; in this way, or, without a signature, in whatever way.
    """

    action: str
    arguments_digest: str
    business_key: str = ""
    signature: str | None = None
    more: int = Field(ge=1)
    at: datetime


class Tried(Value):
    """One of the attempts that a card shows side by side; `number` counts from 1."""

    number: int
    request_id: str
    at: datetime
    arguments: Json
    error: str


class Finding(Value):
    """`count`: failures since the last allowance, or work on the cause. `attempts`: the last ten of
    `total`. `spent`: what all of them have cost; the time is that of each run by itself.
    """

    action: str
    arguments_digest: str
    business_key: str = ""
    signature: str
    count: int
    total: int
    error_class: str
    error: str
    attempts: tuple[Tried, ...]
    differences: tuple[str, ...]
    spent: Json = Field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} failed {self.total} times in the same way: {self.error}"

    def allowance(self, more: int, at: datetime) -> Allowance:
        """What a person grants who lets it go on."""
        return Allowance(
            action=self.action,
            arguments_digest=self.arguments_digest,
            business_key=self.business_key,
            signature=self.signature,
            more=more,
            at=at,
        )


def allowed(request: ApprovalRequest, decisions: Sequence[Decision]) -> int:
    """How many more failures an approved question about a loop allows: as many as those who
    approved it said, the fewest of them; where nobody said, as many as the policy did.
    """
    said = [
        one.loop.more
        for one in decisions
        if one.kind is DecisionKind.APPROVE and one.loop is not None and one.loop.more is not None
    ]
    return min(said, default=int(str(request.evidence.get("allow_more", 1))))


def look(
    calls: Sequence[Call],
    allowances: Sequence[Allowance],
    policy: LoopPolicy,
    pauses: Callable[[str], Sequence[Span]] = lambda _run: (),
) -> Finding | None:
    """Whether the last of `calls` closes a circle. Calls stand in the order they ended; of what
    succeeded only the writes of the last one's run matter. `pauses`: when people were asked in a
    run, which is none of what it has cost.
    """
    if not calls or not calls[-1].failed:
        return None
    last, signature = calls[-1], _signature(calls[-1])
    same = _same_failures(calls, last, signature)
    allowance = _latest(allowances, last, signature)
    past = _worked_on(calls, same)
    since = [
        call
        for call in same
        if call.attempt_id not in past and (allowance is None or call.at > allowance.at)
    ]
    if allowance is None:
        most, same, since = policy.same_failure, _counting(same, last), _counting(since, last)
    else:  # so many more tries, with whatever arguments
        most = allowance.more
    if len(since) < most:
        return None
    tried = _tried(same)
    return Finding(
        action=last.action,
        arguments_digest=last.arguments_digest,
        business_key=last.business_key,
        signature=signature,
        count=len(since),
        total=len(same),
        error_class=last.error_class,
        error=last.error,
        attempts=tried,
        differences=differences(tried),
        **priced(
            _seconds(same, pauses),
            sum(call.cost for call in same),
            sum(call.tokens for call in same),
        ),
    )


def _seconds(calls: Sequence[Call], pauses: Callable[[str], Sequence[Span]]) -> int:
    """From the first to the last of each run: what lies between two runs is nobody's work."""
    runs: defaultdict[str, list[datetime]] = defaultdict(list)
    for call in calls:
        runs[call.root_run_id].append(call.at)
    total = 0.0
    for run, times in runs.items():
        first, last = min(times), max(times)
        if first < last:
            total += (last - first - paused(pauses(run), first, last)).total_seconds()
    return int(total)


def differences(attempts: Sequence[Tried]) -> tuple[str, ...]:
    """What changed from one attempt to the next, in words; nothing where they are alike."""
    found: list[str] = []
    for before, after in pairwise(attempts):
        old, new = _visible(before), _visible(after)
        found.extend(
            f"attempt {after.number}: {key} {old.get(key, 'nothing')} -> {new.get(key, 'nothing')}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        )
    return tuple(found)


def _signature(call: Call) -> str:
    return failure_signature(call.error_class, call.error)


def _same_failures(calls: Sequence[Call], last: Call, signature: str) -> list[Call]:
    found: dict[str, Call] = {}
    for call in calls:
        if call.failed and _about(call) == _about(last):
            found.setdefault(call.attempt_id, call)
    return [call for call in found.values() if _signature(call) == signature]


def _worked_on(calls: Sequence[Call], same: Sequence[Call]) -> set[str]:
    """The attempts of the last one's run whose cause it has worked on since, to some effect."""
    last, counted = calls[-1], {call.attempt_id: call for call in same}
    past: set[str] = set()
    before: list[Call] = []
    wrote = False
    for call in calls:
        if call.root_run_id != last.root_run_id:
            continue
        if counted.get(call.attempt_id) is call:
            if wrote and before and wording(call.error) != wording(before[-1].error):
                past.update(one.attempt_id for one in before)
                before = []
            before.append(call)
            wrote = False
        elif call.writes and not call.failed and _what(call) != _what(last):
            wrote = True
    return past


def _counting(failures: Sequence[Call], last: Call) -> list[Call]:
    """Word for word each; of a run that tried other arguments alone its last one."""
    exact = {call.root_run_id for call in failures if _what(call) == _what(last)}
    others = {call.root_run_id: call.attempt_id for call in failures}
    return [
        call
        for call in failures
        if _what(call) == _what(last)
        or (call.root_run_id not in exact and others[call.root_run_id] == call.attempt_id)
    ]


def _about(one: Call | Allowance) -> tuple[str, str, str]:
    """What failures are counted by."""
    return one.action, one.business_key, "" if one.business_key else one.arguments_digest


def _what(call: Call) -> tuple[str, str]:
    return call.action, call.arguments_digest


def _latest(allowances: Sequence[Allowance], last: Call, signature: str) -> Allowance | None:
    fitting = [
        one
        for one in allowances
        if _about(one) == _about(last) and one.signature in (None, signature)
    ]
    return max(fitting, key=lambda one: one.at, default=None)


def _tried(calls: Sequence[Call]) -> tuple[Tried, ...]:
    tried = [
        Tried(
            number=number,
            request_id=call.request_id,
            at=call.at,
            arguments=call.arguments,
            error=call.error,
        )
        for number, call in enumerate(calls, start=1)
    ]
    return tuple(tried[-MOST_SHOWN:])


def _visible(attempt: Tried) -> dict[str, str]:
    return {"error": attempt.error, **dict(_leaves(attempt.arguments, "arguments"))}


def _leaves(value: JsonValue, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, str(value)
