"""From a question to a judgement: the policy, what was approved beforehand, and other judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gates.core.errors import GatesError
from gates.core.model import Json, Judgement, Reason, Signal, Verdict
from gates.core.policy import Policy, Question, Rule
from gates.core.signals import raised
from gates.core.standing import RULE, StandingApproval
from gates.ports import Directory, StandingApprovals

Judges = Callable[[Question, Policy], Sequence[Signal]]


@dataclass(frozen=True)
class Weighed:
    """A judgement and what it rests on. `lifted`: rules, each with the id of the standing approval
    that has lifted it.
    """

    judgement: Judgement
    circumstances: dict[str, Json] = field(default_factory=dict)
    lifted: dict[str, str] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()


def weigh(
    policy: Policy,
    asked: Question,
    judges: Judges | None,
    lift: Callable[[Judgement], dict[str, StandingApproval]],
) -> Weighed:
    """`lift` says what was approved beforehand of what would be asked."""
    plain = policy.judge(asked)
    known = plain.verdict is Verdict.FORBID
    signals = tuple(judges(asked, policy)) if judges is not None and not known else ()
    judgement = raised(plain, signals, policy.defaults)
    given = lift(plain)
    if given:
        lighter = raised(policy.judge(asked, given.keys()), signals, policy.defaults)
        if lighter.verdict.strictness < Verdict.REQUIRE_APPROVAL.strictness:
            reasons = [Reason(rule=RULE, text=str(one)) for one in _distinct(given)]
            judgement = lighter.model_copy(update={"reasons": (*reasons, *lighter.reasons)})
            lifted = {rule: approval.id for rule, approval in given.items()}
            return Weighed(judgement, asked.circumstances, lifted, signals)
    return Weighed(judgement, asked.circumstances, {}, signals)


def beforehand(
    policy: Policy,
    directory: Directory,
    standing: StandingApprovals,
    asked: Question,
    judgement: Judgement,
    now: datetime,
) -> dict[str, StandingApproval]:
    """For each rule that asks, the standing approval that lifts it; nothing unless all are."""
    if judgement.verdict is not Verdict.REQUIRE_APPROVAL:
        return {}
    asking = {reason.rule for reason in judgement.reasons}
    rules = policy.liftable(asking)
    if {rule.name for rule in rules} != asking:
        return {}
    covering = standing.covering(asked, now)
    found = {rule.name: _first(rule, covering, directory) for rule in rules}
    given = {rule: approval for rule, approval in found.items() if approval is not None}
    return given if len(given) == len(rules) else {}


def _first(
    rule: Rule, covering: Sequence[StandingApproval], directory: Directory
) -> StandingApproval | None:
    """One of somebody who could approve it still."""
    mine = [one for one in covering if rule.name in one.limits.rules]
    if not mine or rule.ask is None:
        return None
    try:
        entitled = {person.id for person in directory.members(rule.ask.who)}
    except GatesError:  # nobody can say it now: then people are asked
        return None
    return next((one for one in mine if one.given_by in entitled), None)


def _distinct(given: dict[str, StandingApproval]) -> list[StandingApproval]:
    return list({approval.number: approval for approval in given.values()}.values())
