"""The reference flows as they end when people say no: Prefect's own, on the real ERP, with people
whose answers the test gives.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.supplier_bank_change import supplier_bank_change
from flows.vendor_invoice import vendor_invoice
from gates import Forbidden, Rejected
from gates.core.errors import InvalidInput
from gates.testing import Answer, gates
from integrations.erp.actions import BillReceipt, Erp, PaymentReceipt
from integrations.erp.books import books
from integrations.erp.company import installed
from integrations.erp.tryton import TrytonErp
from tests.support.erp import WHY_SKIPPED, erp_server
from tests.support.policies import ROOT
from tests.support.prefect import stack

pytestmark = [
    pytest.mark.erp,
    pytest.mark.prefect,
    pytest.mark.skipif(not installed(), reason=WHY_SKIPPED),
    # Prefect leaves sockets of its own to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SAMPLES = ROOT / "flows" / "samples"
NEW_ACCOUNT = str(SAMPLES / "bolt-brothers-new-account.json")
NO = Answer("reject", "not ours", "Dana Okafor")


@pytest.fixture(scope="module")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TrytonErp]]:
    with (
        erp_server(tmp_path_factory.mktemp("erp")) as server,
        stack(tmp_path_factory.mktemp("stack"), worker=False) as house,
        temporary_settings({PREFECT_API_URL: house.api}),
    ):
        yield {user: server.erp(user) for user in ("executor", "banker", "reader")}


def deciding(erp: TrytonErp, decide: Any) -> Any:
    return gates(decide, resources={Erp: lambda: erp})


def invoice(folder: Path, number: str) -> str:
    """The routine invoice under another number."""
    text = (SAMPLES / "acme-steel-routine.xml").read_text()
    given = text.split("<cbc:ID>", 1)[1].split("</cbc:ID>", 1)[0]
    document = folder / f"{number}.xml"
    document.write_text(text.replace(given, number))
    return str(document)


def stands(erp: dict[str, TrytonErp], number: str) -> list[str]:
    return [entry.state for entry in books(erp["reader"]) if entry.number == number]


def test_a_rejected_payment_takes_the_bill_back(erp, tmp_path: Path) -> None:
    """The run's last word names the person, the reason, and that nothing is left."""
    decide = {
        "erp.bill.find": "approve",
        "erp.bill.create": "approve",
        "erp.bill.post": "approve",
        "erp.payment.submit": NO,
        "erp.bill.cancel": "approve",
        "erp.bill.discard": "approve",
    }
    with deciding(erp["executor"], decide) as asked:
        state = vendor_invoice(invoice(tmp_path, "F-1"), return_state=True)
    assert (state.type.value, state.name) == ("CANCELLED", "Rejected")
    assert state.message is not None
    assert state.message.startswith("Rejected by Dana Okafor: not ours. Taken back: Bill F-1 of")
    assert "What stands" not in state.message
    assert [one.key for one in asked][-2:] == ["undo-erp.bill.post-1", "undo-erp.bill.create-1"]
    assert stands(erp, "F-1") == ["cancelled"]


def test_what_people_keep_stands_in_the_last_word(erp, tmp_path: Path) -> None:
    """A refused undo leaves the bill posted; the state and the author's exception both say so."""

    def decide(proposal: Any) -> Any:
        return NO if proposal.name in ("erp.payment.submit", "erp.bill.cancel") else "approve"

    with deciding(erp["executor"], decide):
        state = vendor_invoice(invoice(tmp_path, "F-2"), return_state=True)
    assert state.message is not None
    assert "What stands: Bill F-2 of Acme Steel AG" in state.message
    assert "posted as BILL2026/" in state.message
    assert "taking it back was rejected by Dana Okafor: not ours" in state.message
    assert stands(erp, "F-2") == ["posted"]


def test_a_document_that_comes_twice_ends_well(erp, tmp_path: Path) -> None:
    """The second time nothing is asked but the books, and the run is no failure."""
    document = invoice(tmp_path, "F-3")
    with deciding(erp["executor"], "approve"):
        assert isinstance(vendor_invoice(document), PaymentReceipt)
    with deciding(erp["executor"], "approve") as asked:
        again = vendor_invoice(document)
    assert isinstance(again, BillReceipt)
    assert again.state == "paid"
    assert [one.name for one in asked] == ["erp.bill.find"]


def test_a_confirmed_change_of_account_stays(erp) -> None:
    """Call back, change, confirmation: the supplier is paid to the new account. Then, by the same
    flow, back again."""
    with deciding(erp["banker"], "approve") as asked:
        receipt = supplier_bank_change(NEW_ACCOUNT)
    assert receipt.ibans == ("DE52200000000000000606",)
    assert [one.key for one in asked] == [
        "call-back",
        "erp.supplier.bank_account.change-1",
        "confirmed",
    ]
    (supplier,) = [erp["reader"].find_supplier("DE999000025")]
    assert supplier is not None
    (account,) = erp["banker"].bank_accounts(supplier.id)
    erp["banker"].replace_iban(account, "DE55100000000000000202")


def test_a_change_that_nobody_confirms_is_put_back(erp) -> None:
    """The supplier knows nothing of it: the old account again, and the last word says so."""

    def decide(proposal: Any) -> Any:
        return NO if proposal.key == "confirmed" else "approve"

    with deciding(erp["banker"], decide) as asked:
        state = supplier_bank_change(NEW_ACCOUNT, return_state=True)
    assert asked[-1].key == "undo-erp.supplier.bank_account.change-1"
    assert (state.name, "Taken back: Bolt Brothers Ltd is paid to" in str(state.message)) == (
        "Rejected",
        True,
    )
    supplier = erp["reader"].find_supplier("DE999000025")
    assert supplier is not None
    assert supplier.ibans == ("DE55100000000000000202",)


def test_nothing_is_changed_before_the_call_back(erp) -> None:
    """Who is not reached on the number on file gets no new account."""
    with deciding(erp["banker"], NO) as asked, pytest.raises(Rejected) as no:
        supplier_bank_change(NEW_ACCOUNT)
    assert [one.key for one in asked] == ["call-back"]
    assert no.value.done == ()


def test_what_the_policy_forbids_is_not_put_back(erp) -> None:
    """Where nothing was changed there is nothing to take back."""

    def decide(proposal: Any) -> Any:
        return "forbid" if proposal.name.startswith("erp.") else "approve"

    with deciding(erp["banker"], decide), pytest.raises(Forbidden):
        supplier_bank_change(str(SAMPLES / "carla-consulting-account-of-another.json"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "change"), ('{"change": {"supplier": "x"}}', "new_iban"), (None, "cannot be read")],
)
def test_a_request_that_is_off_names_the_field(erp, tmp_path: Path, text, said: str) -> None:
    """The error names the file and what is missing."""
    document = tmp_path / "request.json"
    if text is not None:
        document.write_text(text)
    with deciding(erp["banker"], "approve"), pytest.raises(InvalidInput, match=said):
        supplier_bank_change(str(document))
