"""`gates policy ...` as a person types it, and the address behind `explain`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gates.client import GatesClient
from gates.core.errors import NotAuthenticated, NotEntitled
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app
from integrations.wiring import first_admin_key
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.policies import HEAD, PEOPLE_FILE, ROOT
from tests.support.world import World

SMALL = """\
  - name: small
    on: erp.payment.submit
    when: amount.minor < 100000
    verdict: allow
    because: "{amount} is little"
    examples: [{amount: "999.99 EUR", verdict: allow}]
"""
LARGE = """\
  - name: large
    on: erp.payment.*
    when: amount.minor >= 1000000
    verdict: require_approval
    tier: high
    ask: {who: [controllers]}
    because: "{amount} is much"
"""


def gates(*words: str, home: Path | None = None) -> Result:
    env = {"GATES_HOME": str(home), "GATES_PEOPLE": str(PEOPLE_FILE), "COLUMNS": "200"}
    return CliRunner().invoke(app, ["policy", *words], env=env | {"GATES_URL": ""})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy of two files."""
    made = tmp_path / "rules"
    made.mkdir()
    (made / "a.yaml").write_text(HEAD + SMALL)
    (made / "b.yaml").write_text("version: 1\nrules:\n" + LARGE)
    return made


def test_a_folder_and_a_list_of_files_are_one_policy(folder: Path) -> None:
    """The people file in it is none of its files; the digest is the same either way."""
    (folder / "people.yaml").write_text(PEOPLE_FILE.read_text())
    whole = gates(
        "check", "--policy", str(folder), "--people", str(folder / "people.yaml"), "--json"
    )
    listed = gates("check", "--policy", f"{folder / 'b.yaml'}, {folder / 'a.yaml'}", "--json")
    one, other = json.loads(whole.stdout), json.loads(listed.stdout)
    assert (one["rules"], one["examples"], one["sound"]) == (2, 1, True)
    assert one["digest"] == other["digest"]
    assert [finding["kind"] for finding in one["findings"]] == ["unnamed"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--policy", "{folder}"], 0),
        (["--policy", "{folder}", "--strict"], 1),
        (["--policy", "{folder}/none.yaml"], 2),
        (["--policy", "{folder}", "--people", "{folder}/none.yaml"], 2),
        (["--policy", "{folder}/b.yaml"], 1),
        (["--polcy", "x"], 2),
    ],
)
def test_the_exit_code_tells_wrong_rules_from_wrong_use(
    folder: Path, words: list[str], code: int
) -> None:
    """0: in order; 1: not; 2: what is named is not there."""
    done = gates("check", *(word.format(folder=folder) for word in words))
    assert done.exit_code == code, done.output


def test_a_file_that_cannot_be_read_as_a_policy_is_json_too(folder: Path) -> None:
    """Each problem with its place, for scripts."""
    (folder / "a.yaml").write_text((HEAD + SMALL).replace("amount.minor", "amuont.minor"))
    done = gates("check", "--policy", str(folder), "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["sound"], told["digest"]) == (1, False, None)
    (finding,) = told["findings"]
    assert finding["at"] == f"{folder / 'a.yaml'}:6:11"
    assert "did you mean 'amount.minor'" in finding["text"]


def test_a_question_in_a_file_is_explained(folder: Path) -> None:
    """Every rule with what it saw, and how the verdict came about."""
    question = folder.parent / "question.json"
    question.write_text('{"action": "erp.payment.submit", "amount": "12500.00 EUR"}')
    done = gates("explain", "--file", str(question), "--policy", str(folder))
    assert done.exit_code == 0, done.output
    for words in (
        "erp.payment.submit: require_approval (high)",
        "- large: 12,500.00 EUR is much",
        "2 of 2 rules are about erp.payment.submit: 1 match, 0 cannot be evaluated and ask.",
        "The strictest is require_approval (high), said by 'large'.",
        "1 of controllers must agree within 24 h; 'large' demands the most.",
        "amount.minor = 1250000",
        f"{folder / 'b.yaml'}:3:11",
    ):
        assert words in done.stdout
    told = json.loads(
        gates("explain", "--file", str(question), "--policy", str(folder), "--json").stdout
    )
    assert [one["answer"] for one in told["rules"]] == ["does not match", "matches"]


def test_explain_wants_a_request_or_a_question() -> None:
    """One of the two."""
    assert gates("explain").exit_code == 2


def test_two_policies_are_compared(folder: Path, tmp_path: Path) -> None:
    """Rules, defaults, people, and the questions that come out otherwise."""
    new = tmp_path / "new.yaml"
    text = HEAD.replace("24h", "12h") + SMALL.replace("< 100000", "< 5000")
    new.write_text(text + SMALL.replace("small", "more").replace("erp.p", "crm.p"))
    people = tmp_path / "people.yaml"
    people.write_text(PEOPLE_FILE.read_text().replace("groups: [ap]", "groups: [security]", 1))
    questions = tmp_path / "questions.yaml"
    questions.write_text("- {action: erp.payment.submit, amount: 10.00 EUR}\n")
    done = gates(
        "diff", str(folder), str(new), "--new-people", str(people), "--questions", str(questions)
    )
    assert done.exit_code == 0, done.output
    for words in (
        "+ rule more",
        "- rule large",
        "~ rule small",
        "    when: amount.minor < 100000 -> amount.minor < 5000",
        "~ defaults: ",
        "~ people of defaults: ines, sam -> ines",
        "(small): allow (routine) -> require_approval (ambiguous)",
        "2 of 3 questions are answered differently.",
    ):
        assert words in done.stdout, done.stdout
    told = json.loads(gates("diff", str(new), str(folder), "--json").stdout)
    assert (told["relaxed"], told["asked"], told["same"]) == (1, 2, False)
    same = gates("diff", str(folder), f"{folder / 'b.yaml'},{folder / 'a.yaml'}")
    assert same.stdout.startswith("Nothing differs")


def test_the_schema_is_printed() -> None:
    """As it is published."""
    published = (ROOT / "policies" / "policy.schema.json").read_text()
    assert gates("schema").stdout == published


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[World, Path, str]]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    world, bound = World(database), free_socket()
    made = create_app(world.gates, world.work, world.access, Waiters())
    home = tmp_path / "home"
    first_admin_key(world.access, home / "admin.key")
    with serving(made, bound) as url:
        (home / "url").write_text(url)
        yield world, home, url
    database.close()


def test_a_stored_request_is_explained(house: tuple[World, Path, str]) -> None:
    """By the admin of the machine, with the facts as they were; a change of policy is said."""
    world, home, _ = house
    request = world.propose("5000.00").view.request
    done = gates("explain", request.id[:8], home=home)
    assert done.exit_code == 0, done.output
    assert f"{request.action.name}: require_approval" in done.stdout
    assert request.judgement.reasons[0].rule in done.stdout
    assert "note:" not in done.stdout
    assert gates("explain", "0" * 8, home=home).exit_code == 3
    told = json.loads(gates("explain", request.id, "--json", home=home).stdout)
    assert told["judgement"] == request.judgement.model_dump(mode="json")


def test_who_may_not_read_gets_no_explanation(house: tuple[World, Path, str]) -> None:
    """A flow's key reads through its own gates alone."""
    world, _, url = house
    request = world.propose("5000.00").view.request
    key = world.access.create_key("flow", "some-agent")
    with GatesClient(url, key=key, patience=5) as flow, pytest.raises(NotEntitled):
        flow.explanation(request.id)
    with GatesClient(url, key="gk_no", patience=5) as nobody, pytest.raises(NotAuthenticated):
        nobody.explanation(request.id)
