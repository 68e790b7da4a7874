"""Prefect's API as this server uses it: few calls, each bounded, none that imports Prefect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import httpx

from gates.core.errors import Unavailable

MOST_AT_ONCE = 200  # the most rows that Prefect returns


class PrefectApi:
    """`url` ends in /api; `auth` is "user:password", where Prefect's server wants that.
    Thread-safe. Every call raises Unavailable where Prefect is away.
    """

    def __init__(self, url: str, auth: str = "") -> None:
        user, _, password = auth.partition(":")
        login = (user, password) if auth else None
        self.http = httpx.Client(base_url=url, auth=login, timeout=10, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The run as Prefect shows it, None where there is none."""
        if not is_id(run_id):
            return None
        answer = self._sent("GET", f"/flow_runs/{run_id}")
        return None if answer.status_code == httpx.codes.NOT_FOUND else dict(answer.json())

    def runs(self, run_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of the runs that exist, by their ids."""
        found: dict[str, dict[str, Any]] = {}
        for some in _in_batches(filter(is_id, run_ids)):
            wanted = {"flow_runs": {"id": {"any_": some}}, "limit": MOST_AT_ONCE}
            answer = self._sent("POST", "/flow_runs/filter", wanted)
            found |= {str(one["id"]): one for one in answer.json()}
        return found

    def set_state(self, run_id: str, state: dict[str, Any]) -> bool:
        """Whether Prefect accepted it."""
        body = {"state": state, "force": False}
        return accepted(self._sent("POST", f"/flow_runs/{run_id}/set_state", body))

    def resume(self, run_id: str) -> bool:
        return accepted(self._sent("POST", f"/flow_runs/{run_id}/resume", {}))

    def sent(self, method: str, path: str, body: object) -> httpx.Response:
        """Raises Unavailable for any answer but success."""
        answer = self._sent(method, path, body)
        if not answer.is_success:
            raise Unavailable(f"Prefect answers {answer.status_code} to {path}.")
        return answer

    def _sent(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            answer = self.http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise Unavailable(f"Prefect does not answer: {error}.") from error
        if not answer.is_success and answer.status_code != httpx.codes.NOT_FOUND:
            raise Unavailable(f"Prefect answers {answer.status_code} to {path}.")
        return answer


def accepted(answer: httpx.Response) -> bool:
    return answer.is_success and answer.json().get("status") == "ACCEPT"


def is_id(run_id: str) -> bool:
    """Prefect's ids are UUIDs; what a flow names may be anything."""
    try:
        return str(UUID(run_id)) == run_id
    except ValueError:
        return False


def _in_batches(run_ids: Iterable[str]) -> Iterator[list[str]]:
    ids = sorted(set(run_ids))
    for start in range(0, len(ids), MOST_AT_ONCE):
        yield ids[start : start + MOST_AT_ONCE]
