"""Agents that run in circles on the real ERP, and people who help them out of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.stuck_payment import advised, stuck_payment
from gates.core.model import (
    DecisionKind,
    GateReply,
    LoopAnswer,
    LoopLabel,
    Purpose,
    RequestView,
    Standing,
)
from integrations.erp.actions import Payment, PaymentReceipt, PostBill, create_bill, post_bill
from integrations.erp.company import installed
from integrations.erp.stray import plant_stray_draft
from tests.support.erp import WHY_SKIPPED, simple_bill
from tests.support.erp_gates import ErpGates, erp_gates
from tests.support.prefect import stack, until

pytestmark = [
    pytest.mark.erp,
    pytest.mark.prefect,
    pytest.mark.skipif(not installed(), reason=WHY_SKIPPED),
    # Prefect leaves sockets of its own to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
NUMBERS = count(1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErpGates]:
    with erp_gates(tmp_path_factory.mktemp("loops")) as running:
        yield running


@pytest.fixture
def prefect(
    house: ErpGates, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A Prefect server, and an environment in which flows find this house's gates."""
    monkeypatch.setenv("GATES_URL", house.url)
    monkeypatch.setenv("GATES_API_KEY", house.server.access.create_key("flow", "payer", "sam"))
    with (
        stack(tmp_path_factory.mktemp("stack"), worker=False) as made,
        temporary_settings({PREFECT_API_URL: made.api}),
    ):
        yield


def drafted(house: ErpGates) -> PostBill:
    wanted = simple_bill(f"L-{next(NUMBERS)}")
    receipt = create_bill.execute(
        house.erp.erp("executor"), wanted, idempotency_key=f"key-{wanted.number}"
    )
    return PostBill(
        supplier=wanted.supplier,
        number=wanted.number,
        bill_id=receipt.bill_id,
        currency=wanted.currency,
        total=wanted.total,
        payee_iban=wanted.payee_iban,
    )


def blocked_payment(house: ErpGates) -> tuple[Payment, str]:
    """One on a bill with a stray draft; the draft's reference."""
    erp, draft = house.erp.erp("executor"), drafted(house)
    post_bill.execute(erp, draft, idempotency_key=f"post-{draft.number}")
    bill = erp.bill(draft.bill_id)
    assert bill is not None
    plant_stray_draft(erp, bill)
    (stray,) = erp.payments(line_ids=bill.payable_lines)
    payment = Payment(
        supplier=draft.supplier,
        number=draft.number,
        bill_id=draft.bill_id,
        currency=draft.currency,
        amount=draft.total,
        payee_iban=draft.payee_iban,
    )
    return payment, stray.key


def waiting(house: ErpGates, number: str) -> RequestView | None:
    return next(
        (one for one in house.server.gates.waiting() if number in str(one.request.action.subject)),
        None,
    )


def answer(house: ErpGates, request_id: str, kind: DecisionKind, words: str, **more: Any) -> None:
    house.server.gates.decide(
        request_id,
        person_id="priya",
        kind=kind,
        reason=words,
        channel="test",
        assurance="session",
        **more,
    )


@pytest.mark.usefixtures("prefect")
def test_the_agent_is_steered_out_of_its_circle(house: ErpGates, tmp_path: Path) -> None:
    """Stopped at the third same failure; the card names the stray draft; a person's guidance leads
    to its withdrawal through a gate; then the payment goes through, once.
    """
    payment, stray = blocked_payment(house)
    document = tmp_path / "payment.json"
    document.write_text(payment.model_dump_json())
    found: dict[str, Any] = {}

    def people() -> None:
        asked = until(lambda: waiting(house, payment.number))
        found["asked"] = asked
        answer(
            house,
            asked.request.id,
            DecisionKind.SEND_BACK,
            f"Withdraw {stray}, then pay: a script left it.",
            loop=LoopAnswer(label=LoopLabel.LOOP),
        )

    helping = threading.Thread(target=people, daemon=True)
    working = threading.Thread(target=house.executor.run, daemon=True)
    helping.start()
    working.start()
    try:
        receipt = stuck_payment(str(document))
    finally:
        house.executor.stop()
        working.join(timeout=60)
    helping.join(timeout=60)
    asked = found["asked"].request
    assert asked.purpose is Purpose.LOOP
    assert len(asked.evidence["attempts"]) == 3
    assert stray in str(asked.facts["payments"])
    (left,) = asked.evidence["half_done"]
    assert left == (
        f"payment {stray} on bill {payment.number}, {payment.amount:,.2f} EUR, is draft: "
        "no money has left"
    )
    assert isinstance(receipt, PaymentReceipt)
    (paid,) = house.entry(payment.number).payments
    assert (paid.state, paid.amount) == ("succeeded", payment.amount)


def test_a_closed_period_is_put_to_people_at_the_third_try(house: ErpGates) -> None:
    """The agent posts into it again and again; once somebody has opened it, it goes through."""
    posting, run = drafted(house), house.run()
    raw = house.raw("admin")
    bill = house.erp.erp("reader").bill(posting.bill_id)
    assert bill is not None
    day = raw.call("model.account.invoice.read", [posting.bill_id], ["invoice_date"])[0]
    on = day["invoice_date"]
    (period,) = raw.call(
        "model.account.period.search", [["start_date", "<=", on], ["end_date", ">=", on]]
    )
    raw.call("model.account.period.close", [period])

    def tried(call: int) -> GateReply:
        return run.ended(post_bill, posting, call=call)

    replies = [tried(call) for call in (1, 2, 3)]
    standings = [reply.standing for reply in replies]
    assert standings == [Standing.FAILED, Standing.FAILED, Standing.WAITING]
    asked = replies[-1].view.request
    assert asked.purpose is Purpose.LOOP
    assert "period" in str(asked.evidence["error"])
    (left,) = asked.evidence["half_done"]
    assert f"(id {posting.bill_id})" in left
    assert left.endswith("is draft and not posted")
    raw.call("model.account.period.reopen", [period])
    journals = raw.call("model.account.journal.period.search", [["period", "=", period]])
    raw.call("model.account.journal.period.reopen", journals)
    answer(house, asked.id, DecisionKind.APPROVE, "Opened it.", loop=LoopAnswer(more=1))
    assert tried(3).standing is Standing.SUCCEEDED
    assert house.entry(posting.number).state == "posted"


@pytest.mark.parametrize(
    ("guidance", "understood"),
    [
        ("Withdraw payment-script:DF-1, then pay.", ["payment-script:DF-1"]),
        ("withdraw payment PAY/7", ["PAY/7"]),
        ("Ask the supplier.", []),
    ],
)
def test_guidance_is_read_as_text(guidance: str, understood: list[str]) -> None:
    """What the agent does not understand changes nothing of what it proposes."""
    assert advised(guidance) == understood
