"""The command `gates` against a real server, in a home folder of its own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
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
from tests.support.empty import empty_sqlite
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
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
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


def stuck(terminal: Terminal, first: int) -> str:
    """A payment that fails until people are asked: the id of their question."""
    world = terminal.world
    world.till.broken = "overpays line 17"
    for number in range(first, first + 3):
        claims = {"tokens": 500, "cost_minor": 25}
        key = f"try-{number}"
        world.clock.advance(seconds=30)
        world.propose("500.00", key=key, claims=claims)
        job = world.lease()
        assert job is not None
        world.perform(job)
        if waiting := world.gates.waiting():
            return waiting[0].request.id[:8]
    raise AssertionError("nobody was asked")


def test_a_loop_is_looked_at_and_answered_on_the_command_line(terminal: Terminal) -> None:
    """The attempts and their cost; a level up the limit of that level, and why it is there; then
    what the alarms were good for.
    """
    asked = stuck(terminal, 1)
    terminal.log_in("dana")
    assert "gates send-back ID" in terminal("list").stdout
    shown = terminal("show", asked).stdout
    assert shown.count("overpays line 17") >= 3
    assert "1 min, 0.75 in money and 1,500 tokens by the agent's own count" in shown
    done = terminal("send-back", asked, "--guidance", "withdraw SCRIPT-7", "--label", "loop")
    assert done.exit_code == 0
    again = stuck(terminal, 4)
    shown = " ".join(terminal("show", again).stdout.split())  # of whatever width
    assert "Level 2: it came back after guidance by Dana Okafor: withdraw SCRIPT-7" in shown
    refused = terminal("approve", again, "--more", "5")
    assert (refused.exit_code, "on level 2 nobody allows more than 1" in refused.stderr) == (
        1,
        True,
    )
    stopped = terminal("reject", again, "--reason", "enough", "--freeze-agent")
    assert stopped.exit_code == 0
    assert terminal("freezes").stdout.count("invoice-agent") == 1
    report = terminal("loops", "report").stdout
    for words in ("same_failure_over_runs", "100%", "1,000 tokens"):
        assert words in report
    (row,) = json.loads(terminal("loops", "report", "--json").stdout)
    assert (row["alarms"], row["harmful"], row["saved_tokens"]) == (2, 1, 1_000)


def test_refusals_are_one_sentence_with_a_code(terminal: Terminal) -> None:
    """Not asked, decided already, unknown: exit code 1 or 3, no traceback, nothing written."""
    request_id = terminal.world.propose("5000.00").view.request.id
    terminal.log_in("sam")
    refused = terminal("approve", request_id[:8])
    assert refused.exit_code == 1
    assert "self_approval" in refused.stderr
    terminal.log_in("dana")
    terminal("approve", request_id[:8])
    assert terminal("approve", request_id[:8]).exit_code == 0  # the same once more
    late = terminal("reject", request_id[:8], "--reason", "no")
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


def test_a_card_is_previewed_without_any_slack(terminal: Terminal, tmp_path: Path) -> None:
    """By an admin on the server's machine and by who is logged in: a page, or the blocks."""
    request_id = terminal.world.propose("5000.00").view.request.id
    made = Path(terminal("slack", "preview", request_id[:6]).stdout.strip())
    try:
        assert "5,000.00 EUR" in made.read_text()
        assert made.stat().st_mode & 0o077 == 0
    finally:
        made.unlink()
    terminal.log_in("dana")
    file = tmp_path / "card.html"
    done = terminal("slack", "preview", request_id[:8], "--html", str(file))
    assert done.stdout.strip() == str(file)
    assert "5,000.00 EUR" in file.read_text()
    drawn = json.loads(terminal("slack", "preview", request_id, "--json").stdout)
    assert drawn["blocks"][0]["type"] == "header"


def test_a_preview_says_what_it_cannot_show(terminal: Terminal, tmp_path: Path) -> None:
    """An unknown request or sample, both or neither, a file that cannot be written."""
    unknown = terminal("slack", "preview", "ffffffff")
    assert (unknown.exit_code, "gates list" in unknown.stderr) == (3, True)
    unknown = terminal("slack", "preview", "--sample", "small")
    assert (unknown.exit_code, "large-invoice" in unknown.stderr) == (3, True)
    for words in ([], ["ffffffff", "--sample", "loop"]):
        done = terminal("slack", "preview", *words)
        assert (done.exit_code, "--sample large-invoice" in done.stderr) == (1, True)
    file = str(tmp_path / "nowhere" / "card.html")
    done = terminal("slack", "preview", "--sample", "loop", "--html", file)
    assert (done.exit_code, "cannot be written: No such file" in done.stderr) == (1, True)
    done = terminal("slack", "preview", "--sample", "loop", "--html", file, "--json")
    assert (done.exit_code, "exclude each other" in done.stderr) == (1, True)


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


@pytest.mark.parametrize(
    ("url", "shown", "cure"),
    [
        (
            "postgresql://gates:hunter2@127.0.0.1:9/gates",
            "postgresql://gates:***@127.0.0.1:9/gates",
            "start PostgreSQL",
        ),
        ("sqlite:////nowhere/gates.sqlite", "sqlite:////nowhere/gates.sqlite", "is its folder"),
    ],
)
def test_a_server_whose_store_is_away_says_so_in_one_line(
    tmp_path: Path, url: str, shown: str, cure: str
) -> None:
    """The setting, the address without its password, the cure; no traceback."""
    env = {"GATES_HOME": str(tmp_path), "GATES_DATABASE_URL": url, "COLUMNS": "400"}
    done = CliRunner().invoke(app, ["server"], env=env)
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert f"GATES_DATABASE_URL = '{shown}' cannot be opened" in line
    assert cure in line
    assert "hunter2" not in done.output


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


def test_an_executors_key_names_its_actions(terminal: Terminal) -> None:
    """Said where it is made and where keys are listed; without any it is for all."""
    for more, told in (
        (("--actions", "till.pay", "--actions", "erp.post_*"), "takes till.pay, erp.post_*"),
        ((), "takes all actions"),
    ):
        made = terminal("key", "create", "executor", "payer", *more).stdout.strip()
        listed = terminal("key", "list").stdout.splitlines()
        (line,) = [one for one in listed if one.startswith(made.split("_")[1])]
        assert line.endswith(f"executor  payer  {told}")
    wrong = terminal("key", "create", "flow", "payer", "--actions", "till.pay")
    assert (wrong.exit_code, "only an executor's key" in wrong.output) == (1, True)


def test_a_request_is_shown_with_who_is_asked(terminal: Terminal) -> None:
    """Names stand in one column, long values below themselves, and who may decide is said."""
    request_id = terminal.world.propose("5000.00").view.request.id
    terminal.log_in("dana")
    lines = terminal("show", request_id[:8]).stdout.splitlines()
    asks = next(line for line in lines if line.split()[0] == "asks")
    assert "Dana Okafor" in asks
    column = asks.index("1 of")
    assert all(line[column - 2 : column] == "  " for line in lines)


# -- signed grants ------------------------------------------------------------------------------


def granted(terminal: Terminal) -> str:
    """The token of a flow's own function, which the policy allows."""
    terminal.world.clock.now = datetime.now(UTC)
    note = {"name": "note", "in_process": True, "arguments": {"n": "1"}, "key": "note"}
    grant = terminal.world.propose(**note).grant
    assert grant is not None
    return grant.token


def test_a_grant_is_verified_with_the_servers_keys_or_a_file(
    terminal: Terminal, tmp_path: Path
) -> None:
    """It says who approved what until when; a changed one ends with 1."""
    token, jwks = granted(terminal), tmp_path / "jwks.json"
    jwks.write_text(terminal("grant", "keys", "--json").stdout)
    asked = terminal("grant", "verify", token)
    assert asked.exit_code == 0, asked.stderr
    assert "approved by  policy" in asked.stdout
    (terminal.home / "url").write_text("http://127.0.0.1:9")  # from here on without a server
    read = terminal("grant", "verify", "-", "--keys", str(jwks), "--json", typed=token + "\n")
    assert json.loads(read.stdout)["action"] == "note"
    action = tmp_path / "action.json"
    words = ("grant", "verify", token, "--keys", str(jwks), "--action-file", str(action))
    action.write_text('{"name": "note", "arguments": {"n": "1"}}')
    assert terminal(*words).exit_code == 0
    action.write_text('{"name": "note", "arguments": {"n": "2"}}')
    refused = terminal(*words)
    assert (refused.exit_code, "something else was approved" in refused.stderr) == (1, True)
    assert terminal("grant", "verify", token[:-9] + "AAAAAAAAA", "--keys", str(jwks)).exit_code == 1


def test_signing_keys_are_listed_rotated_and_retired(terminal: Terminal) -> None:
    """What is retired is refused, and said to be in the list."""
    token = granted(terminal)
    first = terminal("grant", "keys").stdout.split()[0]
    second = terminal("grant", "rotate", "--in-seconds", "60").stdout.split()[0]
    published = json.loads(terminal("grant", "keys", "--json").stdout)["keys"]
    assert [key["kid"] for key in published] == [first, second]
    assert terminal("grant", "verify", token).exit_code == 0
    assert terminal("grant", "retire", first).exit_code == 0
    assert terminal("grant", "verify", token).exit_code == 1
    lines = terminal("grant", "keys").stdout.splitlines()
    assert "retired" in next(line for line in lines if line.startswith(first))
    assert terminal("grant", "retire", "no-such-key").exit_code == 3


def test_a_proxy_says_what_its_rules_lack(terminal: Terminal, tmp_path: Path) -> None:
    """Before it listens."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("version: 1\nwrites: [{action: a, method: GET, path: /x}]")
    words = ("grant", "proxy", "--upstream", "http://127.0.0.1:9", "--rules", str(rules))
    key = terminal("key", "create", "executor", "crm-proxy").stdout.strip()
    env = {"GATES_HOME": str(terminal.home), "GATES_API_KEY": key}
    done = CliRunner().invoke(app, list(words), env=env)
    assert done.exit_code == 1
    assert "rules.yaml:2:" in done.stderr


def test_sending_back_tells_the_guidance(terminal: Terminal) -> None:
    """It wants guidance; the next round's details say what came before, line by line."""
    first = terminal.world.propose("20000.00").view.request.id
    terminal.log_in("dana")
    done = terminal("send-back", first[:8], "--guidance", "half of\x1b[31m it")
    assert done.exit_code == 0
    assert "sent back by Dana Okafor: half of" in done.stdout
    assert "\x1b" not in done.stdout
    second = terminal.world.propose("12000.00", call=2).view.request.id
    shown = " ".join(terminal("show", second[:8]).stdout.split())
    assert "since round 1 Round 1: sent back by Dana Okafor: half of" in shown
    assert "since round 1 amount: 20000.00 -> 12000.00" in shown
    assert "note An approval holds for 1 day" in shown
    assert "Round 1: sent back by Dana Okafor" in terminal("list").stdout


def test_an_approval_without_the_reason_that_it_wants_is_refused(terminal: Terminal) -> None:
    """A script is told; with --reason it counts."""
    asked = terminal.world.propose("777.00").view.request.id
    terminal.log_in("dana")
    refused = terminal("approve", asked[:8])
    assert refused.exit_code == 1
    assert "reason_needed: reason is empty: an approval of tier expert" in refused.stderr
    assert terminal("approve", asked[:8], "--reason", "seen the letter").exit_code == 0


def test_escalating_asks_more_people(terminal: Terminal) -> None:
    """It says who is asked now, and whoever it is escalated to decides."""
    asked = terminal.world.propose("777.00").view.request.id
    terminal.log_in("dana")
    done = terminal("escalate", asked[:8], "--reason", "beyond me")
    assert done.exit_code == 0
    assert "Tess Laurent" in done.stdout
    assert "Dana Okafor escalated: beyond me" in " ".join(
        terminal("show", asked[:8]).stdout.split()
    )
    again = terminal("escalate", asked[:8], "--reason", "still")
    assert "Dana Okafor has escalated this already" in again.stderr
    terminal.log_in("tess")
    assert "approved by Tess Laurent" in terminal("approve", asked, "--reason", "ours").stdout


def test_asking_for_information_first(terminal: Terminal) -> None:
    """Both are told how the clock stands, and everybody reads question and answer."""
    asked = terminal.world.propose("5000.00").view.request.id
    terminal.log_in("dana")
    done = terminal("ask-info", asked[:8], "--question", "what \x1b[31mfor?")
    assert "Dana Okafor waits for information: the clock stands still" in " ".join(
        done.stdout.split()
    )
    assert "Dana Okafor waits for" in terminal("ask-info", asked[:8], "--question", "who?").stderr
    terminal.log_in("sam")
    told = terminal("answer-info", asked[:8], "--text", "for the roof")
    assert "Recorded. So far: information given 1 time." in told.stdout
    assert "any more" in terminal("answer-info", asked[:8], "--text", "again").stderr
    shown = terminal("show", asked[:8]).stdout
    assert "\x1b" not in shown
    assert "Sam Rivera: for the roof" in " ".join(shown.split())


def test_approving_with_changes_names_the_new_round(terminal: Terminal) -> None:
    """The command says which round it is now and who is still asked; the old one says why."""
    first = terminal.world.propose("20000.00").view.request.id
    terminal.log_in("dana")
    done = terminal("approve", first[:8], "--set", "amount=12000.00")
    second = terminal.world.gates.rounds(first)[-1].request.id
    told = f"Recorded as round 2, {second[:8]}. 1 more must agree: Mika Lindqvist."
    assert told in " ".join(done.stdout.split())
    old = " ".join(terminal("show", first[:8]).stdout.split())
    assert "decided Dana Okafor approved with changes" in old
    assert "changed amount: 20000.00 -> 12000.00" in old
    assert "stands changed by Dana Okafor" in old


def test_one_of_each_group_is_told_by_group(terminal: Terminal) -> None:
    """In the list and in the details, and after one approval only the group that is left."""
    huge = terminal.world.propose("2000000.00").view.request.id
    terminal.log_in("dana")
    each = "asks one of each: controllers (Dana Okafor, Mika Lindqvist), treasury (Tess Laurent)"
    assert each in " ".join(terminal("list").stdout.split())
    assert each in " ".join(terminal("show", huge[:8]).stdout.split())
    assert "1 of treasury (Tess Laurent)" in terminal("approve", huge[:8]).stdout
