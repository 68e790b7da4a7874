"""Standing approvals: a person's yes beforehand, within limits. Pure.

Rules, each with what it protects from:
1. It rests on the action, its amount and its counterparty, as the registry's definition says
   them, and on the key's agent; on nothing that a flow claims (an agent that talks itself in).
2. It has an end, and a limit on its uses or on their sum (a yes for ever is no oversight).
3. It lifts rules that it names, which say `standing: true`, and only where all that asks is
   lifted: no use is spent on a question that people are asked anyway.
4. Nobody's own agent (self-approval), and nobody's who could not approve it by themselves.
5. Money limits are of one currency; what has no amount does not fit under them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from gates.core.asked import PersonId
from gates.core.errors import InvalidInput
from gates.core.gate_keys import LONGEST_NAME
from gates.core.model import Money, Name
from gates.core.policy import Policy, Question, Rule
from gates.core.policy.patterns import PATTERN, matches, may_meet
from gates.core.value import Value

LONGEST = timedelta(days=366)
MOST_USES = 1_000_000
RULE = "standing approval"  # what a reason names that comes from one


class Limits(Value):
    """What a standing approval covers. `uses`, `each`, `total`: 0 or None for no such limit;
    `counterparties` and `agents`: empty for any.
    """

    rules: tuple[Name, ...] = Field(min_length=1, max_length=50)
    on: tuple[Name, ...] = Field(min_length=1, max_length=50)
    ends_at: AwareDatetime
    counterparties: tuple[Name, ...] = Field(default=(), max_length=50)
    agents: tuple[Name, ...] = Field(default=(), max_length=50)
    uses: int = Field(default=0, ge=0, le=MOST_USES)
    each: Money | None = None
    total: Money | None = None


class StandingApproval(Value):
    """`used` and `used_minor` are as they were when it was read."""

    number: int
    limits: Limits
    given_by: PersonId
    name: str
    reason: str
    given_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    used: int = 0
    used_minor: int = 0

    @property
    def id(self) -> str:
        return f"S-{self.number}"

    def over(self, now: datetime) -> str:
        """Why nothing can be based on it any more, or nothing."""
        if self.revoked_at is not None:
            return f"{self.id} was revoked by {self.revoked_by}"
        if now >= self.limits.ends_at:
            return f"{self.id} ended at {self.limits.ends_at:%Y-%m-%d %H:%M} UTC"
        return ""

    def __str__(self) -> str:
        return f"standing approval {self.id} by {self.name}: {self.reason}"


def number_of(standing_id: str) -> int:
    """Of `S-12`. Raises InvalidInput."""
    head, _, digits = standing_id.upper().rpartition("S-")
    if head or not (digits.isascii() and digits.isdigit()) or len(digits) > 15:  # noqa: PLR2004
        raise InvalidInput(f"{standing_id[:40]!r} is no standing approval: write one such as S-12.")
    return int(digits)


def covers(approval: StandingApproval) -> list[str]:
    """What it is for, in words, a line each."""
    limits = approval.limits
    lines = [f"lifts {', '.join(limits.rules)} on {', '.join(limits.on)}"]
    lines += [f"for {', '.join(limits.counterparties)}"] if limits.counterparties else []
    lines += [f"asked by {', '.join(limits.agents)}"] if limits.agents else []
    lines += [f"up to {limits.each} each"] if limits.each else []
    if limits.total:
        used = Money(minor=approval.used_minor, currency=limits.total.currency)
        lines.append(f"{used} of {limits.total} used")
    most = f" of {limits.uses}" if limits.uses else ""
    lines.append(f"used {approval.used}{most} times, until {limits.ends_at:%Y-%m-%d %H:%M} UTC")
    return lines


def uncovered(approval: StandingApproval, question: Question, now: datetime) -> str:
    """Why it does not cover this action, or nothing where it does."""
    limits = approval.limits
    if over := approval.over(now):
        return over
    for named, allowed in (
        (question.requester.agent, limits.agents),
        (question.counterparty, limits.counterparties),
    ):
        if allowed and named not in allowed:
            return f"it is for {', '.join(allowed)}"
    if not matches(limits.on, question.action.name):
        return f"it is for {', '.join(limits.on)}"
    if question.requester.on_behalf_of == approval.given_by:
        return f"the agent acts for {approval.name}, who gave it"
    return _spent(approval) or _too_much(approval, question.amount)


def _spent(approval: StandingApproval) -> str:
    most = approval.limits.uses
    return f"its {most} uses are spent" if most and approval.used >= most else ""


def _too_much(approval: StandingApproval, amount: Money | None) -> str:
    each, total = approval.limits.each, approval.limits.total
    for limit in (each, total):
        if limit is not None and (amount is None or amount.currency != limit.currency):
            return f"its limit is in {limit.currency}"
        if limit is not None and amount is not None and not 0 <= amount.minor <= limit.minor:
            return f"it goes up to {limit}"
    if total is not None and amount is not None:
        left = Money(minor=total.minor - approval.used_minor, currency=total.currency)
        return f"{left} of its {total} are left" if amount.minor > left.minor else ""
    return ""


def refuse_unsound(limits: Limits, reason: str, policy: Policy, now: datetime) -> list[Rule]:
    """The rules that it would lift. Raises InvalidInput at the first thing that is wrong."""
    if not reason.strip():
        raise InvalidInput("reason is empty: say why, for those who read it in the log.")
    if limits.ends_at <= now:
        raise InvalidInput(f"ends_at = {limits.ends_at.isoformat()} is past: choose a later end.")
    if limits.ends_at > now + LONGEST:
        raise InvalidInput(f"ends_at is more than {LONGEST.days} days away: choose an earlier end.")
    if not limits.uses and limits.total is None:
        raise InvalidInput("It has no limit: say how many uses (`uses`) or how much (`total`).")
    _refuse_odd(limits)
    return [_rule(name, limits, policy) for name in dict.fromkeys(limits.rules)]


def _refuse_odd(limits: Limits) -> None:
    for pattern in limits.on:
        if not PATTERN.fullmatch(pattern):
            raise InvalidInput(f"on = {pattern!r} names no action: write erp.payment.*")
    money = [one for one in (limits.each, limits.total) if one is not None]
    for one in money:
        if one.minor <= 0:
            raise InvalidInput(f"{one} is no limit: write an amount above nothing.")
    if len({one.currency for one in money}) > 1:
        raise InvalidInput(f"each {money[0]} and total {money[1]}: give both in one currency.")
    if limits.each and limits.total and limits.each.minor > limits.total.minor:
        raise InvalidInput(f"each {limits.each} is more than the total {limits.total}: lower it.")


def _rule(name: str, limits: Limits, policy: Policy) -> Rule:
    rule = next((one for one in policy.rules if one.name == name), None)
    if rule is None:
        known = ", ".join(one.name for one in policy.rules if one.standing) or "none"
        raise InvalidInput(
            f"The policy has no rule {name[:LONGEST_NAME]!r}: those that can be lifted: {known}."
        )
    if not rule.standing or rule.ask is None:
        raise InvalidInput(
            f"Rule {name!r} ({rule.verdict.value}) cannot be lifted: only a rule that asks people "
            "and says `standing: true` can."
        )
    if not may_meet(rule.on, limits.on):
        raise InvalidInput(
            f"Rule {name!r} is on {', '.join(rule.on)} and never meets {', '.join(limits.on)}: "
            "name an action that it is on."
        )
    return rule
