"""A whole server with real files: what is written into them counts without a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gates.actions import Registry
from gates.client import GatesClient
from gates.core.errors import InvalidPolicy
from gates.core.model import DecisionKind
from gates.settings import ServerSettings
from integrations import wiring
from tests.integration.test_four_eyes import FOUR, PEOPLE, PLAIN, digest, stricter
from tests.support.browser import free_socket, serving
from tests.support.world import Till, burn, pay


class Home:
    """The folder with the files, and servers that go by them."""

    def __init__(self, folder: Path, stack: ExitStack, url: str) -> None:
        self.folder, self.stack, self.url = folder, stack, url
        self.policy, self.people = folder / "policy.yaml", folder / "people.yaml"
        self.people.write_text(PEOPLE)

    def server(self) -> tuple[wiring.Server, GatesClient]:
        settings = ServerSettings(
            database_url=self.url,
            policy=self.policy,
            people=self.people,
            signing_keys=self.folder / "keys",
        )
        made = wiring.server(settings, Registry.of([pay, burn], {Till: Till}))
        self.stack.callback(made.database.close)
        url = self.stack.enter_context(serving(made.app, free_socket()))
        key = made.access.create_key("admin", "ops")
        return made, self.stack.enter_context(GatesClient(url, key=key))


@pytest.fixture
def home(postgres_database: str, tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as stack:
        yield Home(tmp_path, stack, postgres_database)


def until(true: Callable[[], bool]) -> None:
    """At most a minute; looks again and again, since a file tells nobody that it has changed."""
    turn = threading.Event()
    for _ in range(1_200):
        if true():
            return
        turn.wait(0.05)
    raise AssertionError("it did not come about within a minute")


def test_two_servers_follow_a_file_and_neither_takes_a_broken_one(home: Home) -> None:
    """Both go by the same rules; health says what is wrong, on both, until it is mended."""
    home.policy.write_text(PLAIN)
    servers = [home.server(), home.server()]
    home.policy.write_text(stricter(PLAIN))
    until(lambda: all(in_force(made) == digest(stricter(PLAIN)) for made, _ in servers))
    home.policy.write_text(stricter(PLAIN).replace("tier: high", "tier: highest"))
    until(lambda: all(troubled(client) for _, client in servers))
    assert all(in_force(made) == digest(stricter(PLAIN)) for made, _ in servers)
    words = next(one["text"] for one in servers[0][1].health()["findings"] if broken(one))
    assert "policy.yaml:17:11: unknown tier 'highest': did you mean 'high'" in words
    home.policy.write_text(PLAIN)
    until(lambda: all(in_force(made) == digest(PLAIN) for made, _ in servers))
    until(lambda: not any(troubled(client) for _, client in servers))


def test_a_whole_server_asks_before_it_changes_its_policy(home: Home) -> None:
    """The outbox of the server does what two people have agreed to."""
    home.policy.write_text(FOUR)
    made, _ = home.server()
    home.policy.write_text(stricter(FOUR))
    until(lambda: bool(made.gates.waiting()))
    (view,) = made.gates.waiting()
    for person in ("dana", "tess"):
        made.gates.decide(
            view.request.id,
            person_id=person,
            kind=DecisionKind.APPROVE,
            channel="test",
            assurance="session",
        )
    until(lambda: in_force(made) == digest(stricter(FOUR)))


def test_a_server_does_not_start_with_a_broken_file(home: Home) -> None:
    """Whoever starts it is there to read why."""
    home.policy.write_text("rules: [")
    with pytest.raises(InvalidPolicy, match=r"policy\.yaml"):
        home.server()


def in_force(made: wiring.Server) -> str:
    return made.gates.asking.policy.digest


def broken(finding: dict[str, str]) -> bool:
    return "the old rules go on" in finding["text"]


def troubled(client: GatesClient) -> bool:
    return any(broken(one) for one in client.health()["findings"])
