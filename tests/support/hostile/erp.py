"""Tries on the ERP: every call that writes, without a login, with made-up ones, with guesses."""

from __future__ import annotations

import base64
import os
from typing import Any

import httpx

from tests.support.hostile.diary import Diary, Known
from tests.support.hostile.machine import key

MODELS = (
    "account.invoice",
    "account.invoice.line",
    "account.invoice.tax",
    "account.payment",
    "account.payment.group",
    "account.payment.journal",
    "account.move",
    "account.move.line",
    "account.journal",
    "account.period",
    "account.configuration",
    "bank",
    "bank.account",
    "bank.account.number",
    "party.party",
    "party.address",
    "party.identifier",
    "company.company",
    "res.user",
    "res.group",
    "res.user.application",
    "ir.model.access",
    "ir.rule",
    "ir.cron",
    "ir.trigger",
    "ir.attachment",
)
BUTTONS = {
    "account.invoice": ("validate_invoice", "post", "pay", "cancel", "draft", "process"),
    "account.payment": (
        "draft",
        "submit",
        "approve",
        "process",
        "proceed",
        "succeed",
        "fail",
        "cancel",
    ),
    "account.payment.group": ("succeed",),
    "account.move": ("post",),
    "account.move.line": ("reconcile",),
    "ir.cron": ("run_once",),
    "res.user": ("reset_password", "set_preferences"),
}
WIZARDS = (
    "account.payment.process",
    "account.move.line.pay",
    "account.invoice.pay",
    "account.invoice.credit",
    "account.reconcile",
    "party.replace",
)
SERVER = (
    ("common.db.create", ["evil", "en", "", ""]),
    ("common.db.drop", ["northwind", ""]),
    ("common.db.dump", ["northwind", ""]),
    ("common.db.restore", ["evil", "", ""]),
    ("common.db.list", []),
    ("system.listMethods", []),
)
HARMLESS = ("common.db.list", "common.db.login", "system.listMethods")


def calls(known: Known, diary: Diary) -> None:
    made_up = base64.b64encode(f"executor:3:{key()}".encode()).decode()
    logins = {"nobody": "", "a made-up session": f"Session {made_up}"}
    with httpx.Client(base_url=known.url("erp"), timeout=30, trust_env=False) as http:
        for who, authorization in logins.items():
            headers = {"Authorization": authorization} if authorization else {}
            for method, params in _writing():
                _call(http, diary, f"{method} as {who}", method, params, headers)
        _log_in(http, diary)
        for path in ("/northwind/user/application/", "/northwind/bus", "/northwind/data/evil"):
            answer = http.post(path, json={})
            diary.note("erp", path, got=answer.is_success, answer=answer.text)


def _writing() -> list[tuple[str, list[Any]]]:
    plain = {"create": [[{"name": "evil"}]], "write": [[1], {"name": "evil"}], "delete": [[1]]}
    plain["copy"] = [[1]]
    made = [(f"model.{m}.{verb}", [*p, {}]) for m in MODELS for verb, p in plain.items()]
    made += [(f"model.{m}.{verb}", [[1], {}]) for m, verbs in BUTTONS.items() for verb in verbs]
    made += [(f"wizard.{name}.create", [{"active_ids": [1]}]) for name in WIZARDS]
    return [*made, *SERVER]


def _call(
    http: httpx.Client,
    diary: Diary,
    what: str,
    method: str,
    params: list[Any],
    headers: dict[str, str],
) -> None:
    body = {"id": 1, "method": method, "params": params}
    answer = http.post("/northwind/rpc/", json=body, headers=headers)
    result = answer.json().get("result") if _is_json(answer) else None
    got = answer.is_success and result not in (None, False, []) and method not in HARMLESS
    diary.note("erp", what, got=got, answer=f"{answer.status_code} {answer.text}")


def _is_json(answer: httpx.Response) -> bool:
    return answer.is_success and answer.headers.get("content-type", "").startswith(
        "application/json"
    )


def _log_in(http: httpx.Client, diary: Diary) -> None:
    """One guess each: the ERP makes who guesses wait, longer each time."""
    guesses = {"admin": "", "executor": key(), "reader": os.environ["PREFECT_API_AUTH_STRING"]}
    for user, password in guesses.items():
        body: dict[str, Any] = {"id": 1, "method": "common.db.login"}
        body["params"] = [user, {"password": password}, "en"]
        answer = http.post("/northwind/rpc/", json=body)
        got = _is_json(answer) and bool(answer.json().get("result"))
        told = f"{answer.status_code} {answer.text}"
        diary.note("erp", f"log in as {user}", got=got, answer=told)
