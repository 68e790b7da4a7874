"""What people in command agree to first: thaws, and changes of the policy or the directory.

Rules, each with what it protects from:
1. It is asked like everything else: a request with its people, quorum and deadline, in a run of
   the server's own, which no flow can propose in (a second way to an approval).
2. Who has asked for it is the one it is done for, and so never among those who decide.
3. It is done once, in the transaction that writes that it was done; a crash before that leaves a
   wish in the outbox, and one after it a request that says so.
4. Agreed to is what was shown: rules that were meant to replace others than those in force now
   are asked anew (two changes, each approved, of which one is lost).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gates.commanding import Commander, Commanding
from gates.core import freezes as rules
from gates.core import lifecycle
from gates.core.asked import Ask, PersonId
from gates.core.errors import Conflict
from gates.core.freezes import Freeze
from gates.core.gate_keys import gate_id, request_id
from gates.core.model import (
    Action,
    ApprovalRequest,
    Execution,
    ExecutionState,
    Json,
    Judgement,
    OutcomeKind,
    Reason,
    Requester,
    RunRef,
    Tier,
    Verdict,
)
from gates.core.versions import Pair, Texts, diff
from gates.recording import OWN_RUNS
from gates.service import CARDS, TELL, Gates
from gates.store import freezes, versions
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit

SERVER = "gates"  # the requester of the server's own matters, and the key of their runs
THAW, POLICY, DIRECTORY = "gates.freeze.thaw", "gates.policy.change", "gates.directory.change"
KEY = "command"


@dataclass
class FourEyes:
    """`changed` is called after other rules have come into force here."""

    gates: Gates
    changed: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.commanding = Commanding(self.gates)

    # -- asking -----------------------------------------------------------------------------

    def thaw(self, person_id: str, freeze_id: str, reason: str) -> tuple[Freeze, str]:
        """Lift a freeze, or ask for it where the policy needs that: then with the request's id.
        Raises as `Commanding.thaw`, and Conflict where it is being asked already.
        """
        command = self.gates.asking.policy.command
        if "thaw" not in command.needs or command.ask is None:
            return self.commanding.thaw(person_id, freeze_id, reason), ""
        who, told = self.commanding.person(person_id), rules.why(reason)
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            found = self.commanding.thawable(unit, who, freeze_id)
            asked = self._thaw_request(unit, who, found, told, command.ask)
        self.gates.woken(asked.gate_id)
        return found, asked.id

    def _thaw_request(
        self, unit: Unit, who: Commander, found: Freeze, reason: str, ask: Ask
    ) -> ApprovalRequest:
        root = f"{OWN_RUNS}thaw-{found.id}"
        rounds = unit.gate(gate_id(root, KEY), lock=True)
        if rounds and rounds[-1].outcome is None:
            asked = rounds[-1].request.id[:8]
            raise Conflict(f"Freeze {found.id} has been put to people already: request {asked}.")
        action = Action(
            name=THAW,
            title=f"Thaw {found.scope}",
            subject=(f"freeze:{found.id}",),
            arguments={"freeze": found.id, "covers": str(found.scope), "reason": reason},
        )
        evidence: Json = {"frozen": str(found), "asked_by": who.name, "because": reason}
        words = f"{who.name} asks to thaw what {found.name} has frozen: {reason}"
        return self._ask(unit, root, rounds, action, evidence, words, ask, on_behalf_of=who.id)

    def rules_wanted(self, unit: Unit, pair: Pair, texts: Texts, *, again: bool) -> str:
        """Ask whether these rules are to replace those in force, unless that is being asked or was
        answered. `again`: the files have just been changed, so that an old answer does not
        count. Returns the request's id.
        """
        root = f"{OWN_RUNS}rules-{pair.policy[:16]}-{pair.people[:16]}"
        rounds = unit.gate(gate_id(root, KEY), lock=True)
        if rounds and not _asks_again(rounds[-1], again=again):
            return rounds[-1].request.id
        now = versions.in_force(unit.session)
        old = versions.texts_of(unit.session, now) if now else None
        ask = self.gates.asking.policy.command.ask
        assert now is not None  # noqa: S101 - there are needs, so there is a policy in force
        assert old is not None  # noqa: S101 - kept before it came into force
        assert ask is not None  # noqa: S101 - a policy with needs has one
        policy = now.policy != pair.policy
        what = "policy" if policy else "directory"
        if policy and now.people != pair.people:
            what = "policy and directory"
        action = Action(
            name=POLICY if policy else DIRECTORY,
            title=f"Change the {what}",
            subject=(f"policy:{pair.policy[:12]}", f"people:{pair.people[:12]}"),
            arguments={"policy": pair.policy, "people": pair.people, "replaces": now.seq},
        )
        words = f"The files of the {what} have changed; what is in force stays until you agree."
        evidence: Json = {"difference": diff(old, texts)}
        return self._ask(unit, root, rounds, action, evidence, words, ask).id

    def withdraw_rules(self, unit: Unit, keep: str, why: str) -> None:
        """Take back what is open about other rules than request `keep` asks for."""
        for one in versions.open_changes(unit.session, (POLICY, DIRECTORY)):
            if one != keep:
                current = unit.load(one, lock=True)
                if current.outcome is None and self._own(unit, current):
                    events = lifecycle.withdraw(
                        current.request, current.events, SERVER, why, unit.now
                    )
                    self.gates.record(unit, current, events, actor=SERVER)

    def _ask(
        self,
        unit: Unit,
        root: str,
        rounds: list[Aggregate],
        action: Action,
        evidence: Json,
        words: str,
        ask: Ask,
        *,
        on_behalf_of: str | None = None,
    ) -> ApprovalRequest:
        requester = Requester(agent=SERVER, on_behalf_of=on_behalf_of)
        asking, round_ = self.gates.asking, len(rounds) + 1
        judgement = Judgement(
            verdict=Verdict.REQUIRE_APPROVAL,
            tier=Tier.HIGH,
            reasons=(Reason(rule="command.needs", text=words),),
            policy_digest=asking.policy.digest,
            ask=ask,
        )
        request = ApprovalRequest(
            id=request_id(root, KEY, round_),
            gate_key=KEY,
            round=round_,
            run=RunRef(run_id=root, root_run_id=root, flow_name="in command"),
            requester=requester,
            action=action,
            in_process=True,
            evidence=evidence,
            judgement=judgement,
            requirement=asking.requirement(judgement, action, requester, unit.now),
            opened_at=unit.now,
        )
        if unit.owner(root) is None:
            unit.own(root, SERVER)
        self.gates.ask(unit, request)
        return request

    # -- doing ------------------------------------------------------------------------------

    def apply(self, request_id: str) -> bool:
        """Do what was agreed to, once; the outbox's handler. Always True: there is nothing to wait
        for, and what cannot be done is voided.
        """
        with self.gates.database.read() as session:
            seen = Unit(session, self.gates.clock()).load(request_id)
        still = self.gates.asking.still(seen.request, seen.events)
        free: list[str] = []
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            current = unit.load(request_id, lock=True)
            outcome = current.outcome
            approved = outcome is not None and outcome.kind is OutcomeKind.APPROVED
            if not approved or current.execution is not None or not self._own(unit, current):
                return True
            stale = _stale(current, still, unit.now)
            if current.request.action.name == THAW:
                free = [] if stale else self._thaw(unit, current)
            else:
                stale = stale or self._change(unit, current)
            if stale:
                self._void(unit, current, stale)
            else:
                self._done(unit, current)
        self.commanding.thawed(free)
        self.gates.woken(current.row.gate_id)
        self.changed()
        return True

    @staticmethod
    def _own(unit: Unit, current: Aggregate) -> bool:
        return unit.owner(current.row.root_run_id) == SERVER

    def _thaw(self, unit: Unit, current: Aggregate) -> list[str]:
        """One that somebody has lifted meanwhile is lifted."""
        arguments = current.request.action.arguments
        found = freezes.standing(unit.session, str(arguments["freeze"]))
        if found is None:
            return []
        by = current.request.requester.on_behalf_of or SERVER
        return self.commanding.lift(unit, found, by, str(arguments["reason"]))

    @staticmethod
    def _change(unit: Unit, current: Aggregate) -> str:
        """Why it cannot be done, or nothing."""
        arguments = current.request.action.arguments
        versions.lock(unit.session)
        now = versions.in_force(unit.session)
        if now is None or now.seq != arguments["replaces"]:
            return "other rules have come into force since people were asked"
        pair = Pair(str(arguments["policy"]), str(arguments["people"]))
        outcome = current.outcome
        by = ", ".join(outcome.by) if outcome else SERVER
        versions.put_in_force(unit.session, pair, by, unit.now, current.request.id)
        unit.log(SERVER, "rules.in_force", pair.policy, people=pair.people, by=by)
        return ""

    def _void(self, unit: Unit, current: Aggregate, why: str) -> None:
        events = lifecycle.drift(
            current.request, current.events, [why], unit.now, by=SERVER, because="not done"
        )
        self.gates.record(unit, current, events, actor=SERVER)

    @staticmethod
    def _done(unit: Unit, current: Aggregate) -> None:
        request = current.request
        done = Execution(request_id=request.id, state=ExecutionState.SUCCEEDED, result={})
        unit.save(current, done)
        current.row.collected = True
        current.row.revision += 1
        unit.log(SERVER, "command.applied", request.id, fingerprint=request.action.fingerprint)
        unit.wish(request.id, CARDS, TELL)


def _stale(
    current: Aggregate, still: Mapping[PersonId, Mapping[PersonId, str]], now: datetime
) -> str:
    """Why the approval no longer holds, or nothing."""
    outcome = current.outcome
    lapse = lifecycle.lapsed(current.request, outcome, now) if outcome else ""
    left = lifecycle.disentitled(current.request, current.events, still)
    return lapse or "; ".join(left)


def _asks_again(last: Aggregate, *, again: bool) -> bool:
    if last.outcome is None:
        return False
    if last.outcome.kind is OutcomeKind.APPROVED:
        return last.execution is not None and again
    return again or last.outcome.kind in (OutcomeKind.EXPIRED, OutcomeKind.VOIDED)
