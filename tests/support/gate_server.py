"""A gates server over the small world of these tests, with an executor, as one process.

    python -m tests.support.gate_server FOLDER PORT [PREFECT_API_URL]

Writes the keys of a flow, an executor and an admin to FOLDER/*.key.
"""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path

import uvicorn

from gates.access import Access
from gates.actions import Registry
from gates.asking import Asking
from gates.client import GatesClient
from gates.core.people import load_people
from gates.core.policy import load_policy
from gates.executor import Executor
from gates.outbox import Outbox
from gates.passes import Passes
from gates.service import Gates
from gates.store.database import Database
from gates.timers import Timers
from gates.watching import Watch
from gates.web.app import create_app
from gates.web.waiters import Waiters
from gates.work import Work
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.keeper import PrefectRunKeeper
from integrations.prefect_runs.states import PrefectRunStates
from integrations.prefect_runs.waker import PrefectRuns
from integrations.wiring import handlers
from tests.support.world import PEOPLE, POLICY, Till, burn, pay

# Tess may thaw what the admin's process has frozen.
COMMANDED = POLICY.replace("rules:", "command: {who: [treasury]}\nrules:")


def main(folder: Path, port: int, prefect_api: str = "") -> None:
    url = f"http://127.0.0.1:{port}"
    directory = load_people(PEOPLE, "people.yaml")
    database = Database(f"sqlite:///{folder / 'gates.sqlite'}")
    database.migrate()
    till = Till()
    registry = Registry.of([pay, burn], {Till: lambda: till})
    asking = Asking(registry, load_policy(COMMANDED, "policy.yaml", directory), directory)
    waiters = Waiters()
    outboxes: list[Outbox] = []

    def woken(gate: str) -> None:
        waiters.ring(gate)
        for one in outboxes:
            one.ring()

    gates = Gates(database, asking, url, woken=woken)
    work, access = Work(gates, settle=timedelta(seconds=1)), Access(database, directory)
    prefect = PrefectApi(prefect_api) if prefect_api else None
    runs = PrefectRuns(prefect) if prefect else None
    watches = []
    if prefect:
        keeper = PrefectRunKeeper(prefect)
        gates.runs = PrefectRunStates(prefect)
        watches.append(Watch(gates, keeper, every=0.5, silence=timedelta(seconds=20)))
    outbox = Outbox(database, handlers(gates, [], runs))
    outboxes.append(outbox)
    timers = Timers(gates, work, Passes(gates))
    for name, scope, agent, person in (
        ("flow", "flow", "invoice-agent", "sam"),
        ("executor", "executor", "executor-1", None),
        ("admin", "admin", "admin", None),
    ):
        file = folder / f"{name}.key"
        if not file.exists():
            file.write_text(access.create_key(scope, agent, person))

    def started() -> None:
        outbox.start()
        timers.start()
        for watch in watches:
            watch.start()
        executor = Executor(GatesClient(url, key=(folder / "executor.key").read_text()), registry)
        threading.Thread(target=executor.run, daemon=True).start()

    def stopped() -> None:
        for watch in watches:
            watch.stop()
        timers.stop()
        outbox.stop()

    app = create_app(gates, work, access, waiters, started=started, stopped=stopped)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4])
