"""`gates backup`, `restore` and `key rotate` as they are typed, and as docs/operate.md says."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from sqlmodel import select
from typer.testing import CliRunner

from gates.store.database import Database
from gates.store.tables import OutboxRow
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app
from integrations.wiring import first_admin_key
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.world import World

OPERATE = Path(__file__).parents[2] / "docs" / "operate.md"


@dataclass
class Terminal:
    """A terminal on the server's machine."""

    folder: Path
    database: Database
    world: World

    def __call__(self, *words: str) -> Result:
        env = {
            "GATES_HOME": str(self.folder / "home"),
            "GATES_DATABASE_URL": f"sqlite:///{self.folder / 'gates.sqlite'}",
            "GATES_URL": "",
            "COLUMNS": "200",
        }
        return CliRunner().invoke(app, list(words), env=env)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    made = Terminal(tmp_path, database, World(database))
    first_admin_key(made.world.access, tmp_path / "home" / "admin.key")
    yield made
    database.close()


def shown(part: str) -> list[list[str]]:
    """The commands that a part of the page tells to type."""
    text = OPERATE.read_text().split(f"\n## {part}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("gates ")]
    return [shlex.split(line)[1:] for line in lines]


def test_the_page_on_backup_and_restore_does_what_it_says(terminal: Terminal) -> None:
    """Its commands, in its order, on a store with a request in flight."""
    request_id = terminal.world.propose("5000.00").view.request.id
    save, put_back = shown("Backup and restore")
    file = terminal.folder / "safe" / "gates-2026-11-20"
    save[1] = put_back[1] = str(file)
    done = terminal(*save)
    assert done.exit_code == 0, done.output
    assert "rows as of" in done.stdout
    refused = terminal(*put_back)
    assert refused.exit_code == 1
    assert "stop the gates server first" in refused.stderr
    terminal.database.close()
    done = terminal(*put_back)
    assert done.exit_code == 0, done.output
    assert ".before-restore-" in done.stdout
    assert "1 question(s) are open" in done.stdout
    assert "These keys open doors now" in done.stdout
    assert "admin key" not in done.stdout
    assert terminal.world.gates.view(request_id).outcome is None


def test_scripts_get_one_document(terminal: Terminal) -> None:
    """Progress goes to standard error; the manifest and the marks are JSON."""
    file = str(terminal.folder / "b")
    manifest = json.loads(terminal("backup", file, "--json").stdout)
    assert (manifest["kind"], manifest["rows"]["api_key"]) == ("sqlite", 3)
    terminal.database.close()
    told = json.loads(terminal("restore", file, "--json").stdout)
    assert (told["in_doubt"], len(told["keys"])) == (0, 3)


def test_an_admin_key_of_after_the_backup_is_told(terminal: Terminal) -> None:
    """Otherwise every command for admins would be refused, and nobody knew why."""
    file = str(terminal.folder / "b")
    terminal("backup", file)
    later = terminal.world.access.create_key("admin", "admin")
    (terminal.folder / "home" / "admin.key").write_text(later)
    terminal.database.close()
    assert "admin key of this home is not among them" in terminal("restore", file).stdout


def test_rotation_prints_the_new_key_and_lists_the_old_ones_end(terminal: Terminal) -> None:
    """One line for scripts; `gates key list` says until when the old one works."""
    bound = free_socket()
    made = create_app(terminal.world.gates, terminal.world.work, terminal.world.access, Waiters())
    with serving(made, bound) as url:
        (terminal.folder / "home" / "url").write_text(url)
        key_id = terminal.world.flow.key_id
        done = terminal("key", "rotate", key_id, "--overlap", "2")
        assert done.exit_code == 0, done.output
        new = done.stdout.strip()
        assert terminal.world.access.key_holder(new).requester == terminal.world.flow.requester
        listed = terminal("key", "list").stdout
        assert f"{key_id}  flow      invoice-agent for sam  replaced, ends 2026-11-20" in listed
        refused = terminal("key", "rotate", "nothing")
        assert (refused.exit_code, "no key 'nothing'" in refused.stderr) == (1, True)


def test_a_delivery_that_was_given_up_is_tried_again(terminal: Terminal) -> None:
    """It is listed with its number and its error; after `retry` nothing is."""
    bound = free_socket()
    made = create_app(terminal.world.gates, terminal.world.work, terminal.world.access, Waiters())
    with serving(made, bound) as url:
        (terminal.folder / "home" / "url").write_text(url)
        assert "Everything is delivered" in terminal("outbox").output
        terminal.world.propose("5000.00")
        with terminal.database.write() as session:
            row = session.exec(select(OutboxRow).where(OutboxRow.kind == "cards")).one()
            row.state, row.last_error = "dead", "channel_not_found"
            number = str(row.id)
        assert "channel_not_found" in terminal("outbox").output
        (listed,) = json.loads(terminal("outbox", "--json").output)
        assert (str(listed["id"]), listed["state"]) == (number, "dead")
        assert "with --all" in terminal("outbox", "retry").stderr
        assert "1 tried again" in terminal("outbox", "retry", number).output
        assert "Nothing was given up" in terminal("outbox", "retry", "--all").output
        assert "Everything is delivered" in terminal("outbox").output
