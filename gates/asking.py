"""From a proposal to the question: what is the truth, what does the policy say, who is asked.

Everything that has to ask another system happens here, before a transaction begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gates.actions import ActionDefinition, Registry
from gates.core.calendars import later
from gates.core.drift import UNREADABLE, cut, differences, walk
from gates.core.errors import (
    InvalidArguments,
    InvalidInput,
    InvalidPolicy,
    UnknownAction,
    UnknownPerson,
)
from gates.core.execution import idempotency_key
from gates.core.loops import Finding
from gates.core.messages import Proposal
from gates.core.model import (
    Action,
    ApprovalRequest,
    Ask,
    Attempt,
    Climb,
    Json,
    Judgement,
    Money,
    Purpose,
    Reason,
    Requester,
    Requirement,
    RunRef,
    Tier,
    Verdict,
    request_id,
)
from gates.core.policy import Policy, Question
from gates.core.quorum import unmet
from gates.ports import Circumstances, Directory


@dataclass(frozen=True)
class Origin:
    """Where a question comes from: what every round of one gate has in common."""

    run: RunRef
    key: str
    in_process: bool
    claims: Json
    requester: Requester
    proposed: str = ""

    @classmethod
    def of(cls, request: ApprovalRequest) -> Origin:
        return cls(
            run=request.run,
            key=request.gate_key,
            in_process=request.in_process,
            claims=request.claims,
            requester=request.requester,
            proposed=request.proposed,
        )

    @classmethod
    def proposing(cls, proposal: Proposal, requester: Requester) -> Origin:
        return cls(
            run=proposal.run,
            key=proposal.key,
            in_process=proposal.in_process,
            claims=proposal.claims,
            requester=requester,
        )


@dataclass(frozen=True)
class Before:
    """The round before, and in words how it ended."""

    request: ApprovalRequest
    ended: str


@dataclass(frozen=True)
class Asking:
    """Makes requests; knows the registry, the policy and the people, and no database."""

    registry: Registry
    policy: Policy
    directory: Directory
    circumstances: tuple[Circumstances, ...] = ()

    def question(
        self, origin: Origin, action: Action, now: datetime, before: Before | None = None
    ) -> ApprovalRequest:
        """Collect facts and the precondition, judge, and name those who are to be asked."""
        definition = None if origin.in_process else self.registry.find(action.name)
        facts, precondition, trouble = self._look(definition, action)
        amount = self._amount(definition, action)
        asked = Question(
            action=action,
            amount=amount,
            claims=origin.claims,
            facts=facts,
            requester=origin.requester,
            counterparty=self._counterparty(definition, action),
        )
        judgement = self._judged(asked, trouble, origin.run, now)
        round_ = before.request.round + 1 if before else 1
        request = ApprovalRequest(
            id=request_id(origin.run.root_run_id, origin.key, round_),
            gate_key=origin.key,
            round=round_,
            run=origin.run,
            requester=origin.requester,
            action=action,
            in_process=origin.in_process,
            amount=amount,
            claims=origin.claims,
            facts=facts,
            precondition=precondition,
            judgement=judgement,
            requirement=self.requirement(judgement.ask, origin.requester, now),
            opened_at=now,
            proposed=origin.proposed if origin.proposed != action.fingerprint else "",
            counterparty=asked.counterparty,
        )
        return request.model_copy(update={"before": _since(before, request)}) if before else request

    def changed(
        self, request: ApprovalRequest, changes: Json, by: str, now: datetime
    ) -> ApprovalRequest:
        """The next round for what `by` would approve instead; judged anew, and people agree to it
        even where the policy by itself would let it run. Raises InvalidArguments, or InvalidInput
        where nothing is changed or the policy forbids it.
        """
        action = self.changed_action(request, changes)
        origin = replace(Origin.of(request), proposed=request.answers)
        asked = self.question(origin, action, now, Before(request, f"changed by {by}"))
        if asked.judgement.verdict is Verdict.FORBID:
            words = "; ".join(reason.text for reason in asked.judgement.reasons)
            raise InvalidInput(f"changes: the policy forbids this: {words}")
        if asked.judgement.verdict is Verdict.REQUIRE_APPROVAL:
            return asked
        judgement = asked.judgement.model_copy(
            update={"verdict": Verdict.REQUIRE_APPROVAL, "ask": request.judgement.ask}
        )
        requirement = self.requirement(judgement.ask, request.requester, now)
        return asked.model_copy(update={"judgement": judgement, "requirement": requirement})

    def schema(self, request: ApprovalRequest) -> Json:
        """JSON schema of the action's arguments; empty for a flow's own function."""
        if request.in_process:
            return {}
        schema: Json = self.registry.find(request.action.name).arguments.model_json_schema()
        return schema

    def changed_action(self, request: ApprovalRequest, changes: Json) -> Action:
        """Raises as `changed`, as far as the action's own rules tell."""
        action = self._with(request, changes)
        if action.fingerprint == request.action.fingerprint:
            raise InvalidInput("changes: nothing differs from what is asked; approve it as it is.")
        return action

    def _with(self, request: ApprovalRequest, changes: Json) -> Action:
        before = request.action
        if not request.in_process:
            return self.registry.named(before.name, changes)
        if changes.keys() != before.arguments.keys():
            wrong = ", ".join(sorted(changes.keys() ^ before.arguments.keys()))
            raise InvalidArguments(f"{before.name}: {wrong}: give the same arguments as are asked.")
        for name, value in changes.items():
            was = before.arguments[name]
            if type(value) is not type(was) and was is not None:
                raise InvalidArguments(
                    f"{before.name}: {name} = {cut(value)!r}: is asked as {cut(was)!r}; "
                    "give a value of the same kind.",
                    fields={name: f"is asked as {cut(was)!r}; give a value of the same kind"},
                )
        # a copy would bring the fingerprint along that the old one has worked out
        return Action(
            name=before.name, title=before.title, subject=before.subject, arguments=changes
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

    def disputed_question(
        self, request: ApprovalRequest, words: str, evidence: Json, now: datetime
    ) -> ApprovalRequest:
        """The next round where the executor sees a change, again and again, that the server does
        not see.
        """
        reason = Reason(rule="executor_sees_otherwise", text=f"The executor will not act: {words}")
        return self._again(
            request,
            purpose=request.purpose,
            ask=request.judgement.ask or self.policy.defaults.ask,
            reason=reason,
            evidence=request.evidence | evidence,
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
        fresh = self._fresh(request, facts, trouble, now) if changed else None
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
                "requirement": self.requirement(judgement.ask, request.requester, now),
                "evidence": evidence,
                "facts": facts if changed else request.facts,
                "precondition": precondition,
                "opened_at": now,
                "before": (),
            }
        )

    def _fresh(
        self, request: ApprovalRequest, facts: Json, trouble: str, now: datetime
    ) -> Judgement:
        asked = Question(
            action=request.action,
            amount=request.amount,
            claims=request.claims,
            facts=facts,
            requester=request.requester,
            counterparty=request.counterparty,
        )
        return self._judged(asked, trouble, request.run, now)

    def _judged(self, asked: Question, trouble: str, run: RunRef, now: datetime) -> Judgement:
        wanted = self.policy.mentions(asked.action.name)
        found: dict[str, Json] = {}
        for source in self.circumstances:
            if wanted.isdisjoint(source.names):
                continue
            try:
                found |= source.look(asked, run, now)
            except Exception as error:  # noqa: BLE001 - whatever it is, fail closed and say it
                words = f"{', '.join(source.names)} could not be read ({error})."
                trouble = f"{trouble} {words}".strip()
        judgement = self.policy.judge(asked.model_copy(update={"circumstances": found}))
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

    @staticmethod
    def _counterparty(definition: ActionDefinition[Any, Any] | None, action: Action) -> str:
        return definition.counterparty(definition.parse(action.arguments)) if definition else ""

    def _raised(self, judgement: Judgement, trouble: str) -> Judgement:
        """Without facts nothing is allowed; what the policy asks without them still counts."""
        reason = Reason(rule="facts_unreadable", text=trouble)
        changes: dict[str, object] = {"reasons": (reason, *judgement.reasons)}
        if judgement.verdict.strictness < Verdict.REQUIRE_APPROVAL.strictness:
            changes |= {"verdict": Verdict.REQUIRE_APPROVAL, "ask": self.policy.defaults.ask}
        tier = max(judgement.tier, Tier.HIGH, key=lambda one: one.height)
        return judgement.model_copy(update=changes | {"tier": tier})

    def entitled(self, request: ApprovalRequest) -> set[str]:
        """Who could answer this now, by the directory as it is now."""
        ask = request.judgement.ask
        try:
            groups = (*ask.who, *ask.from_each, *ask.escalate_to) if ask else ()
            groups += tuple(group for rung in ask.ladder for group in rung.who) if ask else ()
            people = self.directory.members(groups) if groups else []
        except UnknownPerson:  # a group is gone, and with it the right of those who were in it
            return set()
        return {one.id for one in people} - {request.requester.on_behalf_of}

    def requirement(
        self, ask: Ask | None, requester: Requester, now: datetime
    ) -> Requirement | None:
        """Raises InvalidPolicy where fewer people could answer than must."""
        if ask is None:
            return None
        people = self._names((*ask.who, *ask.from_each), requester)
        groups = self._slots(ask, requester)
        asked = self._names(ask.who, requester)
        lonely = unmet(groups, list(people))
        if len(asked) < ask.quorum or lonely:
            whom = ", ".join(lonely or ask.who)
            raise InvalidPolicy(
                f"{max(ask.quorum, len(groups))} of {whom} have to agree, but only "
                f"{len(asked)} could: add people to the group or lower the quorum."
            )
        return Requirement(
            people=people,
            quorum=max(ask.quorum, len(groups)),
            deadline_at=ask.deadline(now),
            valid_seconds=ask.valid_seconds,
            groups=groups,
            escalation={
                one: name
                for one, name in self._names(ask.escalate_to, requester).items()
                if one not in people
            },
            ladder=self._ladder(ask, requester, now),
        )

    def _ladder(self, ask: Ask, requester: Requester, now: datetime) -> tuple[Climb, ...]:
        """Raises InvalidPolicy where those who come instead could not answer."""
        found = tuple(
            Climb(
                at=later(now, rung.seconds, ask.calendar),
                step=rung.step,
                people=self._names(rung.who, requester),
            )
            for rung in ask.ladder
        )
        for climb, rung in zip(found, ask.ladder, strict=True):
            if climb.step == "replace" and len(climb.people) < ask.quorum:
                raise InvalidPolicy(
                    f"{ask.quorum} have to agree, but the ladder replaces them with "
                    f"{', '.join(rung.who)}, of whom only {len(climb.people)} could."
                )
        return found

    def _slots(self, ask: Ask, requester: Requester) -> dict[str, tuple[str, ...]]:
        """One place a group that must agree. Where a stricter rule asks people of its own beside
        them, its quorum has places of its own too: neither rule's people stand for the other's.
        """
        slots = {group: tuple(self._names((group,), requester)) for group in ask.from_each}
        if slots and not set(ask.who) <= set(ask.from_each):
            whom = tuple(self._names(ask.who, requester))
            for number in range(1, ask.quorum + 1):
                slots[f"{', '.join(ask.who)} ({number})"] = whom
        return slots

    def _names(self, groups: Sequence[str], requester: Requester) -> dict[str, str]:
        return {
            person.id: person.name
            for person in self.directory.members(groups)
            if person.id != requester.on_behalf_of
        }


def _since(before: Before, request: ApprovalRequest) -> tuple[str, ...]:
    """How the round before ended, and what is different in this one."""
    old = before.request
    return (
        f"Round {old.round}: {before.ended}",
        *walk("", old.action.arguments, request.action.arguments),
        *walk("claims", old.claims, request.claims),
        *(differences(old.precondition, request.precondition)),
    )
