"""Reads UBL 2.1 invoices and credit notes (XRechnung, Peppol BIS: EN 16931 in UBL).

An invoice comes from outside and is not trusted: no DTD, no entity, no file or address that
it names is ever loaded; more than 5 MB are not read; every amount is checked against the
others. What is wrong is said as one InvoiceUnreadable that names element, value and cure.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from lxml import etree

from gates.core.errors import InvalidInput
from integrations.invoices.model import (
    CENT,
    DocumentCharge,
    Invoice,
    InvoiceLine,
    SupplierParty,
    TaxSubtotal,
    Totals,
)

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 5 * 1024 * 1024
MAX_NUMBER = 40  # characters of one number; longer ones only cost time
UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
NS = {"cac": f"{UBL}CommonAggregateComponents-2", "cbc": f"{UBL}CommonBasicComponents-2"}
ROOTS = {f"{{{UBL}Invoice-2}}Invoice": "Invoice", f"{{{UBL}CreditNote-2}}CreditNote": "CreditNote"}
ZERO = Decimal(0)


class InvoiceUnreadable(InvalidInput):
    """`element` is the UBL element that is at fault, where there is one."""

    code = "invoice_unreadable"


def read_invoice(path: Path) -> Invoice:
    """Raises InvoiceUnreadable."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvoiceUnreadable(
            f"{path.name} cannot be opened ({error.strerror}): check the path."
        ) from error
    return parse_invoice(data, name=path.name)


def parse_invoice(data: bytes, *, name: str = "the document") -> Invoice:
    """Raises InvoiceUnreadable."""
    if len(data) > MAX_BYTES:
        raise InvoiceUnreadable(
            f"{name} is larger than {MAX_BYTES // 2**20} MB: ask the supplier to send attachments "
            "apart from the invoice."
        )
    return _Reader(name, _root(data, name)).invoice()


def _root(data: bytes, name: str) -> Any:
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise InvoiceUnreadable(
            f"{name} is not well-formed XML ({error.msg}): ask the supplier for a UBL e-invoice."
        ) from error
    if root.getroottree().docinfo.doctype:
        raise InvoiceUnreadable(
            f"{name} carries a DOCTYPE, which no e-invoice needs: treat it as an attack or ask "
            "the supplier to leave it out.",
            element="DOCTYPE",
        )
    if root.tag not in ROOTS:
        raise InvoiceUnreadable(
            f"{name} is a {etree.QName(root).localname} of {etree.QName(root).namespace!r}, "
            "not a UBL 2.1 Invoice or CreditNote: ask the supplier for UBL.",
            element=str(root.tag),
        )
    return root


class _Reader:
    """One document; its methods follow the document from top to bottom."""

    def __init__(self, name: str, root: Any) -> None:
        self._name = name
        self._root = root
        self._credit = ROOTS[root.tag] == "CreditNote"

    def invoice(self) -> Invoice:
        root = self._root
        kind = "cbc:CreditNoteTypeCode" if self._credit else "cbc:InvoiceTypeCode"
        line = "cac:CreditNoteLine" if self._credit else "cac:InvoiceLine"
        self._currency = self._text(root, "cbc:DocumentCurrencyCode")
        lines = tuple(self._line(node) for node in root.iterfind(line, NS))
        if not lines:
            raise self._fault(line, "", "an invoice has at least one line")
        charges = tuple(self._charge(n) for n in root.iterfind("cac:AllowanceCharge", NS))
        taxes = tuple(
            self._tax(node)
            for total in root.iterfind("cac:TaxTotal", NS)
            for node in total.iterfind("cac:TaxSubtotal", NS)
        )
        invoice = Invoice(
            number=self._text(root, "cbc:ID"),
            kind=self._text(root, kind),
            issued=self._date(root, "cbc:IssueDate"),
            due=self._due(),
            supplier=self._supplier(),
            buyer=self._party_name("cac:AccountingCustomerParty"),
            buyer_reference=self._maybe(root, "cbc:BuyerReference"),
            currency=self._currency,
            lines=lines,
            charges=charges,
            taxes=taxes,
            totals=self._totals(),
        )
        self._add_up(invoice)
        return invoice

    def _due(self) -> date | None:
        for path in ("cbc:DueDate", "cac:PaymentMeans/cbc:PaymentDueDate"):
            if self._maybe(self._root, path):
                return self._date(self._root, path)
        return None

    def _supplier(self) -> SupplierParty:
        """The seller; the money goes to the accounts in PaymentMeans, whoever the payee is."""
        party = self._root.find("cac:AccountingSupplierParty/cac:Party", NS)
        if party is None:
            raise self._fault("cac:AccountingSupplierParty", "", "an invoice names its supplier")
        ids: dict[str, str] = {}
        for scheme in party.iterfind("cac:PartyTaxScheme", NS):
            company = self._maybe(scheme, "cbc:CompanyID")
            if company:
                ids.setdefault(self._maybe(scheme, "cac:TaxScheme/cbc:ID") or "", company)
        tax_id = ids.get("VAT") or next(iter(ids.values()), None)
        account = "cac:PaymentMeans/cac:PayeeFinancialAccount/cbc:ID"
        found = (_compact(node.text or "") for node in self._root.iterfind(account, NS))
        return SupplierParty(
            name=self._party_name("cac:AccountingSupplierParty"),
            tax_id=_compact(tax_id) if tax_id else None,
            ibans=tuple(dict.fromkeys(iban for iban in found if iban)),
        )

    def _party_name(self, role: str) -> str:
        party = f"{role}/cac:Party"
        registered = f"{party}/cac:PartyLegalEntity/cbc:RegistrationName"
        trading = self._maybe(self._root, f"{party}/cac:PartyName/cbc:Name")
        return self._maybe(self._root, registered) or trading or self._text(self._root, registered)

    def _line(self, node: Any) -> InvoiceLine:
        quantity = "cbc:CreditedQuantity" if self._credit else "cbc:InvoicedQuantity"
        base = self._number(node, "cac:Price/cbc:BaseQuantity", Decimal(1))
        if base == 0:
            raise self._fault("cac:Price/cbc:BaseQuantity", "0", "a price is for some quantity")
        unit = node.find(quantity, NS)
        category = "cac:Item/cac:ClassifiedTaxCategory"
        return InvoiceLine(
            id=self._text(node, "cbc:ID"),
            description=self._text(node, "cac:Item/cbc:Name"),
            quantity=self._number(node, quantity),
            unit=unit.get("unitCode", "") if unit is not None else "",
            unit_price=self._amount(node, "cac:Price/cbc:PriceAmount") / base,
            amount=self._amount(node, "cbc:LineExtensionAmount"),
            tax_category=self._text(node, f"{category}/cbc:ID"),
            tax_rate=self._number(node, f"{category}/cbc:Percent", ZERO),
        )

    def _charge(self, node: Any) -> DocumentCharge:
        is_charge = self._text(node, "cbc:ChargeIndicator") == "true"
        amount = self._amount(node, "cbc:Amount")
        reason = self._maybe(node, "cbc:AllowanceChargeReason")
        return DocumentCharge(
            reason=reason or ("Charge" if is_charge else "Allowance"),
            amount=amount if is_charge else -amount,
            tax_rate=self._number(node, "cac:TaxCategory/cbc:Percent", ZERO),
        )

    def _tax(self, node: Any) -> TaxSubtotal:
        return TaxSubtotal(
            category=self._text(node, "cac:TaxCategory/cbc:ID"),
            rate=self._number(node, "cac:TaxCategory/cbc:Percent", ZERO),
            base=self._amount(node, "cbc:TaxableAmount"),
            amount=self._amount(node, "cbc:TaxAmount"),
        )

    def _totals(self) -> Totals:
        node = self._root.find("cac:LegalMonetaryTotal", NS)
        if node is None:
            raise self._fault("cac:LegalMonetaryTotal", "", "an invoice states its totals")
        third_party = (
            self._amount(paid, "cbc:PaidAmount")
            for paid in self._root.iterfind("cac:PrepaidPayment", NS)
        )
        return Totals(
            lines=self._amount(node, "cbc:LineExtensionAmount"),
            net=self._amount(node, "cbc:TaxExclusiveAmount"),
            # A second TaxTotal, in the seller's tax currency, may follow the document's own.
            tax=self._own_tax(),
            gross=self._amount(node, "cbc:TaxInclusiveAmount"),
            prepaid=self._amount(node, "cbc:PrepaidAmount", ZERO),
            rounding=self._amount(node, "cbc:PayableRoundingAmount", ZERO),
            third_party=sum(third_party, ZERO),
            payable=self._amount(node, "cbc:PayableAmount"),
        )

    def _own_tax(self) -> Decimal:
        for amount in self._root.iterfind("cac:TaxTotal/cbc:TaxAmount", NS):
            if amount.get("currencyID", self._currency) == self._currency:
                return self._amount(amount.getparent(), "cbc:TaxAmount")
        raise self._fault("cac:TaxTotal/cbc:TaxAmount", "", "an invoice states its tax")

    def _add_up(self, invoice: Invoice) -> None:
        """The sums of EN 16931 (BR-CO-10, -13, -14, -15, -16, the extension's BR-DEX-09)."""
        totals = invoice.totals
        charges = sum((charge.amount for charge in invoice.charges), ZERO)
        lines = sum((line.amount for line in invoice.lines), ZERO)
        taxes = sum((tax.amount for tax in invoice.taxes), ZERO)
        payable = totals.gross - totals.prepaid + totals.rounding + totals.third_party
        for element, stated, computed in (
            ("LineExtensionAmount", totals.lines, lines),
            ("TaxExclusiveAmount", totals.net, totals.lines + charges),
            ("TaxAmount", totals.tax, taxes),
            ("TaxInclusiveAmount", totals.gross, totals.net + totals.tax),
            ("PayableAmount", totals.payable, payable),
        ):
            if stated.quantize(CENT) != computed.quantize(CENT):
                raise self._fault(
                    f"cbc:{element}",
                    str(stated),
                    f"its parts add up to {computed.quantize(CENT)}; ask for a corrected invoice",
                )

    def _amount(self, node: Any, path: str, default: Decimal | None = None) -> Decimal:
        found = node.find(path, NS)
        currency = found.get("currencyID", self._currency) if found is not None else self._currency
        if currency != self._currency:
            raise self._fault(path, currency, f"amounts are in {self._currency} as the document")
        return self._number(node, path, default)

    def _number(self, node: Any, path: str, default: Decimal | None = None) -> Decimal:
        text = self._text(node, path) if default is None else self._maybe(node, path)
        if text is None:
            return default if default is not None else ZERO
        try:
            number = Decimal(text) if len(text) <= MAX_NUMBER else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            raise self._fault(
                path, text[:MAX_NUMBER], "a decimal number such as 12.50 belongs here"
            )
        return number

    def _date(self, node: Any, path: str) -> date:
        text = self._text(node, path)
        try:
            return date.fromisoformat(text[:10])
        except ValueError as error:
            raise self._fault(path, text, "a date such as 2026-11-20 belongs here") from error

    def _text(self, node: Any, path: str) -> str:
        text = self._maybe(node, path)
        if not text:
            raise self._fault(path, "", "the element is required; ask for a corrected invoice")
        return text

    def _maybe(self, node: Any, path: str) -> str | None:
        text = node.findtext(path, namespaces=NS)
        return str(text).strip() or None if text else None

    def _fault(self, element: str, value: str, cure: str) -> InvoiceUnreadable:
        said = f"is {value!r}" if value else "is missing"
        return InvoiceUnreadable(f"{self._name}: {element} {said}: {cure}.", element=element)


def _compact(text: str) -> str:
    return "".join(text.split()).upper()
