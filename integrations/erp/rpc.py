"""Tryton's JSON-RPC over HTTP: one request, one transaction, one typed answer.

Writes are never repeated blindly. A request is sent again only where the ERP has proven that
the first one left nothing: a stale session (refused before the transaction starts) and lost
races for a database lock (rolled back). Everything else goes to the caller as an error that
says whether the books may have changed.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from integrations.erp.errors import (
    ErpError,
    TrytonAccessDenied,
    TrytonConcurrency,
    TrytonFault,
    TrytonLoginFailed,
    TrytonUnavailable,
    TrytonUserError,
    TrytonWarning,
)

LOCK_TEXTS = ("could not obtain lock", "database is locked")
LOCK_RETRIES = 4
LOCK_PAUSE = 0.25  # seconds before the first repeat; doubled each time


class TrytonRpc:
    """One ERP user on one database. Threads may share it.

    `transport` is httpx's own hook (proxies, recording, tests that cut a call off).
    """

    def __init__(
        self,
        url: str,
        database: str,
        user: str,
        password: str,
        *,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.user = user
        self._read_password: Callable[[], str] = lambda: password
        self._path = f"/{database}/rpc/"
        self._where = f"{url}/{database}"
        # The ERP's server closes each connection; a pooled one would only fail in doubt.
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout,
            transport=transport,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
        )
        self._login_lock = threading.Lock()
        self._session = ""
        self._context: dict[str, Any] | None = None

    @classmethod
    def from_password_file(
        cls, url: str, database: str, user: str, password_file: Path, **options: Any
    ) -> TrytonRpc:
        """Reads the file at each login, so that a changed password needs no restart.
        Raises TrytonLoginFailed where the file cannot be read.
        """

        def password() -> str:
            try:
                return password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise TrytonLoginFailed(
                    f"The password file of ERP user {user!r} cannot be read: {error}."
                ) from error

        made = cls(url, database, user, password(), **options)
        made._read_password = password
        return made

    def close(self) -> None:
        self._http.close()

    @property
    def company(self) -> int:
        """Id of the company that this user works for."""
        return int(self.context()["company"])

    def context(self) -> dict[str, Any]:
        if self._context is None:
            preferences = self.raw("model.res.user.get_preferences", True, {})  # noqa: FBT003
            keys = ("company", "employee")  # the ERP notes the employee who approved
            self._context = {"language": "en"} | {key: preferences.get(key) for key in keys}
        return dict(self._context)

    def forget_context(self) -> None:
        """After a change to the user's own company."""
        self._context = None

    def call(self, method: str, *params: Any, **context: Any) -> Any:
        """`method` with the user's context as last parameter, widened by `context`."""
        return self.raw(method, *params, self.context() | context)

    def raw(self, method: str, *params: Any) -> Any:
        """`method` with exactly these parameters."""
        session = self._session or self._log_in("")
        response = self._send(method, params, session)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            response = self._send(method, params, self._log_in(session))
        return self._answer(method, response)

    def wizard(self, name: str, state: str, data: Any, **context: Any) -> Any:
        """Run one state of the wizard and close it."""
        session, _, _ = self.call(f"wizard.{name}.create", **context)
        try:
            return self.call(f"wizard.{name}.execute", session, data, state, **context)
        finally:
            self.call(f"wizard.{name}.delete", session, **context)

    def _log_in(self, stale: str) -> str:
        with self._login_lock:
            if self._session != stale:  # another thread was faster
                return self._session
            response = self._send(
                "common.db.login", (self.user, {"password": self._read_password()}, "en"), ""
            )
            if response.status_code == httpx.codes.UNAUTHORIZED:
                raise TrytonLoginFailed(
                    f"The ERP at {self._where} does not accept user {self.user!r} with "
                    "this password: check the password file."
                )
            answer = self._answer("common.db.login", response)
            token = base64.b64encode(f"{self.user}:{answer[0]}:{answer[1]}".encode()).decode()
            self._session = token
            return token

    def _send(self, method: str, params: tuple[Any, ...], session: str) -> httpx.Response:
        body = json.dumps({"id": 1, "method": method, "params": params}, default=_encode)
        headers = {"Content-Type": "application/json"}
        if session:
            headers["Authorization"] = f"Session {session}"
        pause = LOCK_PAUSE
        for _ in range(LOCK_RETRIES):
            response = self._once(method, body, headers)
            if not _lost_a_lock(response):
                break
            time.sleep(pause)
            pause *= 2
        return response

    def _once(self, method: str, body: str, headers: dict[str, str]) -> httpx.Response:
        try:
            return self._http.post(self._path, content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TrytonUnavailable(
                f"The ERP at {self._where} cannot be reached ({error}): start it, then repeat.",
                may_have_applied=False,
            ) from error
        except httpx.HTTPError as error:
            raise TrytonUnavailable(
                f"The ERP at {self._where} broke off during {method} ({error!r}): "
                "look into the books before repeating.",
                may_have_applied=True,
            ) from error

    def _answer(self, method: str, response: httpx.Response) -> Any:
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise TrytonUnavailable(
                f"The ERP at {self._where} is busy ({method}: {response.text[:120]!r}): "
                "repeat later.",
                may_have_applied=not _lost_a_lock(response),
            )
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise TrytonLoginFailed(f"The ERP at {self._where} closed the session of {self.user}.")
        if response.status_code == httpx.codes.FORBIDDEN:
            raise TrytonAccessDenied(f"The ERP does not offer {method} to {self.user!r}.")
        try:
            answer = json.loads(response.text, object_hook=_decode, parse_float=Decimal)
        except ValueError:
            answer = None
        if response.status_code != httpx.codes.OK or not isinstance(answer, dict):
            raise TrytonFault(
                f"The ERP at {self._where} answered {method} with HTTP {response.status_code}: "
                f"see the ERP's log."
            )
        if "error" in answer:
            raise _error(method, answer["error"])
        return answer.get("result")


def _lost_a_lock(response: httpx.Response) -> bool:
    """The ERP rolled back because another transaction held the row or the file."""
    return response.status_code == httpx.codes.SERVICE_UNAVAILABLE and any(
        text in response.text for text in LOCK_TEXTS
    )


def _error(method: str, error: Any) -> ErpError:
    """The ERP's class decides; its text, which is translated, only refines."""
    kind = error[0] if isinstance(error, list) and error else ""
    detail = error[1] if isinstance(error, list) and len(error) > 1 else error
    if kind == "UserError":
        text = _sentence(detail[:2])
        if "not allowed" in text:
            return TrytonAccessDenied(text, method=method)
        return TrytonUserError(text, method=method)
    if kind == "UserWarning":
        return TrytonWarning(_sentence(detail[1:3]), method=method, key=str(detail[0]))
    if kind == "ConcurrencyException":
        return TrytonConcurrency(str(detail), method=method)
    return TrytonFault(f"{method} broke off in the ERP: {str(kind)[:200]}.", method=method)


def _sentence(parts: list[Any]) -> str:
    return " ".join(" ".join(str(part).split()) for part in parts if part)


def _encode(value: object) -> Any:
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, datetime):
        raise TypeError(f"Send a date to the ERP, not a time: {value!r}.")
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    raise TypeError(f"The ERP's protocol has no form for {type(value).__name__}.")


def _decode(value: dict[str, Any]) -> Any:
    decoder = _DECODERS.get(value.get("__class__", ""))
    return decoder(value) if decoder else value


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Decimal": lambda v: Decimal(v["decimal"]),
    "date": lambda v: date(v["year"], v["month"], v["day"]),
    "datetime": lambda v: datetime(  # noqa: DTZ001 - the ERP's times are UTC without a zone
        v["year"], v["month"], v["day"], v["hour"], v["minute"], v["second"], v["microsecond"]
    ),
    "timedelta": lambda v: timedelta(seconds=float(v["seconds"])),
    "bytes": lambda v: base64.b64decode(v["base64"]),
}
