"""An attack on the hardened house, and how the world stands before and after it, seen as root."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psutil
from pydantic import TypeAdapter
from sqlmodel import col, func, select

from gates.client import GatesClient
from gates.core.messages import Proposal
from gates.core.model import ApprovalRequest, RunRef
from gates.store.database import Database
from gates.store.tables import (
    AttemptRow,
    EventRow,
    ExecutionRow,
    KeyRow,
    LoginLinkRow,
    LogRow,
    RequestRow,
    SessionRow,
)
from gates.web.app import create_app
from gates.web.refusals import KIND
from gates.web.waiters import Waiters
from integrations.demo.runs import Run, Runs, rests
from integrations.demo.stack import DEPLOYMENT
from integrations.erp.books import BookEntry, books
from integrations.erp.rpc import TrytonRpc
from integrations.erp.tryton import TrytonErp
from integrations.hardened.house import Hardened
from tests.support.hardened import ROOT, up
from tests.support.hostile.diary import Known, Try
from tests.support.world import World as ToyWorld

SAMPLES = ROOT / "flows" / "samples"
SECONDS = 180.0
PATIENT = 400  # seconds for all tries together; on a machine at rest they take half a minute


class World(NamedTuple):
    """What money and approvals are made of. `decided`: requests and persons; `executed`: action
    and state by request.
    """

    books: list[BookEntry]
    decided: list[tuple[str, str]]
    executed: dict[str, str]
    keys: int
    links: int
    sessions: int


@dataclass(frozen=True)
class Attack:
    tries: list[Try]
    before: World
    after: World
    refused: Counter[tuple[str, str, int]]
    known: Known

    def got(self) -> list[str]:
        return [f"{one.area}: {one.what}: {one.answer}" for one in self.tries if one.got]


@contextmanager
def prefect(house: Hardened) -> Iterator[Runs]:
    runs = Runs(f"{house.url('prefect')}/api", house.prefect_auth)
    try:
        yield runs
    finally:
        runs.close()


def run(house: Hardened, sample: str) -> Run:
    """A run of the sample that has come to rest: paid, or asking people."""
    with prefect(house) as runs:
        begun = runs.start(DEPLOYMENT, [SAMPLES / f"{sample}.xml"])
        (rested,) = runs.follow(begun, rests, lambda _run: None, SECONDS)
    return rested


def attacked(house: Hardened, paid: Run, asking: Run) -> Attack:
    """Let the agent try, wait until what it set off has come to rest, and look."""
    with store(house) as database:
        known = _known(house, database, paid, asking)
        before = world(house, database)
        tries = _tried(house, known)
        _anew(house)
        _rested(house)
        return Attack(tries, before, world(house, database), _refused(database), known)


@contextmanager
def store(house: Hardened) -> Iterator[Database]:
    url = house.environment("server")["GATES_DATABASE_URL"]
    if house.plan.postgres:
        password = (house.home / "server" / "pgpass").read_text().strip().rsplit(":", 1)[1]
        url = url.replace("@", f":{password}@", 1)
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def world(house: Hardened, database: Database) -> World:
    with database.read() as session:

        def count(table: Any) -> int:
            return int(session.exec(select(func.count()).select_from(table)).one())

        decided = select(EventRow.request_id, EventRow.person).where(EventRow.kind == "decided")
        executed = select(ExecutionRow.request_id, RequestRow.action, ExecutionRow.state).join(
            RequestRow, col(RequestRow.id) == ExecutionRow.request_id
        )
        return World(
            booked(house),
            sorted((one, str(who)) for one, who in session.exec(decided)),
            {one: f"{name} {state}" for one, name, state in session.exec(executed)},
            count(KeyRow),
            count(LoginLinkRow),
            count(SessionRow),
        )


def booked(house: Hardened) -> list[BookEntry]:
    password = house.home / "server" / "erp.password"
    erp = TrytonErp(TrytonRpc.from_password_file(house.url("erp"), "northwind", "reader", password))
    try:
        return books(erp)
    finally:
        erp.close()


def _known(house: Hardened, database: Database, paid: Run, asking: Run) -> Known:
    with database.read() as session:
        rows = session.exec(select(RequestRow).order_by(col(RequestRow.opened_at))).all()
        requests = [ApprovalRequest.model_validate_json(row.body) for row in rows]
        attempts = session.exec(select(AttemptRow)).all()
    of_paid = [one for one in requests if one.run.root_run_id == paid.id]
    waits = [one for one in requests if one.run.root_run_id == asking.id][-1]
    with prefect(house) as runs:
        deployment = runs._ask("GET", f"/deployments/name/{DEPLOYMENT}")["id"]
    evil = house.accounts["flow"].keep("evil.xml", _evil_document())
    return Known(
        home=house.home,
        parts=house.described()["parts"],
        routes=_routes(database),
        paid={
            "run_id": paid.id,
            "requests": [
                {
                    "id": one.id,
                    "name": one.action.name,
                    "arguments": one.action.arguments,
                    "run": one.run.model_dump(mode="json"),
                    "key": one.gate_key,
                    "attempts": [
                        {"id": a.id, "fence": a.fence} for a in attempts if a.request_id == one.id
                    ],
                }
                for one in of_paid
            ],
        },
        asking={"run_id": asking.id, "request_id": waits.id},
        foreign=_foreign(house, attempts),
        deployment=deployment,
        document=evil,
    )


def _evil_document() -> str:
    text = (SAMPLES / "acme-steel-large.xml").read_text()
    number = text.split("<cbc:ID>", 1)[1].split("</cbc:ID>", 1)[0]
    return text.replace(number, "EVIL-1").replace(
        "DE66100000000000000101", "DE89370400440532013000"
    )


def _foreign(house: Hardened, attempts: Any) -> dict[str, Any]:
    """Another agent's question, as the attacker might have seen it over somebody's shoulder."""
    with house.admin() as admin:
        key = admin.create_key("flow", "another-agent", "ines")
    name = f"script-{uuid4().hex}"
    note = Proposal(
        name="note.leave",
        run=RunRef(run_id=name, root_run_id=name),
        key="note",
        attempt_id=uuid4().hex,
        in_process=True,
    )
    with GatesClient(house.url("server"), key=key, patience=10) as client:
        asked = client.propose(note).view.request.id
    return {
        "request_id": asked,
        "root_run_id": name,
        "attempt_id": attempts[0].id,
        "key_id": key.split("_")[1],
    }


def _routes(database: Database) -> list[tuple[str, list[str]]]:
    """All that the server answers, pages included: a new route cannot be forgotten."""
    toy = ToyWorld(database)
    app = create_app(toy.gates, toy.work, toy.access, Waiters())
    shown = app.openapi()["paths"]
    methods = {path: {verb.upper() for verb in verbs} for path, verbs in shown.items()}
    for path, verbs in _walked(app.routes):
        if f"/v1{path}" not in shown:  # a router within a router says its path without the prefix
            methods.setdefault(path, set()).update(verbs)
    return [(path, sorted(verbs)) for path, verbs in methods.items()]


def _walked(routes: Any) -> Iterator[tuple[str, set[str]]]:
    """FastAPI keeps routers whole that were included."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _walked(inner.routes)
        else:
            yield route.path, route.methods or set()


def _tried(house: Hardened, known: Known) -> list[Try]:
    """Run the agent as the flow's user, with exactly what the worker has in its environment."""
    flow = house.accounts["flow"]
    worker = next(one for one in house.processes.running() if one.name == "flow")
    environment = psutil.Process(worker.pid).environ()
    told = flow.keep("known.json", known.model_dump_json())
    diary = flow.home / "diary.json"
    python = str(house.home / "code" / "bin" / "python")
    program = [python, "-m", "tests.support.hostile", str(told), str(diary)]
    done = subprocess.run(
        [*flow.run_as(), *program],
        env=environment,
        cwd=flow.home,
        capture_output=True,
        text=True,
        timeout=PATIENT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return TypeAdapter(list[Try]).validate_json(diary.read_bytes())


def _rested(house: Hardened) -> None:
    """Runs that the agent has resumed, changed and started have ended, or wait again."""
    with prefect(house) as runs:
        found = runs._ask("POST", "/flow_runs/filter", {"limit": 50})
        known = [Run(one["id"], one["name"], "") for one in found]
        runs.follow(known, rests, lambda _run: None, SECONDS)


def _anew(house: Hardened) -> None:
    """The server writes what it has only counted as it ends; started again, it knows all that it
    knew. With it comes back what the agent could end: the worker runs as its own user.
    """
    server = next(one for one in house.processes.running() if one.name == "server")
    process = psutil.Process(server.pid)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    up(house.home, house.plan.prefix)


def _refused(database: Database) -> Counter[tuple[str, str, int]]:
    """How often what was refused, by the log: method, route, status."""
    counted: Counter[tuple[str, str, int]] = Counter()
    with database.read() as session:
        for row in session.exec(select(LogRow).where(LogRow.kind == KIND)).all():
            body = json.loads(row.body)
            route = body["route"]
            route = f"/v1{route}" if route.startswith("/runs/") else route  # as above
            counted[body["method"], route, body["status"]] += body["times"]
    return counted


__all__ = ["Attack", "Path", "World", "attacked", "booked", "prefect", "run", "store", "world"]
