"""From a proposal to the question: what is the truth, what does the policy say, who is asked.

Everything that has to ask another system happens here, before a transaction begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gates.actions import ActionDefinition, Registry
from gates.core.errors import InvalidPolicy, UnknownAction
from gates.core.execution import idempotency_key
from gates.core.loops import Finding
from gates.core.messages import Proposal
from gates.core.model import (
    Action,
    ApprovalRequest,
    Ask,
    Attempt,
    Json,
    Judgement,
    Money,
    Purpose,
    Reason,
    Requester,
    Requirement,
    Tier,
    Verdict,
    request_id,
)
from gates.core.policy import Policy, Question
from gates.ports import Directory

UNREADABLE = "unreadable"  # stands in for a state that could not be read; equals nothing later


@dataclass(frozen=True)
class Asking:
    """Makes requests; knows the registry, the policy and the people, and no database."""

    registry: Registry
    policy: Policy
    directory: Directory

    def question(
        self, proposal: Proposal, action: Action, requester: Requester, round_: int, now: datetime
    ) -> ApprovalRequest:
        """Collect facts and the precondition, judge, and name those who are to be asked."""
        definition = None if proposal.in_process else self.registry.find(action.name)
        facts, precondition, trouble = self._look(definition, action)
        amount = self._amount(definition, action)
        asked = Question(
            action=action, amount=amount, claims=proposal.claims, facts=facts, requester=requester
        )
        judgement = self._judged(asked, trouble)
        return ApprovalRequest(
            id=request_id(proposal.run.root_run_id, proposal.key, round_),
            gate_key=proposal.key,
            round=round_,
            run=proposal.run,
            requester=requester,
            action=action,
            in_process=proposal.in_process,
            amount=amount,
            claims=proposal.claims,
            facts=facts,
            precondition=precondition,
            judgement=judgement,
            requirement=self._requirement(judgement.ask, requester, now),
            opened_at=now,
        )

    def loop_question(
        self, request: ApprovalRequest, finding: Finding, now: datetime
    ) -> ApprovalRequest:
        """The next round of a gate whose action failed the same way too often."""
        evidence = finding.model_dump(mode="json") | {"allow_more": self.policy.loops.allow_more}
        words = f"{request.action.title or request.action.name} failed {finding.count} times: "
        return self._again(
            request,
            purpose=Purpose.LOOP,
            ask=self.policy.loops.ask,
            reason=Reason(rule="loop.same_failure", text=words + finding.error),
            evidence=evidence,
            now=now,
        )

    def doubt_question(
        self, request: ApprovalRequest, attempt: Attempt, now: datetime
    ) -> ApprovalRequest:
        """The next round of a gate whose last attempt may or may not have landed."""
        evidence: Json = {
            "attempt": attempt.model_dump(mode="json"),
            "idempotency_key": idempotency_key(request),  # what to look for in the real system
        }
        text = f"Nobody knows whether attempt {attempt.number} took effect: {attempt.error}"
        return self._again(
            request,
            purpose=Purpose.IN_DOUBT,
            ask=self.policy.in_doubt,
            reason=Reason(rule="in_doubt", text=text),
            evidence=evidence,
            now=now,
        )

    def doubt_again(self, request: ApprovalRequest, now: datetime) -> ApprovalRequest:
        """The next round of an open doubt whose world has changed: it stays a doubt, however
        harmless the action looks by itself.
        """
        return self._again(
            request,
            purpose=Purpose.IN_DOUBT,
            ask=self.policy.in_doubt,
            reason=request.judgement.reasons[0],
            evidence=request.evidence,
            now=now,
        )

    def precondition(self, request: ApprovalRequest) -> Json:
        """The state that must not have changed, read now; {"unreadable": why} if it cannot be."""
        return self._reread(request)[1]

    def _again(
        self,
        request: ApprovalRequest,
        *,
        purpose: Purpose,
        ask: Ask,
        reason: Reason,
        evidence: Json,
        now: datetime,
    ) -> ApprovalRequest:
        """A world that is no longer as it was approved is judged anew, and then the policy's
        people are asked: a change must not slip in under a question about something else.
        """
        facts, precondition, trouble = self._reread(request)
        changed = differences(request.precondition, precondition)
        fresh = self._fresh(request, facts, trouble) if changed else None
        words = [Reason(rule="changed", text="Changed meanwhile: " + "; ".join(changed) + ".")]
        judgement = Judgement(
            verdict=Verdict.REQUIRE_APPROVAL,
            tier=max(request.judgement.tier, Tier.HIGH, key=lambda tier: tier.height),
            reasons=(reason, *(words if changed else ())),
            policy_digest=self.policy.digest,
            ask=fresh.ask if fresh and fresh.ask else ask,
        )
        if fresh is not None and fresh.verdict is Verdict.FORBID:
            judgement = fresh
        round_ = request.round + 1
        return request.model_copy(
            update={
                "id": request_id(request.run.root_run_id, request.gate_key, round_),
                "round": round_,
                "purpose": purpose,
                "judgement": judgement,
                "requirement": self._requirement(judgement.ask, request.requester, now),
                "evidence": evidence,
                "facts": facts if changed else request.facts,
                "precondition": precondition,
                "opened_at": now,
            }
        )

    def _fresh(self, request: ApprovalRequest, facts: Json, trouble: str) -> Judgement:
        asked = Question(
            action=request.action,
            amount=request.amount,
            claims=request.claims,
            facts=facts,
            requester=request.requester,
        )
        return self._judged(asked, trouble)

    def _judged(self, asked: Question, trouble: str) -> Judgement:
        judgement = self.policy.judge(asked)
        return self._raised(judgement, trouble) if trouble else judgement

    def _reread(self, request: ApprovalRequest) -> tuple[Json, Json, str]:
        """As `_look`; an action that the registry has lost is a world that cannot be read."""
        try:
            definition = None if request.in_process else self.registry.find(request.action.name)
        except UnknownAction as error:
            return {}, {UNREADABLE: error.message}, error.message
        return self._look(definition, request.action)

    def _look(
        self, definition: ActionDefinition[Any, Any] | None, action: Action
    ) -> tuple[Json, Json, str]:
        """Facts, precondition, and what went wrong: an unreadable world asks people."""
        if definition is None:
            return {}, {}, ""
        try:
            arguments = definition.parse(action.arguments)
            resource = self.registry.resource(definition)
            facts = definition.facts(resource, arguments)
            return facts, definition.precondition(resource, arguments), ""
        except Exception as error:  # noqa: BLE001 - whatever it is, fail closed and say it
            trouble = f"{type(error).__name__}: {error}"
            return {}, {UNREADABLE: trouble}, f"The facts could not be read ({trouble})."

    @staticmethod
    def _amount(definition: ActionDefinition[Any, Any] | None, action: Action) -> Money | None:
        if definition is None:
            return None
        amount = definition.amount(definition.parse(action.arguments))
        return Money.of(*amount) if amount else None

    def _raised(self, judgement: Judgement, trouble: str) -> Judgement:
        """Without facts nothing is allowed; what the policy asks without them still counts."""
        reason = Reason(rule="facts_unreadable", text=trouble)
        changes: dict[str, object] = {"reasons": (reason, *judgement.reasons)}
        if judgement.verdict.strictness < Verdict.REQUIRE_APPROVAL.strictness:
            changes |= {"verdict": Verdict.REQUIRE_APPROVAL, "ask": self.policy.defaults.ask}
        tier = max(judgement.tier, Tier.HIGH, key=lambda one: one.height)
        return judgement.model_copy(update=changes | {"tier": tier})

    def _requirement(
        self, ask: Ask | None, requester: Requester, now: datetime
    ) -> Requirement | None:
        """Raises InvalidPolicy where fewer people could answer than must."""
        if ask is None:
            return None
        people = {
            person.id: person.name
            for person in self.directory.members(ask.who)
            if person.id != requester.on_behalf_of
        }
        if len(people) < ask.quorum:
            groups = ", ".join(ask.who)
            raise InvalidPolicy(
                f"{ask.quorum} of {groups} have to agree, but only {len(people)} could: "
                "add people to the group or lower the quorum."
            )
        return Requirement(
            people=people,
            quorum=ask.quorum,
            deadline_at=now + timedelta(seconds=ask.deadline_seconds),
        )


def differences(before: Json, after: Json) -> Sequence[str]:
    """What changed between two precondition states, in words, field by field."""
    if UNREADABLE in after:
        return [f"the state could not be read again: {after[UNREADABLE]}"]
    if UNREADABLE in before:
        return ["the state that people were shown had not been readable; it is now"]
    return list(_walk("", before, after))


def _walk(path: str, before: object, after: object) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted(before.keys() | after.keys()):
            found += _walk(f"{path}.{key}".lstrip("."), before.get(key), after.get(key))
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = []
        for index, (left, right) in enumerate(zip(before, after, strict=True)):
            found += _walk(f"{path}[{index}]", left, right)
        return found
    return [] if before == after else [f"{path}: {_cut(before)} -> {_cut(after)}"]


def _cut(value: object, limit: int = 80) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
