"""The reference payment run on the real ERP, with people whose answers the test gives."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.payment_run import payment_run
from flows.vendor_invoice import vendor_invoice
from gates import Rejected
from gates.testing import Answer, gates
from integrations.erp.actions import Erp
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
SAMPLE = ROOT / "flows" / "samples" / "acme-steel-routine.xml"
KEEPS = {"erp.payment.submit": "reject", "erp.bill.cancel": "reject", "erp.bill.discard": "reject"}


@pytest.fixture(scope="module")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonErp]:
    with (
        erp_server(tmp_path_factory.mktemp("erp")) as server,
        stack(tmp_path_factory.mktemp("stack"), worker=False) as house,
        temporary_settings({PREFECT_API_URL: house.api}),
    ):
        yield server.erp("executor")


def entered(erp: TrytonErp, folder: Path, number: str) -> str:
    """The routine invoice under another number, entered and posted, and not paid."""
    text = SAMPLE.read_text()
    given = text.split("<cbc:ID>", 1)[1].split("</cbc:ID>", 1)[0]
    document = folder / f"{number}.xml"
    document.write_text(text.replace(given, number))
    answers = dict.fromkeys(("erp.bill.find", "erp.bill.create", "erp.bill.post"), "approve")
    with gates(answers | KEEPS, resources={Erp: lambda: erp}), pytest.raises(Rejected):
        vendor_invoice(str(document))
    return str(document)


def test_a_run_pays_what_people_let_it_and_says_why_the_rest_is_left(
    erp: TrytonErp, tmp_path: Path
) -> None:
    """Three bills as one question, of which one is refused; a second run finds what is left."""
    documents = [entered(erp, tmp_path, number) for number in ("R-1", "R-2", "R-3")]
    unknown = tmp_path / "R-4.xml"
    unknown.write_text(Path(documents[0]).read_text().replace("R-1", "R-4"))
    no = Answer("approve", by="Dana Okafor", refused={2: "not delivered"})
    with gates(
        {"erp.bill.find": "approve", "erp.payment.submit.batch": no},
        resources={Erp: lambda: erp},
    ) as asked:
        done = payment_run([*documents, str(unknown)])
    assert sorted(done.paid) == ["R-1", "R-3"]
    assert done.left == {"R-2": "refused by Dana Okafor: not delivered", "R-4": "not entered"}
    assert [one.key for one in asked][-3:] == ["run", "run-line-1", "run-line-3"]
    states = {one.number: one.state for one in books(erp) if one.number.startswith("R-")}
    assert states == {"R-1": "paid", "R-2": "posted", "R-3": "paid"}

    with gates("approve", resources={Erp: lambda: erp}):
        again = payment_run(documents)
    assert sorted(again.paid) == ["R-2"]
    assert again.left == {"R-1": "the bill is paid", "R-3": "the bill is paid"}


def test_a_run_that_is_rejected_pays_nothing(erp: TrytonErp, tmp_path: Path) -> None:
    """The whole ends with the reason, and the bill stays posted."""
    document = entered(erp, tmp_path, "R-9")
    answers = {"erp.bill.find": "approve", "erp.payment.submit.batch": Answer("reject", "Friday")}
    with gates(answers, resources={Erp: lambda: erp}):
        state = payment_run([document], return_state=True)
    assert (state.name, "Friday" in str(state.message)) == ("Rejected", True)
    assert [one.state for one in books(erp) if one.number == "R-9"] == ["posted"]
