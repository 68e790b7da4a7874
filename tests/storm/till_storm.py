"""The profile `till`: many runs against a gates server (two on PostgreSQL), two executors and a
till, with a proxy between any two of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import httpx

from gates.client import GatesClient
from tests.storm.checker import Store
from tests.storm.children import PEOPLE, POLICY
from tests.storm.dice import Dice, Mark, Planned
from tests.storm.journal import Journal
from tests.storm.people import Person, until
from tests.storm.till import BOOKING
from tests.storm.weather import Clock, Disk, move_account
from tests.storm.wire import Life, Wire, named
from tests.storm.witness import Witness
from tests.storm.zygote import Nursery
from tests.support.ports import free_port
from tests.support.proxy import Call

LEASE, SETTLE = 3, 2.0  # seconds
SLOTS, EXECUTORS = 8, 2
SERVERS = ("gates", "gates-1")  # the second one where the store is PostgreSQL
LIVES = 6  # of one run, of which the last is spared
FAR = {"flow": 2, "executor": 6, "gates": 60, "till": 40}
MORTAL = {"flow": 0.75, "executor": 0.97, "gates": 1.0, "till": 1.0}
BOUND = 120.0  # seconds after the last fault within which every run has ended
LOOK = 0.02
WEATHER_EVERY = (6, 20)  # runs
LONGEST_FULL = 2.5  # seconds
STORE_AWAY = 15.0  # seconds in which a crashed PostgreSQL is back at the latest


@dataclass
class Victim:
    """A place where a process lives, one after the other."""

    name: str
    kind: str
    start: Callable[[], int]
    life: Life
    pid: int = 0
    lives: int = 0
    stopped: bool = False


@dataclass
class Slot:
    """Where flows live, one run after the other."""

    number: int
    victim: Victim
    run: Planned | None = None
    since: float = 0.0


@dataclass
class TillStorm:
    """`database`: an address, or empty for SQLite. `runs` and `kills` so far are in `journal`."""

    seed: int
    kills: int
    folder: Path
    database: str = ""
    restart_store: Callable[[], None] | None = None
    progress: Callable[[TillStorm], None] = lambda _storm: None
    trouble: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        for name in ("logs", "endings"):
            (self.folder / name).mkdir()
        self.dice = Dice(self.seed)
        self.journal = Journal(self.folder / "journal.jsonl")
        self.clock = Clock(self.folder / "clock")
        self.clock.step(0)
        self.victims: dict[str, Victim] = {}
        self.wires: dict[str, Wire] = {}
        self.slots: list[Slot] = []
        self.calm = False
        self.runs = 0
        self._lock = threading.RLock()
        self._next_weather = 5
        self._store_away = 0.0
        self._faults: list[threading.Thread] = []

    @property
    def _lite(self) -> bool:
        return self.database.startswith("sqlite")

    # -- the whole ------------------------------------------------------------------------------

    def run(self) -> None:
        """Storm, calm, end; what is left is in `folder`."""
        with ExitStack() as stack:
            self.disk = Disk(self.folder / "disk", lambda: self.victims["gates"].pid)
            stack.enter_context(self.disk.ready())
            if not self.database:
                self.database = f"sqlite:///{self.folder / 'disk' / 'gates.sqlite'}"
            self.nursery = Nursery(self.folder / "logs" / "zygote.log")
            stack.callback(self.nursery.close)
            self._build(stack)
            witness = Witness(self.database, self.journal)
            witness.start()
            stack.callback(self.journal.close)
            stack.callback(witness.stop)
            with self._peopled():
                self._storm()
                self._end()

    def _storm(self) -> None:
        while not self.over:
            self._supervise()
            self._change_weather()
            self.progress(self)
            time.sleep(LOOK)

    @property
    def over(self) -> bool:
        return self.journal.counted["kill"] >= self.kills

    def _end(self) -> None:
        """No more faults; everybody comes home, or is stranded."""
        self.calm = True
        for thread in self._faults:
            thread.join(timeout=30)
        for victim in self.victims.values():
            victim.life.marks.clear()
            if victim.stopped:
                self._wake(victim)
        self.clock.catch_up()
        self.journal.note("calm")
        end = time.monotonic() + BOUND
        while any(slot.run for slot in self.slots) and time.monotonic() < end:
            self._supervise()
            self.progress(self)
            time.sleep(LOOK)
        for slot in self.slots:
            if slot.run is not None:
                self.journal.note("stranded", run=slot.run.id)
        self._drained()

    def _drained(self) -> None:
        """The outbox needs a moment after the last answer."""

        def empty() -> bool:
            self._supervise()
            with suppress(Exception), Store(self.database) as store:
                return store.rows("SELECT 1 FROM outbox WHERE state = 'pending'") == []
            return False

        until(empty, 75)

    # -- processes ------------------------------------------------------------------------------

    def _build(self, stack: ExitStack) -> None:
        self.servers = {name: _free() for name in SERVERS[: 1 if self._lite else 2]}
        self.till_url = till = _free()
        self.gates_url = self.servers["gates"]
        (self.folder / "policy.yaml").write_text(POLICY)
        (self.folder / "people.yaml").write_text(PEOPLE)
        self._victim("till", "till")
        for name in self.servers:
            self._victim(name, "gates")
        self._wire(stack, "gates.till", till, "till")
        self._wire_to_gates(stack, 0, "people")
        for number in range(EXECUTORS):
            name = f"executor-{number}"
            self._victim(name, "executor")
            self._wire_to_gates(stack, number, name, name)
            self._wire(stack, f"{name}.till", till, "till", name)
        for number in range(SLOTS):
            name = f"flow-{number}"
            slot = Slot(number, self._victim(name, "flow"))
            self.slots.append(slot)
            self._wire_to_gates(stack, number, name, name)
            self._wire(stack, f"{name}.till", till, "till", name)
        self._tell()
        self._born(self.victims["till"])
        for name in self.servers:
            self._born(self.victims[name])
        self._keys()

    def _victim(self, name: str, kind: str) -> Victim:
        quiet = Life(name, [], lambda _mark: None)
        victim = self.victims[name] = Victim(name, kind, lambda: 0, quiet)
        return victim

    def _wire(self, stack: ExitStack, name: str, upstream: str, *victims: str) -> None:
        def lives() -> list[Life]:
            return [self.victims[one].life for one in victims]

        self.wires[name] = stack.enter_context(Wire(upstream, lives, self._witness))

    def _wire_to_gates(self, stack: ExitStack, number: int, name: str, *victims: str) -> None:
        """To one of the servers: where there are two, each gets half of the callers."""
        server = list(self.servers)[number % len(self.servers)]
        self._wire(stack, name, self.servers[server], server, *victims)

    def _witness(self, call: Call, moment: str) -> None:
        """What no clock can deny: a grant went out before what it allows was called for."""
        name = named(call)
        if moment == "before" and name in BOOKING:
            self.journal.note("booking", key=json.loads(call.body)["key"])
        elif moment == "after" and name == "lease" and b'"execute"' in call.answer:
            self.journal.note("granted", key=json.loads(call.answer)["idempotency_key"])
        elif moment == "after" and b'"standing":"claimed"' in call.answer:
            asked = json.loads(call.answer)["view"]["request"]["action"]["arguments"]
            self.journal.note("granted", key=asked["reference"])

    def _tell(self) -> None:
        """How each process is started."""

        def started(name: str, what: str, **told: Any) -> Callable[[], int]:
            log = self.folder / "logs" / f"{name}.log"
            return lambda: self.nursery.start(what, log, **told)

        for name, url in self.servers.items():
            self.victims[name].start = started(
                name, "gates", url=url, base_url=self.gates_url, database=self.database,
                till=self.wires["gates.till"].url, folder=str(self.folder),
                clock=str(self.clock.file), settle=SETTLE,
            )  # fmt: skip
        port = int(self.till_url.rsplit(":", 1)[1])
        books = str(self.folder / "till.sqlite")
        self.victims["till"].start = started("till", "till", file=books, port=port)
        for number in range(EXECUTORS):
            name = f"executor-{number}"
            self.victims[name].start = started(
                name, "executor", gates=self.wires[name].url, till=self.wires[f"{name}.till"].url,
                key=str(self.folder / f"{name}.key"), lease=LEASE, clock=str(self.clock.file),
            )  # fmt: skip
        for slot in self.slots:
            slot.victim.start = self._flow(slot)

    def _flow(self, slot: Slot) -> Callable[[], int]:
        def start() -> int:
            assert slot.run is not None
            name = slot.victim.name
            return self.nursery.start(
                "flow",
                self.folder / "logs" / f"{name}.log",
                run=slot.run.id,
                steps=slot.run.steps,
                gates=self.wires[name].url,
                till=self.wires[f"{name}.till"].url,
                key=str(self.folder / "flow.key"),
                ending=str(self._ending(slot.run)),
                lease=LEASE,
            )

        return start

    def _ending(self, run: Planned) -> Path:
        return self.folder / "endings" / f"{run.id}.json"

    def _keys(self) -> None:
        for url in self.servers.values():
            assert until(lambda: _healthy(url), 60), "no gates server: see logs"  # noqa: B023 - now
        key = (self.folder / "admin.key").read_text()
        with GatesClient(self.gates_url, key=key, patience=20) as admin:
            (self.folder / "flow.key").write_text(admin.create_key("flow", "agent", "sam"))
            for number in range(EXECUTORS):
                name = f"executor-{number}"
                (self.folder / f"{name}.key").write_text(admin.create_key("executor", name))

    # -- life and death -------------------------------------------------------------------------

    def _born(self, victim: Victim) -> None:
        """A new life, with what will happen in it."""
        victim.lives += 1
        marks: list[Mark] = []
        name, spared = victim.name, False
        if victim.kind == "flow":
            slot = self.slots[int(name.rsplit("-", 1)[1])]
            assert slot.run is not None
            name = slot.run.id
            spared = victim.lives >= LIVES
        if not self.calm:
            marks = self._fate(victim.kind, name, spared=spared)
        life = Life(name, marks, lambda mark: self._strike(victim, mark))
        life.awake = victim.kind != "gates"
        victim.life = life
        victim.stopped = False
        victim.pid = victim.start()
        if victim.kind == "gates":
            threading.Thread(target=self._awaken, args=(victim, life), daemon=True).start()

    def _fate(self, kind: str, name: str, *, spared: bool = False) -> list[Mark]:
        mortal = 0.0 if spared else MORTAL[kind]
        return self.dice.life(kind, name, mortal=mortal, far=FAR[kind])

    def _awaken(self, victim: Victim, life: Life) -> None:
        until(lambda: victim.life is not life or _healthy(self.servers[victim.name]), 60)
        life.awake = True

    def _strike(self, victim: Victim, mark: Mark) -> None:
        life = victim.life
        with self._lock:
            if self.calm or self.over or victim.life is not life or not victim.pid:
                return
            told = {
                "victim": victim.name, "kind": victim.kind, "of": life.victim,
                "life": victim.lives, "call": mark.call, "nth": mark.nth, "moment": mark.moment,
            }  # fmt: skip
            if mark.act not in ("kill", "stop"):
                self.journal.note(mark.act, **told)
            elif mark.act == "stop":
                if self.nursery.send(victim.pid, SIGSTOP):
                    victim.stopped = True
                    threading.Timer(mark.seconds, self._wake, [victim, victim.pid]).start()
                    self.journal.note("stop", **told)
            elif self.nursery.kill(victim.pid):
                victim.pid = 0
                self.journal.note("kill", **told)

    def _wake(self, victim: Victim, pid: int = 0) -> None:
        victim.stopped = False
        with suppress(ValueError):  # the storm is over
            self.nursery.send(pid or victim.pid, SIGCONT)

    def _supervise(self) -> None:
        """Start again whoever is gone, as a supervisor does."""
        with self._lock:
            ended = self.nursery.buried()
            for victim in self.victims.values():
                if victim.pid in ended:
                    self._left(victim, ended[victim.pid])
            for slot in self.slots:
                if slot.run is not None and self._ending(slot.run).exists():
                    self.journal.note("ended", run=slot.run.id, lives=slot.victim.lives)
                    slot.run = None
                    if slot.victim.pid:
                        self.nursery.kill(slot.victim.pid)  # it has said its last word
                        slot.victim.pid = 0
                if slot.run is None and not self.calm:
                    self._next(slot)
            for victim in self.victims.values():
                idle = victim.kind == "flow" and self.slots[int(victim.name[5:])].run is None
                if not victim.pid and not idle:
                    self._born(victim)
                elif victim.kind != "flow" and not self.calm and not victim.stopped:
                    victim.life.again(partial(self._fate, victim.kind, victim.name))

    def _left(self, victim: Victim, code: int) -> None:
        victim.pid = 0
        if victim.kind == "gates" and time.monotonic() < self._store_away:
            self.journal.note("gave_up", victim=victim.name)  # it could not start without its store
        elif victim.kind != "flow" or code:
            self.trouble.append(f"{victim.name} ended by itself with {code}")

    def _next(self, slot: Slot) -> None:
        self.runs += 1
        slot.run = self.dice.run(self.runs)
        slot.since, slot.victim.lives = time.monotonic(), 0
        steps = [[key, what, told] for key, what, told in slot.run.steps]
        self.journal.note("run", run=slot.run.id, kind=slot.run.kind, steps=steps)

    # -- weather --------------------------------------------------------------------------------

    def _change_weather(self) -> None:
        if self.runs < self._next_weather:
            return
        dice = self.dice.of("weather")
        self._next_weather = self.runs + dice.randint(*WEATHER_EVERY)
        kinds = ["clock", "clock", "account"]
        kinds += ["disk"] if self._lite else ["store", "store"]
        kind = dice.choice(kinds)
        draw = dice.random()
        match kind:
            case "clock":
                self._step_clock(draw)
            case "account":
                payee = dice.choice(("acme", "bolt", "carla"))
                number = dice.randint(1, 99)
                self._beside(lambda: move_account(self.till_url, payee, number))
                self.journal.note("account", payee=payee)
            case "disk":
                self._beside(lambda: self._fill(draw * LONGEST_FULL))
            case _ if self.restart_store is not None:
                self.journal.note("store")
                self._store_away = time.monotonic() + STORE_AWAY
                self._beside(self.restart_store)

    def _step_clock(self, draw: float) -> None:
        """Minutes forward, or some way back: what is leased then waits as much longer."""
        seconds = 30 + draw * 500 if draw < 0.6 else -(5 + (draw - 0.6) * 75)
        self.clock.step(seconds)
        self.journal.note("clock", seconds=round(seconds, 1))

    def _fill(self, seconds: float) -> None:
        self.journal.note("disk", seconds=round(seconds, 2))
        with self.disk.full():
            time.sleep(seconds)

    def _beside(self, action: Callable[[], None]) -> None:
        thread = threading.Thread(target=action, daemon=True)
        self._faults.append(thread)
        thread.start()

    # -- people ---------------------------------------------------------------------------------

    @contextmanager
    def _peopled(self) -> Iterator[None]:
        admin = (self.folder / "admin.key").read_text()
        people = [
            Person(name, self.wires["people"].url, lambda: admin, self.seed, self.journal,
                   self.trouble)
            for name in ("dana", "mika", "priya")
        ]  # fmt: skip
        for person in people:
            person.start()
        try:
            yield
        finally:
            for person in people:
                person.stop()


def _free() -> str:
    return f"http://127.0.0.1:{free_port()}"


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
