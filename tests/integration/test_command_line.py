"""People in command at their terminals and pages, against a real server; two servers on one
PostgreSQL; and the end of a run in a real Prefect.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlmodel import select

from gates.client import GatesClient
from gates.commanding import Commanding
from gates.core.errors import Frozen, GatesError, InvalidGrant
from gates.core.freezes import Scope
from gates.core.model import Job, RunRef, Standing
from gates.core.versions import Pair, Texts
from gates.store import versions
from gates.store.database import Database
from gates.store.tables import LogRow
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.wiring import first_admin_key, stopping
from tests.integration.test_cli import Terminal
from tests.support import world as small
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.world import World

PEOPLE = small.PEOPLE.replace("clerks: Clerks}", "clerks: Clerks, admins: Admins}")
PEOPLE = PEOPLE.replace("groups: [treasury]", "groups: [treasury, admins]").replace(
    "email: mika@example.com, groups: [controllers]",
    "email: mika@example.com, groups: [controllers, admins]",
)
Enter = Callable[[str], httpx.Client]
EYES = "command: {who: [admins], ask: {who: [controllers]}, needs: [thaw]}\nrules:"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    world, bound = World(database), free_socket()
    world.rule(people=PEOPLE)
    world.access.directory = world.directory
    world.gates.base_url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    made = create_app(world.gates, world.work, world.access, Waiters())
    home = tmp_path / "home"
    first_admin_key(world.access, home / "admin.key")
    with serving(made, bound) as url:
        (home / "url").write_text(url)
        yield Terminal(home, world)
    database.close()


def test_freeze_and_thaw_on_the_command_line(terminal: Terminal) -> None:
    """Told who does the next step; who has frozen is refused; the list says what stands."""
    assert terminal("freezes").stdout == "Nothing is frozen or held.\n"
    terminal.log_in("mika")
    done = terminal("freeze", "--action", "till.*", "--reason", "odd amounts", "--json")
    made = json.loads(done.stdout)
    assert (made["name"], made["scope"]["action"]) == ("Mika Lindqvist", "till.*")
    with pytest.raises(Frozen):
        terminal.world.propose("500.00")
    shown = terminal("freezes").stdout
    assert "till.*" in shown
    assert "odd amounts" in shown
    refused = terminal("thaw", made["id"], "--reason", "never mind")
    assert (refused.exit_code, "somebody else in command thaws it" in refused.stderr) == (1, True)
    terminal.log_in("dana")
    refused = terminal("thaw", made["id"], "--reason", "please")
    assert "Dana Okafor is not in command; the policy names admins" in refused.stderr
    terminal.log_in("tess")
    assert "is lifted" in terminal("thaw", made["id"], "--reason", "looked into").stdout
    assert terminal.world.propose("500.00").standing is Standing.EXECUTING


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["freeze", "--reason", "x"], "Nothing is named", 1),
        (["freeze", "--agent", "a", "--everything", "--reason", "x"], "choose one of them", 1),
        (["freeze", "--everything", "--reason", " "], "say why", 1),
        (["hold", "nonsense", "--reason", "x"], "names no run", 3),
        (["stop", "nonsense", "--reason", "x"], "names no run", 3),
        (["policy", "show", "nonsense"], "names no policy", 3),
    ],
)
def test_what_an_order_lacks_is_said(
    terminal: Terminal, words: list[str], said: str, code: int
) -> None:
    """One sentence, with the cure; and the exit code of a refusal, or of nothing found."""
    terminal.log_in("tess")
    done = terminal(*words)
    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr


def test_an_admin_s_key_stops_things_and_starts_none(terminal: Terminal) -> None:
    """At night, on the server's machine, without anybody's session."""
    done = terminal("freeze", "--everything", "--reason", "leak", "--json")
    freeze_id = json.loads(done.stdout)["id"]
    refused = terminal("thaw", freeze_id, "--reason", "over")
    assert "gates login LINK" in refused.stderr
    terminal.log_in("tess")
    assert terminal("thaw", freeze_id, "--reason", "over", "--json").exit_code == 0


def test_hold_and_stop_on_the_command_line(terminal: Terminal) -> None:
    """By the run's id, or that of one of its requests."""
    terminal.log_in("tess")
    world = terminal.world
    asked = world.propose("5000.00").view.request.id
    assert "is held at its next gate" in terminal("hold", world.run, "--reason", "odd").stdout
    assert "held: run" in terminal("freezes").stdout
    (held,) = json.loads(terminal("freezes", "--json").stdout)["holds"]
    assert held["run"] == world.run
    assert "1 of its requests are taken back" in terminal("stop", asked, "--reason", "odd").stdout
    assert "(for good)" in terminal("freezes").stdout


def test_a_policy_is_shown_by_its_digest(terminal: Terminal) -> None:
    """Once it has been in force; as written."""
    world = terminal.world
    with world.database.write() as session:
        pair = Pair(world.policy.digest, "people")
        texts = Texts((("policy.yaml", small.POLICY),), ("people.yaml", PEOPLE))
        versions.keep(session, pair, texts, world.clock())
        versions.put_in_force(session, pair, "the first start", world.clock())
    terminal.log_in("tess")
    assert small.POLICY in terminal("policy", "show", world.policy.digest[:8]).stdout
    assert world.policy.digest[:12] in terminal("policy", "versions").stdout


# -- pages ----------------------------------------------------------------------------------


@pytest.fixture
def browser(terminal: Terminal) -> Iterator[Enter]:
    with ExitStack() as clients:

        def enter(person: str) -> httpx.Client:
            url = (terminal.home / "url").read_text()
            client = clients.enter_context(httpx.Client(base_url=url))
            client.post(f"/login/{terminal.world.access.create_link(person)}")
            return client

        yield enter


def token(client: httpx.Client) -> str:
    found = re.search(r'name="csrf" value="([^"]*)"', client.get("/people/me").text)
    assert found is not None
    return found[1]


def test_the_page_freezes_and_thaws(terminal: Terminal, browser: Enter) -> None:
    """With a bar on every page while something is frozen; not for who has frozen it."""
    world = terminal.world
    asked = world.propose("5000.00").view.request.id
    mika, tess, dana = browser("mika"), browser("tess"), browser("dana")
    assert 'class="bar"' not in dana.get("/").text
    form = {"csrf": token(mika), "everything": "yes", "reason": "odd <b>amounts</b>"}
    assert mika.post("/command/freezes", data=form).headers["location"] == "/command"
    for path in ("/", "/command", f"/requests/{asked}", "/people/me"):
        page = dana.get(path).text
        assert '<a class="bar" href="/command">Frozen by Mika Lindqvist' in page, path
        assert "<b>amounts" not in page
    assert "Nothing starts here." in dana.get(f"/requests/{asked}").text
    assert "You have frozen this" in mika.get("/command").text
    assert "You are not in command" in dana.get("/command").text
    found = re.search(r'action="(/command/freezes/\w+/thaw)"', tess.get("/command").text)
    assert found is not None
    refused = dana.post(found[1], data={"csrf": token(dana), "reason": "please"})
    assert (refused.status_code, "is not in command" in refused.text) == (403, True)
    forged = tess.post(found[1], data={"csrf": "forged", "reason": "looked into"})
    assert (forged.status_code, "looked into" in forged.text) == (403, True)
    assert tess.post(found[1], data={"csrf": token(tess), "reason": "fine"}).status_code == 303
    assert 'class="bar"' not in dana.get("/").text


def test_the_page_holds_and_stops_a_run(terminal: Terminal, browser: Enter) -> None:
    """And says what is wrong with an order, with what was typed."""
    tess, world = browser("tess"), terminal.world
    asked = world.propose("5000.00").view.request.id
    form = {"csrf": token(tess), "run": asked[:8], "reason": "odd amounts"}
    assert tess.post("/command/runs", data=form | {"order": "hold"}).status_code == 303
    assert world.run in tess.get("/command").text
    again = tess.post("/command/runs", data=form | {"order": "hold"})
    assert (again.status_code, "is held already" in again.text) == (422, True)
    assert ">odd amounts</textarea>" in again.text
    assert tess.post("/command/runs", data=form | {"order": "dance"}).status_code == 422
    assert tess.post("/command/runs", data=form | {"order": "stop"}).status_code == 303
    assert world.gates.view(asked).outcome is not None
    assert httpx.get(f"{tess.base_url}/command").status_code == 401


def test_those_in_command_see_what_could_not_be_taken(terminal: Terminal, browser: Enter) -> None:
    """Above every page; others are not bothered with it."""
    terminal.world.gates.troubles["policy files"] = "policy.yaml:1:1: no good"
    assert "policy.yaml:1:1" in browser("tess").get("/").text
    assert "policy.yaml:1:1" not in browser("dana").get("/").text


def test_a_thaw_that_needs_four_eyes_says_so(terminal: Terminal) -> None:
    """It names the request that asks."""
    world = terminal.world
    world.rule(small.POLICY.replace("rules:", EYES), PEOPLE)
    terminal.log_in("mika")
    made = json.loads(terminal("freeze", "--everything", "--reason", "odd", "--json").stdout)
    terminal.log_in("tess")
    said = terminal("thaw", made["id"], "--reason", "looked into").stdout
    (view,) = world.gates.waiting()
    assert f"Others are asked first: request {view.request.id[:8]}" in said
    page = terminal("show", view.request.id[:8]).stdout
    assert "asks to thaw" in page
    assert "Frozen by Mika Lindqvist" in page
    assert "looked into" in page


# -- two servers ----------------------------------------------------------------------------


@pytest.fixture
def two(postgres_database: str) -> Iterator[tuple[World, list[str]]]:
    """Two servers with stores and memories of their own on one PostgreSQL; their addresses."""
    with ExitStack() as stack:
        first = Database(postgres_database)
        first.migrate()
        stack.callback(first.close)
        worlds = [World(first)]
        second = Database(postgres_database)
        stack.callback(second.close)
        worlds.append(World(second, clock=worlds[0].clock, till=worlds[0].till))
        urls = []
        for world in worlds:
            world.rule(people=PEOPLE)
            made = create_app(world.gates, world.work, world.access, Waiters())
            urls.append(stack.enter_context(serving(made, free_socket())))
        yield worlds[0], urls


def test_a_freeze_on_one_server_counts_on_the_other_within_a_second(
    two: tuple[World, list[str]],
) -> None:
    """While claims, leases and redemptions come in there without a pause: none a second later."""
    world, (_, there) = two
    flow_key = world.access.create_key("flow", "payer", "sam")
    executor_key = world.access.create_key("executor", "executor-9")
    with GatesClient(there, key=flow_key) as flow, GatesClient(there, key=executor_key) as hands:
        stop = threading.Event()

        def proposes() -> list[float]:
            return _starts(stop, lambda: _start(flow, world))

        def leases() -> list[float]:
            return _starts(stop, lambda: _lease(hands))

        command = Commanding(world.gates)

        world.run = uuid4().hex
        first = flow.propose(world.proposal("500.00", run=_run(world), key="first"))
        assert first.standing is Standing.EXECUTING
        held = _lease(hands)
        assert held is not None
        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(proposes), pool.submit(leases)]
            try:
                _until(lambda: _logged(world, "grant.claimed") > 5)
                command.freeze(command.person("tess"), Scope(everything=True), "odd amounts")
                late = time.monotonic() + 1.0
                _until(lambda: time.monotonic() > late + 1.0)
            finally:  # whatever failed, the pool waits for both
                stop.set()
            started = [at for one in busy for at in one.result()]
        assert started, "something had started before"
        assert [at for at in started if at > late] == []
        with pytest.raises(InvalidGrant, match="Frozen by Tess Laurent"):
            hands.redeem(held.grant.token)


def _run(world: World) -> RunRef:
    return RunRef(run_id=world.run, root_run_id=world.run)


def _start(flow: GatesClient, world: World) -> object | None:
    """Each time another call: the very same once more would wait for people."""
    key = uuid4().hex
    reply = flow.propose(
        world.proposal(name="note", in_process=True, arguments={"n": key}, key=key, run=_run(world))
    )
    return reply.grant


def _lease(hands: GatesClient) -> Job | None:
    return hands.lease(uuid4().hex, ["till.pay"], lease_seconds=60, wait_seconds=0)


def _starts(stop: threading.Event, start: Callable[[], object | None]) -> list[float]:
    """When something began, as seen before it was asked for."""
    found = []
    while not stop.is_set():
        at = time.monotonic()
        try:
            if start() is not None:
                found.append(at)
        except GatesError:
            stop.wait(0.01)
    return found


def _logged(world: World, kind: str) -> int:
    with world.database.read() as session:
        return len(session.exec(select(LogRow.seq).where(LogRow.kind == kind)).all())


def _until(true: Callable[[], bool]) -> None:
    turn = threading.Event()
    while not true():
        turn.wait(0.02)


class Engine:
    """Implements the port RunStopper, as one that takes two looks."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def stop(self, root_run_id: str, words: str) -> bool:
        self.told.append((root_run_id, words))
        return len(self.told) > 1


def test_the_engine_is_told_until_the_run_has_ended(terminal: Terminal) -> None:
    """In words, through the outbox; without an engine, or without an order, nothing is to do."""
    world, engine = terminal.world, Engine()
    command = Commanding(world.gates)
    world.propose("500.00")
    command.stop(command.person("tess"), world.run, "wrong supplier")
    tell = stopping(command, engine)
    assert (tell(world.run), tell(world.run), tell("another")) == (False, True, True)
    assert engine.told[0][0] == world.run
    assert "Stopped by Tess Laurent" in engine.told[0][1]
    assert stopping(command, None)(world.run)
