"""The ERP's part of the action registry, for the composition root and for flows to name."""

from integrations.erp.arguments import (
    AccountReceipt,
    BillLookup,
    BillReceipt,
    BillTakenBack,
    CancelBill,
    ChangeBankAccount,
    CreateBill,
    DiscardBill,
    FindBill,
    Line,
    Payment,
    PaymentReceipt,
    PaymentTakenBack,
    PostBill,
    WithdrawPayment,
)
from integrations.erp.bank_accounts import change_bank_account
from integrations.erp.bills import create_bill, find_bill, post_bill
from integrations.erp.payments import submit_payment
from integrations.erp.port import Erp
from integrations.erp.taking_back import cancel_bill, discard_bill, withdraw_payment

ACTIONS = (
    find_bill,
    create_bill,
    post_bill,
    submit_payment,
    discard_bill,
    cancel_bill,
    withdraw_payment,
    change_bank_account,
)

__all__ = [
    "ACTIONS",
    "AccountReceipt",
    "BillLookup",
    "BillReceipt",
    "BillTakenBack",
    "CancelBill",
    "ChangeBankAccount",
    "CreateBill",
    "DiscardBill",
    "Erp",
    "FindBill",
    "Line",
    "Payment",
    "PaymentReceipt",
    "PaymentTakenBack",
    "PostBill",
    "WithdrawPayment",
    "cancel_bill",
    "change_bank_account",
    "create_bill",
    "discard_bill",
    "find_bill",
    "post_bill",
    "submit_payment",
    "withdraw_payment",
]
