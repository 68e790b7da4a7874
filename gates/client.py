"""HTTP client of the gates server, for flows, executors and the command line.

Synchronous: async callers run it in a thread. Every command is safe to repeat, so a lost
connection or a restarting server is waited out instead of failing a run.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Self

import httpx
from pydantic import TypeAdapter

from gates.core.errors import GatesError, Unavailable, by_code
from gates.core.messages import AttemptReport, Proposal
from gates.core.model import Attempt, DecisionKind, GateReply, Job, RequestView

log = logging.getLogger(__name__)

PATIENCE = 300.0  # seconds in which an absent server may come back
LONGEST_WAIT = 30.0
GONE = (502, 503, 504)  # the server, or what it needs, is away for a while
VIEWS = TypeAdapter(list[RequestView])
JOB: TypeAdapter[Job | None] = TypeAdapter(Job | None)


class GatesClient:
    """`patience`: how many seconds an unreachable server is waited for."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str = "",
        session: str = "",
        patience: float = PATIENCE,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._patience = patience
        authorization = f"Bearer {key}" if key else f"Session {session}" if session else ""
        headers = {"Authorization": authorization} if authorization else {}
        timeout = httpx.Timeout(LONGEST_WAIT + 15, connect=5)
        self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # -- flows ------------------------------------------------------------------------------

    def propose(self, proposal: Proposal) -> GateReply:
        return self._reply("POST", "/v1/actions", proposal.model_dump(mode="json"))

    def claim(self, request_id: str, proposal: Proposal) -> GateReply:
        body = proposal.model_dump(mode="json")
        return self._reply("POST", f"/v1/requests/{request_id}/claim", body)

    def wait(
        self, request_id: str, *, attempt_id: str, call: int, after: int, seconds: float
    ) -> GateReply:
        """Returns when there is something to do, or after `seconds` (at most 30)."""
        seconds = min(seconds, LONGEST_WAIT)
        query = {"attempt_id": attempt_id, "call": call, "after": after, "seconds": seconds}
        return self._reply("GET", f"/v1/requests/{request_id}/wait", params=query)

    def suspending(self, request_id: str) -> GateReply:
        return self._reply("POST", f"/v1/requests/{request_id}/suspending")

    def staying(self, request_id: str) -> GateReply:
        return self._reply("POST", f"/v1/requests/{request_id}/staying")

    # -- flows and executors ----------------------------------------------------------------

    def renew(self, attempt_id: str, fence: int, lease_seconds: int) -> Attempt:
        body = {"fence": fence, "lease_seconds": lease_seconds}
        answer = self._call("POST", f"/v1/attempts/{attempt_id}/renew", body)
        return Attempt.model_validate_json(answer)

    def report(self, attempt_id: str, report: AttemptReport) -> GateReply:
        body = report.model_dump(mode="json")
        return self._reply("POST", f"/v1/attempts/{attempt_id}/report", body)

    def lease(
        self, attempt_id: str, actions: list[str], *, lease_seconds: int, wait_seconds: float
    ) -> Job | None:
        """Raises Unavailable at once: who asks for work in a loop has patience of its own."""
        body = {
            "attempt_id": attempt_id,
            "actions": actions,
            "lease_seconds": lease_seconds,
            "wait_seconds": min(wait_seconds, LONGEST_WAIT),
        }
        answer = self._call("POST", "/v1/jobs/lease", body, patience=0)
        return JOB.validate_json(answer)

    # -- people and admins ------------------------------------------------------------------

    def requests(self, state: str = "waiting", limit: int = 100) -> list[RequestView]:
        query = {"state": state, "limit": limit}
        return VIEWS.validate_json(self._call("GET", "/v1/requests", params=query))

    def view(self, request_id: str) -> RequestView:
        return RequestView.model_validate_json(self._call("GET", f"/v1/requests/{request_id}"))

    def decide(self, request_id: str, kind: DecisionKind, reason: str = "") -> RequestView:
        body = {"kind": kind.value, "reason": reason}
        path = f"/v1/requests/{request_id}/decisions"
        return RequestView.model_validate_json(self._call("POST", path, body))

    def me(self) -> dict[str, str]:
        """{person, name} of the session."""
        return dict(httpx.Response(200, content=self._call("GET", "/v1/me")).json())

    def log_in(self, token: str) -> dict[str, Any]:
        """{token, person, name}; the link is used up."""
        answer = httpx.Response(200, content=self._call("POST", "/v1/sessions", {"token": token}))
        return dict(answer.json())

    def login_link(self, person: str) -> str:
        answer = self._call("POST", "/v1/admin/login-links", {"person": person})
        return str(httpx.Response(200, content=answer).json()["url"])

    def create_key(self, scope: str, agent: str, on_behalf_of: str | None = None) -> str:
        body = {"scope": scope, "agent": agent, "on_behalf_of": on_behalf_of}
        answer = self._call("POST", "/v1/admin/keys", body)
        return str(httpx.Response(200, content=answer).json()["key"])

    def keys(self) -> list[dict[str, Any]]:
        answer = httpx.Response(200, content=self._call("GET", "/v1/admin/keys"))
        return list(answer.json())

    def revoke_key(self, key_id: str) -> None:
        self._call("DELETE", f"/v1/admin/keys/{key_id}")

    def withdraw(self, request_id: str, reason: str) -> RequestView:
        path = f"/v1/admin/requests/{request_id}/withdraw"
        return RequestView.model_validate_json(self._call("POST", path, params={"reason": reason}))

    def healthy(self) -> bool:
        try:
            return self._http.get("/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    # ---------------------------------------------------------------------------------------

    def _reply(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
    ) -> GateReply:
        return GateReply.model_validate_json(self._call(method, path, body, params))

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        *,
        patience: float | None = None,
    ) -> bytes:
        """Raises the GatesError that the server named, or Unavailable after the patience."""
        give_up = time.monotonic() + (self._patience if patience is None else patience)
        pause, trouble = 0.05, ""
        while True:
            try:
                response = self._http.request(method, path, json=body, params=params)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                if response.status_code not in GONE:
                    return _checked(response)
                trouble = _message(response)
            if time.monotonic() + pause > give_up:
                raise Unavailable(
                    f"The gates server at {self.base_url} does not answer ({trouble}): "
                    "is it running, and is GATES_URL right?"
                )
            log.warning("gates server: %s; trying again", trouble)
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def _checked(response: httpx.Response) -> bytes:
    if response.is_success:
        return response.content
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise GatesError(f"HTTP {response.status_code}: {response.text[:200]}") from None
    details = {str(key): value for key, value in error.get("details", {}).items()}
    raise by_code(error["code"])(error["message"], **details)


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
