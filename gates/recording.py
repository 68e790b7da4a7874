"""What every command does: whose run is it, what is written with a change, what is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from random import Random, SystemRandom

from gates.asking import Asking
from gates.circumstances import recounted
from gates.core.errors import NotEntitled
from gates.core.events import Event
from gates.core.execution import End, ends, replayed
from gates.core.freezes import Freeze, Start, releases
from gates.core.model import (
    ApprovalRequest,
    Failure,
    GateReply,
    Requester,
    RequestView,
    Standing,
)
from gates.core.reviewing import THOUSAND, drawn
from gates.grants.granting import Granting
from gates.grants.keyring import KeyRing
from gates.orders import Orders
from gates.reading import Reading
from gates.standing import spent
from gates.store import freezes
from gates.store.aggregate import Aggregate
from gates.store.database import AFTER, Database
from gates.store.repository import Unit
from gates.store.tables import KeyRow

ENDED = (
    Standing.SUCCEEDED,
    Standing.REJECTED,
    Standing.SENT_BACK,
    Standing.EXPIRED,
    Standing.CANCELLED,
    Standing.FORBIDDEN,
)
ANY = ("*",)  # actions of an executor's key
CARDS = "cards"  # outbox: bring every card of a request up to date
TELL = "tell"  # outbox: say on the run what it waits for
APPLY = "apply"  # outbox: do what people have agreed to of the server's own matters
OWN_RUNS = "script-gates-"  # how the runs are called in which the server itself asks
RING = "ring"  # outbox: wake the run until it has collected the outcome


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class KeyHolder:
    """Who calls, as their key says; a flow cannot name itself otherwise. `actions`: patterns of
    those that an executor may take.
    """

    key_id: str
    scope: str
    requester: Requester
    actions: tuple[str, ...] = ANY

    def refuse_unless(self, scope: str) -> None:
        if self.scope != scope:
            raise NotEntitled(
                f"This key is for {self.scope} processes; this call wants one for {scope}."
            )

    def refuse_unless_for(self, *names: str) -> None:
        """Raises NotEntitled for an action that this executor's key is not for."""
        if self.actions == ANY:
            return
        for name in names:
            if not any(fnmatchcase(name, pattern) for pattern in self.actions):
                raise NotEntitled(
                    f"Key {self.key_id} ({self.requester.agent}) is for {', '.join(self.actions)} "
                    f"and not for {name!r}: leave that out of GATES_EXECUTOR_ACTIONS, or make "
                    "a key for it with `gates key create executor NAME --actions`."
                )


@dataclass
class Recording(Reading):
    """`woken` is called with a gate's id after each commit that changed it, `opened` with a request
    after the commit that opened it. `keys` sign grants; by default with a key that lives and dies
    with this process. `dice` draw what is looked at later.
    """

    database: Database
    asking: Asking
    base_url: str
    woken: Callable[[str], None] = lambda _gate: None
    clock: Callable[[], datetime] = utc_now
    keys: KeyRing | None = None
    dice: Random = field(default_factory=SystemRandom)
    heard: dict[str, datetime] = field(default_factory=dict)  # when a run's flow called last
    opened: Callable[[ApprovalRequest], None] = lambda _request: None  # neither raises nor waits
    shadow: str = ""  # the digest of the policy that looks on
    orders: Orders = field(default_factory=Orders)
    troubles: dict[str, str] = field(default_factory=dict)  # by kind, for health and pages

    def __post_init__(self) -> None:
        self.ring = self.keys or KeyRing(self.database, self.base_url, clock=self.clock)
        self.granting = Granting(self.ring, self.base_url)

    def hears(self, root_run_id: str) -> None:
        """The run's flow has just called."""
        self.heard[root_run_id] = self.clock()

    def frozen(self, unit: Unit, request: ApprovalRequest) -> Freeze | None:
        """What keeps this from starting now. Asked within the transaction that would start it."""
        found = self.orders.now(unit.session)
        return found.freeze(Start.of(request)) if found.freezes else None

    def stilled(self, reply: GateReply) -> GateReply:
        """To a flow, what is frozen waits as for people: its approval is there after the thaw."""
        found = self.orders.last
        claimable = reply.standing is Standing.CLAIMABLE and found.freezes
        if not claimable or found.freeze(Start.of(reply.view.request)) is None:
            return reply
        return reply.model_copy(update={"standing": Standing.WAITING})

    def owned(
        self, unit: Unit, caller: KeyHolder, root_run_id: str, *, claim: bool = False
    ) -> None:
        """Raises NotEntitled for another requester's key; a new key of the same one may go on."""
        owner = unit.owner(root_run_id)
        if owner is None and claim:
            unit.own(root_run_id, caller.key_id)
        elif owner not in (None, caller.key_id):
            first = unit.session.get(KeyRow, owner)
            asked = (caller.scope, caller.requester.agent, caller.requester.on_behalf_of)
            if first is None or (first.scope, first.agent, first.on_behalf_of) != asked:
                raise NotEntitled("This run belongs to another requester's key: use that key.")

    def ask(self, unit: Unit, request: ApprovalRequest) -> Aggregate:
        """Open a request. Raises Overtaken where others have used up what it was judged by."""
        request = recounted(unit, self.asking, request)
        spent(unit, request)
        unit.session.info.setdefault(AFTER, []).append(partial(self.opened, request))
        aggregate = unit.open(request)
        if drawn(request.judgement, self.dice.randrange(THOUSAND)):
            aggregate.row.review = "wanted"
        unit.log(
            request.requester.agent,
            "request.opened",
            request.id,
            action=request.action.name,
            fingerprint=request.action.fingerprint,
            verdict=request.judgement.verdict.value,
            policy=request.judgement.policy_digest,
            round=request.round,
            purpose=request.purpose.value,
            on_behalf_of=request.requester.on_behalf_of,
        )
        if request.requirement is not None:
            unit.wish(request.id, CARDS, TELL)
        return aggregate

    def record(self, unit: Unit, aggregate: Aggregate, events: list[Event], *, actor: str) -> None:
        changed = unit.append(aggregate, events)
        for event in events:
            unit.log(
                actor,
                f"event.{event.kind}",
                aggregate.request.id,
                fingerprint=aggregate.request.action.fingerprint,
                **event.model_dump(mode="json", exclude={"kind", "at"}),
            )
        found = aggregate.outcome
        if changed and found is not None:
            unit.log(
                actor,
                "request.settled",
                aggregate.request.id,
                outcome=found.kind.value,
                by=list(found.by),
                fingerprint=aggregate.request.action.fingerprint,
            )
            unit.tell_again(aggregate, CARDS, TELL)
            if aggregate.row.root_run_id.startswith(OWN_RUNS):
                unit.wish(aggregate.request.id, APPLY)
            if releases(aggregate.request, found):
                freezes.release(
                    unit.session, aggregate.row.root_run_id, ", ".join(found.by), unit.now
                )
        if aggregate.request.requirement is not None:
            unit.wish(aggregate.request.id, CARDS, TELL, *([RING] if changed else []))

    def reply(
        self, rounds: list[Aggregate], attempt_id: str, call: int, answers: str = ""
    ) -> GateReply:
        """`answers`: the fingerprint that the caller proposes; `call` 0: whatever it was told."""
        current = rounds[-1]
        end = replayed(ends_of(rounds), call, answers) if call and answers else None
        if end is not None:
            return self._told_again(rounds, end)
        standing = current.standing(attempt_id)
        held = standing is Standing.CLAIMED
        return GateReply(
            standing=standing,
            view=self._told(current),
            version=current.version,
            grant=self.granting.grant(current) if held else None,
            result=current.execution.result if current.execution else None,
        )

    def _told(self, current: Aggregate) -> RequestView:
        """What a flow gets to see: not whether people will look at what it does."""
        view = current.view(self.base_url)
        return view.model_copy(update={"review": "", "reviews": ()}) if view.review else view

    def _told_again(self, rounds: list[Aggregate], end: End) -> GateReply:
        failure = None
        if end.failure is not None:
            failure = Failure(error=end.failure.error, error_class=end.failure.error_class)
        return GateReply(
            standing=Standing.FAILED if failure else Standing.SENT_BACK,
            view=self._told(rounds[end.round - 1]),
            version=rounds[-1].version,
            failure=failure,
        )


def ends_of(rounds: list[Aggregate]) -> list[End]:
    return ends([(one.request, one.outcome, one.execution) for one in rounds])
