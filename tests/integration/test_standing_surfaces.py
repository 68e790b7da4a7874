"""Standing approvals on the command line and on their page."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gates.core.model import Standing
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app
from integrations.wiring import first_admin_key
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.standing import POLICY, desk, give, pay
from tests.support.world import World

GIVE = ("standing", "give", "--rule", "payments", "--on", "till.pay", "--for", "30d")
EVIL = "<script>x</script> [red]rent\x1b[2J"


@dataclass
class Terminal:
    """Somebody's terminal, and a browser beside it."""

    home: Path
    world: World
    url: str

    def __call__(self, *words: str) -> Result:
        env = {"GATES_HOME": str(self.home), "COLUMNS": "200", "GATES_URL": ""}
        return CliRunner().invoke(app, list(words), env=env)

    def log_in(self, person: str) -> None:
        assert self("login", self("login-link", person).stdout.strip()).exit_code == 0

    @contextmanager
    def browser(self, person: str) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.url) as client:
            client.post(f"/login/{self.world.access.create_link(person)}")
            yield client


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    world, bound = World(database), free_socket()
    world.clock.now = datetime.now(UTC)  # the command line goes by the machine's
    world.rule(POLICY)
    world.gates.base_url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    home = tmp_path / "home"
    first_admin_key(world.access, home / "admin.key")
    with serving(create_app(world.gates, world.work, world.access, Waiters()), bound) as url:
        (home / "url").write_text(url)
        yield Terminal(home, world, url)
    database.close()


def test_given_listed_used_and_revoked(terminal: Terminal) -> None:
    """The whole life of one, as a person at a terminal sees it."""
    terminal.log_in("dana")
    assert terminal("standing", "list").stdout == "Nobody has approved anything beforehand.\n"
    limits = ("--uses", "5", "--each", "600.00", "--total", "1000.00", "--counterparty", "acme")
    given = terminal(*GIVE, *limits, "--reason", "rent")
    assert "Given: S-1." in given.stdout, given.output
    assert pay(terminal.world).standing is Standing.EXECUTING
    listed = terminal("standing", "list").stdout
    for line in (
        "S-1 by Dana Okafor: rent",
        "lifts payments on till.pay",
        "for acme",
        "up to 600.00 EUR each",
        "500.00 EUR of 1,000.00 EUR used",
        "used 1 of 5 times, until",
    ):
        assert line in listed
    assert terminal("standing", "revoke", "s-1").exit_code == 0
    (one,) = json.loads(terminal("standing", "list", "--json").stdout)
    assert one["over"] == "S-1 was revoked by Dana Okafor"
    assert pay(terminal.world).standing is Standing.WAITING


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reason", "x"), "has no limit"),
        (("--uses", "1", "--reason", " "), "reason is empty"),
        (("--total", "lots", "--reason", "x"), "'lots' is not an amount"),
        (("--total", "1.001", "--reason", "x"), "fraction of a cent"),
        (("--uses", "1", "--reason", "x", "--rule", "paymnts"), "no rule 'paymnts'"),
        (("--uses", "1", "--reason", "x", "--agent", ""), "agents"),
        (("--uses", "1", "--reason", "x", "--for", "soon"), "write 12h or 30d"),
    ],
)
def test_bad_input_is_one_sentence(terminal: Terminal, words: tuple[str, ...], said: str) -> None:
    terminal.log_in("dana")
    done = terminal(*GIVE, *words)
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())


def test_who_was_not_asked_gives_nothing(terminal: Terminal) -> None:
    terminal.log_in("sam")
    assert "not_entitled" in terminal(*GIVE, "--uses", "1", "--reason", "x").stderr
    assert "write one such as S-12" in terminal("standing", "revoke", "S-x").stderr
    assert terminal("standing", "revoke", "S-12").exit_code == 3


def test_the_page_lists_them_and_ends_one(terminal: Terminal) -> None:
    """Words of people stand there as text; the button wants the form's token."""
    held = desk(terminal.world).give("dana", give(terminal.world).limits, EVIL)
    with terminal.browser("mika") as client:
        shown = client.get("/standing")
        assert "&lt;script&gt;x" in shown.text
        assert "script-src 'none'" in shown.headers["content-security-policy"]
        assert client.post(f"/standing/{held.id}/revoke", data={}).status_code == 403
        csrf = re.search(r'name="csrf" value="([^"]*)"', shown.text)
        assert csrf is not None
        done = client.post(f"/standing/{held.id}/revoke", data={"csrf": csrf[1]})
        assert done.status_code == 303
        assert "was revoked by Mika Lindqvist" in client.get("/standing").text
    assert httpx.get(f"{terminal.url}/standing").status_code == 401
