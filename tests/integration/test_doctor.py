"""`gates doctor` on a house with each of the usual mistakes, made for real."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from gates.health import CROWD, LATE, filesystem
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app
from integrations.operating.doctor import numbers, prefect_clock
from integrations.wiring import first_admin_key
from tests.support.browser import free_socket, serving
from tests.support.erp import ErpServer, erp_server
from tests.support.prefect import POOL, Stack, until
from tests.support.slack_server import APP_TOKEN, BOT_TOKEN, SlackSandbox
from tests.support.world import Clock, World

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Ticking(Clock):
    """Goes with the machine's own; `now` is set forward to put it off."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now + (datetime.now(UTC) - self.begun)


@dataclass
class House:
    """A server that runs, and the terminal of somebody who wonders about it."""

    folder: Path
    world: World
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def ask(self, *words: str) -> Result:
        env = {
            "GATES_HOME": str(self.home),
            "GATES_DATABASE_URL": f"sqlite:///{self.folder / 'gates.sqlite'}",
            "GATES_URL": "",
            "COLUMNS": "200",
        }
        return CliRunner().invoke(app, ["doctor", *words], env=env | self.environment)

    def findings(self, level: str) -> list[dict[str, Any]]:
        """What it finds, and that its exit code says so."""
        done = self.ask("--json")
        told = json.loads(done.stdout)
        bad = [one for one in told["findings"] if one["level"] == "bad"]
        assert (done.exit_code, told["sound"]) == (1 if bad else 0, not bad)
        return [one for one in told["findings"] if one["level"] == level]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    file = tmp_path / "gates.sqlite"
    file.touch(mode=0o600)
    database = Database(f"sqlite:///{file}")
    database.migrate()
    world, bound = World(database, clock=Ticking()), free_socket()
    made = House(tmp_path, world)
    first_admin_key(world.access, made.home / "admin.key")
    with serving(create_app(world.gates, world.work, world.access, Waiters()), bound) as url:
        (made.home / "url").write_text(url)
        yield made
    database.close()


def test_a_sound_house_has_nothing_to_mend(house: House) -> None:
    """Exit code 0; warnings are told, with what to do."""
    assert house.findings("bad") == []
    fine = {one["check"] for one in house.findings("ok")}
    assert fine >= {"server", "clock", "schema", "deliveries", "files", "policy", "disk"}
    done = house.ask()
    assert done.exit_code == 0
    assert "✓" in done.stdout
    assert "GATES_PREFECT_API_URL is not set" in done.stdout
    assert "✗" not in done.stdout


# -- each mistake: how it is made, what is told, and the cure ---------------------------------


def wrong_address(house: House) -> None:
    house.environment["GATES_URL"] = NOWHERE


def lost_admin_key(house: House) -> None:
    (house.home / "admin.key").write_text("gk_000000000000_none")


def key_file_that_is_not_there(house: House) -> None:
    house.environment["GATES_API_KEY_FILE"] = str(house.folder / "flow.key")


def revoked_key(house: House) -> None:
    file = house.folder / "flow.key"
    file.write_text(house.world.access.create_key("flow", "agent"))
    file.chmod(0o600)
    house.world.access.revoke_key(file.read_text().split("_")[1])
    house.environment["GATES_API_KEY_FILE"] = str(file)


def open_file(house: House) -> None:
    (house.home / "admin.key").chmod(0o644)


def broken_policy(house: House) -> None:
    file = house.folder / "policy.yaml"
    file.write_text(Path("policies/erp.yaml").read_text().replace("allow", "alow", 1))
    house.environment["GATES_POLICY"] = str(file)


def clock_that_is_off(house: House) -> None:
    house.world.clock.now += timedelta(minutes=3)


def older_server(house: House) -> None:
    run(house, "UPDATE alembic_version SET version_num = '9999'")


def delivery_given_up(house: House) -> None:
    house.world.propose("5000.00")
    run(house, "UPDATE outbox SET state = 'dead', last_error = 'channel_not_found'")


def nobody_delivers(house: House) -> None:
    house.world.propose("5000.00")
    run(house, "UPDATE outbox SET tries = 3")
    later(house)


def nobody_executes(house: House) -> None:
    house.world.propose("500.00")
    later(house)


def nobody_looks_into_a_doubt(house: House) -> None:
    house.world.propose("500.00")
    house.world.lease()
    later(house)
    house.world.work.lapse()


def a_run_sleeps_on(house: House) -> None:
    request_id = house.world.propose("5000.00").view.request.id
    house.world.passes.suspending(house.world.flow, [request_id])
    house.world.decide(request_id, "dana")
    later(house)


def prefect_away(house: House) -> None:
    house.environment["GATES_PREFECT_API_URL"] = f"{NOWHERE}/api"


def erp_away(house: House) -> None:
    file = house.folder / "password"
    file.write_text("secret")
    file.chmod(0o600)
    house.environment |= {
        "GATES_ERP_URL": NOWHERE,
        "GATES_ERP_USER": "reader",
        "GATES_ERP_PASSWORD_FILE": str(file),
    }


def half_a_slack(house: House) -> None:
    house.environment |= {"GATES_SLACK_BOT_TOKEN": "xoxb-1", "GATES_SLACK_TEAM_IDS": "T1"}


def run(house: House, statement: str) -> None:
    with house.world.database.write() as session:
        session.connection().execute(sa.text(statement))


def later(house: House) -> None:
    house.world.clock.now += LATE + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("mistake", "check", "words", "cure"),
    [
        (wrong_address, "server", NOWHERE, "set GATES_URL"),
        (lost_admin_key, "admin key", "is refused", "restart the server"),
        (key_file_that_is_not_there, "key", "cannot be read", "gates key create"),
        (revoked_key, "key", "is refused", "gates key create"),
        (open_file, "files", "admin.key can be read by others", "chmod 600"),
        (broken_policy, "policy", "policy.yaml:", "gates policy check"),
        (clock_that_is_off, "clock", "s off the server's", "NTP"),
        (older_server, "schema", "9999", "install the newer release"),
        (delivery_given_up, "deliveries", "channel_not_found", "gates outbox"),
        (nobody_delivers, "deliveries", "overdue", "log"),
        (nobody_executes, "executor", "1 x till.pay wait", "start an executor"),
        (nobody_looks_into_a_doubt, "executor", "in doubt, nobody looks", "start an executor"),
        (a_run_sleeps_on, "runs", "1 sleep although decided", "worker"),
        (prefect_away, "prefect", "does not answer", "prefect server start"),
        (erp_away, "erp", "cannot be reached", "start the ERP"),
        (half_a_slack, "slack", "GATES_SLACK_", "set-up-slack"),
    ],
)
def test_each_mistake_is_found_and_its_cure_named(
    house: House, mistake: Callable[[House], None], check: str, words: str, cure: str
) -> None:
    """One sentence on what is wrong, one on what to do."""
    mistake(house)
    found = [one for one in house.findings("bad") if one["check"] == check]
    assert len(found) == 1, house.ask().stdout
    assert words in found[0]["text"]
    assert cure in found[0]["cure"]


def test_one_user_for_server_and_flow_is_a_warning(house: House) -> None:
    """On one's own machine that is usual, and the boundary soft."""
    file = house.folder / "flow.key"
    file.write_text(house.world.access.create_key("flow", "agent", "sam"))
    file.chmod(0o600)
    house.environment["GATES_API_KEY_FILE"] = str(file)
    assert house.findings("bad") == []
    assert "users" in {one["check"] for one in house.findings("warning")}
    assert "This key is for flow processes" in {one["text"] for one in house.findings("ok")}


def test_a_rule_for_an_unknown_action_is_a_warning(house: House) -> None:
    """It judges nothing, and nobody would notice."""
    texts = [one["text"] for one in house.findings("warning")]
    assert "names note, which this server does not know" in texts


def test_without_the_admin_key_the_rest_is_still_looked_at(house: House) -> None:
    """On a worker's machine there is none."""
    (house.home / "admin.key").unlink()
    assert house.findings("bad") == []
    assert any("its own view is not known" in one["text"] for one in house.findings("warning"))


def test_a_crowd_on_sqlite_is_a_warning(house: House) -> None:
    """Many runs that wait at once are woken late; the cure is named."""
    for number in range(CROWD + 1):
        house.world.run = f"run-{number}"
        house.world.propose("5000.00")
    (found,) = [one for one in house.findings("warning") if one["check"] == "store"]
    assert found["text"] == f"{CROWD + 1} runs wait for people, on SQLite"
    assert "PostgreSQL" in found["cure"]


def test_a_clock_of_prefect_that_is_off_is_a_warning() -> None:
    """By the Date of its answer; one that agrees, or says nothing, is none."""
    now = datetime(2026, 11, 20, 9, 0, 30, tzinfo=UTC)
    told = "Fri, 20 Nov 2026 09:00:00 GMT"
    (found,) = prefect_clock(told, now)
    assert (found.level, found.text) == ("warning", "Prefect's server is 30 s off this machine")
    assert "NTP" in found.cure
    (found,) = prefect_clock(told, now - timedelta(seconds=27))
    assert found.level == "ok"
    assert not [*prefect_clock("", now)]


def test_versions_are_compared_as_numbers() -> None:
    """3.10 comes after 3.9, whatever is appended."""
    assert numbers("3.10.0rc1") > numbers("3.9.9")
    assert numbers("0.151.0+local") == (0, 151, 0)


def test_the_file_system_is_the_kernels_word() -> None:
    """The longest mount that holds the path counts."""
    assert filesystem(Path("/proc/self")) == "proc"


def test_slack_is_asked_who_the_bot_is(house: House) -> None:
    """A bot of another workspace is found before anybody misses a card."""
    with SlackSandbox() as slack:
        channel = slack.add_channel("approvals")
        house.environment |= {
            "GATES_SLACK_BOT_TOKEN": BOT_TOKEN,
            "GATES_SLACK_APP_TOKEN": APP_TOKEN,
            "GATES_SLACK_CHANNEL": channel.id,
            "GATES_SLACK_TEAM_IDS": slack.team_id,
            "GATES_SLACK_API_BASE_URL": slack.base_url,
        }
        assert "slack" in {one["check"] for one in house.findings("ok")}
        house.environment["GATES_SLACK_TEAM_IDS"] = "T0OTHER"
        (found,) = house.findings("bad")
        assert (found["check"], "GATES_SLACK_TEAM_IDS" in found["cure"]) == ("slack", True)
        house.environment["GATES_SLACK_BOT_TOKEN"] = "xoxb-wrong"
        (found,) = house.findings("bad")
        assert "invalid_auth" in found["text"]


@pytest.mark.prefect
def test_a_pool_that_nobody_polls_is_found(house: House, tmp_path: Path) -> None:
    """Against a real Prefect server: version, pools and deployments."""
    bound = free_socket()
    port = bound.getsockname()[1]
    bound.close()
    engine = Stack(tmp_path, f"http://127.0.0.1:{port}", NOWHERE)
    engine.start_prefect()
    try:
        until(lambda: engine._answers("prefect", f"{engine.api}/health"), seconds=120)
        house.environment["GATES_PREFECT_API_URL"] = engine.api
        assert house.findings("bad") == []
        agree = "Prefect's server and this machine agree"
        assert agree in {one["text"] for one in house.findings("ok")}
        assert any("no work pool" in one["text"] for one in house.findings("warning"))
        engine.prefect("POST", "/work_pools/", {"name": POOL, "type": "process"})
        (found,) = house.findings("bad")
        assert f"nobody polls pool {POOL}" in found["text"]
        house.environment["GATES_PREFECT_API_URL"] = engine.prefect_url
        (found,) = house.findings("bad")
        assert "/api" in found["cure"]
    finally:
        engine.end("prefect")


@pytest.fixture(scope="module")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErpServer]:
    pytest.importorskip("trytond", reason="the reference ERP is not installed")
    with erp_server(tmp_path_factory.mktemp("erp")) as running:
        yield running


@pytest.mark.erp
def test_what_the_erps_user_may_is_told(house: House, erp: ErpServer) -> None:
    """A reader is right for the server; one who writes is a warning; a wrong password is bad."""
    for user, level in (("reader", "ok"), ("executor", "warning")):
        house.environment |= {
            "GATES_ERP_URL": erp.url,
            "GATES_ERP_DATABASE": erp.database,
            "GATES_ERP_USER": user,
            "GATES_ERP_PASSWORD_FILE": str(erp.password_file(user)),
        }
        assert "erp" in {one["check"] for one in house.findings(level)}, house.ask().stdout
    house.environment["GATES_ERP_USER"] = "reader"
    assert "check the password file" in str(house.findings("bad"))
