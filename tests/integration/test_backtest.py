"""What another policy would have said to what was really asked."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gates.core.backtest import Backtest, BacktestReport
from gates.core.model import GateReply, RunRef
from gates.core.policy import load_policy
from gates.store import recorded
from integrations.cli import app
from tests.support.world import PEOPLE, POLICY, World

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LAXER = POLICY.replace("amount.minor < 100000", "amount.minor < 900000")
STRICTER = POLICY.replace("amount.minor < 100000", "amount.minor < 10000")
NEVER = POLICY.replace(
    "rules:\n", "rules:\n  - {name: no, on: till.pay, verdict: forbid, because: no}\n"
)


def pay(world: World, amount: str) -> GateReply:
    run = RunRef(run_id=uuid4().hex, root_run_id=uuid4().hex)
    return world.propose(amount, run=run)


@pytest.fixture
def asked(world: World) -> World:
    """Two that ran, one that people approved after an hour, one that they rejected after two."""
    pay(world, "50.00"), pay(world, "500.00")
    for amount, after, kind in (("5000.00", 0.5, "approve"), ("6000.00", 0.25, "reject")):
        waiting = pay(world, amount).view.request.id
        world.clock.advance(hours=after)
        world.decide(waiting, "dana", kind, "not this one" if kind == "reject" else "")
    return world


def judged_by(
    world: World, policy: str, since: datetime = LONG_AGO, page: int = recorded.PAGE
) -> BacktestReport:
    made = Backtest(load_policy(policy, "new.yaml", world.directory))
    with world.database.read() as session:
        for request, outcome in recorded.recorded(session, since, page):
            made.see(request, outcome)
    return made.report()


def test_the_same_policy_changes_nothing(asked: World) -> None:
    """As many asked as before; hours from the median time to an answer."""
    found = judged_by(asked, POLICY)
    assert (found.requests, found.unchanged) == (4, 4)
    assert (found.asked_before, found.asked_after, found.answer_minutes) == (2, 2, 22.5)
    assert found.rules == {}


def test_gates_that_go_and_what_people_had_rejected(asked: World) -> None:
    """Two gates fewer, of which one had stopped what people did not want: it is listed."""
    found = judged_by(asked, LAXER)
    assert (found.gates_removed, found.gates_added, found.rejected_let_through) == (2, 0, 1)
    (one,) = found.let_through
    assert (one.amount, one.by, one.reason) == ("6,000.00 EUR", ("Dana Okafor",), "not this one")
    assert one.allowed_by == ("small",)
    assert (found.reviewer_hours_before, found.reviewer_hours_after) == (0.8, 0.0)
    assert found.rules["default"].gates_removed == 2


def test_gates_that_come_and_what_is_forbidden(asked: World) -> None:
    found = judged_by(asked, STRICTER)
    assert (found.gates_added, found.rules["default"].gates_added) == (1, 1)
    found = judged_by(asked, NEVER)
    assert (found.forbidden, found.rules["no"].forbidden, found.asked_after) == (4, 4, 0)


def test_what_was_not_recorded_asks_and_is_counted(asked: World) -> None:
    """A rule may read history that no rule had asked for then."""
    rule = "\n  - {name: new, on: till.pay, when: history.first_use, verdict: forbid, because: x}\n"
    found = judged_by(asked, POLICY + rule)
    assert found.not_recorded == {"history": 4}
    assert found.gates_added == 2


def test_an_earlier_time_is_left_out_and_pages_join(asked: World) -> None:
    assert judged_by(asked, POLICY, page=2).requests == 4
    assert judged_by(asked, POLICY, asked.clock() + timedelta(hours=1)).requests == 0


def test_unreadable_facts_still_ask(world: World) -> None:
    """What could not be looked at then is not let through now."""
    world.till.reachable = False
    pay(world, "5000.00")
    assert judged_by(world, LAXER).gates_removed == 0


# -- the command ------------------------------------------------------------------------------


def command(folder: Path, policy: str, database: str, *words: str) -> Result:
    (folder / "new.yaml").write_text(policy)
    (folder / "people.yaml").write_text(PEOPLE)
    env = {"GATES_DATABASE_URL": database, "GATES_PEOPLE": str(folder / "people.yaml")}
    called = ["policy", "backtest", str(folder / "new.yaml"), *words]
    return CliRunner().invoke(app, called, env=env | {"COLUMNS": "200"})


def test_the_command_reads_the_store_by_itself(asked: World, tmp_path: Path) -> None:
    """For people, and as one JSON document."""
    url = asked.database.engine.url.render_as_string(hide_password=False)
    shown = command(tmp_path, LAXER, url, "--since", "9999d")
    assert shown.exit_code == 0, shown.output
    assert "rejected by people, and let through  1" in shown.stdout
    assert "6,000.00 EUR rejected by Dana Okafor: not this one; small allows" in shown.stdout
    told = json.loads(command(tmp_path, LAXER, url, "--since", "9999d", "--json").stdout)
    assert told["gates_removed"] == 2


@pytest.mark.parametrize(
    ("words", "database", "said"),
    [
        (("--since", "soon"), "", "is not a number of days"),
        ((), "sqlite:////nowhere/gates.sqlite", "cannot be opened"),
        ((), "EMPTY", "start the server once"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, words: tuple[str, ...], database: str, said: str
) -> None:
    """A span that is none, a store that is not there, one that no server has started on."""
    where = f"sqlite:///{tmp_path / 'empty.sqlite'}" if database in ("", "EMPTY") else database
    shown = command(tmp_path, POLICY, where, *words)
    assert shown.exit_code == 1
    assert said in " ".join(shown.stderr.split())
