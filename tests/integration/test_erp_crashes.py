"""An executor that dies between any two calls to the ERP: exactly once all the same."""

import sys
from collections.abc import Iterator
from itertools import count
from threading import Barrier, Thread

import httpx
import pytest

from gates.actions import ActionDefinition
from integrations.erp.actions import Payment, PostBill, create_bill, post_bill, submit_payment
from integrations.erp.books import BookEntry, books
from integrations.erp.company import installed
from integrations.erp.errors import TrytonUnavailable
from integrations.erp.tryton import TrytonErp
from tests.support.erp import WHY_SKIPPED, ErpServer, erp_server, simple_bill

pytestmark = [
    pytest.mark.erp,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not installed(), reason=WHY_SKIPPED),
]

NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ErpServer]:
    with erp_server(tmp_path_factory.mktemp("erp")) as running:
        yield running


@pytest.fixture(scope="module")
def erp(server: ErpServer) -> TrytonErp:
    return server.erp("executor")


class Killed(BaseException):
    """The end of the process: nothing catches it, nothing is sent after it."""


class DiesAfter(httpx.BaseTransport):
    """Lets `left` requests reach the ERP; the answer of the last is never seen."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self.left = sys.maxsize

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.left <= 0:
            raise Killed
        self.left -= 1
        response = self._real.handle_request(request)
        if self.left == 0:
            response.read()
            response.close()
            raise Killed
        return response


class LosesAnswer(httpx.BaseTransport):
    """The ERP gets the request of `method`; the connection breaks before its answer."""

    def __init__(self, method: str) -> None:
        self._real = httpx.HTTPTransport()
        self._method = method.encode()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._real.handle_request(request)
        if self._method in request.read():
            response.read()
            response.close()
            raise httpx.ReadError("connection reset", request=request)
        return response


def entry(erp: TrytonErp, number: str) -> BookEntry | None:
    found = books(erp, number)
    assert len(found) <= 1, found
    return found[0] if found else None


def draft(erp: TrytonErp, number: str) -> PostBill:
    bill = simple_bill(number)
    receipt = create_bill.execute(erp, bill, idempotency_key=f"create-{number}")
    return PostBill(
        supplier=bill.supplier,
        number=number,
        bill_id=receipt.bill_id,
        currency="EUR",
        total=bill.total,
    )


def payable(erp: TrytonErp, number: str) -> Payment:
    bill = draft(erp, number)
    post_bill.execute(erp, bill, idempotency_key=f"post-{number}")
    return Payment(
        supplier=bill.supplier,
        number=number,
        bill_id=bill.bill_id,
        currency="EUR",
        amount=bill.total,
    )


def die_at_each_call(server, definition, prepare, check) -> int:
    """Run the action on a fresh bill each time, killed after its first, second, ... call.

    `check` gets number, key, arguments after each death. Gives the number of deaths.
    """
    transport = DiesAfter()
    dying = server.erp("executor", transport=transport)
    dying.find_supplier("DE999000017")  # logged in: what a login leaves is not in the books
    for calls in count(1):
        number = f"C-{next(NUMBERS)}"
        key = f"key-{number}"
        arguments = prepare(number)
        transport.left = calls
        try:
            definition.execute(dying, arguments, idempotency_key=key)
        except Killed:
            check(number, key, arguments)
        else:
            return calls - 1
    raise AssertionError


def test_a_payment_broken_off_anywhere_is_made_exactly_once(
    server: ErpServer, erp: TrytonErp
) -> None:
    """After each death reconcile tells the truth, and a repeat makes the one payment."""
    seen = set()

    def check(number: str, key: str, payment: Payment) -> None:
        payments = entry(erp, number).payments
        assert len(payments) <= 1
        state = payments[0].state if payments else "none"
        told = submit_payment.reconcile(erp, payment, idempotency_key=key)
        truth = {"succeeded": "done", "processing": "unclear"}.get(state, "absent")
        assert told.state == truth, (state, told)
        seen.add(state)
        receipt = submit_payment.execute(erp, payment, idempotency_key=key)
        assert submit_payment.verify(erp, payment, receipt.model_dump(mode="json")) == []
        after = entry(erp, number)
        assert [(p.key, p.state) for p in after.payments] == [(key, "succeeded")]
        assert after.state == "paid"
        told = submit_payment.reconcile(erp, payment, idempotency_key=key)
        assert told.result == receipt.model_dump(mode="json")

    deaths = die_at_each_call(server, submit_payment, lambda n: payable(erp, n), check)
    assert deaths > 10
    assert seen == {"none", "draft", "submitted", "approved", "processing", "succeeded"}


def test_a_bill_broken_off_anywhere_is_entered_exactly_once(
    server: ErpServer, erp: TrytonErp
) -> None:
    """After each death reconcile tells the truth, and a repeat leaves the one draft."""
    seen = set()

    def check(number: str, key: str, bill) -> None:
        told = create_bill.reconcile(erp, bill, idempotency_key=key)
        assert told.state == ("done" if entry(erp, number) else "absent")
        seen.add(told.state)
        create_bill.execute(erp, bill, idempotency_key=key)
        assert entry(erp, number).state == "draft"
        assert create_bill.reconcile(erp, bill, idempotency_key=key).state == "done"

    assert die_at_each_call(server, create_bill, simple_bill, check) > 5
    assert seen == {"done", "absent"}


def test_a_posting_broken_off_anywhere_is_done_exactly_once(
    server: ErpServer, erp: TrytonErp
) -> None:
    """After each death reconcile tells the truth, and a repeat ends with one number used."""
    seen = set()

    def check(number: str, key: str, bill: PostBill) -> None:
        told = post_bill.reconcile(erp, bill, idempotency_key=key)
        assert told.state == ("done" if entry(erp, number).state == "posted" else "absent")
        seen.add(told.state)
        receipt = post_bill.execute(erp, bill, idempotency_key=key)
        assert post_bill.verify(erp, bill, receipt.model_dump(mode="json")) == []
        assert post_bill.execute(erp, bill, idempotency_key=key) == receipt

    assert die_at_each_call(server, post_bill, lambda n: draft(erp, n), check) > 2
    assert seen == {"done", "absent"}


@pytest.mark.parametrize(
    ("definition", "method", "prepare"),
    [
        (create_bill, "account.invoice.create", lambda _erp, number: simple_bill(number)),
        (post_bill, "account.invoice.post", draft),
        (submit_payment, "account.payment.create", payable),
        (submit_payment, "payment.process.execute", payable),
    ],
)
def test_a_lost_answer_is_in_doubt_and_then_found(
    server: ErpServer, erp: TrytonErp, definition: ActionDefinition, method,
    prepare,
) -> None:  # fmt: skip
    """A write whose answer is lost is never repeated by the client; a later repeat finds it."""
    number = f"C-{next(NUMBERS)}"
    arguments = prepare(erp, number)
    cut = server.erp("executor", transport=LosesAnswer(method))
    if definition is post_bill:  # the state is read back at once, over the same connection
        assert definition.execute(cut, arguments, idempotency_key=number).state == "posted"
    else:
        with pytest.raises(TrytonUnavailable) as caught:
            definition.execute(cut, arguments, idempotency_key=number)
        assert caught.value.may_have_applied
    definition.execute(erp, arguments, idempotency_key=number)
    assert definition.reconcile(erp, arguments, idempotency_key=number).state == "done"
    booked = entry(erp, number)
    assert len(booked.payments) == (definition is submit_payment)


def test_twins_with_one_key_pay_once(server: ErpServer, erp: TrytonErp) -> None:
    """Two processes that run the same grant at the same time end with one payment."""
    payment = payable(erp, f"C-{next(NUMBERS)}")
    start = Barrier(2)

    def run() -> None:
        twin = server.erp("executor")
        twin.find_supplier(payment.supplier)  # log in first
        start.wait(60)
        try:
            submit_payment.execute(twin, payment, idempotency_key="twins")
        except Exception as error:  # noqa: BLE001 - either twin may lose, in any way
            lost.append(error)

    lost: list[Exception] = []
    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    receipt = submit_payment.execute(erp, payment, idempotency_key="twins")
    booked = entry(erp, payment.number)
    assert [p.state for p in booked.payments] == ["succeeded"], lost
    assert booked.paid == payment.amount
    assert receipt.state == "succeeded"
