"""What the server refuses is in its log, in numbers and without what callers chose."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from gates.store.tables import LogRow
from gates.web.app import create_app
from gates.web.limits import MOST_BYTES
from gates.web.refusals import KIND, MANY, MOST_AT_ONCE, Refusal, Refusals
from gates.web.waiters import Waiters
from tests.support.browser import free_socket, serving
from tests.support.world import World

ONE = Refusal("unknown", "", "10.0.0.1", "GET", "/v1/requests", 401, "not_authenticated")


@contextmanager
def served(world: World) -> Iterator[httpx.Client]:
    app = create_app(world.gates, world.work, world.access, Waiters())
    with serving(app, free_socket()) as url, httpx.Client(base_url=url, trust_env=False) as made:
        yield made


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    with served(world) as made:
        yield made


def refused(world: World) -> list[dict[str, object]]:
    with world.gates.database.read() as session:
        rows = session.exec(select(LogRow).where(LogRow.kind == KIND).order_by("seq")).all()
    return [json.loads(row.body) | {"actor": row.actor, "subject": row.subject} for row in rows]


def test_a_refusal_is_in_the_log_before_its_answer(world: World, client: httpx.Client) -> None:
    """Who, from where, the route and why; an unknown caller is called unknown."""
    assert client.get("/v1/requests/abcdef").status_code == 401
    (entry,) = refused(world)
    assert entry == {
        "actor": "unknown",
        "key": "",
        "peer": "127.0.0.1",
        "method": "GET",
        "route": "/v1/requests/{request_id}",
        "subject": "/v1/requests/{request_id}",
        "status": 401,
        "code": "not_authenticated",
        "times": 1,
    }


def test_a_known_caller_is_named_by_its_key(world: World, client: httpx.Client) -> None:
    """A flow that tries an admin's call stands there with its agent and its key's id."""
    key = world.access.create_key("flow", "curious", "sam")
    answer = client.get("/v1/admin/keys", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    (entry,) = refused(world)
    assert (entry["actor"], entry["key"]) == ("curious", key.split("_")[1])
    assert key not in json.dumps(entry)


def test_an_executor_that_wants_what_its_key_is_not_for_is_named(
    world: World, client: httpx.Client
) -> None:
    """A payer's key does not get the banker's jobs, and the try is in the log."""
    key = world.access.create_key("executor", "payer", actions=["till.pay"])
    body = {"attempt_id": "attempt-1", "actions": ["till.pay", "till.burn"], "wait_seconds": 0}
    answer = client.post("/v1/jobs/lease", json=body, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_entitled")
    (entry,) = refused(world)
    assert (entry["actor"], entry["key"], entry["code"]) == (
        "payer",
        key.split("_")[1],
        "not_entitled",
    )


def test_the_same_refusal_is_counted(world: World) -> None:
    """A thousand tries are an entry and a number, not a thousand entries."""
    with served(world) as client:
        for _ in range(6):
            client.post("/v1/sessions", json={"token": "guessed"})
        assert [one["times"] for one in refused(world)] == [1]
    assert [one["times"] for one in refused(world)] == [1, 5]  # written as the server ends


def test_nothing_that_a_caller_chose_is_written(world: World, client: httpx.Client) -> None:
    """Neither a path, nor an odd method, nor a token at a wrong address."""
    client.get("/logn/secret-token")
    client.request("PROPFIND", "/v1/requests")
    client.post("/login/secret-token", headers={"Host": "secret.example.com"})
    entries = refused(world)
    assert [(one["method"], one["route"], one["status"]) for one in entries] == [
        ("GET", "unknown", 404),
        ("other", "/v1/requests", 405),
        ("POST", "unknown", 400),
    ]
    assert "secret" not in json.dumps(entries).lower()


@pytest.mark.parametrize("told", [True, False], ids=["length told", "in chunks"])
def test_a_body_has_a_limit(world: World, client: httpx.Client, told: bool) -> None:
    """However its length is told."""
    key = world.access.create_key("flow", "loud", "sam")
    large = b" " * (MOST_BYTES + 1)
    content = large if told else iter([large[:500_000], large[500_000:]])
    headers = {"Authorization": f"Bearer {key}"}
    assert client.post("/v1/actions", content=content, headers=headers).status_code == 413
    assert [one["status"] for one in refused(world)] == [413]


def test_a_hundred_thousand_mistakes_make_a_short_answer(
    world: World, client: httpx.Client
) -> None:
    """A small body cannot have a large answer made of it."""
    key = world.access.create_key("executor", "odd")
    body = {"attempt_id": "attempt-1", "actions": [1] * 400}
    answer = client.post("/v1/jobs/lease", json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 422
    assert len(answer.text) < 1_000


def test_different_refusals_are_bounded_too() -> None:
    """Beyond a burst they are counted together; a second later one more is told apart."""
    written: list[tuple[Refusal, int]] = []
    now = [0.0]
    refusals = Refusals(written.extend, lambda: now[0])

    async def attack() -> None:
        for number in range(MOST_AT_ONCE + 5):
            await refusals.note(ONE._replace(peer=f"10.0.{number}"))
        now[0] = 1.0
        await refusals.note(ONE)
        await refusals.flush()

    asyncio.run(attack())
    assert len(written) == MOST_AT_ONCE + 3
    many = [times for one, times in written if one.actor == MANY]
    assert many == [1, 4]
    assert written[-2][0] == ONE


def test_refusals_wait_for_a_store_that_is_away() -> None:
    """None is lost, and the caller has its answer meanwhile."""
    written: list[tuple[Refusal, int]] = []
    away = [True]

    def write(entries: Iterable[tuple[Refusal, int]]) -> None:
        if away.pop():
            raise OperationalError("the store is away", None, Exception())
        written.extend(entries)

    async def attack() -> None:
        refusals = Refusals(write)
        await refusals.note(ONE)
        away.extend([False])
        await refusals.note(ONE)
        await refusals.flush()

    asyncio.run(attack())
    assert written == [(ONE, 2)]
