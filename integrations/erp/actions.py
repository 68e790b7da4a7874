"""The ERP's part of the action registry, for the composition root and for flows to name."""

from integrations.erp.arguments import (
    BillLookup,
    BillReceipt,
    CreateBill,
    FindBill,
    Line,
    Payment,
    PaymentReceipt,
    PostBill,
)
from integrations.erp.bills import create_bill, find_bill, post_bill
from integrations.erp.payments import submit_payment
from integrations.erp.port import Erp

ACTIONS = (find_bill, create_bill, post_bill, submit_payment)

__all__ = [
    "ACTIONS",
    "BillLookup",
    "BillReceipt",
    "CreateBill",
    "Erp",
    "FindBill",
    "Line",
    "Payment",
    "PaymentReceipt",
    "PostBill",
    "create_bill",
    "find_bill",
    "post_bill",
    "submit_payment",
]
