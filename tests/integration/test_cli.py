"""The command `gates` against a real server, in a home folder of its own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app
from integrations.wiring import first_admin_key
from tests.support.browser import free_socket, serving
from tests.support.world import World


@dataclass
class Terminal:
    """Somebody's terminal: commands run with this home folder."""

    home: Path
    world: World

    def __call__(self, *words: str, typed: str = "") -> Result:
        env = {"GATES_HOME": str(self.home), "COLUMNS": "200", "GATES_URL": ""}
        return CliRunner().invoke(app, list(words), env=env, input=typed)

    def log_in(self, person: str) -> None:
        link = self("login-link", person).stdout.strip()
        assert self("login", link).exit_code == 0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    database = Database(f"sqlite:///{tmp_path / 'gates.sqlite'}")
    database.migrate()
    world, bound = World(database), free_socket()
    world.gates.base_url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    made = create_app(world.gates, world.work, world.access, Waiters())
    home = tmp_path / "home"
    first_admin_key(world.access, home / "admin.key")
    with serving(made, bound) as url:
        (home / "url").write_text(url)
        yield Terminal(home, world)
    database.close()


def test_nobody_is_the_command_line_itself(terminal: Terminal) -> None:
    """Without a login every command for people says how to get one."""
    for words in (["list"], ["approve", "abcdef"], ["reject", "abcdef", "--reason", "x"]):
        done = terminal(*words)
        assert done.exit_code == 1
        assert "gates login LINK" in done.stderr


def test_approve_as_the_person_who_is_logged_in(terminal: Terminal) -> None:
    """The decision bears the person's name; the short id that `list` shows is enough."""
    request_id = terminal.world.propose("5000.00").view.request.id
    terminal.log_in("dana")
    assert request_id[:8] in terminal("list").stdout
    done = terminal("approve", request_id[:8])
    assert done.exit_code == 0
    assert "approved by Dana Okafor" in done.stdout
    (decision,) = terminal.world.gates.view(request_id).decisions
    assert (decision.person, decision.channel) == ("dana", "cli")


def test_quorum_is_told(terminal: Terminal) -> None:
    """The first of two is told that one more must agree."""
    request_id = terminal.world.propose("20000.00").view.request.id
    terminal.log_in("dana")
    assert "1 more must agree" in terminal("approve", request_id[:8]).stdout
    terminal.log_in("mika")
    done = terminal("approve", request_id[:8], "--json")
    assert json.loads(done.stdout)["outcome"]["by"] == ["Dana Okafor", "Mika Lindqvist"]


def test_reject_wants_a_reason(terminal: Terminal) -> None:
    """Without --reason it is asked for, and the requester gets to read it."""
    request_id = terminal.world.propose("5000.00").view.request.id
    terminal.log_in("dana")
    done = terminal("reject", request_id[:8], typed="not ours\n")
    assert done.exit_code == 0
    outcome = terminal.world.gates.view(request_id).outcome
    assert str(outcome) == "rejected by Dana Okafor: not ours"


def test_refusals_are_one_sentence_with_a_code(terminal: Terminal) -> None:
    """Not asked, decided already, unknown: exit code 1 or 3, no traceback, nothing written."""
    request_id = terminal.world.propose("5000.00").view.request.id
    terminal.log_in("sam")
    refused = terminal("approve", request_id[:8])
    assert refused.exit_code == 1
    assert "self_approval" in refused.stderr
    terminal.log_in("dana")
    terminal("approve", request_id[:8])
    late = terminal("approve", request_id[:8])
    assert (late.exit_code, late.stderr.startswith("request_closed")) == (1, True)
    unknown = terminal("show", "ffffffff")
    assert unknown.exit_code == 3
    assert "gates list" in unknown.stderr
    assert terminal("show", "ff").exit_code == 3


def test_show_tells_facts_and_claims_apart(terminal: Terminal) -> None:
    """What the server found and what the agent says stand under different names; an escape
    sequence in a claim cannot repaint the terminal."""
    claims = {"note": "fine \x1b[2J really"}
    request_id = terminal.world.propose("5000.00", claims=claims).view.request.id
    terminal.log_in("dana")
    text = terminal("show", request_id[:8]).stdout
    assert "fact  account = NL01" in text
    assert "agent says  note = fine  [2J really" in text
    assert "\x1b" not in text


def test_list_is_json_for_scripts(terminal: Terminal) -> None:
    """`--json` is one document, empty lists included."""
    terminal.log_in("dana")
    assert json.loads(terminal("list", "--json").stdout) == []
    terminal.world.propose("5000.00")
    (view,) = json.loads(terminal("list", "--json").stdout)
    assert view["request"]["action"]["name"] == "till.pay"


def test_login_link_works_once(terminal: Terminal) -> None:
    """A second use of the link is refused and says what to do."""
    link = terminal("login-link", "dana").stdout.strip()
    assert terminal("login", link).exit_code == 0
    again = terminal("login", link)
    assert again.exit_code == 1
    assert "ask for a new one" in again.stderr
    assert oct((terminal.home / "session").stat().st_mode)[-3:] == "600"


def test_server_that_is_away_is_named(tmp_path: Path) -> None:
    """An unreachable server gives one sentence with its address."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "session").write_text("x")
    (home / "url").write_text("http://127.0.0.1:9")
    done = Terminal(home, None)("list")  # type: ignore[arg-type]
    assert done.exit_code == 1
    assert "http://127.0.0.1:9" in done.stderr


def test_policy_check_points_at_the_mistake(terminal: Terminal, tmp_path: Path) -> None:
    """A typo is told with file, line and column; the shipped policy is in order."""
    assert terminal("policy", "check").exit_code == 0
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        Path("policies/erp.yaml").read_text().replace("verdict: allow", "verdict: alow", 1)
    )
    done = terminal("policy", "check", "--policy", str(broken))
    assert done.exit_code == 1
    assert "broken.yaml:" in done.stderr
    assert "alow" in done.stderr


def test_keys_are_listed_without_their_secrets(terminal: Terminal) -> None:
    """One line a key: its id, what it may, whose it is and whom it acts for."""
    secret = terminal("key", "create", "flow", "my-agent", "--on-behalf-of", "sam").stdout.strip()
    listed = terminal("key", "list")
    assert listed.exit_code == 0
    key_id = secret.split("_")[1]
    (line,) = [one for one in listed.stdout.splitlines() if one.startswith(key_id)]
    assert line.split() == [key_id, "flow", "my-agent", "for", "sam"]
    assert secret not in listed.stdout
    known = json.loads(terminal("key", "list", "--json").stdout)
    assert {"my-agent", "admin"} <= {one["agent"] for one in known}


def test_a_request_is_shown_with_who_is_asked(terminal: Terminal) -> None:
    """Names stand in one column, long values below themselves, and who may decide is said."""
    request_id = terminal.world.propose("5000.00").view.request.id
    terminal.log_in("dana")
    lines = terminal("show", request_id[:8]).stdout.splitlines()
    asks = next(line for line in lines if line.split()[0] == "asks")
    assert "Dana Okafor" in asks
    column = asks.index("1 of")
    assert all(line[column - 2 : column] == "  " for line in lines)
