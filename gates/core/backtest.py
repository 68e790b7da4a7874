"""What another policy would have said to what was really asked. Pure.

Each recorded question is judged again with all that is kept of it: arguments, amount, claims,
facts, circumstances, what was approved beforehand, what judges said. What nobody recorded, since
no rule asked for it then, is missing, so that a rule which reads it asks, as it would in fact;
the report says how often.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from gates.core.model import (
    ApprovalRequest,
    Judgement,
    Outcome,
    OutcomeKind,
    Purpose,
    Tier,
    Verdict,
)
from gates.core.policy import Policy, Question
from gates.core.signals import raised
from gates.core.value import Value

MOST_LISTED = 1_000
UNREADABLE = "facts_unreadable"  # the rule of a reason that says so
ANSWERS = (OutcomeKind.APPROVED, OutcomeKind.REJECTED, OutcomeKind.SENT_BACK)
RUNS, ASKS, NEVER = "runs", "asks", "never"
_WAYS = {
    Verdict.ALLOW: RUNS,
    Verdict.REVIEW_LATER: RUNS,
    Verdict.VETO_WINDOW: ASKS,
    Verdict.REQUIRE_APPROVAL: ASKS,
    Verdict.FORBID: NEVER,
}


class LetThrough(Value):
    """Rejected by people, and the other policy would let it run."""

    request: str
    action: str
    amount: str
    opened_at: datetime
    by: tuple[str, ...]
    reason: str
    allowed_by: tuple[str, ...]


class RuleChange(Value):
    """By a rule's name: questions it would newly ask, ask no longer, newly forbid, allow again."""

    gates_added: int = 0
    gates_removed: int = 0
    forbidden: int = 0
    no_longer_forbidden: int = 0


class BacktestReport(Value):
    """`answer_minutes`: the median from the question to its answer, as it was recorded; reviewer
    hours are that, times the questions, and so an upper bound of the work.
    """

    old_digests: tuple[str, ...]
    new_digest: str
    requests: int
    unchanged: int
    gates_added: int
    gates_removed: int
    forbidden: int
    no_longer_forbidden: int
    asked_before: int
    asked_after: int
    answer_minutes: float
    reviewer_hours_before: float
    reviewer_hours_after: float
    rejected_let_through: int
    let_through: tuple[LetThrough, ...]
    rules: dict[str, RuleChange]
    not_recorded: dict[str, int]


def rejudged(policy: Policy, request: ApprovalRequest) -> Judgement:
    """What this policy says to a recorded question."""
    fresh = policy.judge(Question.of(request), request.lifted.keys())
    fresh = raised(fresh, request.signals, policy.defaults)
    unread = [one for one in request.judgement.reasons if one.rule == UNREADABLE]
    if not unread or fresh.verdict.strictness >= Verdict.REQUIRE_APPROVAL.strictness:
        return fresh
    changes = {"verdict": Verdict.REQUIRE_APPROVAL, "tier": Tier.HIGH, "reasons": tuple(unread)}
    return fresh.model_copy(update=changes | {"ask": policy.defaults.ask})


@dataclass
class Backtest:
    """Shown one request after the other; keeps counts, and what people have to look at."""

    policy: Policy
    requests: int = 0
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    digests: set[str] = field(default_factory=set)
    let_through: list[LetThrough] = field(default_factory=list)
    rejected: int = 0
    minutes: list[float] = field(default_factory=list)

    def see(self, request: ApprovalRequest, outcome: Outcome | None) -> None:
        """Questions about circles and doubts are left out, and what people changed themselves."""
        if request.purpose is not Purpose.ACTION or request.proposed:
            return
        fresh = rejudged(self.policy, request)
        before, after = _WAYS[request.judgement.verdict], _WAYS[fresh.verdict]
        self.requests += 1
        self.digests.add(request.judgement.policy_digest)
        self.moved[before, after] += 1
        lacking = self.policy.mentions(request.action.name) - request.circumstances.keys()
        self.missing.update(lacking)
        if before != after:
            voices = fresh if _stricter(after, before) else request.judgement
            kind = _KINDS[before, after]
            self.rules.update((name, kind) for name in {one.rule for one in voices.reasons})
        if outcome is not None:
            self._answered(request, outcome, fresh)

    def _answered(self, request: ApprovalRequest, outcome: Outcome, fresh: Judgement) -> None:
        if request.requirement is None or outcome.kind not in ANSWERS:
            return
        self.minutes.append((outcome.at - request.opened_at).total_seconds() / 60)
        if outcome.kind is OutcomeKind.REJECTED and _WAYS[fresh.verdict] == RUNS:
            self.rejected += 1
            if len(self.let_through) < MOST_LISTED:
                self.let_through.append(_let_through(request, outcome, fresh))

    def report(self) -> BacktestReport:
        typical = median(self.minutes) if self.minutes else 0.0
        before = sum(number for (was, _), number in self.moved.items() if was == ASKS)
        after = sum(number for (_, now), number in self.moved.items() if now == ASKS)
        by_rule: dict[str, dict[str, int]] = {}
        for (name, kind), number in sorted(self.rules.items()):
            by_rule.setdefault(name, {})[kind] = number
        kinds: Counter[str] = Counter()
        for way, number in self.moved.items():
            if way in _KINDS:
                kinds[_KINDS[way]] += number
        return BacktestReport(
            old_digests=tuple(sorted(self.digests)),
            new_digest=self.policy.digest,
            requests=self.requests,
            unchanged=sum(number for (was, now), number in self.moved.items() if was == now),
            gates_added=kinds["gates_added"],
            gates_removed=kinds["gates_removed"],
            forbidden=kinds["forbidden"],
            no_longer_forbidden=kinds["no_longer_forbidden"],
            asked_before=before,
            asked_after=after,
            answer_minutes=round(typical, 1),
            reviewer_hours_before=round(before * typical / 60, 1),
            reviewer_hours_after=round(after * typical / 60, 1),
            rejected_let_through=self.rejected,
            let_through=tuple(self.let_through),
            rules={name: RuleChange(**found) for name, found in by_rule.items()},
            not_recorded=dict(sorted(self.missing.items())),
        )


_KINDS = {
    (RUNS, ASKS): "gates_added",
    (ASKS, RUNS): "gates_removed",
    (RUNS, NEVER): "forbidden",
    (ASKS, NEVER): "forbidden",
    (NEVER, ASKS): "no_longer_forbidden",
    (NEVER, RUNS): "no_longer_forbidden",
}


def _stricter(one: str, other: str) -> bool:
    order = [RUNS, ASKS, NEVER]
    return order.index(one) > order.index(other)


def _let_through(request: ApprovalRequest, outcome: Outcome, fresh: Judgement) -> LetThrough:
    return LetThrough(
        request=request.id,
        action=request.action.name,
        amount=str(request.amount) if request.amount else "",
        opened_at=request.opened_at,
        by=outcome.by,
        reason=outcome.reason,
        allowed_by=tuple(one.rule for one in fresh.reasons),
    )
