"""Tries on Prefect, whose password every flow has: they succeed, and must be of no use."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import httpx

from tests.support.hostile.diary import Diary, Known


def calls(known: Known, diary: Diary) -> None:
    user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
    base = f"{known.url('prefect')}/api"
    with httpx.Client(base_url=base, timeout=30, trust_env=False) as nobody:
        for method, path, _ in _table(known):
            status, told = _asked(nobody, method, path, {})
            what = f"{method} {path} without a password"
            diary.note("prefect", what, got=status < 400, answer=told)
    with httpx.Client(base_url=base, auth=(user, password), timeout=30, trust_env=False) as http:
        for method, path, body in _table(known):
            # Prefect may do it. Whether it was of any use stands in the books and in the log.
            _, told = _asked(http, method, path, body)
            diary.note("prefect", f"{method} {path} {body}", got=False, answer=told)


def _asked(http: httpx.Client, method: str, path: str, body: dict[str, Any]) -> tuple[int, str]:
    """Prefect cuts connections while it is busy: once more."""
    for _ in range(3):
        try:
            answer = http.request(method, path, json=body)
        except httpx.TransportError:
            continue
        return answer.status_code, f"{answer.status_code} {answer.text}"
    return 999, "cut off"


def _table(known: Known) -> list[tuple[str, str, dict[str, Any]]]:
    run = f"/flow_runs/{known.asking['run_id']}"
    evil = {"document": str(known.document)}

    def state(kind: str, **details: Any) -> dict[str, Any]:
        return {"state": {"type": kind, "data": None, **details}, "force": True}

    return [
        ("POST", f"{run}/input", {"key": "approved", "value": "true", "sender": "dana"}),
        ("POST", f"{run}/resume", {"run_input": {"approved": True, "decision": "approve"}}),
        ("POST", f"{run}/set_state", state("RUNNING", name="Approved")),
        ("POST", f"{run}/set_state", state("PAUSED", name="AwaitingApproval")),
        ("POST", f"{run}/resume", {}),
        ("POST", f"{run}/set_state", state("SCHEDULED", name="Approved")),
        ("PATCH", run, {"parameters": evil, "name": "approved"}),
        ("POST", f"{run}/set_state", state("COMPLETED", name="Approved", message="Dana approved.")),
        ("PATCH", f"/deployments/{known.deployment}", {"parameters": evil}),
        ("PATCH", f"/deployments/{known.deployment}", {"entrypoint": "os:getcwd"}),
        ("PATCH", f"/deployments/{known.deployment}",
         {"entrypoint": "flows.vendor_invoice:vendor_invoice", "parameters": {}}),
        ("POST", f"/deployments/{known.deployment}/create_flow_run",
         {"name": "evil", "parameters": evil, "state": {"type": "SCHEDULED"}}),
        ("POST", "/artifacts/", {"key": "approval", "type": "markdown", "data": "Approved."}),
        ("POST", "/variables/", {"name": f"approved_{uuid4().hex[:6]}", "value": "true"}),
        ("POST", "/automations/filter", {}),
        ("DELETE", run, {}),
    ]  # fmt: skip
