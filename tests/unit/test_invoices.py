"""Reading e-invoices: the good ones whole, the bad ones with element, value and cure."""

import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from gates.core.errors import InvalidInput
from integrations.invoices.ubl import MAX_BYTES, InvoiceUnreadable, parse_invoice, read_invoice

SAMPLES = Path(__file__).parents[2] / "flows" / "samples"
ROUTINE = SAMPLES / "acme-steel-routine.xml"


def changed(old: str, new: str, *, count: int = 1) -> bytes:
    """The routine sample with one thing in it replaced."""
    text = ROUTINE.read_text(encoding="utf-8")
    assert old in text
    return text.replace(old, new, count).encode()


def test_reads_a_whole_invoice() -> None:
    """Header, supplier, lines and totals come out as the document says them."""
    invoice = read_invoice(ROUTINE)
    assert (invoice.number, invoice.kind, invoice.currency) == ("ACME-2026-0042", "380", "EUR")
    assert (invoice.issued, invoice.due) == (date(2026, 1, 12), date(2026, 2, 11))
    assert invoice.supplier.name == "Acme Steel AG"
    assert invoice.supplier.key == "DE999000017"
    assert invoice.supplier.ibans == ("DE66100000000000000101",)
    assert [line.amount for line in invoice.lines] == [Decimal(342), Decimal(39), Decimal(75)]
    assert {line.tax_rate for line in invoice.lines} == {Decimal(19)}
    assert invoice.totals.payable == Decimal("542.64")
    assert not invoice.is_credit


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.xml")), ids=lambda path: path.stem)
def test_every_sample_is_readable_and_books_to_its_net_total(path: Path) -> None:
    """What would be booked for a sample's lines comes to the document's net amount."""
    invoice = read_invoice(path)
    booked = sum(line.quantity * line.unit_price for line in invoice.booking_lines())
    assert booked == invoice.totals.net


def test_reads_every_invoice_of_the_test_suite() -> None:
    """Each document of GATES_TEST_INVOICES is readable, and its lines add up to its net total."""
    folder = os.environ.get("GATES_TEST_INVOICES")
    if not folder:
        pytest.skip("GATES_TEST_INVOICES names no folder with e-invoices")
    paths = sorted(Path(folder).glob("*.xml"))
    assert paths
    for path in paths:
        invoice = read_invoice(path)
        booked = sum(line.quantity * line.unit_price for line in invoice.booking_lines())
        assert booked.quantize(Decimal("0.01")) == invoice.totals.net, path.name


def test_a_credit_note_is_read_and_called_one() -> None:
    """The same document as a CreditNote is readable and is not mistaken for a bill."""
    text = ROUTINE.read_text(encoding="utf-8")
    for old, new in (
        ("schema:xsd:Invoice-2", "schema:xsd:CreditNote-2"),
        ("<Invoice ", "<CreditNote "),
        ("</Invoice>", "</CreditNote>"),
        ("InvoiceTypeCode>380<", "InvoiceTypeCode>381<"),
        ("InvoiceTypeCode", "CreditNoteTypeCode"),
        ("InvoiceLine", "CreditNoteLine"),
        ("InvoicedQuantity", "CreditedQuantity"),
    ):
        text = text.replace(old, new)
    credit = parse_invoice(text.encode())
    assert credit.is_credit
    assert credit.totals.payable == Decimal("542.64")


def test_a_price_per_hundred_is_booked_to_the_cent() -> None:
    """A line whose price has a base quantity keeps its amount when it is booked."""
    invoice = parse_invoice(
        changed(
            '<cbc:PriceAmount currencyID="EUR">28.50</cbc:PriceAmount>',
            '<cbc:PriceAmount currencyID="EUR">85.50</cbc:PriceAmount>'
            '<cbc:BaseQuantity unitCode="C62">3</cbc:BaseQuantity>',
        )
    )
    assert invoice.lines[0].unit_price == Decimal("28.50")
    assert invoice.booking_lines()[0].unit_price * 12 == Decimal(342)


def test_a_document_allowance_becomes_a_line() -> None:
    """An allowance on the whole document is booked as a negative line of its own tax rate."""
    text = changed(
        "  <cac:TaxTotal>",
        """  <cac:AllowanceCharge>
    <cbc:ChargeIndicator>false</cbc:ChargeIndicator>
    <cbc:AllowanceChargeReason>Loyalty</cbc:AllowanceChargeReason>
    <cbc:Amount currencyID="EUR">56.00</cbc:Amount>
    <cac:TaxCategory><cbc:ID>S</cbc:ID><cbc:Percent>19</cbc:Percent></cac:TaxCategory>
  </cac:AllowanceCharge>
  <cac:TaxTotal>""",
    ).decode()
    for old, new in (
        (
            'TaxExclusiveAmount currencyID="EUR">456.00',
            'TaxExclusiveAmount currencyID="EUR">400.00',
        ),
        ('TaxableAmount currencyID="EUR">456.00', 'TaxableAmount currencyID="EUR">400.00'),
        (">86.64<", ">76.00<"),
        (">542.64<", ">476.00<"),
    ):
        text = text.replace(old, new)
    last = parse_invoice(text.encode()).booking_lines()[-1]
    assert (last.description, last.unit_price, last.tax_rate) == ("Loyalty", -56, 19)


def test_an_entity_bomb_is_refused() -> None:
    """A billion laughs is refused, whether the parser or the DOCTYPE check meets it first."""
    bomb = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    text = changed("<Invoice ", f"<!DOCTYPE Invoice [{bomb}]><Invoice ").decode()
    with pytest.raises(InvoiceUnreadable):
        parse_invoice(text.replace("Flat steel bar", "&l11;").encode())


def test_an_external_entity_is_neither_loaded_nor_accepted(tmp_path: Path) -> None:
    """A document that names a local file is refused, and the file's text appears nowhere."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the-secret")
    text = changed(
        "<Invoice ", f'<!DOCTYPE Invoice [<!ENTITY x SYSTEM "{secret.as_uri()}">]><Invoice '
    ).decode()
    with pytest.raises(InvoiceUnreadable) as caught:
        parse_invoice(text.replace("ACME-2026-0042", "&x;").encode())
    assert "DOCTYPE" in str(caught.value)
    assert "the-secret" not in str(caught.value)


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    """More than 5 MB are refused with a cure."""
    path = tmp_path / "huge.xml"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(InvoiceUnreadable, match=r"huge\.xml is larger than 5 MB"):
        read_invoice(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is one clear error."""
    with pytest.raises(InvoiceUnreadable, match=r"none\.xml cannot be opened"):
        read_invoice(tmp_path / "none.xml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not well-formed"),
        (b"%PDF-1.7 ...", "not well-formed"),
        (b"<html/>", "not a UBL 2.1 Invoice"),
        (changed("Invoice-2", "Order-2"), "not a UBL 2.1 Invoice"),
        (changed("<cbc:ID>ACME-2026-0042</cbc:ID>", ""), "cbc:ID is missing"),
        (changed("2026-01-12", "12.01.2026"), "cbc:IssueDate is '12.01.2026'"),
        (changed(">28.50<", ">28,50<"), "PriceAmount is '28,50'"),
        (changed(">28.50<", f">{'9' * 5000}<"), "a decimal number"),
        (changed(">28.50<", ">NaN<"), "PriceAmount is 'NaN'"),
        (changed('PriceAmount currencyID="EUR"', 'PriceAmount currencyID="USD"'), "is 'USD'"),
        (changed(">542.64<", ">642.64<"), "TaxInclusiveAmount is '642.64'"),
        (changed('PayableAmount currencyID="EUR">542.64', 'PayableAmount currencyID="EUR">1'),
         "PayableAmount is '1'"),
        (changed(">342.00<", ">343.00<"), "LineExtensionAmount is '456.00'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(data: bytes, said: str) -> None:
    """Each fault is one typed error that says which element, which value and what to do."""
    with pytest.raises(InvoiceUnreadable) as caught:
        parse_invoice(data)
    assert said in str(caught.value)
    assert isinstance(caught.value, InvalidInput)
    assert caught.value.code == "invoice_unreadable"
