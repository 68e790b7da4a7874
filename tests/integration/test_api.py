"""The API over HTTP: a real server, the project's own client, and callers who mean no good."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gates.client import GatesClient
from gates.core import errors
from gates.core.messages import AttemptReport, Awaited
from gates.core.model import DecisionKind, ExecutionState, OutcomeKind, Standing
from gates.store.database import Database
from gates.web.app import create_app, refuse_unsafe
from gates.web.waiters import WORK, Waiters
from tests.support.browser import serving
from tests.support.empty import empty_sqlite
from tests.support.world import World

FAR = 25.0  # seconds; the polls below wait 30, so what comes before this was woken
SECRET = "a" * 24
EVERYWHERE = "0.0.0.0"  # noqa: S104 - an address to be refused


class Watched(Waiters):
    """Tells when somebody has begun to wait for a name, and waits no longer."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[str, threading.Event] = {}
        self.left = threading.Event()

    def expect(self, name: str) -> threading.Event:
        return self.waiting.setdefault(name, threading.Event())

    @asynccontextmanager
    async def on(self, name: str) -> AsyncIterator[asyncio.Event]:
        async with super().on(name) as bell:
            self.expect(name).set()
            yield bell
        self.left.set()


class House:
    """A server on a free port, and clients of every kind."""

    def __init__(self, world: World) -> None:
        self.world, self.waiters, self.bound = world, Watched(), bound_to(0)
        self.port = self.bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        world.gates.woken, world.gates.base_url = self.waiters.ring, self.url
        self._open: list[GatesClient] = []
        create = world.access.create_key
        self.keys = {
            scope: create(scope, agent, on_behalf_of)
            for scope, agent, on_behalf_of in (
                ("flow", "invoice-agent", "sam"),
                ("executor", "executor-1", None),
                ("admin", "ops", None),
            )
        }
        self.flow, self.executor, self.admin = (self.client(key=k) for k in self.keys.values())

    def client(self, **options: Any) -> GatesClient:
        client = GatesClient(self.url, **{"patience": 0.0} | options)
        self._open.append(client)
        return client

    def person(self, person_id: str) -> GatesClient:
        link = self.admin.login_link(person_id)
        with GatesClient(self.url, patience=0) as stranger:
            return self.client(session=stranger.log_in(link.rsplit("/", 1)[1])["token"])

    @contextmanager
    def serving(self, *, reread: float = 60.0) -> Iterator[None]:
        """Nobody reads again by themselves within a test: only bells wake."""
        w = self.world
        app = create_app(w.gates, w.work, w.access, self.waiters, reread=reread)
        with serving(app, self.bound):
            yield

    def raw(self, method: str, path: str, scope: str = "", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[scope]}"} if scope else {}
        headers |= options.pop("headers", {})
        return httpx.request(method, self.url + path, headers=headers, timeout=40, **options)

    def close(self) -> None:
        for client in self._open:
            client.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    made = House(World(database))
    with made.serving():
        yield made
    made.close()
    database.close()


def woken(house: House, name: str, wait: Callable[[], Any], act: Callable[[], Any]) -> Any:
    """What `wait` returns once `act` was done while it waited; fails if only time woke it."""
    waiting = house.waiters.expect(name)
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(wait)
        assert waiting.wait(60), "nobody began to wait"
        act()
        found = answer.result()
    assert time.monotonic() - begun < FAR, "nobody rang: the wait ran into its end"
    return found


# -- the way of an action -----------------------------------------------------------------------


def test_the_whole_way_over_http(house: House) -> None:
    """Propose, ask, approve by a person, claim, lease, renew, report, read."""
    proposal = house.world.proposal("5000.00")
    asked = house.flow.propose(proposal)
    request_id = asked.view.request.id
    assert asked.standing is Standing.WAITING
    assert asked.view.url == f"{house.url}/requests/{request_id}"
    assert house.flow.suspending([request_id]).pause_key
    dana = house.person("dana")
    assert [view.request.id for view in dana.requests()] == [request_id]
    assert dana.view(request_id[:8]).request.id == request_id
    decided = dana.decide(request_id[:8], DecisionKind.APPROVE)
    assert decided.outcome is not None
    assert decided.outcome.by == ("Dana Okafor",)
    assert decided.decisions[0].channel == "cli"
    assert house.flow.claim(request_id, proposal).standing is Standing.EXECUTING
    job = house.executor.lease("attempt-one", ["till.pay"], lease_seconds=60, wait_seconds=0)
    assert job is not None
    grant = job.grant
    assert house.executor.renew("attempt-one", grant.fence, 60).attempt_id == "attempt-one"
    done = AttemptReport(state="succeeded", fence=grant.fence, result={"paid": "5000.00"})
    assert house.executor.report("attempt-one", done).standing is Standing.SUCCEEDED
    reply = house.flow.wait(request_id, attempt_id="x", call=1, after=0, seconds=0)
    assert (reply.standing, reply.result) == (Standing.SUCCEEDED, {"paid": "5000.00"})
    assert [view.request.id for view in house.admin.requests("settled")] == [request_id]
    assert house.executor.lease("other-one", ["till.pay"], lease_seconds=60, wait_seconds=0) is None


def test_an_admin_withdraws_a_request(house: House) -> None:
    """The requester is told who and why."""
    request_id = house.flow.propose(house.world.proposal("5000.00")).view.request.id
    path = f"/v1/admin/requests/{request_id}/withdraw"
    answer = house.raw("POST", path, "admin", params={"reason": "asked by mistake"})
    assert answer.json()["outcome"]["kind"] == OutcomeKind.CANCELLED.value
    reply = house.flow.propose(house.world.proposal("5000.00"))
    assert reply.standing is Standing.CANCELLED
    assert str(reply.view.outcome) == "cancelled by ops: asked by mistake"


def test_keys_are_made_and_revoked_over_http(house: House) -> None:
    """A revoked key is refused at the next call."""
    key = house.admin.create_key("flow", "other-agent")
    other = house.client(key=key)
    assert other.propose(house.world.proposal("5.00")).standing is Standing.EXECUTING
    assert house.raw("DELETE", f"/v1/admin/keys/{key.split('_')[1]}", "admin").status_code == 204
    with pytest.raises(errors.NotAuthenticated):
        other.propose(house.world.proposal("5.00"))


def test_who_is_logged_in(house: House) -> None:
    """A session says whose it is, and a link opens one."""
    link = house.admin.login_link("mika")
    token = link.rsplit("/", 1)[1]
    with GatesClient(house.url, patience=0) as stranger:
        told = stranger.log_in(token)
        assert (told["person"], told["name"]) == ("mika", "Mika Lindqvist")
        with pytest.raises(errors.NotAuthenticated, match="used or has expired"):
            stranger.log_in(token)
    headers = {"Authorization": f"Session {told['token']}"}
    me = house.raw("GET", "/v1/me", headers=headers).json()
    assert me == {"person": "mika", "name": "Mika Lindqvist"}


# -- waiting ------------------------------------------------------------------------------------


@contextmanager
def on_the_line(house: House, name: str, scope: str, call: str, body: str = "") -> Iterator[Any]:
    """A process in the middle of a call that waits for `name`: its connection."""
    headers = f"Host: 127.0.0.1:{house.port}\r\nAuthorization: Bearer {house.keys[scope]}\r\n"
    headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", house.port)) as line:
        line.sendall(f"{call} HTTP/1.1\r\n{headers}\r\n{body}".encode())
        assert house.waiters.expect(name).wait(60), "nobody began to wait"
        yield line
        assert house.waiters.left.wait(60), "nobody answered"


@pytest.mark.parametrize("dead", [True, False])
def test_only_who_is_on_the_line_has_heard_the_answer(house: House, dead: bool) -> None:
    """A process that died while it waited has heard nothing: its run is to be started again."""
    asked = house.flow.propose(house.world.proposal("5000.00"))
    request_id, gate = asked.view.request.id, asked.view.request.gate_id
    call = f"GET /v1/requests/{request_id}/wait?after={asked.version}"
    with on_the_line(house, gate, "flow", call) as line:
        if dead:
            line.close()
        house.world.gates.heard.clear()
        house.world.decide(request_id, "dana", "reject")
    assert (house.world.run in house.world.gates.heard) is not dead
    assert (house.world.gates.doorbell(request_id) is not None) is dead


def test_an_executor_that_has_gone_is_handed_nothing(house: House) -> None:
    """Its work would lie until the lease lapses: the next one gets it at once."""
    body = '{"attempt_id": "attempt-one", "actions": ["till.pay"], "wait_seconds": 30}'
    with on_the_line(house, WORK, "executor", "POST /v1/jobs/lease", body) as line:
        line.close()
        house.flow.propose(house.world.proposal("500.00"))
    job = house.executor.lease("other-one", ["till.pay"], lease_seconds=60, wait_seconds=0)
    assert job is not None


def test_a_decision_wakes_the_flow_that_waits(house: House) -> None:
    """The wait returns through the bell, with the outcome, long before its end."""
    asked = house.flow.propose(house.world.proposal("5000.00"))
    request_id = asked.view.request.id
    reply = woken(
        house,
        asked.view.request.gate_id,
        lambda: house.flow.wait(
            request_id, attempt_id="x", call=1, after=asked.version, seconds=30
        ),
        lambda: house.world.decide(request_id, "dana"),
    )
    assert reply.standing is Standing.CLAIMABLE


def test_a_report_wakes_the_flow_that_waits(house: House) -> None:
    """The result arrives with the executor's report."""
    queued = house.flow.propose(house.world.proposal("500.00"))
    request_id = queued.view.request.id

    def work() -> None:
        job = house.world.lease()
        assert job is not None
        house.world.perform(job)

    reply = woken(
        house,
        queued.view.request.gate_id,
        lambda: house.flow.wait(
            request_id, attempt_id="x", call=1, after=queued.version, seconds=30
        ),
        work,
    )
    assert (reply.standing, reply.result) == (Standing.SUCCEEDED, {"paid": "500.00"})


def test_expiry_and_withdrawal_wake_the_flow_too(house: House) -> None:
    """Every way in which a request ends is told at once."""
    house.world.clock.advance(hours=0)

    def expire() -> None:
        house.world.clock.advance(hours=1)
        assert house.world.gates.expire() == 1

    for key, standing in (("a", Standing.CANCELLED), ("b", Standing.EXPIRED)):
        asked = house.flow.propose(house.world.proposal("5000.00", key=key))
        request_id = asked.view.request.id

        def withdraw(request_id: str = request_id) -> None:
            house.world.gates.withdraw(request_id, "ops", "mistake")

        def wait(request_id: str = request_id, after: int = asked.version) -> Any:
            return house.flow.wait(request_id, attempt_id="x", call=1, after=after, seconds=30)

        act = withdraw if key == "a" else expire
        assert woken(house, asked.view.request.gate_id, wait, act).standing is standing


def test_new_work_wakes_an_executor(house: House) -> None:
    """An executor that waits gets the job with the proposal that queues it."""

    def lease() -> Any:
        return house.executor.lease("attempt-one", ["till.pay"], lease_seconds=60, wait_seconds=30)

    job = woken(house, WORK, lease, lambda: house.flow.propose(house.world.proposal("500.00")))
    assert job is not None
    assert job.kind == "execute"


def test_what_another_server_changed_is_seen_without_a_bell(tmp_path: Path) -> None:
    """Two servers on one store: the slow re-read finds what nobody rang for."""
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    house = House(World(database))
    house.world.gates.woken = lambda _gate: None  # as if the other server had committed it
    with house.serving(reread=0.05):
        asked = house.flow.propose(house.world.proposal("5000.00"))
        request_id = asked.view.request.id
        reply = woken(
            house,
            asked.view.request.gate_id,
            lambda: house.flow.wait(
                request_id, attempt_id="x", call=1, after=asked.version, seconds=30
            ),
            lambda: house.world.decide(request_id, "dana"),
        )
        assert reply.standing is Standing.CLAIMABLE
    house.close()
    database.close()


def test_a_wait_without_news_ends_when_it_said(house: House) -> None:
    """It answers with what stands, and a wait beyond the limit is refused."""
    asked = house.flow.propose(house.world.proposal("5000.00"))
    request_id = asked.view.request.id
    reply = house.flow.wait(request_id, attempt_id="x", call=1, after=0, seconds=0.05)
    assert (reply.standing, reply.version) == (Standing.WAITING, asked.version)
    answer = house.raw("GET", f"/v1/requests/{request_id}/wait", "flow", params={"seconds": 31})
    assert answer.status_code == 422
    assert "seconds = '31'" in answer.json()["error"]["message"]


# -- refusals -----------------------------------------------------------------------------------

PROPOSE = {
    "name": "till.pay",
    "arguments": {"payee": "acme", "amount": "5.00"},
    "run": {"run_id": "r", "root_run_id": "r"},
    "key": "pay",
    "attempt_id": "attempt-one",
}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"amount": "5.00"}, "invalid_input", "amount"),
        ({"call": "soon"}, "invalid_input", "call = 'soon'"),
        ({"run": {"run_id": "r"}}, "invalid_input", "run.root_run_id"),
        ({"key": ""}, "invalid_input", "key = ''"),
        ({"lease_seconds": 0}, "invalid_input", "lease_seconds = '0'"),
        ({"name": "till.pray"}, "unknown_action", "till.pray"),
        ({"arguments": {"payee": "acme"}}, "invalid_arguments", "amount"),
        ({"arguments": {"payee": "acme", "amount": "1", "x": 1}}, "invalid_arguments", "x = '1'"),
        ({"name": "note", "in_process": True, "arguments": {"x": 0.5}}, "not_canonical", "0.5"),
        ({"in_process": True}, "invalid_input", "action of the registry"),
    ],
)
def test_bad_input_is_one_sentence_with_a_code(
    house: House, changes: dict[str, Any], code: str, words: str
) -> None:
    """The field, its value and the cure; and nothing is half written."""
    answer = house.raw("POST", "/v1/actions", "flow", json=PROPOSE | changes)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, code)
    assert words in error["message"]
    assert "Traceback" not in answer.text
    with house.world.database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM run").scalar() == 0


def test_a_body_that_is_no_json_is_refused(house: House) -> None:
    """So is none at all."""
    for content in (b"{", b"", b"[]", b"\xff"):
        answer = house.raw("POST", "/v1/actions", "flow", content=content)
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "invalid_input"


ROUTES = [  # method, path, body, who may
    ("POST", "/v1/actions", PROPOSE, {"flow"}),
    ("POST", "/v1/requests/ID/claim", PROPOSE, {"flow"}),
    ("GET", "/v1/requests/ID/wait?seconds=0", None, {"flow"}),
    ("GET", "/v1/requests/ID/trail", None, {"flow"}),
    ("POST", "/v1/runs/wait", {"awaited": [{"request_id": SECRET}], "seconds": 0}, {"flow"}),
    ("POST", "/v1/runs/suspending", {"request_ids": [SECRET]}, {"flow"}),
    ("POST", "/v1/runs/staying", {"request_ids": [SECRET]}, {"flow"}),
    ("POST", "/v1/runs/leaving", {"request_ids": [SECRET]}, {"flow"}),
    ("POST", "/v1/attempts/AT/renew", {"fence": 1}, {"executor"}),
    ("POST", "/v1/attempts/AT/report", {"state": "in_doubt", "fence": 1}, {"executor"}),
    ("POST", "/v1/jobs/lease", {"attempt_id": SECRET, "actions": ["x"]}, {"executor"}),
    ("GET", "/v1/requests", None, {"admin", "person"}),
    ("GET", "/v1/requests/ID", None, {"admin", "person"}),
    ("POST", "/v1/requests/ID/decisions", {"kind": "approve"}, {"person"}),
    ("POST", "/v1/requests/ID/question", {"question": "why?"}, {"person"}),
    ("POST", "/v1/requests/ID/answer", {"text": "so"}, {"admin", "person"}),
    ("GET", "/v1/reviews", None, {"admin", "person"}),
    ("POST", "/v1/requests/ID/reviews", {"verdict": "fine"}, {"person"}),
    ("GET", "/v1/me", None, {"person"}),
    ("POST", "/v1/admin/login-links", {"person": "dana"}, {"admin"}),
    ("POST", "/v1/admin/keys", {"scope": "flow", "agent": "x"}, {"admin"}),
    ("GET", "/v1/admin/keys", None, {"admin"}),
    ("GET", "/v1/admin/keys", None, {"admin"}),
    ("GET", "/v1/admin/health", None, {"admin"}),
    ("GET", "/v1/admin/shadow", None, {"admin"}),
    ("GET", "/v1/admin/outbox", None, {"admin"}),
    ("POST", "/v1/admin/outbox/retry", {"ids": []}, {"admin"}),
    ("POST", "/v1/admin/keys/KEY/rotate", {"overlap_seconds": 0}, {"admin"}),
    ("DELETE", "/v1/admin/keys/KEY", None, {"admin"}),
    ("POST", "/v1/admin/requests/ID/withdraw?reason=x", None, {"admin"}),
    ("POST", "/v1/grants/redeem", {"token": "x"}, {"executor"}),
    ("GET", "/v1/admin/grant-keys", None, {"admin"}),
    ("POST", "/v1/admin/grant-keys", {}, {"admin"}),
    ("DELETE", "/v1/admin/grant-keys/KID", None, {"admin"}),
    ("GET", "/v1/requests/ID/explanation", None, {"admin", "person"}),
    ("DELETE", "/v1/admin/people/dana/totp", None, {"admin"}),
    ("GET", "/v1/admin/alarms", None, {"admin"}),
    ("GET", "/v1/standing", None, {"admin", "person"}),
    ("POST", "/v1/standing", {}, {"person"}),
    ("DELETE", "/v1/standing/S-1", None, {"admin", "person"}),
    ("GET", "/v1/freezes", None, {"admin", "person"}),
    ("POST", "/v1/freezes", {"scope": {"everything": True}, "reason": "x"}, {"admin", "person"}),
    ("POST", "/v1/freezes/FREEZE/thaw", {"reason": "x"}, {"person"}),
    ("POST", "/v1/runs/RUN/hold", {"reason": "x"}, {"admin", "person"}),
    ("POST", "/v1/runs/RUN/stop", {"reason": "x"}, {"admin", "person"}),
    ("GET", "/v1/policies", None, {"admin", "person"}),
    ("GET", "/v1/policies/HASH", None, {"admin", "person"}),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "who"), ROUTES, ids=[f"{one[0]} {one[1]}" for one in ROUTES]
)
def test_each_call_is_for_its_own_kind_of_caller(
    house: House, method: str, path: str, body: Any, who: set[str]
) -> None:
    """Without a key 401; with the wrong kind of key or a session 401 or 403, and nothing done."""
    world = house.world
    waiting = world.propose("5000.00", key="waiting").view.request.id
    world.propose("500.00", key="running")
    job = world.lease()
    assert job is not None
    spare = world.key("flow", "spare").key_id
    path = path.replace("ID", waiting).replace("AT", job.grant.attempt_id).replace("KEY", spare)
    token = world.access.redeem_link(world.access.create_link("dana"))
    callers = {scope: {"Authorization": f"Bearer {key}"} for scope, key in house.keys.items()}
    callers["person"] = {"Authorization": f"Session {token}"}
    callers[""] = {}
    callers["forged"] = {"Authorization": f"Bearer gk_{spare}_{SECRET}"}
    callers["odd"] = {"Authorization": "Basic Og=="}
    before = world.gates.view(waiting)
    for caller, headers in callers.items():
        if caller not in who:
            answer = house.raw(method, path, headers=headers, json=body)
            known = caller in ("flow", "executor", "admin")
            assert answer.status_code in ((401, 403) if known else (401,)), caller
            code = answer.json()["error"]["code"]
            assert code in ("not_authenticated", "not_entitled")
    after = world.gates.view(waiting)
    assert after == before
    assert world.access.key_holder(house.keys["flow"]).scope == "flow"


def test_the_table_of_callers_is_complete(house: House) -> None:
    """A new route under /v1 has to say who may call it; logging in and the public keys are for
    everybody.
    """
    schema = house.raw("GET", "/openapi.json").json()
    served = {
        (method.upper(), path)
        for path, calls in schema["paths"].items()
        for method in calls
        if path.startswith("/v1/")
    }
    names = {"ID": "{request_id}", "AT": "{attempt_id}", "KEY": "{key_id}", "KID": "{kid}"}
    names |= {"S-1": "{standing_id}", "dana": "{person_id}"}
    names |= {"FREEZE": "{freeze_id}", "RUN": "{run}", "HASH": "{digest}"}
    listed = {("POST", "/v1/sessions"), ("GET", "/v1/grant-keys")}
    for method, path, _, _ in ROUTES:
        steps = [names.get(step, step) for step in path.partition("?")[0].split("/")]
        listed.add((method, "/".join(steps)))
    assert served == listed


def test_another_requesters_runs_are_closed(house: House) -> None:
    """A flow's key reads and uses its own runs, whatever ids it knows."""
    request_id = house.flow.propose(house.world.proposal("5000.00")).view.request.id
    stranger = house.client(key=house.admin.create_key("flow", "other-agent"))
    proposal = house.world.proposal("5000.00")
    calls: tuple[Callable[[], Any], ...] = (
        lambda: stranger.propose(proposal),
        lambda: stranger.claim(request_id, proposal),
        lambda: stranger.wait(request_id, attempt_id="x", call=1, after=0, seconds=0),
        lambda: stranger.news([Awaited(request_id=request_id)], 0),
        lambda: stranger.suspending([request_id]),
        lambda: stranger.staying([request_id]),
        lambda: stranger.leaving([request_id], withdraw=True, reason="x"),
        lambda: stranger.trail(request_id),
    )
    for call in calls:
        with pytest.raises(errors.NotEntitled) as refusal:
            call()
        assert "acme" not in refusal.value.message
    assert not house.world.gates.view(request_id).suspended


def test_errors_arrive_as_what_they_are(house: House) -> None:
    """The client raises the class that the server's code names, with its sentence."""
    request_id = house.flow.propose(house.world.proposal("5000.00")).view.request.id
    dana, sam = house.person("dana"), house.person("sam")
    with pytest.raises(errors.SelfApproval, match="acts for you"):
        sam.decide(request_id, DecisionKind.APPROVE)
    with pytest.raises(errors.InvalidInput, match="reason is empty"):
        dana.decide(request_id, DecisionKind.REJECT)
    with pytest.raises(errors.NotFound, match="no request"):
        dana.view("ffffffffffff")
    with pytest.raises(errors.NotFound, match="six or more"):
        dana.view("%")
    dana.decide(request_id, DecisionKind.REJECT, "not ours")
    with pytest.raises(errors.RequestClosed, match="not ours"):
        dana.decide(request_id, DecisionKind.APPROVE)
    with pytest.raises(errors.UnknownPerson, match="nobody"):
        house.admin.login_link("nobody")


def test_a_stale_page_cannot_decide(house: House) -> None:
    """A decision that names a revision of another store is told to look again; what somebody else
    has said since changes nothing of the question."""
    request_id = house.flow.propose(house.world.proposal("20000.00")).view.request.id
    house.world.decide(request_id, "mika")
    token = house.world.access.redeem_link(house.world.access.create_link("dana"))

    def approve(revision: int) -> httpx.Response:
        return house.raw(
            "POST",
            f"/v1/requests/{request_id}/decisions",
            headers={"Authorization": f"Session {token}"},
            json={"kind": "approve", "revision": revision},
        )

    answer = approve(10_002)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "stale_card")
    assert approve(1).json()["outcome"]["kind"] == "approved"


def test_pages_that_are_not_there_are_told_in_the_same_form(house: House) -> None:
    """Wrong paths and wrong methods are errors with a code too."""
    answer = house.raw("GET", "/v1/nothing", "flow")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = house.raw("PUT", "/v1/actions", "flow")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "invalid_input")


# -- the house itself ---------------------------------------------------------------------------


def test_names_of_other_hosts_are_refused(house: House) -> None:
    """A page that made its own name point here (DNS rebinding) reads nothing."""
    for host in ("evil.example", f"evil.example:{house.port}", "127.0.0.1.evil.example", ""):
        answer = house.raw("GET", "/health", headers={"Host": host})
        assert answer.status_code == 400, host
    for host in ("127.0.0.1", f"localhost:{house.port}", f"[::1]:{house.port}"):
        assert house.raw("GET", "/health", headers={"Host": host}).status_code == 200, host


def test_health_answers(house: House) -> None:
    """Without a key, and without telling anything."""
    assert house.raw("GET", "/health").json() == {"status": "ok"}
    assert house.flow.healthy()


def test_the_schema_is_served_and_typed(house: House) -> None:
    """Every call under /v1 documents its parameters, its body and its answer by name."""
    schema = house.raw("GET", "/openapi.json").json()
    for path, calls in schema["paths"].items():
        for method, call in calls.items():
            if not path.startswith("/v1/") or method == "delete":
                continue
            answer = call["responses"]["200"]["content"]["application/json"]["schema"]
            assert answer, f"{method} {path}"
            body = call.get("requestBody")
            if body is not None:
                assert "$ref" in body["content"]["application/json"]["schema"], path
    named = schema["components"]["schemas"]
    assert {"Proposal", "GateReply", "RequestView", "AttemptReport", "Job"} <= named.keys()
    assert named["Proposal"]["additionalProperties"] is False


def test_a_server_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    """The server goes away and another takes its place on its port: the flow's call succeeds."""
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    house = House(World(database))
    patient = house.client(key=house.keys["flow"], patience=60.0)
    proposal = house.world.proposal("5000.00")
    with house.serving():
        first = patient.propose(proposal)
    with pytest.raises(errors.Unavailable, match="does not answer"):
        house.flow.propose(proposal)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(patient.propose, proposal)
        house.bound = bound_to(house.port)
        with house.serving():
            assert answer.result(60) == first
    house.close()
    database.close()


def test_a_store_that_does_not_answer_is_said(house: House, tmp_path: Path) -> None:
    """503 with a sentence, no trace of the inside; the next call works again."""
    store, key = tmp_path / "gates.sqlite", house.keys["flow"]
    house.world.database.close()
    aside = store.rename(tmp_path / "aside")
    store.mkdir()
    answer = house.raw("POST", "/v1/actions", "flow", json=PROPOSE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert "sqlite" not in answer.text.lower()
    store.rmdir()
    aside.rename(store)
    assert house.client(key=key, patience=20).propose(house.world.proposal()).view.outcome


def test_many_flows_at_once_are_all_served(house: House) -> None:
    """Forty runs propose and report at the same time: each action runs once."""

    def action(number: int) -> ExecutionState:
        run = {"run_id": f"run-{number}", "root_run_id": f"run-{number}"}
        proposal = house.world.proposal(
            name="note", in_process=True, arguments={}, key="note", run=run
        )
        grant = house.flow.propose(proposal).grant
        assert grant is not None
        done = AttemptReport(state="succeeded", fence=grant.fence, result={"n": number})
        reply = house.flow.report(grant.attempt_id, done)
        assert reply.result == {"n": number}
        assert reply.view.execution is not None
        return reply.view.execution.state

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(action, range(40))) == {ExecutionState.SUCCEEDED}


@pytest.mark.parametrize(
    ("host", "base_url", "safe"),
    [
        ("127.0.0.1", "http://127.0.0.1:4280", True),
        ("127.0.0.53", "http://127.0.0.1:4280", True),
        ("localhost", "http://localhost:4280", True),
        ("::1", "http://[::1]:4280", True),
        (EVERYWHERE, "http://127.0.0.1:4280", False),
        (EVERYWHERE, "https://gates.example.com", True),
        ("::", "http://gates.example.com", False),
        ("10.0.0.5", "http://10.0.0.5:4280", False),
        ("gates.internal", "http://gates.internal", False),
        ("gates.internal", "https://gates.internal", True),
        ("", "http://127.0.0.1:4280", False),
        ("localhost.evil.example", "http://127.0.0.1", False),
    ],
)
def test_a_server_that_would_listen_unsafely_does_not_start(
    host: str, base_url: str, *, safe: bool
) -> None:
    """Off the loopback only behind an https address."""
    if safe:
        refuse_unsafe(host, base_url)
    else:
        with pytest.raises(errors.InvalidInput, match="TLS proxy"):
            refuse_unsafe(host, base_url)


def bound_to(port: int) -> socket.socket:
    """A port of the loopback that a successor may take over at once."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def test_a_server_whose_connections_are_all_in_use_is_asked_again(tmp_path: Path) -> None:
    """503 with Retry-After, on the hot routes and on the others; a client waits and succeeds."""
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"), wait_seconds=0.05)
    house = House(World(database))
    proposal = house.world.proposal("5000.00", key="other")
    patient = house.client(key=house.keys["flow"], patience=60.0)
    with house.serving(), ThreadPoolExecutor(1) as pool, httpx.Client(trust_env=False) as plain:
        house.flow.propose(house.world.proposal("5000.00"))
        with ExitStack() as held:
            for _ in range(30):
                held.enter_context(database.engine.connect())
            for method, path, key, body in (
                ("POST", "/v1/actions", "flow", proposal.model_dump(mode="json")),
                ("GET", "/v1/admin/keys", "admin", None),
            ):
                headers = {"Authorization": f"Bearer {house.keys[key]}"}
                answer = plain.request(method, f"{house.url}{path}", json=body, headers=headers)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
                assert answer.json()["error"]["code"] == "retry_later"
            waits = pool.submit(patient.propose, proposal)
        assert waits.result(60).standing is Standing.WAITING
    house.close()
    database.close()
