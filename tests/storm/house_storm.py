"""The profile `house`: the whole house of `make demo` as real processes: Prefect server and worker,
gates server, executor, Tryton. Flows are those of flows/vendor_invoice.py, deployed.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from gates.core.errors import Unavailable
from integrations.demo.processes import NotStarted
from integrations.demo.runs import Run
from integrations.erp.company import ErpNotStarted
from tests.storm.dice import Dice, Mark
from tests.storm.journal import Journal
from tests.storm.people import Person, until
from tests.storm.wire import Life, Wire, named
from tests.storm.witness import Witness
from tests.support.house import House, house
from tests.support.proxy import Call

SMALL, LARGE = "acme-steel-routine", "acme-steel-large"
AT_ONCE = 4  # runs
BOUND = 300.0  # seconds after the last fault; a death that nobody saw takes 75 to be noticed
ENDED = ("COMPLETED", "FAILED", "CANCELLED")
NOTICED = {"CRASHED": 4.0, "PENDING": 40.0}  # seconds until an admin presses Retry
FAR = {"executor": 6, "gates": 12, "worker": 20, "prefect": 20, "erp": 30, "flow": 3}
PEOPLE = ("dana", "mika", "tomas", "ines", "priya")  # of the demo; for Sam the agent acts
START_BOUND = 180.0  # seconds within which whoever was killed runs again
LOOK = 0.25
KEY = re.compile(rb"GATE-[0-9A-F]{16}")
ENTERS = (b"model.account.invoice.create", b"model.account.payment.create")
READS = (b".read", b".search", b"preferences", b"login")
STARTERS = ("gates", "executor", "worker", "prefect", "erp")


def of_erp(call: Call) -> str:
    return "look" if any(name in call.body for name in READS) else "book"


@dataclass
class Going:
    """A run on its way: as it was last seen, and since when."""

    run: Run
    marks: list[Mark]
    state: str = ""
    since: float = field(default_factory=time.monotonic)


@dataclass
class HouseStorm:
    seed: int
    kills: int
    folder: Path
    progress: Callable[[HouseStorm], None] = lambda _storm: None
    trouble: list[str] = field(default_factory=list)
    runs: int = 0
    calm: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.dice = Dice(self.seed)
        self.journal = Journal(self.folder / "journal.jsonl")
        self.lives: dict[str, Life] = {}
        self.going: dict[str, Going] = {}
        self.requests: dict[str, str] = {}  # a request's run
        self._lock = threading.Lock()
        self._starting: dict[str, threading.Thread] = {}

    @property
    def database(self) -> str:
        return f"sqlite:///{self.folder / 'home' / 'gates.sqlite'}"

    @property
    def over(self) -> bool:
        return self.journal.counted["kill"] >= self.kills

    def run(self) -> None:
        def gates() -> Wire:
            return Wire("", lambda: self._hit("gates", "executor", "worker", "prefect"), self._seen)

        def erp() -> Wire:
            return Wire("", lambda: self._hit("erp", "executor"), self._booking, of_erp)

        with house(self.folder / "home", proxies=(gates, erp)) as self.house:
            for name in STARTERS:
                self._born(name)
            people = self._people()
            witness = Witness(self.database, self.journal)
            for one in (witness, *people):
                one.start()
            try:
                self._storm()
                self._end()
            finally:
                for one in (*people, witness):
                    one.stop()
            self._write_down(self.house)
        self.journal.close()

    def _storm(self) -> None:
        while not self.over:
            while len(self.going) < AT_ONCE:
                self._begin()
            self._look()

    def _end(self) -> None:
        self.calm = True
        for life in self.lives.values():
            life.marks.clear()
        self.journal.note("calm")
        end = time.monotonic() + BOUND
        while self.going and time.monotonic() < end:
            self._look()
        for one in self.going.values():
            self.journal.note("stranded", run=one.run.id, state=one.state)
        for thread in list(self._starting.values()):
            thread.join(timeout=120)
        until(self._delivered, 90)

    def _delivered(self) -> bool:
        from tests.storm.checker import Store  # noqa: PLC0415 - only at the end

        with Store(self.database) as store:
            return not store.rows("SELECT 1 FROM outbox WHERE state = 'pending'")

    # -- runs -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.runs += 1
        dice = self.dice.of(f"run {self.runs}")
        sample = dice.choice((SMALL, LARGE))
        marks = self.dice.life("flow of the house", f"run {self.runs}", mortal=0.7, far=FAR["flow"])
        run = self.house.run(sample, f"STORM-{self.runs:04}")
        life = Life(run.name, marks, lambda mark: self._strike_flow(run, mark))
        self.lives[run.id] = life
        self.going[run.id] = Going(run, marks)
        self.journal.note("run", run=run.id, kind=sample, number=run.name)

    def _look(self) -> None:
        time.sleep(LOOK)
        self.progress(self)
        if not self.calm:
            for name in STARTERS:
                self.lives[name].again(partial(self._fate, name))
        for one in list(self.going.values()):
            try:
                seen = self.house.runs.read(one.run)
            except (httpx.HTTPError, Unavailable):
                continue  # Prefect is away: look again
            if seen.state != one.state:
                one.state, one.since = seen.state, time.monotonic()
            if seen.state in ENDED:
                self.journal.note(
                    "ended", run=seen.id, state=seen.state, name=seen.state_name, words=seen.message
                )
                del self.going[one.run.id]
            elif time.monotonic() - one.since > NOTICED.get(seen.state, 1e9):
                self._retry(one)

    def _retry(self, one: Going) -> None:
        """An admin presses Retry: nothing waits here that would wake a crashed run, or Prefect's
        worker died between taking a run and starting it.
        """
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "An admin retries."}
        url = f"{self.house.stack.prefect_api}/flow_runs/{one.run.id}/set_state"
        try:
            httpx.post(url, json={"state": state, "force": True}, timeout=10, trust_env=False)
        except httpx.HTTPError:
            return
        self.journal.note("retried", run=one.run.id, state=one.state)
        one.since = time.monotonic()

    # -- faults ---------------------------------------------------------------------------------

    def _born(self, name: str) -> None:
        marks = [] if self.calm else self._fate(name)
        self.lives[name] = Life(name, marks, lambda mark: self._strike(name, mark))

    def _fate(self, name: str) -> list[Mark]:
        kind = "executor of the house" if name == "executor" else name
        return self.dice.life(kind, name, mortal=1.0, far=FAR[name])

    def _hit(self, *names: str) -> list[Life]:
        run = getattr(self._here, "run", "")
        return [self.lives[one] for one in (*names, run) if one in self.lives]

    _here = threading.local()

    def _seen(self, call: Call, moment: str) -> None:
        """Whose call it is; and what no clock can deny: that a grant went out."""
        if moment == "before":
            self._here.run = self._run_of(call)
            return
        if named(call) == "propose" and b'"view"' in call.answer:
            request = json.loads(call.answer)["view"]["request"]
            self.requests[request["id"]] = request["run"]["run_id"]
        if named(call) == "lease" and b'"idempotency_key"' in call.answer:
            self.journal.note("granted", key=json.loads(call.answer)["idempotency_key"])

    def _run_of(self, call: Call) -> str:
        if named(call) in ("propose", "claim"):
            return str(json.loads(call.body)["run"]["run_id"])
        found = re.search(r"/requests/([0-9a-f]{32})/", call.path)
        return self.requests.get(found[1], "") if found else ""

    def _booking(self, call: Call, moment: str) -> None:
        self._here.run = ""
        if moment == "before" and any(name in call.body for name in ENTERS):
            for key in KEY.findall(call.body):
                self.journal.note("booking", key=key.decode())

    def _strike(self, name: str, mark: Mark) -> None:
        with self._lock:
            if self.calm or self.over or name in self._starting:
                return
            if mark.act != "kill":
                self._note(mark.act if mark.act != "stop" else "drop", name, name, mark)
                return
            self._note("kill", name, name, mark)
            try:
                self.house.kill(name)
            except psutil.NoSuchProcess:
                self.trouble.append(f"{name} had ended by itself when it was to be killed")
            thread = threading.Thread(target=self._again, args=(name,), daemon=True)
            self._starting[name] = thread
        thread.start()

    def _again(self, name: str) -> None:
        """As a supervisor: again and again, as long as it does not come up."""
        end = time.monotonic() + START_BOUND
        while not self._started(name) and not self.over:
            if time.monotonic() > end:
                self.trouble.append(f"{name} does not start")
                break
        with self._lock:
            self._born(name)
            del self._starting[name]

    def _started(self, name: str) -> bool:
        try:
            self.house.start_erp() if name == "erp" else self.house.start(name)
        except (NotStarted, ErpNotStarted) as error:
            self.journal.note("not_started", victim=name, words=str(error))
            time.sleep(0.5)
            return False
        return True

    def _strike_flow(self, run: Run, mark: Mark) -> None:
        with self._lock:
            if self.calm or self.over:
                return
            if mark.act not in ("kill", "stop"):
                self._note(mark.act, "flow", run.name, mark)
                return
            try:
                self.house.kill_flow(run)
            except (AssertionError, psutil.Error):
                return  # it has no process: a worker was killed with it
            self._note("kill", "flow", run.name, mark)

    def _note(self, what: str, kind: str, of: str, mark: Mark) -> None:
        told = {"call": mark.call, "nth": mark.nth, "moment": mark.moment}
        self.journal.note(what, victim=of, kind=kind, **told)

    # -- people ---------------------------------------------------------------------------------

    def _people(self) -> list[Person]:
        key = (self.house.stack.home / "admin.key").read_text().strip()
        url = self.house.gates.url
        return [
            Person(name, url, lambda: key, self.seed, self.journal, self.trouble) for name in PEOPLE
        ]

    def _write_down(self, at: House) -> None:
        """The ERP's books, for the checker."""
        found: list[dict[str, Any]] = []
        for number in range(1, self.runs + 1):
            name = f"STORM-{number:04}"
            for bill in at.booked(name):
                told = {"id": bill.bill_id, "number": name, "kind": "erp.bill.create"}
                found.append(
                    told
                    | {"key": bill.key, "amount": str(bill.total), "state": bill.state}
                    | {"reference": f"{name}/bill"}
                )
                found += [
                    told
                    | {"kind": "erp.payment.submit", "key": paid.key, "amount": str(paid.amount)}
                    | {"state": paid.state, "reference": f"{name}/payment", "id": paid.number}
                    for paid in bill.payments
                ]
        (self.folder / "books.json").write_text(json.dumps(found, indent=1))
