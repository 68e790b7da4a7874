"""Requests to look at where there is none: what the demo's company would ask. Pure.

Each is a plain RequestView with fixed times, so that a card drawn of it is always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from gates.core.asked import Requirement
from gates.core.errors import NotFound
from gates.core.loops import Guidance, climbed, level_reasons
from gates.core.model import (
    Action,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Execution,
    ExecutionState,
    Json,
    Judgement,
    Money,
    Outcome,
    OutcomeKind,
    Purpose,
    Reason,
    Requester,
    RequestView,
    RunRef,
    Step,
    Tier,
    Verdict,
)

OPENED = datetime(2026, 3, 2, 9, 12, tzinfo=UTC)
URL = "http://127.0.0.1:4280/requests/"
PREFECT = "http://127.0.0.1:4200"
DANA, MIKA, TOMAS = ("dana", "Dana Okafor"), ("mika", "Mika Lindqvist"), ("tomas", "Tomas Vega")
INES, PRIYA = ("ines", "Ines Duarte"), ("priya", "Priya Raman")
RUN = RunRef(
    run_id="0c6c7b1e",
    root_run_id="0c6c7b1e",
    flow_name="vendor-invoice",
    run_name="acme-steel-large",
    deployed=True,
    url=f"{PREFECT}/runs/flow-run/0c6c7b1e",
)
ENTERED = Step(
    request_id="3f" * 16,
    gate_key="enter",
    title="Enter a supplier's invoice as a draft",
    summary="Bill ACME-2026-0051 of Acme Steel AG entered as draft 18",
    state="done",
)


def _asked(tier: Tier, *reasons: tuple[str, str]) -> Judgement:
    return Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=tier,
        reasons=tuple(Reason(rule=rule, text=text) for rule, text in reasons),
        policy_digest="5d41402abc4b2a76b9719d911017c592",
    )


def _of(
    people: tuple[tuple[str, str], ...],
    quorum: int = 1,
    hours: int = 24,
    groups: dict[str, tuple[str, ...]] | None = None,
    escalation: tuple[tuple[str, str], ...] = (),
) -> Requirement:
    return Requirement(
        people=dict(people),
        quorum=quorum,
        deadline_at=OPENED + timedelta(hours=hours),
        groups=groups or {},
        escalation=dict(escalation),
    )


def _agent(name: str) -> Requester:
    return Requester(agent=name, on_behalf_of="sam")


def _voice(who: tuple[str, str], kind: DecisionKind, minutes: int, reason: str = "") -> Decision:
    return Decision(
        person=who[0],
        name=who[1],
        kind=kind,
        reason=reason,
        at=OPENED + timedelta(minutes=minutes),
        channel="slack",
        assurance="slack",
    )


PAY: Json = {
    "supplier": "DE999000017",
    "number": "ACME-2026-0051",
    "bill_id": 18,
    "currency": "EUR",
    "amount": "47600.00",
    "payee_iban": "DE66100000000000000101",
}


def large_invoice() -> RequestView:
    """A payment over the limit: tier high, one controller, and a way to escalate."""
    request = ApprovalRequest(
        id="8e" * 16,
        gate_key="pay",
        round=1,
        run=RUN,
        requester=_agent("invoice-agent"),
        action=Action(
            name="erp.payment.submit",
            title="Pay a supplier",
            subject=("supplier:DE999000017", "invoice:DE999000017/ACME-2026-0051"),
            arguments=PAY,
        ),
        in_process=False,
        amount=Money(minor=4_760_000),
        claims={"confidence": "0.97", "note": "Ordered in January, delivered on 24 February."},
        facts={
            "supplier_name": "Acme Steel AG",
            "supplier_age_days": 1204,
            "bank_account_changed": False,
            "amount_matches": True,
            "bill_state": "posted",
        },
        judgement=_asked(Tier.HIGH, ("large", "47,600.00 EUR is 10,000.00 EUR or more")),
        requirement=_of((DANA, MIKA), escalation=(TOMAS,)),
        opened_at=OPENED,
    )
    return RequestView(request=request, url=URL + request.id, stands=(ENTERED,))


def veto_window() -> RequestView:
    """A payment that runs in two hours unless a clerk objects."""
    view = large_invoice()
    request = view.request
    judgement = _asked(Tier.AMBIGUOUS, ("usual", "Acme Steel AG is paid every month"))
    changes = {
        "id": "5c" * 16,
        "amount": Money(minor=178_500),
        "action": request.action.model_copy(update={"arguments": PAY | {"amount": "1785.00"}}),
        "judgement": judgement.model_copy(update={"verdict": Verdict.VETO_WINDOW}),
        "requirement": _of((INES, PRIYA), hours=2),
    }
    asked = request.model_copy(update=changes)
    return view.model_copy(update={"request": asked, "url": URL + asked.id})


def changed_bank_account() -> RequestView:
    """Two people of two groups, of whom one has agreed: old account over new one."""
    arguments: Json = {
        "supplier": "DE999000025",
        "old_iban": "DE55100000000000000202",
        "new_iban": "DE52200000000000000606",
        "document": "Letter of Bolt Brothers Ltd, 2026-02-27",
    }
    request = ApprovalRequest(
        id="b7" * 16,
        gate_key="change",
        round=1,
        run=RUN.model_copy(update={"flow_name": "supplier-bank-change"}),
        requester=_agent("supplier-agent"),
        action=Action(
            name="erp.supplier.change_bank_account",
            title="Change a supplier's bank account",
            subject=("supplier:DE999000025", f"iban:{arguments['new_iban']}"),
            arguments=arguments,
        ),
        in_process=False,
        claims={"received_by": "mail", "urgency": "The supplier asks for it before Friday."},
        facts={
            "supplier_name": "Bolt Brothers Ltd",
            "bank_account_age_days": 811,
            "country_changes": False,
            "new_is_known": False,
            "open_bills": 2,
            "open_bills_minor": 1_249_050,
        },
        judgement=_asked(
            Tier.EXPERT,
            ("bank-account", "Later payments go where this account is"),
            ("account-unknown", "Nobody we know is paid to the new account"),
        ),
        requirement=_of(
            (DANA, MIKA, TOMAS),
            quorum=2,
            groups={"controllers": ("dana", "mika"), "treasury": ("tomas",)},
        ),
        opened_at=OPENED,
    )
    agreed = _voice(DANA, DecisionKind.APPROVE, 14, "I called them back on the number on file.")
    return RequestView(request=request, url=URL + request.id, decisions=(agreed,), revision=2)


def loop() -> RequestView:
    """The same call fails the same way once more after guidance: a level up."""
    attempts: list[JsonValue] = [
        {"number": n, "at": f"2026-03-02T09:0{2 * n}:00Z", "error": "Bill 21 has a draft payment"}
        for n in (1, 2, 3, 4)
    ]
    said = "Withdraw the draft payment of bill 21, then pay."
    guided = climbed([Guidance(by=INES[1], said=said, at=OPENED - timedelta(minutes=5))])
    request = ApprovalRequest(
        id="a9" * 16,
        gate_key="pay",
        round=3,
        purpose=Purpose.LOOP,
        run=RUN,
        requester=_agent("invoice-agent"),
        action=Action(
            name="erp.payment.submit",
            title="Pay a supplier",
            subject=("supplier:DE999000033", "invoice:DE999000033/CC-118"),
            arguments=PAY
            | {"supplier": "DE999000033", "number": "CC-118", "bill_id": 21, "amount": "1785.00"},
        ),
        in_process=False,
        amount=Money(minor=178_500),
        evidence={
            "count": 4,
            "total": 4,
            "error_class": "BillLocked",
            "error": "Bill 21 has a draft payment",
            "attempts": attempts,
            "differences": [],
            "allow_more": 1,
            "spent": {"seconds": 360, "cost_minor": 84, "tokens": 41_200},
            "half_done": [
                "payment script:CC-118 on bill CC-118, 1,785.00 EUR, is draft: no money has left"
            ],
        }
        | guided,
        judgement=_asked(
            Tier.HIGH,
            ("loop.same_failure", "Pay a supplier failed 4 times: Bill 21 has a draft payment"),
            *((one.rule, one.text) for one in level_reasons(guided)),
        ),
        requirement=_of((DANA, MIKA), hours=4),
        opened_at=OPENED,
        before=("Round 2: sent back by Ines Duarte",),
    )
    return RequestView(request=request, url=URL + request.id)


def in_doubt() -> RequestView:
    """Nobody knows how the last attempt ended."""
    request = ApprovalRequest(
        id="d0" * 16,
        gate_key="pay",
        round=2,
        purpose=Purpose.IN_DOUBT,
        run=RUN,
        requester=_agent("invoice-agent"),
        action=Action(
            name="erp.payment.submit",
            title="Pay a supplier",
            subject=("supplier:DE999000017", "invoice:DE999000017/ACME-2026-0051"),
            arguments=PAY,
        ),
        in_process=False,
        amount=Money(minor=4_760_000),
        evidence={
            "attempt": {"number": 1, "holder": "executor-1", "error": "The line was cut"},
            "note": "The ERP shows a payment of the same amount without our key.",
        },
        judgement=_asked(Tier.HIGH, ("in-doubt", "An attempt has begun, and its end is not known")),
        requirement=_of((DANA, MIKA), hours=8),
        opened_at=OPENED,
        before=("Round 1: approved by Dana Okafor; the attempt ended in doubt",),
    )
    return RequestView(request=request, url=URL + request.id, stands=(ENTERED,), woken=1)


def decided() -> RequestView:
    """Approved, done, and no buttons left."""
    view = large_invoice()
    agreed = _voice(DANA, DecisionKind.APPROVE, 31, "Ordered and delivered; the account is theirs.")
    outcome = Outcome(kind=OutcomeKind.APPROVED, by=(DANA[1],), reason=agreed.reason, at=agreed.at)
    done = Execution(request_id=view.request.id, state=ExecutionState.SUCCEEDED)
    return view.model_copy(
        update={"decisions": (agreed,), "outcome": outcome, "execution": done, "revision": 4}
    )


SAMPLES: dict[str, Callable[[], RequestView]] = {
    "large-invoice": large_invoice,
    "veto-window": veto_window,
    "changed-bank-account": changed_bank_account,
    "loop": loop,
    "in-doubt": in_doubt,
    "decided": decided,
}


def sample_of(name: str) -> RequestView:
    """Raises NotFound for a name that is none of SAMPLES."""
    if name not in SAMPLES:
        raise NotFound(f"--sample {name!r}: there are {', '.join(SAMPLES)}.")
    return SAMPLES[name]()
