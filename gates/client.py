"""HTTP client of the gates server, for flows, executors and the command line.

Synchronous: async callers run it in a thread. Every command is safe to repeat, so a lost
connection or a restarting server is waited out instead of failing a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import orjson
from pydantic import BaseModel, TypeAdapter

from gates.calling import PATIENCE, Caller
from gates.core.messages import AttemptReport, Awaited, Proposal, Redemption
from gates.core.model import (
    DecisionKind,
    GateReply,
    Grant,
    Job,
    Json,
    LoopAnswer,
    RequestView,
    Step,
    Suspension,
)

LONGEST_WAIT = 30.0
REPLIES = TypeAdapter(list[GateReply])
VIEWS = TypeAdapter(list[RequestView])
STEPS = TypeAdapter(list[Step])
JOB: TypeAdapter[Job | None] = TypeAdapter(Job | None)


class GatesClient:
    """`patience`: how many seconds an unreachable server is waited for. `fresh_key` is asked for
    the key again where the server refuses the one that there is: its file may have changed.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str = "",
        session: str = "",
        patience: float = PATIENCE,
        fresh_key: Callable[[], str] | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        authorization = f"Bearer {key}" if key else f"Session {session}" if session else ""
        self._caller = Caller(
            self.base_url, authorization, patience, LONGEST_WAIT + 15, fresh_key=fresh_key
        )

    @property
    def key_id(self) -> str:
        """Of the key that is used now, empty without one."""
        parts = self._caller.authorization.split("_")  # Bearer gk_ID_secret
        return parts[1] if len(parts) > 2 else ""  # noqa: PLR2004

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._caller.close()

    # -- flows ------------------------------------------------------------------------------

    def propose(self, proposal: Proposal) -> GateReply:
        return self._reply("POST", "/v1/actions", proposal)

    def claim(self, request_id: str, proposal: Proposal) -> GateReply:
        return self._reply("POST", f"/v1/requests/{request_id}/claim", proposal)

    def wait(
        self, request_id: str, *, attempt_id: str, call: int, after: int, seconds: float
    ) -> GateReply:
        """Returns when there is something to do, or after `seconds` (at most 30)."""
        seconds = min(seconds, LONGEST_WAIT)
        query = {"attempt_id": attempt_id, "call": call, "after": after, "seconds": seconds}
        return self._reply("GET", f"/v1/requests/{request_id}/wait", params=query)

    def trail(self, request_id: str) -> list[Step]:
        return STEPS.validate_json(self._call("GET", f"/v1/requests/{request_id}/trail"))

    def news(self, awaited: Sequence[Awaited], seconds: float) -> list[GateReply]:
        """Those of these gates that have changed, as soon as there is something to do for one,
        or after `seconds` (at most 30).
        """
        body = {
            "awaited": [one.model_dump() for one in awaited],
            "seconds": min(seconds, LONGEST_WAIT),
        }
        return REPLIES.validate_json(self._call("POST", "/v1/runs/wait", body))

    def suspending(self, request_ids: Sequence[str], wake_at: datetime | None = None) -> Suspension:
        """Leave for the run to suspend for all of these, until one is decided or `wake_at`."""
        told = wake_at.isoformat() if wake_at else None
        body = {"request_ids": list(request_ids), "wake_at": told}
        return Suspension.model_validate_json(self._call("POST", "/v1/runs/suspending", body))

    def staying(self, request_ids: Sequence[str]) -> None:
        self._call("POST", "/v1/runs/staying", {"request_ids": list(request_ids)})

    def leaving(self, request_ids: Sequence[str], *, withdraw: bool, reason: str) -> None:
        body = {"request_ids": list(request_ids), "withdraw": withdraw, "reason": reason}
        self._call("POST", "/v1/runs/leaving", body)

    # -- flows and executors ----------------------------------------------------------------

    def renew(self, attempt_id: str, fence: int, lease_seconds: int) -> Grant:
        body = {"fence": fence, "lease_seconds": lease_seconds}
        answer = self._call("POST", f"/v1/attempts/{attempt_id}/renew", body)
        return Grant.model_validate_json(answer)

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

    # -- people in command ------------------------------------------------------------------

    def command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the command line has to say, as JSON in and out."""
        return orjson.loads(self._call(method, path, body))

    # -- grants -----------------------------------------------------------------------------

    def grant_keys(self) -> Any:
        """The JWK set that the server publishes."""
        return orjson.loads(self._call("GET", "/v1/grant-keys"))

    def redeem(self, token: str, method: str = "") -> Redemption:
        """Use a grant up. Raises InvalidGrant, or Unavailable at once."""
        body = {"token": token, "method": method}
        return Redemption.model_validate_json(
            self._call("POST", "/v1/grants/redeem", body, patience=0)
        )

    def signing_keys(self) -> list[dict[str, Any]]:
        """All of them, with their lives, for an admin."""
        answer = orjson.loads(self._call("GET", "/v1/admin/grant-keys"))
        return list(answer)

    def rotate_grant_key(self, delay_seconds: int = 0) -> str:
        """The new key's id."""
        body = {"delay_seconds": delay_seconds}
        answer = self._call("POST", "/v1/admin/grant-keys", body)
        return str(orjson.loads(answer)["kid"])

    def retire_grant_key(self, kid: str) -> None:
        self._call("DELETE", f"/v1/admin/grant-keys/{kid}")

    # -- people and admins ------------------------------------------------------------------

    def requests(self, state: str = "waiting", limit: int = 100) -> list[RequestView]:
        query = {"state": state, "limit": limit}
        return VIEWS.validate_json(self._call("GET", "/v1/requests", params=query))

    def view(self, request_id: str) -> RequestView:
        return RequestView.model_validate_json(self._call("GET", f"/v1/requests/{request_id}"))

    def explanation(self, request_id: str) -> dict[str, Any]:
        """How the policy came to its verdict: every rule, with the values that it saw."""
        return dict(orjson.loads(self._call("GET", f"/v1/requests/{request_id}/explanation")))

    def decide(
        self,
        request_id: str,
        kind: DecisionKind,
        reason: str = "",
        changes: Json | None = None,
        refused: Mapping[str, str] | None = None,
        code: str = "",
        loop: LoopAnswer | None = None,
    ) -> RequestView:
        """`changes`: all arguments, as they are approved instead; `refused`: lines of a batch that
        are not to run, with the reason for each; `code`: of the authenticator.
        """
        body: dict[str, Any] = {"kind": kind.value, "reason": reason, "changes": changes}
        body |= {"refused": dict(refused or {}), "code": code}
        body |= {"loop": loop.model_dump(mode="json")} if loop else {}
        path = f"/v1/requests/{request_id}/decisions"
        return RequestView.model_validate_json(self._call("POST", path, body))

    def ask_info(self, request_id: str, question: str) -> RequestView:
        """As the person who is logged in; the clock stands still."""
        path = f"/v1/requests/{request_id}/question"
        return RequestView.model_validate_json(self._call("POST", path, {"question": question}))

    def answer_info(self, request_id: str, text: str) -> RequestView:
        path = f"/v1/requests/{request_id}/answer"
        return RequestView.model_validate_json(self._call("POST", path, {"text": text}))

    def reviews(self, state: str = "wanted", limit: int = 200) -> list[RequestView]:
        query = {"state": state, "limit": limit}
        return VIEWS.validate_json(self._call("GET", "/v1/reviews", params=query))

    def review(
        self, request_id: str, verdict: str, reason: str = "", category: str = ""
    ) -> RequestView:
        body = {"verdict": verdict, "reason": reason, "category": category}
        answer = self._call("POST", f"/v1/requests/{request_id}/reviews", body)
        return RequestView.model_validate_json(answer)

    def alarms(self, days: int) -> list[dict[str, Any]]:
        """How good the loop detector was in so many days, by action and detector; for admins."""
        return list(orjson.loads(self._call("GET", f"/v1/admin/alarms?days={days}")))

    def me(self) -> dict[str, str]:
        """{person, name} of the session."""
        return dict(orjson.loads(self._call("GET", "/v1/me")))

    def log_in(self, token: str) -> dict[str, Any]:
        """{token, person, name}; the link is used up."""
        answer = orjson.loads(self._call("POST", "/v1/sessions", {"token": token}))
        return dict(answer)

    def login_link(self, person: str) -> str:
        answer = self._call("POST", "/v1/admin/login-links", {"person": person})
        return str(orjson.loads(answer)["url"])

    def create_key(
        self,
        scope: str,
        agent: str,
        on_behalf_of: str | None = None,
        actions: Sequence[str] = (),
    ) -> str:
        """`actions`: those that an executor's key is for; none: for all."""
        body: dict[str, Any] = {"scope": scope, "agent": agent, "on_behalf_of": on_behalf_of}
        if actions:
            body["actions"] = list(actions)
        answer = self._call("POST", "/v1/admin/keys", body)
        return str(orjson.loads(answer)["key"])

    def keys(self) -> list[dict[str, Any]]:
        answer = orjson.loads(self._call("GET", "/v1/admin/keys"))
        return list(answer)

    def rotate_key(self, key_id: str, overlap_seconds: int) -> str:
        """The new key; the old one works for `overlap_seconds` more."""
        body = {"overlap_seconds": overlap_seconds}
        answer = self._call("POST", f"/v1/admin/keys/{key_id}/rotate", body)
        return str(orjson.loads(answer)["key"])

    def revoke_key(self, key_id: str) -> None:
        self._call("DELETE", f"/v1/admin/keys/{key_id}")

    def reset_totp(self, person: str) -> None:
        self._call("DELETE", f"/v1/admin/people/{person}/totp")

    def withdraw(self, request_id: str, reason: str) -> RequestView:
        path = f"/v1/admin/requests/{request_id}/withdraw"
        return RequestView.model_validate_json(self._call("POST", path, params={"reason": reason}))

    def standing(self) -> list[dict[str, Any]]:
        """Standing approvals, the newest first."""
        return list(orjson.loads(self._call("GET", "/v1/standing")))

    def give_standing(self, limits: Json, reason: str) -> dict[str, Any]:
        """As the person who is logged in; what was made."""
        body = {"limits": limits, "reason": reason}
        return dict(orjson.loads(self._call("POST", "/v1/standing", body)))

    def revoke_standing(self, standing_id: str) -> None:
        self._call("DELETE", f"/v1/standing/{standing_id}")

    def shadow(self) -> dict[str, Any]:
        """What the policy that only looks on would have answered otherwise, for admins."""
        return dict(orjson.loads(self._call("GET", "/v1/admin/shadow")))

    def health(self) -> dict[str, Any]:
        """{now, findings}: the server's own view, for admins."""
        return dict(orjson.loads(self._call("GET", "/v1/admin/health")))

    def outbox(self) -> list[dict[str, Any]]:
        """Deliveries that were given up or are late, for admins."""
        return list(orjson.loads(self._call("GET", "/v1/admin/outbox")))

    def retry(self, ids: Sequence[int] | None) -> list[dict[str, Any]]:
        """Try these deliveries again, or all that were given up; what there was to try."""
        answer = self._call("POST", "/v1/admin/outbox/retry", {"ids": ids})
        return list(orjson.loads(answer))

    def healthy(self) -> bool:
        return self._caller.answers("/health")

    # ---------------------------------------------------------------------------------------

    def _reply(
        self,
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
    ) -> GateReply:
        return GateReply.model_validate_json(self._call(method, path, body, params))

    def _call(
        self,
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        *,
        patience: float | None = None,
    ) -> bytes:
        """Raises the GatesError that the server named, or Unavailable after the patience."""
        sent = b""
        if isinstance(body, BaseModel):
            sent = body.model_dump_json().encode()
        elif body is not None:
            sent = orjson.dumps(body)
        return self._caller.call(method, path, sent, params, patience=patience)
