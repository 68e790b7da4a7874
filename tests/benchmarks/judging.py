"""One recorded call, judged by a shipped policy as the server would judge it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from gates.core.model import RunRef, Verdict
from gates.core.people import load_people
from gates.core.policy import Policy, load_policy
from gates.originating import OriginOf
from tests.benchmarks.recorded import Call, Truth
from tests.support.policies import PEOPLE_FILE, ROOT

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Judged:
    truth: Truth
    verdict: Verdict
    milliseconds: float  # of the judgement
    origin: float  # milliseconds of finding out where the destinations come from
    named: bool  # the request names where it goes

    @property
    def stopped(self) -> bool:
        return self.verdict is not Verdict.ALLOW


@dataclass(frozen=True)
class Asked:
    """The request of a run, as an engine would tell it."""

    request: str

    def text(self, run: RunRef) -> str:
        del run
        return self.request


def shipped(name: str) -> Policy:
    file = ROOT / "policies" / name
    people = load_people(PEOPLE_FILE.read_text(), str(PEOPLE_FILE))
    return load_policy(file.read_text(), str(file), people)


def judged(policy: Policy, call: Call) -> Judged:
    began = time.perf_counter()
    wanted = "origin" in policy.mentions(call.question.action.name)
    found = OriginOf(Asked(call.request)).look(call.question, call.run, NOW) if wanted else {}
    middle = time.perf_counter()
    verdict = policy.judge(call.question.model_copy(update={"circumstances": found})).verdict
    ended = time.perf_counter()
    named = bool(found and found["origin"]["known"])
    return Judged(call.truth, verdict, (ended - middle) * 1e3, (middle - began) * 1e3, named)
