"""What the documentation shows runs, and what it names exists."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
import yaml
from pydantic import BaseModel

from gates.client import GatesClient
from gates.core.messages import Proposal
from gates.core.model import DecisionKind, RunRef, Standing
from gates.core.people import load_people
from gates.core.policy import load_policy
from gates.settings import ClientSettings, ErpSettings, ExecutorSettings, ServerSettings
from gates.store.database import Database
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations import wiring
from integrations.cli import app as command_line
from integrations.grant_proxy.rules import load_rules
from integrations.slack.settings import SECRETS, SlackSettings
from tests.support.browser import free_socket, serving
from tests.support.policies import ROOT, demo_people
from tests.support.world import World

DOCS = ROOT / "docs"
DOCUMENTS = sorted(DOCS.rglob("*.md")) + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
]
PRESENT = [one for one in DOCUMENTS if one.exists()]
SHOWN_ONLY = re.compile(r"<!-- not run here: .+ -->")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SETTING = re.compile(r"\bGATES_[A-Z_]*[A-Z]\b")
OF_TESTS = frozenset(
    {"GATES_TEST_POSTGRES", "GATES_TEST_INVOICES", "GATES_TEST_SNAPSHOTS", "GATES_TEST_TRACES"}
)


class Block(BaseModel):
    language: str
    text: str
    runs: bool


def blocks(document: Path, language: str = "") -> list[Block]:
    """The fenced blocks of a page; one under `<!-- not run here: why -->` does not run."""
    text = document.read_text()
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().rsplit("\n", 1)[-1]
        indent = len(match[1])
        code = "".join(line[indent:] for line in match[3].splitlines(keepends=True))
        shown = SHOWN_ONLY.fullmatch(before.strip()) is not None
        found.append(Block(language=match[2], text=code, runs=not shown))
    return [one for one in found if language in ("", one.language)]


def name(document: Path) -> str:
    return str(document.relative_to(ROOT))


each_document = pytest.mark.parametrize("document", PRESENT, ids=name)


# -- write-an-action.md: the whole page is a program ------------------------------------------


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """All code of write-an-action.md in the order of the page, as one module."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("write_an_action")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(DOCS / "write-an-action.md", "python"):
        if block.runs:
            exec(compile(block.text, "write-an-action.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    return module


@pytest.fixture
def house(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[wiring.Server, str]]:
    """The page's own server, serving; the page's policy judges."""
    (policy,) = blocks(DOCS / "write-an-action.md", "yaml")
    (tmp_path / "ledger.yaml").write_text(policy.text)
    monkeypatch.setenv("GATES_POLICY", "ledger.yaml")
    monkeypatch.setenv("GATES_PEOPLE", str(ROOT / "policies" / "people.yaml"))
    monkeypatch.setenv("GATES_SETTLE", "0")
    page.prove(page.BOOKS)
    made = page.server()
    with serving(made.app, free_socket()) as url:
        monkeypatch.setenv("GATES_URL", url)
        yield made, url
    made.database.close()


def order(url: str, key: str, number: str, **arguments: str) -> Proposal:
    return Proposal(
        name="ledger.transfer",
        arguments={"payer": "NL01", "payee": "DE02", **arguments},
        run=RunRef(run_id=f"run-{url}", root_run_id=f"run-{url}"),
        key=key,
        attempt_id=number,
    )


def test_the_action_of_the_page_is_proven_as_it_says(page: ModuleType) -> None:
    """The page's own proof passes on its own ledger."""
    page.prove(page.BOOKS)
    with sqlite3.connect(page.BOOKS) as books:
        entries = books.execute("SELECT reference, cents FROM entry").fetchall()
    books.close()
    assert entries == [("K1", 25_000)]


def test_the_action_of_the_page_goes_through_its_gate(
    page: ModuleType, house: tuple[wiring.Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one to a known payee runs by itself; one of 1,000.00 waits for a controller."""
    made, url = house
    monkeypatch.setenv("GATES_API_KEY", made.access.create_key("executor", "executor-1"))
    flow_key = made.access.create_key("flow", "transfer-agent", "sam")
    executor = page.executor()
    with GatesClient(url, key=flow_key, patience=5) as flow, executor.client:
        small = flow.propose(order(url, "small", "a1", amount="10"))
        assert small.standing is Standing.EXECUTING
        assert executor.step(wait_seconds=5)
        assert flow.propose(order(url, "small", "a1", amount="10.00")).result == {
            "number": 2,
            "payee": "DE02",
            "amount": "10.00",
        }
        large = flow.propose(order(url, "large", "b1", amount="1000.00"))
        assert large.standing is Standing.WAITING
        made.gates.decide(
            large.view.request.id,
            person_id="dana",
            kind=DecisionKind.APPROVE,
            channel="test",
            assurance="session",
        )
        flow.propose(order(url, "large", "b1", amount="1000.00"))
        assert executor.step(wait_seconds=5)
        ended = flow.propose(order(url, "large", "b1", amount="1000.00"))
    assert ended.failure is not None
    assert "the ledger refuses" in ended.failure.error


def test_the_policy_of_the_page_says_what_the_page_says() -> None:
    """It loads with the demo's people."""
    (policy,) = blocks(DOCS / "write-an-action.md", "yaml")
    rules = load_policy(policy.text, "write-an-action.md", demo_people()).rules
    assert [rule.name for rule in rules] == ["small-and-known", "nobody-there"]


# -- every page -------------------------------------------------------------------------------


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link is a file of the project, and every #part is a heading of it."""
    text = FENCE.sub("", document.read_text())
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, part = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{name(document)}: {target} leads nowhere"
        if part:
            assert part in headings(file), f"{name(document)}: {target} names no heading"


def headings(document: Path) -> set[str]:
    """As GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles}


@each_document
def test_python_is_python_and_its_imports_are_there(document: Path) -> None:
    """Each block parses, and what it imports from the project exists under that name."""
    for block in blocks(document, "python"):
        for node in ast.walk(ast.parse(block.text)):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            if node.module.split(".")[0] not in ("gates", "integrations", "flows"):
                continue
            module = importlib.import_module(node.module)
            for one in node.names:
                if not hasattr(module, one.name):
                    importlib.import_module(f"{node.module}.{one.name}")


@each_document
def test_yaml_is_yaml_and_policies_are_policies(document: Path) -> None:
    """Each block loads; one that begins with `version:` is a policy or a people file."""
    for block in blocks(document, "yaml"):
        loaded = yaml.safe_load(block.text)
        if not block.runs or not isinstance(loaded, dict) or "version" not in loaded:
            continue
        if "writes" in loaded:
            load_rules(block.text, name(document))
        elif "people" in loaded:
            load_people(block.text, name(document))
        else:
            load_policy(block.text, name(document), demo_people())


@each_document
def test_sql_runs_on_the_store(document: Path, tmp_path: Path) -> None:
    """Each statement runs on an empty store of the present schema."""
    statements = [block.text for block in blocks(document, "sql") if block.runs]
    if not statements:
        return
    store = tmp_path / "gates.sqlite"
    database = Database(f"sqlite:///{store}")
    database.migrate()
    database.close()
    with sqlite3.connect(store) as connection:
        for statement in statements:
            connection.executescript(statement.replace("/backup/", f"{tmp_path}/"))
    connection.close()


COMMAND = typer.main.get_command(command_line)


def said(document: Path) -> Iterator[list[str]]:
    """Every `gates ...` of a page, in blocks and between backticks, without the word gates."""
    text = document.read_text()
    shell = [*blocks(document, "sh"), *blocks(document, "console")]
    lines = [line.removeprefix("$ ") for one in shell for line in one.text.splitlines()]
    lines += re.findall(r"`((?:\.venv/bin/)?gates [^`]+)`", FENCE.sub("", text))
    for line in lines:
        for part in re.split(r"\$\(|\||&&|;", line.split(" #")[0]):
            words = re.match(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?gates (.*)", part.strip().rstrip(")"))
            if words:
                yield shlex.split(words[1])


@each_document
def test_commands_exist_with_their_options(document: Path) -> None:
    """What a page tells to type is a command of `gates`, and has these options."""
    for words in said(document):
        command, rest = COMMAND, list(words)
        while commands := getattr(command, "commands", None):
            if not rest or rest[0].startswith("-"):
                break
            assert rest[0] in commands, f"there is no `gates {' '.join(words)}`"
            command = commands[rest.pop(0)]
        known = {opt for one in command.params for opt in (*one.opts, *one.secondary_opts)}
        told = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert told <= known | {"--help"}, f"`gates {' '.join(words)}`"


@each_document
def test_make_targets_exist(document: Path) -> None:
    """Each `make x` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = FENCE.sub("", document.read_text())
    told = re.findall(r"`make ([a-z-]+)[^`]*`", text)
    for block in blocks(document, "sh"):
        told += re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE)
    assert set(told) <= targets


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Method and shape of every address that the server answers."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('routes') / 'gates.sqlite'}")
    database.migrate()
    world = World(database)
    paths = create_app(world.gates, world.work, world.access, Waiters()).openapi()["paths"]
    database.close()
    return {(method.upper(), shape(path)) for path, methods in paths.items() for method in methods}


@each_document
def test_addresses_of_the_api_exist(document: Path, routes: set[tuple[str, str]]) -> None:
    """Each `METHOD /v1/...`, by itself or in a call of curl, is an address of the server."""
    text = document.read_text()
    told = re.findall(r"\b(GET|POST|DELETE) \S*?(/v1/[^\s`\"'?]*)", text)
    for method, path in told:
        assert (method, shape(path)) in routes, f"{name(document)}: {method} {path}"


def shape(path: str) -> str:
    """With what varies left out: {request_id}, ID and $KEY_ID alike."""
    parts = path.rstrip(".,;)").split("/")
    return "/".join("*" if re.search(r"[{$A-Z]", part) else part for part in parts)


# -- settings ---------------------------------------------------------------------------------


def settings() -> set[str]:
    """Every variable that some process of ours reads."""
    found = {f"GATES_{one}" for kind in (ClientSettings, ServerSettings) for one in up(kind)}
    found |= {f"GATES_ERP_{one}" for one in up(ErpSettings)}
    found |= {f"GATES_EXECUTOR_{one}" for one in up(ExecutorSettings)}
    found |= {f"GATES_SLACK_{one}" for one in up(SlackSettings)}
    found |= {f"GATES_SLACK_{one.upper()}_FILE" for one in SECRETS}
    for folder in ("gates", "integrations", "flows"):
        for file in (ROOT / folder).rglob("*.py"):
            read = r"environ(?:\.get\(|\[)\s*\"(GATES_[A-Z_]+)\""
            found |= set(re.findall(read, file.read_text()))
    return found


def up(model: type[BaseModel]) -> set[str]:
    return {field.upper() for field in model.model_fields}


@each_document
def test_settings_that_are_named_exist(document: Path) -> None:
    """No page names a GATES_ variable that nobody reads."""
    assert set(SETTING.findall(document.read_text())) <= settings() | OF_TESTS


def test_operate_names_every_setting() -> None:
    """The table is whole."""
    told = set(SETTING.findall((DOCS / "operate.md").read_text()))
    assert settings() - told == set()


def test_tests_that_security_names_exist() -> None:
    """Each threat's test is there under the name that the page gives."""
    text = (DOCS / "security.md").read_text()
    there = {
        one
        for file in (ROOT / "tests").rglob("test_*.py")
        for one in re.findall(r"def (test_\w+)", file.read_text())
    }
    told = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    assert told, "the page names no test"
    assert told <= there


def test_every_word_of_the_glossary_is_in_order() -> None:
    """Each word once, from A to Z."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert rows == sorted(set(rows), key=str.casefold)
    assert len(rows) > 20


def test_decisions_have_one_form_and_are_listed() -> None:
    """Context, decision, cost and what would change it, in this order; each in the list."""
    parts = ["Context", "Decision", "What it costs", "What would change it"]
    listed = (DOCS / "decisions" / "README.md").read_text()
    records = sorted((DOCS / "decisions").glob("0*.md"))
    numbers = [one.name[:4] for one in records]
    assert numbers == sorted(set(numbers))
    for record in records:
        text = record.read_text()
        assert re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE) == parts, record.name
        assert f"]({record.name})" in listed
        assert text.startswith(f"# {record.name[:4]} ")
