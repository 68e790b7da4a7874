"""Who may import whom: DESIGN's table, held by reading the imports themselves."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gates", "integrations", "flows")

# From the bottom to the top; what is on one line may know each other and all that is below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("gates.core",),
    (
        "gates.actions",
        "gates.settings",
        "gates.grants.token",
        "gates.grants.held",
        "gates.grants.trusted_keys",
    ),
    ("gates.trail",),
    ("gates.ports", "gates.steady", "gates.ticking", "gates.wall_clock"),
    ("gates.whom",),
    ("gates.rungs",),
    ("gates.weighing", "gates.panel", "gates.looking", "gates.rounds"),
    ("gates.asking", "gates.originating"),
    ("gates.loop_questions",),
    ("gates.store",),
    ("gates.circumstances", "gates.statistics_judge"),
    ("gates.standing",),
    ("gates.grants.keyring", "gates.grants.granting", "gates.orders"),
    ("gates.reading",),
    ("gates.recording",),
    ("gates.withdrawing", "gates.repeats", "gates.circling", "gates.over_runs"),
    ("gates.deciding",),
    ("gates.claiming",),
    ("gates.covering",),
    ("gates.service",),
    ("gates.commanding",),
    ("gates.four_eyes", "gates.informing", "gates.versioned"),
    ("gates.reloading",),
    (
        "gates.work",
        "gates.reports",
        "gates.recurring",
        "gates.drifting",
        "gates.grants.redeeming",
        "gates.passes",
        "gates.watching",
        "gates.reviews",
    ),
    ("gates.access", "gates.cards", "gates.deliveries", "gates.outbox", "gates.replays"),
    ("gates.step_up",),
    ("gates.timers", "gates.health", "gates.announcing", "gates.shadow", "gates.alarms"),
    ("gates.explaining",),
    ("gates.web",),
)
CLIENT_SIDE = ("gates.calling", "gates.client", "gates.flow", "gates.executor", "gates.testing")
PURE = (
    "gates.core",
    "gates.actions",
    "gates.settings",
    "gates.grants.token",
    "gates.grants.held",
    "gates.grants.trusted_keys",
    "gates.trail",
)
TOPS = (
    "integrations.wiring",
    "integrations.cli",
    "integrations.demo",
    "integrations.hardened",
    "integrations.operating",
    "integrations.policies",
)
SHARED = ("integrations.terminal", "integrations.shell", "integrations.ports")
BRIDGES = ("integrations.booking",)  # where two integrations are said to meet, and nothing else
VENDORS = {  # who alone may import what
    "prefect": ("gates.flow", "integrations.prefect_runs", "flows"),
    "sqlalchemy": (
        "gates.store",
        "gates.replays",
        "gates.service",
        "gates.commanding",
        "gates.work",
        "gates.web",
        "gates.health",
        "integrations.operating",
    ),
    "sqlmodel": (
        "gates.store",
        "gates.commanding",
        "gates.reloading",
        "gates.orders",
        "gates.access",
        "gates.step_up",
        "gates.cards",
        "gates.replays",
        "gates.outbox",
        "gates.grants.keyring",
        "gates.health",
        "integrations.operating",
    ),
    "alembic": ("gates.store",),
    "psycopg": ("gates.store", "integrations.hardened.cluster", "integrations.operating"),
    "fastapi": ("gates.web", "integrations.wiring", "integrations.slack", "integrations.cli"),
    "uvicorn": ("integrations.wiring", "integrations.cli", "integrations.grant_proxy.commands"),
    "slack_sdk": ("integrations.slack",),
    "slack_bolt": ("integrations.slack",),
    "cel_expr_python": ("gates.core.policy",),
    "pyotp": ("gates.step_up",),
    "segno": ("gates.web.people_pages",),
    "lxml": ("integrations.invoices",),
    "jwt": ("gates.grants.token",),
    "cryptography": ("gates.grants.token", "gates.grants.keyring", "gates.grants.trusted_keys"),
    "typer": (
        "integrations.cli",
        "integrations.shell",
        "integrations.terminal",
        "integrations.operating",
        "integrations.hardened.commands",
        "integrations.grant_proxy.commands",
        "integrations.slack.commands",
        "integrations.policies.commands",
        "integrations.reviewing.commands",
        "integrations.people.commands",
        "integrations.standing.commands",
        "integrations.policies.backtesting",
        "integrations.commanding",
        "integrations.loops.commands",
        "integrations.loops.commands",
        "integrations.loops.reporting",
    ),
}
NEVER = {"trytond"}  # GPL, and a process of its own


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports while it runs, wherever in the file it does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def within(module: str, *parents: str) -> bool:
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


def edges() -> Iterator[tuple[str, str]]:
    """Each import of one of our own modules by another, both by their real names."""
    known = dict(modules())
    for module, path in modules():
        for name in imports(path):
            if name in known and name != module:
                yield module, name


def layer(module: str) -> int | None:
    return next((n for n, names in enumerate(LAYERS) if within(module, *names)), None)


def test_the_table_knows_every_module_of_gates() -> None:
    """A new module has to be given its place."""
    unknown = {
        module
        for module, _ in modules()
        if within(module, "gates")
        and module not in ("gates", "gates.grants")  # what is in it stands on several floors
        and layer(module) is None
        and not within(module, *CLIENT_SIDE)
    }
    assert unknown == set()


def test_imports_run_one_way() -> None:
    """No layer of the server knows one above it."""
    wrong = [
        (module, name)
        for module, name in edges()
        if (low := layer(module)) is not None and (high := layer(name)) is not None and high > low
    ]
    assert wrong == []


def test_the_server_and_its_clients_meet_only_in_words() -> None:
    """Flows and executors know the pure modules and each other; the server knows none of them."""
    wrong = [
        (module, name)
        for module, name in edges()
        if (within(module, *CLIENT_SIDE) and layer(name) is not None and not within(name, *PURE))
        or (layer(module) is not None and within(name, *CLIENT_SIDE))
    ]
    assert wrong == []


def test_gates_knows_no_integration_and_no_flow() -> None:
    """The library stands without the vendors around it."""
    wrong = [(m, n) for m, n in edges() if within(m, "gates") and not within(n, "gates")]
    assert wrong == []


def test_integrations_know_each_other_only_at_the_top() -> None:
    """Slack knows nothing of the ERP; wiring, the command line and the demo know everybody."""
    wrong = [
        (module, name)
        for module, name in edges()
        if within(module, "integrations")
        and not within(module, *TOPS, *BRIDGES)
        and within(name, "integrations", "flows")
        and not within(name, *SHARED)
        and name != "integrations"
        and module.split(".")[1] != name.split(".")[1 if "." in name else 0]
    ]
    assert wrong == []


def test_flows_know_no_server() -> None:
    """A flow proposes and waits; the server's insides are out of its sight."""
    server = {name for names in LAYERS[3:] for name in names}
    wrong = [(m, n) for m, n in edges() if within(m, "flows") and within(n, *server, *TOPS)]
    assert wrong == []


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_a_vendor_is_known_in_one_place(vendor: str) -> None:
    """Everything else would not notice if it were replaced."""
    wrong = [
        module
        for module, path in modules()
        if any(within(name, vendor) for name in imports(path))
        and not within(module, *VENDORS[vendor])
    ]
    assert wrong == []


def test_what_is_never_imported() -> None:
    """The reference ERP is GPL and is reached over HTTP."""
    wrong = [m for m, p in modules() if any(within(name, *NEVER) for name in imports(p))]
    assert wrong == []


def test_the_core_is_pure() -> None:
    """Standard library, pydantic, a JSON writer, CEL and YAML; no clock and no other I/O."""
    allowed = {"pydantic", "orjson", "cel_expr_python", "yaml", "gates"} | sys.stdlib_module_names
    acting = {"socket", "http", "urllib", "subprocess", "threading", "asyncio", "sqlite3", "time"}
    for module, path in modules():
        if within(module, "gates.core"):
            tops = {name.split(".")[0] for name in imports(path)}
            assert tops <= allowed - acting, module
            assert "datetime.now" not in path.read_text(), module


def test_no_folder_shadows_prefect() -> None:
    """A folder of that name on the path would be imported instead of the package."""
    tracked = [path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*")]
    assert [path for path in tracked if path.name == "prefect" and path.is_dir()] == []
    assert not (ROOT / "prefect.py").exists()


def loaded(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["gates", "gates.service", "gates.web.app", "gates.executor"])
def test_nothing_but_the_flow_side_loads_prefect(module: str) -> None:
    """Server and executor start without it; so does `import gates` in an author's editor."""
    assert "prefect" not in loaded(f"import {module}")


def test_a_flow_process_stays_light() -> None:
    """The client brings neither a database layer, nor a policy engine, nor a web server."""
    heavy = {"sqlalchemy", "sqlmodel", "alembic", "psycopg", "cel_expr_python", "fastapi"}
    assert loaded("import gates, gates.client, gates.settings, gates.core.loops") & heavy == set()


def test_an_executor_brings_no_database() -> None:
    """It holds the real system's credentials and nothing of the server's."""
    heavy = {"sqlalchemy", "sqlmodel", "psycopg", "cel_expr_python", "fastapi", "prefect"}
    assert loaded("import gates.executor") & heavy == set()
