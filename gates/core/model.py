"""The words of DESIGN as frozen values. No behavior beyond what a value knows of itself. Who is
asked is said in gates/core/asked.py.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from gates.core.asked import Ask, PersonId, Requirement
from gates.core.canonical import digest
from gates.core.currencies import USUAL_DIGITS, minor_digits
from gates.core.errors import NotCanonical
from gates.core.gate_keys import LONGEST_NAME, gate_id
from gates.core.value import Value

Json = dict[str, JsonValue]
Effect = Literal[
    "read", "write", "web"
]  # it looks; it changes something; it goes out to an address
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
OWN_ACTIONS = "gates."  # how the names of the server's own matters begin
RUN_ENDED = "the end of the run"  # who takes back what a run leaves behind
RequestId = str


class Verdict(StrEnum):
    """From the mildest to the strictest; `strictness` orders them."""

    ALLOW = "allow"
    REVIEW_LATER = "review_later"
    VETO_WINDOW = "veto_window"
    REQUIRE_APPROVAL = "require_approval"
    FORBID = "forbid"

    @property
    def strictness(self) -> int:
        return list(Verdict).index(self)

    @property
    def asks(self) -> bool:
        """Whether people are asked before it may run."""
        return self in (Verdict.VETO_WINDOW, Verdict.REQUIRE_APPROVAL)


class Tier(StrEnum):
    ROUTINE = "routine"
    AMBIGUOUS = "ambiguous"
    HIGH = "high"
    EXPERT = "expert"

    @property
    def height(self) -> int:
        return list(Tier).index(self)


class DecisionKind(StrEnum):
    """`send_back`: guidance for the agent instead of an answer. `approve_with_changes`: yes, but
    with other arguments, which the policy judges anew. `escalate`: no answer; more are asked.
    `skip`: this step is left out, and the run may go on without it (of a loop alone).
    """

    APPROVE = "approve"
    APPROVE_WITH_CHANGES = "approve_with_changes"
    REJECT = "reject"
    SEND_BACK = "send_back"
    ESCALATE = "escalate"
    SKIP = "skip"

    @property
    def told(self) -> str:
        """What somebody has done who decided so."""
        return _TOLD[self]


_TOLD = {
    DecisionKind.APPROVE: "approved",
    DecisionKind.APPROVE_WITH_CHANGES: "approved with changes",
    DecisionKind.REJECT: "rejected",
    DecisionKind.SEND_BACK: "sent back",
    DecisionKind.ESCALATE: "escalated",
    DecisionKind.SKIP: "skipped",
}


class OutcomeKind(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"
    SENT_BACK = "sent_back"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    VOIDED = "voided"


class Purpose(StrEnum):
    """What people are asked: may it run; may it go on in circles; may it be tried again
    although the end of the last attempt is unknown.
    """

    ACTION = "action"
    LOOP = "loop"
    IN_DOUBT = "in_doubt"


_EXACT = Context(prec=60, Emax=60, traps=[Inexact, InvalidOperation, Overflow])


class Money(Value):
    """`minor` counts the currency's smallest unit (cents; ISO 4217 says how many make a whole), so
    that policies need no decimals.
    """

    minor: int
    currency: str = "EUR"

    @classmethod
    def of(cls, amount: Decimal, currency: str) -> "Money":
        """Raises NotCanonical for a fraction of a cent: rounding could cross a limit."""
        digits = minor_digits(currency)
        try:
            minor = amount.scaleb(digits, _EXACT)
            whole = minor.is_finite() and minor == minor.to_integral_value()
        except ArithmeticError:  # more digits than any sum of money has
            whole = False
        if not whole:
            kind = "cent" if digits == USUAL_DIGITS else f"unit ({currency} has {digits} digits)"
            raise NotCanonical(
                f"amount = {amount} {currency} has a fraction of a {kind}: round it."
            )
        return cls(minor=int(minor), currency=currency)

    def __str__(self) -> str:
        sign, whole = ("-" if self.minor < 0 else ""), abs(self.minor)
        digits = minor_digits(self.currency)
        units, rest = divmod(whole, 10**digits)
        after = f".{rest:0{digits}d}" if digits else ""
        return f"{sign}{units:,}{after} {self.currency}"


class Requester(Value):
    """Who asks: the agent as its key names it, and the person or service it acts for."""

    agent: Name
    on_behalf_of: PersonId | None = None

    def is_one(self, person: PersonId) -> bool:
        """Whether this person asks, or is acted for: who does, decides nothing here."""
        return person in (self.agent, self.on_behalf_of)


class RunRef(Value):
    """The flow run that waits. `root_run_id` stays the same across sub-flows."""

    run_id: Name
    root_run_id: Name
    flow_name: str = ""
    run_name: str = ""
    deployed: bool = False
    url: str = ""


class Action(Value):
    name: Name
    title: str = ""
    subject: tuple[str, ...] = ()
    arguments: Json = Field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the canonical JSON of name, subject and arguments."""
        return digest(
            {"name": self.name, "subject": list(self.subject), "arguments": self.arguments}
        )


class Reason(Value):
    """Why a verdict is what it is: the rule's name and its words for people."""

    rule: str
    text: str


class Level(StrEnum):
    """What a judge beside the policy makes of an action. `unknown`: it could not say, and asks."""

    NONE = "none"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    HIGH = "high"
    EXPERT = "expert"
    FORBID = "forbid"


class Signal(Value):
    """A judge's word, which may raise what the policy says and never lower it."""

    judge: str
    level: Level
    reason: str = ""


class Judgement(Value):
    """A policy's answer. `ask` is there whenever people are to be asked, and for those who look at
    a sample of what ran; of a thousand such actions `sample_permille` are looked at. `lifted`: the
    rules that matched and whose voices were taken away.
    """

    verdict: Verdict
    tier: Tier
    reasons: tuple[Reason, ...]
    policy_digest: str
    ask: Ask | None = None
    sample_permille: int = Field(default=0, ge=0, le=1000)
    lifted: tuple[str, ...] = ()


class Line(Value):
    """One action of a batch: what the server found out about it, and what the policy says of it.
    Its arguments stand in the batch's own, at the same place.
    """

    number: int = Field(ge=1)
    fingerprint: str
    subject: tuple[str, ...] = ()
    counterparty: str = ""
    amount: Money | None = None
    facts: Json = Field(default_factory=dict)
    precondition: Json = Field(default_factory=dict)
    judgement: Judgement


class Covered(Value):
    """The batch whose approval lets this line run, and whose word that was."""

    request_id: RequestId
    line: int = Field(ge=1)
    by: tuple[str, ...]
    count: int = 1
    total: Money | None = None


class ApprovalRequest(Value):
    """What is asked, fixed when it is opened; what happens to it is in its events.

    `precondition` is what the server read of the real system at that time and reads again
    before anything runs. `evidence` is what reviewers are shown beside the action itself.
    `proposed` is the fingerprint of what the flow proposes, where people have changed that.
    `before` says in words how the round before ended and what is different now. `lines` are those
    of a batch; `covered` is there where people have agreed to this as a line of one.
    `circumstances`: those that its policy judged by. `lifted`: rules that asked, each with the
    standing approval that has lifted it. `signals`: what the judges beside the policy said.
    `changes_nothing`: it only looks, as its definition or its flow says.
    """

    id: RequestId
    gate_key: Name
    round: int = Field(ge=1)
    purpose: Purpose = Purpose.ACTION
    run: RunRef
    requester: Requester
    action: Action
    in_process: bool
    amount: Money | None = None
    claims: Json = Field(default_factory=dict)
    facts: Json = Field(default_factory=dict)
    precondition: Json = Field(default_factory=dict)
    evidence: Json = Field(default_factory=dict)
    judgement: Judgement
    requirement: Requirement | None = None
    opened_at: datetime
    proposed: str = ""
    before: tuple[str, ...] = ()
    counterparty: str = ""
    effect: Effect = "write"
    lines: tuple[Line, ...] = ()
    covered: Covered | None = None
    circumstances: dict[str, Json] = Field(default_factory=dict)
    lifted: dict[str, str] = Field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    changes_nothing: bool = False

    @model_validator(mode="after")
    def _asks_whom_it_must(self) -> Self:
        asks = self.judgement.verdict.asks and self.covered is None
        if asks != (self.requirement is not None):
            raise ValueError(f"{self.judgement.verdict.value} and requirement contradict")
        return self

    @property
    def own_matter(self) -> bool:
        """Whether the server itself asks people in command, and does what they agree to."""
        return self.action.name.startswith(OWN_ACTIONS)

    @property
    def gate_id(self) -> str:
        return gate_id(self.run.root_run_id, self.gate_key)

    @property
    def answers(self) -> str:
        """The fingerprint of the proposal that this round is the answer to."""
        return self.proposed or self.action.fingerprint


class LoopLabel(StrEnum):
    """What people say of an alarm, for the detector's own record."""

    LOOP = "loop"
    NOT_A_LOOP = "not_a_loop"
    HARMFUL = "harmful"


MOST_MORE = 20  # tries that one answer may allow


class LoopAnswer(Value):
    """What an answer says beside yes and no where an agent goes in circles. `more`: how many more
    tries it allows, where not as many as the policy says; `label`: what it was; `freeze`: the
    agent is to be stopped altogether.
    """

    more: int | None = Field(default=None, ge=1, le=MOST_MORE)
    label: LoopLabel | None = None
    freeze: bool = False


class Decision(Value):
    """One person's answer, with what they saw (`card_revision`) and how they were verified.
    `changes`: the arguments, whole, as the person approves them. `refused`: lines of a batch that
    are not to run although the rest may: number and reason. `stands_for`: ids and names of those
    whose seat they could take then, empty for their own alone. `loop`: what it says of a loop.
    """

    person: PersonId
    name: str
    kind: DecisionKind
    reason: str = ""
    at: datetime
    channel: str
    assurance: str
    card_revision: int | None = None
    verified_by: Json = Field(default_factory=dict)
    changes: Json | None = None
    refused: dict[str, str] = Field(default_factory=dict)
    stands_for: dict[PersonId, str] = Field(default_factory=dict)
    loop: LoopAnswer | None = None

    @property
    def who(self) -> str:
        """The name, and for whom: `Mika Lindqvist for Dana Okafor`."""
        return deputy(self.name, self.person, self.stands_for)


class Review(Value):
    """What one person says of a sampled action that has run, with how they were verified."""

    person: PersonId
    name: str
    verdict: Literal["fine", "wrong"]
    reason: str = Field(default="", max_length=5_000)
    category: str = Field(default="", max_length=100)
    at: datetime
    channel: str
    assurance: str
    verified_by: Json = Field(default_factory=dict)


class Outcome(Value):
    """`by` are the names of those whose word it was; `policy` and `deadline` may stand there.
    `skipped`: rejected, and the run may go on without the step.
    """

    kind: OutcomeKind
    by: tuple[str, ...]
    reason: str = ""
    at: datetime
    skipped: bool = False

    def __str__(self) -> str:
        who = f" by {', '.join(self.by)}" if self.by else ""
        kind = "skipped" if self.skipped else self.kind.value.replace("_", " ")
        return f"{kind}{who}" + (f": {self.reason}" if self.reason else "")


class ExecutionState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    WITHDRAWN = "withdrawn"  # taken out of the queue: nobody has begun it, and nobody will


BEGUN = (  # it has been done, or may have been, or is about to be
    ExecutionState.QUEUED,
    ExecutionState.RUNNING,
    ExecutionState.IN_DOUBT,
    ExecutionState.SUCCEEDED,
)


class Attempt(Value):
    """One try. The id is made by the caller, so that a repeated message is recognized;
    `fence` grows with every change of hands, and a report with an old one is refused.
    """

    id: Name
    number: int
    holder: str
    fence: int
    lease_until: datetime
    started_at: datetime
    ended_at: datetime | None = None
    state: ExecutionState = ExecutionState.RUNNING
    error: str = ""
    error_class: str = ""
    reconciling: bool = False
    opened_round: bool = False  # this failure was put to people instead of being raised
    redeemed_at: datetime | None = None  # when a proxy used the grant up


class Execution(Value):
    """The one use of a grant. No attempts: queued for an executor."""

    request_id: RequestId
    state: ExecutionState
    attempts: tuple[Attempt, ...] = ()
    result: Json | None = None
    differences: tuple[str, ...] = ()

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


class Grant(Value):
    """The right to run exactly one fingerprint, once, until the lease ends. `token` is the same,
    signed; it is made when the grant is handed out and stored nowhere.
    """

    request_id: RequestId
    fingerprint: str
    policy_digest: str
    attempt_id: str
    fence: int
    lease_until: datetime
    token: str = Field(default="", repr=False)


class Standing(StrEnum):
    """What the flow has to do next; derived, never stored."""

    WAITING = "waiting"
    CLAIMABLE = "claimable"
    CLAIMED = "claimed"
    EXECUTING = "executing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    SENT_BACK = "sent_back"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FORBIDDEN = "forbidden"


class UndoOffer(Value):
    """The action that would take a step back; proposing it is up to the flow's author."""

    name: Name
    title: str
    arguments: Json


class Step(Value):
    """One thing that a run has done. `half_done`: nobody knows, or it is still going on; `note`
    says more; `cannot_undo` why there is no `undo`.
    """

    request_id: RequestId
    gate_key: Name
    title: str
    summary: str
    state: Literal["done", "half_done", "undone"]
    note: str = ""
    differences: tuple[str, ...] = ()
    undo: UndoOffer | None = None
    cannot_undo: str = ""

    @property
    def undoable(self) -> bool:
        return self.undo is not None and self.state != "undone"

    def __str__(self) -> str:
        half = "half done: " if self.state == "half_done" else ""
        return f"{half}{self.summary}" + (f" ({self.note})" if self.note else "")


class RequestView(Value):
    """Everything that a card, a page or a command line shows of a request. `review`: whether it was
    drawn to be looked at, which flows are not told.
    """

    request: ApprovalRequest
    decisions: tuple[Decision, ...] = ()
    outcome: Outcome | None = None
    execution: Execution | None = None
    revision: int = 1
    url: str = ""
    suspended: bool = False
    woken: int = 0  # times the run was resumed although nobody had decided
    stands: tuple[Step, ...] = ()  # what the run has done so far; read for people alone
    review: Literal["", "wanted", "done"] = ""
    reviews: tuple[Review, ...] = ()
    frozen: str = ""  # who keeps it from starting, and why; read for people alone


class Failure(Value):
    error: str
    error_class: str


class GateReply(Value):
    """The server's answer to a flow: where its gate stands, and the approved copy to run."""

    standing: Standing
    view: RequestView
    version: int
    grant: Grant | None = None
    result: Json | None = None
    failure: Failure | None = None


class Suspension(Value):
    """Leave for a run to suspend, under this key. Empty: an outcome was faster."""

    pause_key: str = ""


class Job(Value):
    """Work for an executor: run the grant's action, or find out how an attempt ended.
    `precondition`: the state of the real system that was approved.
    """

    kind: Literal["execute", "reconcile"]
    action: Action
    grant: Grant
    idempotency_key: str
    precondition: Json = Field(default_factory=dict)


def deputy(name: str, person: PersonId, stands_for: Mapping[PersonId, str]) -> str:
    """How somebody is called who decides for others, or for themselves and others."""
    others = ", ".join(other for one, other in stands_for.items() if one != person)
    if not others:
        return name
    return f"{name} (also for {others})" if person in stands_for else f"{name} for {others}"
