"""Suppliers' bank accounts in Tryton: an account has numbers, of which one IBAN is in use.

A change takes the old number out of use and adds the new one, in one transaction of the ERP, so
that the books keep where money went before. Tryton's own stamp of the old number goes with it:
whoever changed the account meanwhile is not overwritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integrations.erp.port import BankAccount

if TYPE_CHECKING:
    from integrations.erp.rpc import TrytonRpc

NUMBER = "bank.account.number"


def accounts_of(rpc: TrytonRpc, supplier_id: int) -> list[BankAccount]:
    rows = _numbers(rpc, [["account.owners", "=", supplier_id]])
    return [
        BankAccount(
            account_id=row["account"],
            number_id=row["id"],
            iban="".join(row["number"].split()),
            version=str(row["_timestamp"]),
        )
        for row in rows
    ]


def owners_of(rpc: TrytonRpc, iban: str) -> list[str]:
    # Tryton compares a number with and without its spaces.
    rows = _numbers(rpc, [["number", "=", iban]])
    domain = [["bank_accounts", "in", [row["account"] for row in rows]]]
    found = rpc.call("model.party.party.search_read", domain, 0, None, None, ["name"])
    return sorted(row["name"] for row in found)


def replace(rpc: TrytonRpc, account: BankAccount, iban: str) -> None:
    numbers = [
        ["write", [account.number_id], {"active": False}],
        ["create", [{"type": "iban", "number": iban}]],
    ]
    rpc.call(
        "model.bank.account.write",
        [account.account_id],
        {"numbers": numbers},
        _timestamp={f"{NUMBER},{account.number_id}": account.version},
    )


def _numbers(rpc: TrytonRpc, domain: list[Any]) -> list[dict[str, Any]]:
    fields = ["account", "number", "_timestamp"]
    rows: list[dict[str, Any]] = rpc.call(
        f"model.{NUMBER}.search_read", [["type", "=", "iban"], *domain], 0, None, None, fields
    )
    return sorted(rows, key=lambda row: int(row["id"]))
