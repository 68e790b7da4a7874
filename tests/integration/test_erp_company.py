"""The demo company: who may do what in the ERP is enforced by the ERP itself."""

import stat

import httpx
import pytest

from integrations.erp.bootstrap import SUPPLIERS
from integrations.erp.company import USERS, ErpNotStarted, installed, start_erp
from integrations.erp.errors import (
    TrytonAccessDenied,
    TrytonConcurrency,
    TrytonLoginFailed,
    TrytonUnavailable,
    TrytonUserError,
)
from integrations.erp.port import BillLine, NewBill, NewPayment
from integrations.erp.rpc import TrytonRpc
from integrations.erp.tryton import TrytonErp
from tests.support.erp import WHY_SKIPPED, ErpServer, erp_server, simple_bill
from tests.support.ports import free_port

pytestmark = [pytest.mark.erp, pytest.mark.skipif(not installed(), reason=WHY_SKIPPED)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with erp_server(tmp_path_factory.mktemp("erp")) as running:
        yield running


def new_bill(erp: TrytonErp, number: str) -> NewBill:
    supplier = erp.find_supplier("DE999000017")
    assert supplier is not None
    bill = simple_bill(number)
    return NewBill(
        supplier_id=supplier.id,
        number=number,
        invoice_date=bill.invoice_date,
        currency="EUR",
        lines=tuple(BillLine(**line.model_dump()) for line in bill.lines),
        key=f"key-{number}",
    )


def test_the_suppliers_are_there_with_their_bank_accounts(server: ErpServer) -> None:
    """Each supplier goes by one key, its tax id, and has the account that it is paid to."""
    reader = server.erp("reader")
    for wanted in SUPPLIERS:
        found = reader.find_supplier(wanted.tax_id)
        assert found is not None
        assert (found.name, found.ibans) == (wanted.name, (wanted.iban,))
        assert reader.find_supplier(wanted.name) is None
    assert reader.find_supplier("DE000000000") is None


def test_passwords_are_private_and_differ(server: ErpServer) -> None:
    """Each ERP user has a password of its own in a file that only its owner reads."""
    files = [server.password_file(user) for user in USERS]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({file.read_text() for file in files}) == len(USERS)


def test_the_reader_changes_nothing(server: ErpServer) -> None:
    """Each write that the executor can do is refused to the reader by the ERP, and undone."""
    reader, executor = server.erp("reader"), server.erp("executor")
    draft = executor.create_bill(new_bill(executor, "READER-1"))
    posted = executor.create_bill(new_bill(executor, "READER-2"))
    executor.post_bill(posted, similar_is_known=False)
    bill = executor.bill(posted)
    assert bill is not None
    payment = NewPayment(
        supplier_id=bill.supplier_id, line_id=bill.payable_lines[0], amount=bill.total, key="R"
    )
    own = executor.create_payment(payment)
    before = (reader.bills(), reader.payments())
    for write in (
        lambda: reader.create_bill(new_bill(reader, "READER-3")),
        lambda: reader.post_bill(draft, similar_is_known=True),
        lambda: reader.delete_bill(draft),
        lambda: reader.create_payment(payment),
        lambda: reader.move_payment(own, "submit"),
        lambda: reader.delete_payment(own),
    ):
        with pytest.raises(TrytonUserError):
            write()
    assert (reader.bills(), reader.payments()) == before


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("model.account.invoice.write", ([1], {"state": "posted"})),
        ("model.account.payment.write", ([1], {"state": "approved"})),
        ("model.party.party.write", ([1], {"name": "x"})),
        ("model.party.party.create", ([{"name": "x"}],)),
        ("model.bank.account.number.write", ([1], {"number": "DE75100000000000000909"})),
        ("model.account.move.create", ([{}],)),
        ("model.account.configuration.write", ([1], {"tax_rounding": "line"})),
        ("model.res.group.create", ([{"name": "x"}],)),
        ("model.ir.model.access.create", ([{"model": "party.party", "perm_write": True}],)),
        ("model.res.user.write", ([1], {"password": "known-to-me"})),
    ],
)
def test_the_reader_is_refused_the_raw_protocol_too(server: ErpServer, method, params) -> None:
    """Knowing the ERP's own calls does not help the reader past its access rules."""
    rpc = server.running.company.connect(server.url, "reader")
    with pytest.raises(TrytonAccessDenied):
        rpc.call(method, *params)


def test_the_executor_cannot_redirect_money(server: ErpServer) -> None:
    """The executor books and pays, but neither suppliers nor bank accounts are its business."""
    rpc = server.running.company.connect(server.url, "executor")
    for method, params in (
        ("model.bank.account.number.write", ([1], {"number": "DE75100000000000000909"})),
        ("model.bank.account.create", ([{"currency": 1}],)),
        ("model.bank.account-party.party.create", ([{"account": 1, "owner": 1}],)),
        ("model.party.party.create", ([{"name": "x"}],)),
        ("model.party.identifier.create", ([{"party": 1, "code": "DE999000017"}],)),
        ("model.res.user.write", ([1], {"name": "x"})),
    ):
        with pytest.raises(TrytonAccessDenied):
            rpc.call(method, *params)


def test_the_banker_changes_account_numbers_alone(server: ErpServer) -> None:
    """Who redirects money neither books nor pays, and gives no account to anybody else; a number
    that was changed meanwhile is not overwritten, and another supplier's is refused."""
    rpc, banker = server.running.company.connect(server.url, "banker"), server.erp("banker")
    for method, params in (
        ("model.account.invoice.create", ([{"type": "in"}],)),
        ("model.account.payment.create", ([{"kind": "payable"}],)),
        ("model.account.payment.write", ([1], {"state": "approved"})),
        ("model.party.party.write", ([1], {"name": "x"})),
        ("model.bank.account.create", ([{"currency": 1}],)),
        ("model.bank.account.write", ([1], {"owners": [["add", [1]]]})),
        ("model.bank.account.number.delete", ([1],)),
        ("model.res.user.write", ([1], {"name": "x"})),
    ):
        with pytest.raises(TrytonAccessDenied):
            rpc.call(method, *params)
    delta, bolt = banker.find_supplier("DE999000041"), banker.find_supplier("DE999000025")
    assert delta is not None
    assert bolt is not None
    (before,) = banker.bank_accounts(delta.id)
    banker.replace_iban(before, "DE52200000000000000606")
    with pytest.raises(TrytonConcurrency):
        banker.replace_iban(before, "DE22100000000000000505")
    (after,) = banker.bank_accounts(delta.id)
    assert after.iban == "DE52200000000000000606"
    assert banker.owners(after.iban) == ["Delta Freight SE"]
    with pytest.raises(TrytonUserError, match="unique"):
        banker.replace_iban(after, bolt.ibans[0])


def test_a_wrong_password_is_one_clear_error(server: ErpServer) -> None:
    """The error names user and cure, and not the password."""
    rpc = TrytonRpc(server.url, server.database, "reader", "not-the-password")
    with pytest.raises(TrytonLoginFailed, match="'reader'") as caught:
        rpc.context()
    assert "not-the-password" not in str(caught.value)


class ForgottenSession(httpx.BaseTransport):
    """The ERP as it is after a long human pause: it answers one call with 401."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self.forget = False
        self.methods: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.methods.append(request.read().decode().split('"method": "')[1].split('"')[0])
        if self.forget:
            self.forget = False
            request.headers["Authorization"] = "Session Zm9yZ290dGVu"
        return self._real.handle_request(request)


def test_logs_in_again_after_a_pause(server: ErpServer) -> None:
    """A session that the ERP no longer knows is renewed, and the call is answered."""
    transport = ForgottenSession()
    reader = server.erp("reader", transport=transport)
    first = reader.find_supplier("DE999000017")
    transport.methods.clear()
    transport.forget = True
    assert reader.find_supplier("DE999000017") == first
    assert transport.methods.count("common.db.login") == 1


def test_an_erp_that_is_not_there_cannot_have_booked() -> None:
    """A refused connection says that nothing was applied, and what to do."""
    rpc = TrytonRpc(f"http://127.0.0.1:{free_port()}", "northwind", "reader", "x")
    with pytest.raises(TrytonUnavailable, match="start it") as caught:
        rpc.context()
    assert not caught.value.may_have_applied


def test_a_busy_port_is_one_clear_error(server: ErpServer) -> None:
    """A second ERP on a port that is taken says so and leaves no process behind."""
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(ErpNotStarted, match=str(port)):
        start_erp(server.running.company, port=port, wait=20)
