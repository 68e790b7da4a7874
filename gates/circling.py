"""Whether a run goes in circles, looked at before each of its calls.

One detector a run, fed with what ended in it, whichever server heard of that; what it knows can be
made anew from the store at any time, so that servers need not share it. What ended and what people
answered come to it in the order in which they happened: an answer that came after the calls which
it allowed would allow as many once more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from gates.core.canonical import digest
from gates.core.gate_keys import UNDO
from gates.core.loops import (
    CUT,
    Call,
    Circle,
    Detector,
    End,
    Guidance,
    Step,
    Thresholds,
    allowed,
    climbed,
    guidance,
    spent,
)
from gates.core.loops.over_runs import key_of
from gates.core.loops.pauses import Span, paused
from gates.core.model import ApprovalRequest, Json, OutcomeKind, Purpose, RunRef, Verdict
from gates.core.policy import LoopPolicy, Policy, Question
from gates.store.aggregate import Aggregate
from gates.store.database import Database
from gates.store.repository import Unit

MOST_KEPT = 512  # runs whose detectors are kept; of others they are made anew
MOST_CIRCLES = 32  # of one run


class News(NamedTuple):
    """What a detector has not heard yet. `calls`: those after the last known one, numbered;
    `answers`: the run's decided questions about loops; `pauses`: when people were asked.
    """

    calls: Sequence[tuple[int, Call]]
    answers: Sequence[Aggregate]
    pauses: Sequence[Span] = ()


@dataclass
class Watched:
    """`last`: the number of the last call that the detector was fed with. `circles`: what it found,
    by key, with the attempts that people are shown; `guided`: what people said about it. `asked`:
    the question that its run was last told to wait for. `began`: the calls side by side that come
    in now, and when the first of them ended.
    """

    detector: Detector
    last: int = 0
    last_at: datetime | None = None
    circles: OrderedDict[str, Circle] = field(default_factory=OrderedDict)
    answered: set[str] = field(default_factory=set)
    guided: dict[str, list[Guidance]] = field(default_factory=dict)
    asked: str = ""
    began: tuple[str, datetime] | None = None

    def follow(self, news: News) -> None:
        """What is new of these, as it came about. At the same moment the call came first: the
        answer is about it.
        """
        told = [one for one in news.answers if one.outcome is not None]
        told.sort(key=_given_at, reverse=True)
        for number, call in news.calls:
            while told and _given_at(told[-1]) < call.at:
                self.hear(told.pop())
            if number > self.last:
                self.hear_of(number, call, news.pauses)
        while told:
            self.hear(told.pop())

    def hear(self, answer: Aggregate) -> None:
        """A person's word on a circle, once."""
        request, outcome = answer.request, answer.outcome
        key = self._circle(request)
        if outcome is None or not key or request.id in self.answered:
            return
        self.answered.add(request.id)
        if outcome.kind is OutcomeKind.APPROVED:
            self.detector.allow(key, allowed(request, answer.decisions))
        elif given := guidance(answer.decisions, outcome):
            self.detector.steer(key)
            self.guided.setdefault(key, []).append(given)

    def _circle(self, request: ApprovalRequest) -> str:
        """The circle that a question is about: one that the detector has found, or, where failures
        were counted over runs, the one that the call makes here. Empty where it is about neither: a
        budget over runs is none of the run's own.
        """
        key = request.evidence.get("circle")
        if isinstance(key, str):
            return "" if key_of(request.evidence) else key
        return self.detector.circle_of(_step(request)) if "signature" in request.evidence else ""

    def hear_of(self, number: int, call: Call, pauses: Sequence[Span]) -> None:
        step, end = _told(call)
        since = paused(pauses, self.last_at or call.at, call.at).total_seconds()
        step = step._replace(round=self._beside(number, call), paused=since)
        found = self.detector.after(step, end)
        self.last, self.last_at = number, call.at
        if found is not None:
            self.circles[found.key] = found
            while len(self.circles) > MOST_CIRCLES:
                self.circles.popitem(last=False)

    def _beside(self, number: int, call: Call) -> str:
        """The round of a call: what was proposed before the first of a round had ended is of it."""
        if self.began is None or call.began_at is None or call.began_at >= self.began[1]:
            self.began = (str(number), call.at)
        return self.began[0]

    def before(self, step: Step) -> Circle | None:
        """A run that has not heard what people say of its last circle does not push: what it
        proposes meanwhile stands beside that.
        """
        if not self.heard:
            step = step._replace(attempt_id=self.asked)
        return self.detector.before(step)

    @property
    def heard(self) -> bool:
        return not self.asked or self.asked in self.answered


@dataclass
class Circling:
    """Safe to use by several threads."""

    _runs: OrderedDict[str, Watched] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def known(self, root_run_id: str) -> tuple[int, bool]:
        """The number of the last call of a run that is known here; whether people's answers could
        matter to what is known.
        """
        with self._lock:
            watched = self._runs.get(root_run_id)
            return (watched.last, bool(watched.detector.stopped)) if watched else (0, True)

    def look(
        self,
        request: ApprovalRequest,
        news: News,
        loops: LoopPolicy,
    ) -> Json | None:
        """Why a call that is `looked_at` is put to people, as evidence; None where nothing goes
        round.
        """
        root, step = request.run.root_run_id, _step(request)
        circle = self.found(root, step, news, loops.thresholds, request.id)
        if circle is None:
            return None
        found, guided = circle
        return _evidence(found) | climbed(guided, found.level)

    def found(
        self,
        root_run_id: str,
        step: Step,
        news: News,
        thresholds: Thresholds,
        asks: str = "",
    ) -> tuple[Circle, Sequence[Guidance]] | None:
        """The circle that this step is in, as people are shown it, and what they said of it.
        `asks`: the question that is put if it is in one.
        """
        with self._lock:
            watched = self._watched(root_run_id, thresholds)
            watched.follow(news)
            found = watched.before(step)
            if found is None:
                return None
            if watched.heard:
                watched.asked = asks
            shown = watched.circles.get(found.key, found)
            shown = shown.model_copy(update={"level": found.level})
            return shown, tuple(watched.guided.get(found.key, ()))

    def _watched(self, root_run_id: str, thresholds: Thresholds) -> Watched:
        watched = self._runs.setdefault(root_run_id, Watched(Detector(thresholds)))
        watched.detector.thresholds = thresholds
        self._runs.move_to_end(root_run_id)
        while len(self._runs) > MOST_KEPT:
            self._runs.popitem(last=False)
        return watched


@dataclass
class RunOf:
    """The circumstance `run`: what this run has done so far. Implements the port Circumstances.
    `policy` is asked each time, for it may be another by then.
    """

    database: Database
    policy: Callable[[], Policy]
    names: tuple[str, ...] = ("run",)
    kept: Circling = field(default_factory=Circling)

    def look(self, question: Question, run: RunRef, now: datetime) -> Mapping[str, Json]:
        action, root = question.action, run.root_run_id
        last, waits = self.kept.known(root)
        with self.database.read() as session:
            unit = Unit(session, now)
            calls = unit.calls_of_run(root, last)
            loops = self.policy().loops
            news = news_of(unit, root, last, calls, loops.thresholds, waits=waits)
            done = unit.counted(root, action.name, digest(action.arguments))
        step = Step.of(
            action.name,
            action.arguments,
            at=now,
            business_key=" ".join(action.subject),
            agent=question.requester.agent,
        )
        circle = self.kept.found(root, step, news, loops.thresholds)
        found = {"circling": circle is not None, "finding": circle[0].words if circle else ""}
        return {"run": done._asdict() | found}


def news_of(
    unit: Unit,
    root_run_id: str,
    last: int,
    calls: Sequence[tuple[int, Call]],
    thresholds: Thresholds,
    *,
    waits: bool,
) -> News:
    """What people have answered about a run's circles is read where that could matter: to what
    waits for it, or to a failure among the new calls, which may have been counted over runs; and
    when they were asked where time is counted.
    """
    waits = waits or any(call.failed for _, call in calls)
    answers = unit.loops_of_run(root_run_id) if waits and (last or calls) else []
    pauses = unit.pauses(root_run_id) if calls and thresholds.counts_time else []
    return News(calls, answers, pauses)


def looked_at(request: ApprovalRequest, rounds: Sequence[Aggregate]) -> bool:
    """Whether a proposal can be in a circle at all: a new one that might run, of no batch that
    people have agreed to. `rounds`: those of its gate before it.
    """
    new = not rounds and request.covered is None and request.purpose is Purpose.ACTION
    forbidden = request.judgement.verdict is Verdict.FORBID
    return new and not forbidden and not request.gate_key.startswith(UNDO)


def _given_at(answer: Aggregate) -> datetime:
    return answer.outcome.at if answer.outcome else answer.request.opened_at


def _step(request: ApprovalRequest) -> Step:
    return Step.of(
        request.action.name,
        request.action.arguments,
        at=request.opened_at,
        business_key=" ".join(request.action.subject),
        agent=request.requester.agent,
        attempt_id=request.id,
    )


def _told(call: Call) -> tuple[Step, End]:
    step = Step.of(
        call.action,
        call.arguments,
        writes=call.writes,
        at=call.at,
        business_key=call.business_key,
        agent=call.agent,
        attempt_id=call.attempt_id,
    )
    return step, End(
        outcome=call.outcome_digest,
        text=call.error if call.failed else call.answer,
        failed=call.failed,
        error_class=call.error_class,
        cost=call.cost,
        tokens=call.tokens,
        whole=not call.answer.endswith(CUT),
    )


def _evidence(found: Circle) -> Json:
    attempts: list[Json] = [
        {
            "number": one.number,
            "at": one.at.isoformat() if one.at else "",
            "arguments": {"call": f"{one.action} {one.arguments}"},
            "error": one.answer,
        }
        for one in found.attempts
    ]
    told: Json = {
        "detector": found.kind.value,
        "circle": found.key,
        "count": found.count,
        "total": len(found.attempts),  # `count` may be laps, or what a budget counts
        "words": found.words,
        "attempts": [*attempts],
        "differences": [*found.differences],
    }
    if found.drawn:
        told["cycle"] = found.drawn
    times = [one.at for one in found.attempts if one.at is not None]
    return told | spent(times, found.cost, found.tokens)
