"""Fixtures that more than one folder uses."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from gates.store.database import Database
from tests.support.postgres import postgres_url
from tests.support.world import World

# The suite runs file by file on two cores: what takes longest begins first, so that no core is
# left alone with a long file at the end. The others follow in any order.
LONGEST_FIRST = (
    "test_crashes",
    "test_demo",
    "test_hostile_agent",
    "test_erp_crashes",
    "test_shapes",
    "test_runs",
    "test_slack_to_books",
    "test_erp_holes",
    "test_together",
    "test_flow",
    "test_erp_undo",
    "test_erp_flows",
    "test_erp_actions",
    "test_storm",
    "test_restore",
    "test_doctor",
    "test_watch",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL that may create databases: the machine's or one of our own."""
    with postgres_url(os.environ.get("GATES_TEST_POSTGRES", "")) as url:
        yield url


@contextmanager
def made(postgres: str, *, template: str = "template1") -> Iterator[str]:
    """Address of a database that exists for as long as this does."""
    name = f"gates_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{postgres.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """A fresh, empty database."""
    with made(postgres) as url:
        yield url


def migrated(url: str) -> str:
    store = Database(url)
    store.migrate()
    store.close()
    return url


# Most tests begin with an empty store: it is migrated once, and then copied.


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("store") / "empty.sqlite"
    migrated(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def empty_postgres(postgres: str) -> Iterator[str]:
    """Name of a database that PostgreSQL copies."""
    with made(postgres) as url:
        yield migrated(url).rsplit("/", 1)[1]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty store, once on each database."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            file = tmp_path / "gates.sqlite"
            shutil.copy(request.getfixturevalue("empty_file"), file)
            url = f"sqlite:///{file}"
        else:
            postgres = request.getfixturevalue("postgres")
            template = request.getfixturevalue("empty_postgres")
            url = stack.enter_context(made(postgres, template=template))
        yield from opened(url)


def opened(url: str) -> Iterator[Database]:
    store = Database(url)
    yield store
    assert store.engine.pool.checkedout() == 0, "a connection leaked"
    store.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
