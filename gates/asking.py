"""From a proposal to the question: what is the truth, what does the policy say, who is asked.

Everything that has to ask another system happens here, before a transaction begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gates import rungs, whom
from gates.actions import ActionDefinition, Registry
from gates.core import lifecycle
from gates.core.asked import Ask, PersonId, Requirement
from gates.core.batches import base_of, given, refuse_unfit, summary, total
from gates.core.calendars import later
from gates.core.canonical import refuse_vast
from gates.core.drift import cut, differences
from gates.core.errors import (
    InvalidArguments,
    InvalidInput,
    UnknownPerson,
)
from gates.core.events import Decided, Event
from gates.core.execution import idempotency_key
from gates.core.freezes import Hold, held
from gates.core.gate_keys import gate_id, request_id
from gates.core.loops import level_of, level_reasons
from gates.core.model import (
    Action,
    ApprovalRequest,
    Attempt,
    DecisionKind,
    Json,
    Judgement,
    Line,
    Purpose,
    Reason,
    Requester,
    RunRef,
    Tier,
    Verdict,
)
from gates.core.policy import Policy, Question
from gates.core.policy.batched import joined
from gates.core.policy.voices import added
from gates.core.standing import StandingApproval
from gates.looking import amount_of, counterparty_of, definition_of, look, look_again, nature_of
from gates.ports import Circumstances, Directory, StandingApprovals
from gates.rounds import Before, Origin, since
from gates.weighing import Judges, Weighed, beforehand, weigh


@dataclass(frozen=True)
class Asking:
    """Makes requests; knows the registry, the policy and the people, and no database."""

    registry: Registry
    policy: Policy
    directory: Directory
    circumstances: tuple[Circumstances, ...] = ()
    standing: StandingApprovals | None = None
    judges: Judges | None = None

    def question(
        self, origin: Origin, action: Action, now: datetime, before: Before | None = None
    ) -> ApprovalRequest:
        """Collect facts and the precondition, judge, and name those who are to be asked."""
        definition = None if origin.in_process else self.registry.find(action.name)
        if not origin.in_process and self.registry.is_batch(action.name):
            return self._batch(origin, action, now, before)
        facts, precondition, trouble = look(self.registry, definition, action)
        asked = self._asked(origin, definition, action, facts)
        weighed = self._judged(asked, trouble, origin.run, now, known=definition is not None)
        return self._made(
            origin,
            action,
            weighed.judgement,
            now,
            before,
            amount=asked.amount,
            facts=facts,
            precondition=precondition,
            counterparty=asked.counterparty,
            effect=asked.effect,
            circumstances=weighed.circumstances,
            lifted=weighed.lifted,
            signals=weighed.signals,
        )

    def _batch(
        self, origin: Origin, action: Action, now: datetime, before: Before | None
    ) -> ApprovalRequest:
        """One question for all lines. Raises InvalidInput for a batch that is none, or too large.
        What must not have changed is looked at line by line, when each of them runs.
        """
        one = self.registry.find(base_of(action.name))
        actions = [self.registry.named(one.name, line) for line in given(action.arguments)]
        amounts = [amount_of(one, line) for line in actions]
        refuse_unfit(action.name, actions, amounts, self.policy.sections["batch"])
        sum_ = total(amounts)
        origin = replace(origin, batch_count=len(actions), batch_total=sum_)
        lines = []
        for number, line in enumerate(actions, 1):
            facts, precondition, trouble = look(self.registry, one, line)
            asked = self._asked(origin, one, line, facts)
            lines.append(
                Line(
                    number=number,
                    fingerprint=line.fingerprint,
                    subject=line.subject,
                    counterparty=asked.counterparty,
                    amount=asked.amount,
                    facts=facts,
                    precondition=precondition,
                    judgement=self._judged(asked, trouble, origin.run, now).judgement,
                )
            )
        judgement = joined(lines, self.policy.digest)
        found = {"facts": summary(lines), "lines": tuple(lines)}
        return self._made(origin, action, judgement, now, before, amount=sum_, **found)

    def _asked(
        self,
        origin: Origin,
        definition: ActionDefinition[Any, Any] | None,
        action: Action,
        facts: Json,
    ) -> Question:
        refuse_vast("arguments", action.arguments)
        refuse_vast("claims", origin.claims)
        return Question(
            action=action,
            amount=amount_of(definition, action),
            claims=origin.claims,
            facts=facts,
            requester=origin.requester,
            in_process=origin.in_process,
            counterparty=counterparty_of(definition, action),
            batch_count=origin.batch_count,
            batch_total=origin.batch_total,
            gate=gate_id(origin.run.root_run_id, origin.key),
            **nature_of(definition, action),
        )

    def _made(
        self,
        origin: Origin,
        action: Action,
        judgement: Judgement,
        now: datetime,
        before: Before | None,
        **found: Any,
    ) -> ApprovalRequest:
        round_ = before.request.round + 1 if before else 1
        request = ApprovalRequest(
            id=request_id(origin.run.root_run_id, origin.key, round_),
            gate_key=origin.key,
            round=round_,
            run=origin.run,
            requester=origin.requester,
            action=action,
            in_process=origin.in_process,
            claims=origin.claims,
            judgement=judgement,
            requirement=self._required(judgement, action, origin.requester, now),
            opened_at=now,
            proposed=origin.proposed if origin.proposed != action.fingerprint else "",
            changes_nothing=origin.changes_nothing,
            **found,
        )
        return request.model_copy(update={"before": since(before, request)}) if before else request

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
        requirement = self.requirement(judgement, action, request.requester, now)
        return asked.model_copy(
            update={"judgement": judgement, "requirement": requirement, "lifted": {}}
        )

    def held(self, request: ApprovalRequest, hold: Hold, now: datetime) -> ApprovalRequest:
        """The same question, put to people in command whatever the policy says below forbid."""
        commanders = self.policy.commanders(self.policy.command.ask or self.policy.defaults.ask)
        judgement = held(request.judgement, hold, commanders)
        requirement = self.requirement(judgement, request.action, request.requester, now)
        changes = {"judgement": judgement, "requirement": requirement}
        return request.model_copy(update=changes | {"covered": None, "lifted": {}})

    def schema(self, request: ApprovalRequest) -> Json:
        """JSON schema of the action's arguments; empty for a flow's own function."""
        if request.in_process:
            return {}
        schema: Json = self.registry.find(request.action.name).arguments.model_json_schema()
        return schema

    def changed_action(self, request: ApprovalRequest, changes: Json) -> Action:
        """Raises as `changed`, as far as the action's own rules tell."""
        if request.own_matter:
            raise InvalidInput("changes: this is a matter of the server's own: approve or reject.")
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

    def doubt_question(
        self, request: ApprovalRequest, attempt: Attempt, now: datetime
    ) -> ApprovalRequest:
        """The next round of a gate whose last attempt may or may not have landed."""
        evidence: Json = {
            "attempt": attempt.model_dump(mode="json"),
            "idempotency_key": idempotency_key(request),  # what to look for in the real system
        }
        text = f"Nobody knows whether attempt {attempt.number} took effect: {attempt.error}"
        return self.again(
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
        return self.again(
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
        return self.again(
            request,
            purpose=request.purpose,
            ask=request.judgement.ask or self.policy.defaults.ask,
            reason=reason,
            evidence=request.evidence | evidence,
            now=now,
        )

    def precondition(self, request: ApprovalRequest) -> Json:
        """The state that must not have changed, read now; {"unreadable": why} if it cannot be."""
        return look_again(self.registry, request)[1]

    def again(
        self,
        request: ApprovalRequest,
        *,
        purpose: Purpose,
        ask: Ask,
        reason: Reason,
        more: tuple[Reason, ...] = (),
        evidence: Json,
        now: datetime,
    ) -> ApprovalRequest:
        """The next round of a gate, about something else. A world that is no longer as it was
        approved is judged anew, and then the policy's people are asked: a change must not slip in
        under a question about something else.
        """
        facts, precondition, trouble = look_again(self.registry, request)
        changed = differences(request.precondition, precondition)
        fresh = self._fresh(request, facts, trouble, now) if changed else None
        if fresh and fresh.ask and fresh.verdict.asks:
            ask = beside(fresh.ask, ask, evidence)
        words = [Reason(rule="changed", text="Changed meanwhile: " + "; ".join(changed) + ".")]
        judgement = Judgement(
            verdict=Verdict.REQUIRE_APPROVAL,
            tier=max(
                *(request.judgement.tier, Tier.HIGH, *([fresh.tier] if fresh else ())),
                key=lambda tier: tier.height,
            ),
            reasons=(
                *(reason, *level_reasons(evidence), *more, *(words if changed else ())),
                *(one for one in (fresh.reasons if fresh else ()) if one != reason),
            ),
            policy_digest=self.policy.digest,
            ask=ask,
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
                "requirement": self._required(judgement, request.action, request.requester, now),
                "evidence": evidence,
                "facts": request.facts if trouble and not changed else facts,
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
            gate=request.gate_id,
            in_process=request.in_process,
            batch_count=request.covered.count if request.covered else 1,
            batch_total=request.covered.total if request.covered else None,
            **nature_of(definition_of(self.registry, request), request.action),
        )
        return self._judged(asked, trouble, request.run, now).judgement

    def _judged(
        self, asked: Question, trouble: str, run: RunRef, now: datetime, *, known: bool = False
    ) -> Weighed:
        """`known`: the action is one of the registry, asked about for its own sake: what people
        approved beforehand may count for it.
        """
        wanted = self.policy.mentions(asked.action.name)
        found: dict[str, Json] = {}
        for source in self.circumstances:
            if wanted.isdisjoint(source.names):
                continue
            try:
                found |= source.look(asked, run, now)
            except Exception as error:  # noqa: BLE001 - whatever it is, fail closed and say it
                wanted -= set(source.names)
                words = f"{', '.join(source.names)} could not be read ({error})."
                trouble = f"{trouble} {words}".strip()
        if unknown := sorted(wanted - found.keys()):  # nothing is taken for an empty answer
            words = f"{', '.join(unknown)} is known to nobody here, and the rules want to know it."
            trouble = f"{trouble} {words}".strip()
        asked = asked.model_copy(update={"circumstances": found})

        def lift(judgement: Judgement) -> dict[str, StandingApproval]:
            if self.standing is None or trouble or not known:
                return {}
            return beforehand(self.policy, self.directory, self.standing, asked, judgement, now)

        weighed = weigh(self.policy, asked, self.judges, lift)
        if not trouble:
            return weighed
        return replace(weighed, judgement=self._raised(weighed.judgement, trouble))

    def _raised(self, judgement: Judgement, trouble: str) -> Judgement:
        """Without facts nothing is allowed; what the policy asks without them still counts."""
        reason = Reason(rule="facts_unreadable", text=trouble)
        changes: dict[str, object] = {"reasons": (reason, *judgement.reasons)}
        if judgement.verdict.strictness < Verdict.REQUIRE_APPROVAL.strictness:
            changes |= {"verdict": Verdict.REQUIRE_APPROVAL, "ask": self.policy.defaults.ask}
        tier = max(judgement.tier, Tier.HIGH, key=lambda one: one.height)
        return judgement.model_copy(update=changes | {"tier": tier})

    def seats(
        self, request: ApprovalRequest, person_id: PersonId, at: datetime
    ) -> dict[PersonId, str]:
        """Whose seat this person may take, of those that were offered: by the directory as it is
        now, and the delegations that held `at` that moment.
        """
        return whom.seats(self.directory, request, person_id, at)

    def lookers(self, request: ApprovalRequest) -> set[PersonId]:
        """Who may look at it afterwards, by the directory as it is now."""
        ask = request.judgement.ask
        try:
            people = self.directory.members(ask.who) if ask else []
        except UnknownPerson:  # a group is gone, and with it the right of those who were in it
            return set()
        return {one.id for one in people if not request.requester.is_one(one.id)}

    def still(
        self, request: ApprovalRequest, events: Sequence[Event]
    ) -> dict[PersonId, dict[PersonId, str]]:
        """The seats that those who have approved could still have taken when they did."""
        asked = lifecycle.widened(request, events)
        return {
            event.decision.person: self.seats(asked, event.decision.person, event.at)
            for event in events
            if isinstance(event, Decided) and event.decision.kind is DecisionKind.APPROVE
        }

    def _required(
        self, judgement: Judgement, action: Action, requester: Requester, now: datetime
    ) -> Requirement | None:
        """Who must agree before it runs; whoever only looks at it later is nobody of these."""
        if not judgement.verdict.asks:
            return None
        return self.requirement(judgement, action, requester, now)

    def requirement(
        self, judgement: Judgement, action: Action, requester: Requester, now: datetime
    ) -> Requirement | None:
        """Raises InvalidPolicy where fewer people could answer than must."""
        ask = judgement.ask
        if ask is None:
            return None
        found = whom.ask(self.directory, judgement, action.name, requester, now)
        ladder, more = rungs.of(self.directory, judgement, action.name, requester, now, found)
        consents = judgement.verdict is Verdict.VETO_WINDOW
        return Requirement(
            people=found.people,
            quorum=max(ask.quorum, len(found.groups)),
            deadline_at=ask.window(now) if consents else ask.deadline(now),
            valid_seconds=ask.valid_seconds,
            groups=found.groups,
            escalation=found.escalation,
            stands_for=found.stands_for | more,
            assurance=self.policy.assured(judgement),
            ladder=ladder,
            reminders=tuple(later(now, one, ask.calendar) for one in ask.remind),
            limits=(ask.limit, *ask.limits),
            keep_open=ask.keep_open,
        )


def beside(ask: Ask, level: Ask, evidence: Json) -> Ask:
    """Whoever has to agree to it anyhow is asked about a loop; further up, the level's, too."""
    more = [level] if level_of(evidence) > 1 else []
    return added(Verdict.REQUIRE_APPROVAL, ask, more)
