"""What lives and dies in a storm: the real gates server, the real executor, flows that call the
real `gated`, and a till. Each runs in a fork of the zygote.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn

import gates.flow  # noqa: F401 - imported before the forks
from gates import gated, require_approval
from gates.actions import Registry
from gates.client import GatesClient
from gates.core.errors import ActionFailed, GateStopped
from gates.executor import Executor
from gates.flow.session import Session, chosen
from gates.settings import ServerSettings
from integrations import wiring
from tests.storm import till as tills

POLICY = """
version: 1
defaults: {tier: ambiguous, ask: {who: [controllers], quorum: 1, deadline: 2h}}
loops: {same_failure: 3, allow_more: 2, ask: {who: [controllers], quorum: 1, deadline: 2h}}
in_doubt: {ask: {who: [controllers], quorum: 1, deadline: 2h}}
rules:
  - name: small
    on: [till.pay, till.hand]
    when: amount.minor < 100000
    verdict: allow
    tier: routine
    because: "small"
  - name: large
    on: till.pay
    when: amount.minor >= 1000000
    verdict: require_approval
    tier: high
    ask: {who: [controllers], quorum: 2, deadline: 2h}
    because: "{amount} is large"
  - name: nobody-cares
    on: till.pay
    when: action.arguments.payee == "latecomer"
    verdict: require_approval
    tier: high
    ask: {who: [controllers], deadline: 10s}
    because: "nobody answers these"
  - name: never
    on: till.burn
    when: "true"
    verdict: forbid
    tier: high
    because: "money is not burned"
"""
PEOPLE = """
version: 1
groups: {controllers: Controllers, clerks: Clerks}
people:
  - {id: dana, name: Dana Okafor, email: dana@example.com, groups: [controllers]}
  - {id: mika, name: Mika Lindqvist, email: mika@example.com, groups: [controllers]}
  - {id: priya, name: Priya Raman, email: priya@example.com, groups: [controllers]}
  - {id: sam, name: Sam Rivera, email: sam@example.com, groups: [clerks]}
"""


TRIES = 3

log = logging.getLogger(__name__)


def prepare() -> None:
    """What a first use would load."""
    os.environ["PREFECT_HOME"] = "/nonexistent"


def live(what: str, told: dict[str, Any]) -> int:
    """Be this process until its end; its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    code = {"gates": server, "executor": executor, "flow": flow, "till": till}[what](**told)
    return code or 0


def server(
    url: str, base_url: str, database: str, till: str, folder: str, clock: str, settle: float
) -> None:
    port = int(url.rsplit(":", 1)[1])
    settings = ServerSettings(
        port=port,
        base_url=base_url,
        database_url=database,
        policy=Path(folder, "policy.yaml"),
        people=Path(folder, "people.yaml"),
        settle=settle,
        signing_keys=Path(folder, "signing-keys"),
    )
    client = tills.Till(till)
    registry = Registry.of(tills.ACTIONS, {tills.Till: lambda: client})
    made = wiring.server(settings, registry, Clock(Path(clock)))
    wiring.first_admin_key(made.access, Path(folder, "admin.key"))
    uvicorn.run(
        made.app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )


def executor(gates: str, till: str, key: str, lease: int, clock: str) -> None:
    client = tills.Till(till)
    registry = Registry.of(tills.ACTIONS, {tills.Till: lambda: client})
    server = GatesClient(gates, key=Path(key).read_text())
    Executor(server, registry, lease=lease, clock=Clock(Path(clock))).run()


def till(file: str, port: int) -> None:
    tills.serve(Path(file), port)


def flow(
    run: str, steps: list[list[Any]], gates: str, till: str, key: str, ending: str, lease: int
) -> None:
    """A run outside Prefect that keeps its name when it is started again; how each of its gates
    ended is left in the file `ending`.
    """
    client = GatesClient(gates, key=Path(key).read_text())
    chosen.set(Session(client, linger=0, lease=lease, script=f"script-{run}"))
    ends, trouble = [], ""
    for name, what, arguments in steps:
        try:
            ends.append({"key": name, "how": "succeeded", **_tried(name, what, arguments, till)})
        except GateStopped as stop:
            ends.append({"key": name, "how": stop.code})
            break
        except ActionFailed as error:
            ends.append({"key": name, "how": "failed", "words": str(error)})
            break
        except Exception as error:
            log.exception("%s ends badly", run)
            trouble = f"{type(error).__name__}: {error}"
            break
    draft = Path(f"{ending}.part")
    draft.write_text(json.dumps({"run": run, "steps": ends, "trouble": trouble}))
    draft.replace(ending)


def _tried(name: str, what: str, arguments: dict[str, str], till: str) -> dict[str, Any]:
    """A failure that is proven to have left nothing behind is tried again, as authors do."""
    for _ in range(TRIES - 1):
        try:
            return _step(name, what, arguments, till)
        except ActionFailed as error:
            log.warning("%s failed: %s", name, error)
    return _step(name, what, arguments, till)


def _step(name: str, what: str, arguments: dict[str, str], till: str) -> dict[str, Any]:
    if what == "ask":
        require_approval("May it go on?", key=name, **arguments)
        return {}
    if what == "own.book":
        return {"entry": _own(name, till)(**arguments)}
    definition = next(one for one in tills.ACTIONS if one.name == what)
    return {"entry": gated(definition, key=name)(arguments).entry}


def _own(name: str, till: str) -> Any:
    @gated("own.book", key=name)
    def book(payee: str, amount: str, reference: str) -> int:
        client = tills.Till(till)
        there = client.find("own", reference)
        if there is not None:
            return there
        payout = tills.Payout(payee=payee, amount=amount, reference=reference)
        return client.book("own", payout, reference).entry

    return book


class Clock:
    """The machine's clock and an offset in seconds that is read from a file at each look."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(self.file.read_text() or 0))
