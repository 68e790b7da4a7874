"""The judge `statistics`: an amount against what was usual with this counterparty.

It knows what was done, not what was asked: an agent cannot get it used to larger amounts by
proposing them. Who approves in small steps can, which is what `exposure` is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from gates.core.model import Level, Money, Signal
from gates.core.policy import Question
from gates.core.policy.judges import JudgeRule
from gates.core.unusual import FEWEST, deviation
from gates.store import history
from gates.store.database import Database

CHANGED = "bank_account_changed"  # a fact that actions may give


@dataclass
class StatisticsJudge:
    """`factor` in its policy: how many spreads above the usual are high; twice that is expert."""

    database: Database
    name: str = "statistics"

    def judge(self, question: Question, told: JudgeRule) -> Signal:
        if question.amount is None:
            return self._says(Level.NONE, "there is no amount to compare")
        with self.database.read() as session:
            past = history.like(question, history.past(session, question))
        before = [one.minor for one in past if one.minor is not None]
        changed = question.facts.get(CHANGED) is True
        found = deviation(question.amount.minor, before)
        if found is None:
            return self._short(question, len(before), changed=changed)
        usual = Money(minor=int(median(before)), currency=question.amount.currency)
        words = f"{question.amount}, and {usual} is usual with {question.counterparty}"
        if found > 2 * told.factor or (found > told.factor and changed):
            return self._says(Level.EXPERT, words + (", to a new account" if changed else ""))
        if found > told.factor:
            return self._says(Level.HIGH, words)
        if changed:
            return self._says(Level.HIGH, "the amount is usual, the bank account is not")
        return self._says(Level.NONE, words)

    def _short(self, question: Question, number: int, *, changed: bool) -> Signal:
        whom = question.counterparty or "nobody"
        words = f"only {number} earlier ones with {whom}, {FEWEST} make a past"
        return self._says(Level.HIGH if changed else Level.AMBIGUOUS, words)

    def _says(self, level: Level, reason: str) -> Signal:
        return Signal(judge=self.name, level=level, reason=reason)
