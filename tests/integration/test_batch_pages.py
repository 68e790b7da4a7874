"""A batch as people see and decide it: page, command line, Slack card, Prefect artifact."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gates.core.model import RequestView
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app
from integrations.prefect_runs.telling import markdown
from integrations.slack.card import card
from integrations.slack.details import details_view
from integrations.wiring import first_admin_key
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.slack_server import check_message_blocks
from tests.support.world import World

FORM = r'name="(csrf|revision)" value="([^"]*)"'
EVIL = "<b>&acme"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    yield World(database)
    database.close()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    made = create_app(world.gates, world.work, world.access, Waiters())
    with serving(made, free_socket()) as address:
        yield address


@pytest.fixture
def asked(world: World) -> str:
    rows = [{"payee": one, "amount": "6000.00"} for one in (EVIL, "bolt", "carl")]
    reply = world.propose(name="till.pay.batch", arguments={"lines": rows}, key="run")
    return reply.view.request.id


def many(world: World, count: int) -> RequestView:
    rows = [{"payee": f"p{n}", "amount": f"{5000 + n}.00"} for n in range(count)]
    reply = world.propose(name="till.pay.batch", arguments={"lines": rows}, key="many")
    return world.gates.view(reply.view.request.id)


def test_the_page_is_a_table_and_takes_refusals_by_line(world: World, url: str, asked: str) -> None:
    """What is the same in all lines stands once; a refusal needs its words; it is shown by line."""
    with httpx.Client(base_url=url, follow_redirects=True) as client:
        client.post(f"/login/{world.access.create_link('dana')}")
        page = client.get(f"/requests/{asked}").text
        assert "&lt;b&gt;&amp;acme" in page
        assert EVIL not in page
        assert page.count('name="refuse-') == 3
        assert "18,000.00" in page
        form = {"decision": "approve", "reason": "", **dict(re.findall(FORM, page))}
        all_of_them = {f"refuse-{n}": "no" for n in (1, 2, 3)}
        again = client.post(f"/requests/{asked}/decision", data=form | all_of_them).text
        assert "leaves no line to run" in again
        assert again.count('value="no"') == 3
        done = client.post(f"/requests/{asked}/decision", data=form | {"refuse-2": "paid <twice>"})
        assert "by Dana Okafor" in done.text
        assert "paid &lt;twice&gt;" in done.text
    view = world.gates.view(asked)
    assert view.outcome is not None
    assert view.decisions[0].refused == {"2": "paid <twice>"}


def test_the_command_line_shows_and_refuses_lines(
    world: World, url: str, asked: str, tmp_path: Path
) -> None:
    """`gates show` has a row for each; `gates approve --refuse` leaves some out."""
    home = tmp_path / "home"
    first_admin_key(world.access, home / "admin.key")
    (home / "url").write_text(url)

    def gates(*words: str) -> Result:
        env = {"GATES_HOME": str(home), "COLUMNS": "200", "GATES_URL": ""}
        return CliRunner().invoke(app, list(words), env=env)

    assert gates("login", world.access.create_link("mika")).exit_code == 0
    shown = gates("show", asked).stdout
    assert "line 2" in shown
    assert "6,000.00 EUR" in shown
    assert gates("approve", asked, "--refuse", "3").exit_code == 1
    done = gates("approve", asked, "--refuse", "3=not ours")
    assert done.exit_code == 0, done.output
    assert "refused by Mika Lindqvist: not ours" in gates("show", asked).stdout


def test_cards_and_artifacts_show_the_first_lines_and_say_where_the_rest_is(world: World) -> None:
    """Whatever its size, it is within Slack's limits; details have every line."""
    view = many(world, 200)
    found = card(view, "token")
    assert check_message_blocks(list(found.blocks)) == []
    text = str(found.blocks)
    assert "200 lines, each runs by itself" in text
    assert "… and 192 more: see Details" in text
    assert "gates_change" not in text
    pages = [str(details_view(view, "t", "C1", number)) for number in range(9)]
    assert sum("Line 200" in one for one in pages) >= 1
    told = markdown(view)
    assert "| Line 30 |" in told
    assert "and 170 more" in told
