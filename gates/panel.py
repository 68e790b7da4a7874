"""Judges beside the policy, heard side by side, each with a limit of time.

A judge that is late, fails or is not there has said `unknown`. The wait is bounded by the longest
limit; threads are bounded too, and a question that finds them all busy waits no longer for that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late

from gates.core.model import Level, Signal
from gates.core.policy import Policy, Question
from gates.core.policy.judges import JudgeRule, heard_on
from gates.ports import Judge

log = logging.getLogger(__name__)
MOST_AT_ONCE = 16
LONGEST_REASON = 500


class Panel:
    """Callable: what the judges say that a policy names for an action."""

    def __init__(self, judges: Iterable[Judge], most_at_once: int = MOST_AT_ONCE) -> None:
        self.judges = {judge.name: judge for judge in judges}
        self._pool = ThreadPoolExecutor(most_at_once, thread_name_prefix="judge")

    def __call__(self, question: Question, policy: Policy) -> Sequence[Signal]:
        wanted = heard_on(policy.judges, question.action.name)
        if not wanted:
            return ()
        began = time.monotonic()
        asked = [(told, self._ask(told, question)) for told in wanted]
        return [_heard(told, answer, began) for told, answer in asked]

    def _ask(self, told: JudgeRule, question: Question) -> Future[Signal] | None:
        judge = self.judges.get(told.name)
        return None if judge is None else self._pool.submit(judge.judge, question, told)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _heard(told: JudgeRule, answer: Future[Signal] | None, began: float) -> Signal:
    if answer is None:
        return _unknown(told, "it is not set up at this server")
    try:
        found = answer.result(max(0.0, told.timeout - (time.monotonic() - began)))
    except Late:
        answer.cancel()
        return _unknown(told, f"no answer within {told.timeout} s")
    except Exception as error:
        log.warning("judge %s failed", told.name, exc_info=True)
        return _unknown(told, f"it failed ({type(error).__name__})")
    reason = found.reason[:LONGEST_REASON]
    return found.model_copy(update={"judge": told.name, "reason": reason})


def _unknown(told: JudgeRule, why: str) -> Signal:
    return Signal(judge=told.name, level=Level.UNKNOWN, reason=why)
