"""Agents that run in circles on the real ERP, and people who help them out of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import BaseModel

from flows.stuck_payment import advised, stuck_payment
from flows.stuck_posting import advised as date_advised
from flows.stuck_posting import stuck_posting
from gates.core.model import (
    ApprovalRequest,
    DecisionKind,
    LoopAnswer,
    LoopLabel,
    Purpose,
    RequestView,
    Standing,
)
from integrations.erp.actions import Payment, PostBill, create_bill, post_bill
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
OPEN_DAY = "2026-02-02"  # drafts are of January
R = TypeVar("R")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErpGates]:
    with erp_gates(tmp_path_factory.mktemp("loops")) as running:
        yield running


@pytest.fixture(scope="module")
def prefect(house: ErpGates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server, and an environment in which flows find this house's gates."""
    key = house.server.access.create_key("flow", "payer", "sam")
    with (
        pytest.MonkeyPatch.context() as environment,
        stack(tmp_path_factory.mktemp("stack"), worker=False) as made,
        temporary_settings({PREFECT_API_URL: made.api}),
    ):
        environment.setenv("GATES_URL", house.url)
        environment.setenv("GATES_API_KEY", key)
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


def blocked_payments(house: ErpGates, *amounts: str) -> tuple[list[Payment], str]:
    """Parts of one bill, on which a stray draft lies; the draft's reference."""
    erp, draft = house.erp.erp("executor"), drafted(house)
    post_bill.execute(erp, draft, idempotency_key=f"post-{draft.number}")
    bill = erp.bill(draft.bill_id)
    assert bill is not None
    plant_stray_draft(erp, bill)
    (stray,) = erp.payments(line_ids=bill.payable_lines)
    values = draft.model_dump(exclude={"total", "accounting_date"})
    return [Payment(**values, amount=Decimal(one)) for one in amounts], stray.key


def closed_period(house: ErpGates, posting: PostBill) -> int:
    """That of the draft, closed by an accountant."""
    raw = house.raw("admin")
    (row,) = raw.call("model.account.invoice.read", [posting.bill_id], ["invoice_date"])
    on = row["invoice_date"]
    (period,) = raw.call(
        "model.account.period.search", [["start_date", "<=", on], ["end_date", ">=", on]]
    )
    raw.call("model.account.period.close", [period])
    return int(period)


def entries(house: ErpGates, period: int) -> list[int]:
    """Ids of what is booked in it, whatever it is."""
    found = house.raw("admin").call("model.account.move.search", [["period", "=", period]])
    return [int(one) for one in found]


def reopen(house: ErpGates, period: int) -> None:
    raw = house.raw("admin")
    raw.call("model.account.period.reopen", [period])
    journals = raw.call("model.account.journal.period.search", [["period", "=", period]])
    raw.call("model.account.journal.period.reopen", journals)


def answer(house: ErpGates, view: RequestView, who: str, kind: DecisionKind, **more: Any) -> None:
    house.server.gates.decide(
        view.request.id, person_id=who, kind=kind, channel="test", assurance="session", **more
    )


class People:
    """Who answer what is asked about one bill, beside an executor; `asked`: what it was."""

    def __init__(self, house: ErpGates, number: str, decide: Callable[[RequestView], None]) -> None:
        self._house, self._number, self._decide = house, number, decide
        self._over = threading.Event()
        self.asked: dict[str, ApprovalRequest] = {}

    @property
    def loops(self) -> list[ApprovalRequest]:
        return [one for one in self.asked.values() if one.purpose is Purpose.LOOP]

    def _look(self) -> bool:
        for one in self._house.server.gates.waiting():
            asked = one.request
            if asked.id not in self.asked and self._number in str(asked.action.subject):
                self.asked[asked.id] = asked
                self._decide(one)
        return self._over.is_set()

    def _work(self) -> None:
        while not self._over.is_set():
            self._house.executor.step(wait_seconds=1)

    def help(self, flow: Callable[[], R]) -> R:
        """What `flow` returns, while they and the executor are at work."""
        helping = threading.Thread(target=until, args=(self._look,), daemon=True)
        working = threading.Thread(target=self._work, daemon=True)
        helping.start()
        working.start()
        try:
            return flow()
        finally:
            self._over.set()
            working.join(timeout=60)
            helping.join(timeout=60)


def written(folder: Path, *wanted: BaseModel) -> str:
    document = folder / "wanted.json"
    document.write_text(json.dumps([one.model_dump(mode="json") for one in wanted]))
    return str(document)


@pytest.mark.usefixtures("prefect")
def test_two_payments_on_one_bill_are_steered_out_of_their_circles(
    house: ErpGates, tmp_path: Path
) -> None:
    """Each part fails for ever, and is stopped at its third same failure. Guidance that helps
    nobody leaves the other part stuck, one level up. The right one, to withdraw the stray draft
    that both questions name, goes through a gate; then both parts are paid, once.
    """
    payments, stray = blocked_payments(house, "70.00", "49.00")
    advice = iter(["Try again.", f"Withdraw {stray}, then pay: a script left it."])

    def decide(one: RequestView) -> None:
        if one.request.purpose is Purpose.LOOP:
            said = LoopAnswer(label=LoopLabel.LOOP)
            answer(house, one, "priya", DecisionKind.SEND_BACK, reason=next(advice), loop=said)
        else:  # a part is not the bill's total
            answer(house, one, "ines", DecisionKind.APPROVE)

    people = People(house, payments[0].number, decide)
    receipts = people.help(lambda: stuck_payment(written(tmp_path, *payments)))
    assert [(one.gate_key, one.evidence["level"]) for one in people.loops] == [
        ("pay-1", 1),
        ("pay-2", 2),
    ]
    for asked, payment in zip(people.loops, payments, strict=True):
        attempts = [one["arguments"]["amount"] for one in asked.evidence["attempts"]]
        assert attempts == [str(payment.amount)] * 3
        assert stray in str(asked.facts["payments"])
        assert asked.evidence["half_done"] == [
            f"payment {stray} on bill {payment.number}, 119.00 EUR, is draft: no money has left"
        ]
    bill = house.entry(payments[0].number)
    assert [(one.state, one.amount) for one in bill.payments] == [
        ("succeeded", payment.amount) for payment in payments
    ]
    assert [one.payment_number for one in receipts] == [one.number for one in bill.payments]
    assert (bill.paid, bill.to_pay) == (bill.total, 0)


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("steered", [DecisionKind.SEND_BACK, DecisionKind.APPROVE_WITH_CHANGES])
def test_a_posting_into_a_closed_period_is_steered_to_another_date(
    house: ErpGates, tmp_path: Path, steered: DecisionKind
) -> None:
    """Stopped at the third same failure. With a date that people write or put in, and that those
    who answer for bills agree to, it is booked in the open period, and nothing in the closed one.
    """
    posting = drafted(house)
    period = closed_period(house, posting)
    before = entries(house, period)

    def decide(one: RequestView) -> None:
        if one.request.purpose is not Purpose.LOOP:
            answer(house, one, "ines", DecisionKind.APPROVE)
        elif steered is DecisionKind.SEND_BACK:
            answer(house, one, "priya", steered, reason=f"Book it on {OPEN_DAY}.")
        else:
            change = one.request.action.arguments | {"accounting_date": OPEN_DAY}
            answer(house, one, "priya", steered, reason="January is closed.", changes=change)

    people = People(house, posting.number, decide)
    try:
        (receipt,) = people.help(lambda: stuck_posting(written(tmp_path, posting)))
        assert entries(house, period) == before
    finally:
        reopen(house, period)
    (stuck,) = people.loops
    assert len(stuck.evidence["attempts"]) == 3
    assert "period" in str(stuck.evidence["error"])
    (agreed,) = [one for one in people.asked.values() if one.purpose is Purpose.ACTION]
    assert [reason.rule for reason in agreed.judgement.reasons] == ["other-date"]
    assert agreed.action.arguments["accounting_date"] == OPEN_DAY
    erp = house.erp.erp("reader")
    bill = erp.bill(posting.bill_id)
    assert bill is not None
    assert (bill.state, bill.booked_as) == ("posted", receipt.booked_as)
    booked = erp.booked(bill)
    assert (str(booked.on), booked.payable, booked.debit) == (OPEN_DAY, bill.total, booked.credit)


def test_a_closed_period_that_somebody_opens_is_posted_into(house: ErpGates) -> None:
    """The question says what stands half done; one more try goes through, on the bill's own day."""
    posting, run = drafted(house), house.run()
    period = closed_period(house, posting)
    replies = [run.ended(post_bill, posting, call=call) for call in (1, 2, 3)]
    standings = [reply.standing for reply in replies]
    assert standings == [Standing.FAILED, Standing.FAILED, Standing.WAITING]
    asked = replies[-1].view
    (left,) = asked.request.evidence["half_done"]
    assert f"(id {posting.bill_id})" in left
    assert left.endswith("is draft and not posted")
    reopen(house, period)
    answer(house, asked, "priya", DecisionKind.APPROVE, loop=LoopAnswer(more=1))
    assert run.ended(post_bill, posting, call=3).standing is Standing.SUCCEEDED
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


@pytest.mark.parametrize(
    ("guidance", "day"),
    [
        ("Book it on 2026-02-02, please.", date(2026, 2, 2)),
        ("Not 2026-02-30: 2026-03-01.", date(2026, 3, 1)),
        ("Next month.", None),
    ],
)
def test_a_date_is_read_off_guidance(guidance: str, day: date | None) -> None:
    """A day that there is none of is no date."""
    assert date_advised(guidance) == day
