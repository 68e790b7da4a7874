"""Fixtures that more than one folder uses."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import certifi
import psycopg
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from gates.store.database import Database
from tests.support.empty import empty_sqlite, migrated
from tests.support.postgres import postgres_url
from tests.support.world import World

# The suite runs file by file, on three workers: most tests wait for something half of their time.
# What starts whole houses of processes needs a core each, so that two workers go through those,
# file after file, from the beginning; what else takes long comes before the rest, so that nobody is
# left alone with a long file at the end.
HOUSES = (
    ("test_crashes", "test_runs", "test_slack_to_books"),
    ("test_demo", "test_hostile_agent", "test_shapes", "test_verdict_runs", "test_storm"),
)
LONG = (
    "test_erp_crashes",
    "test_slack_decisions",
    "test_erp_loops",
    "test_erp_holes",
    "test_api",
    "test_restore",
    "test_together",
    "test_flow",
    "test_erp_undo",
    "test_erp_flows",
    "test_erp_actions",
    "test_payment_run",
    "test_doctor",
    "test_watch",
)


class ByHouse(LoadFileScheduling):
    """The files of one house are one piece of work."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        houses = (f"house {n}" for n, files in enumerate(HOUSES) if Path(file).stem in files)
        return next(houses, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByHouse:
    return ByHouse(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate([*chain(*HOUSES), *LONG])}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def _one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing here leaves this machine. To read all the world's authorities costs 40 ms, and every
    HTTP client does that, in this process and in those that it starts.
    """
    bundle = Path(certifi.where()).read_text()
    first = re.search(r"-----BEGIN.*?END CERTIFICATE-----\n", bundle, re.DOTALL)
    assert first is not None
    file = tmp_path_factory.mktemp("certificate") / "one.pem"
    file.write_text(first[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(file))
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL that may create databases: the machine's or one of our own."""
    with postgres_url(os.environ.get("GATES_TEST_POSTGRES", "")) as url:
        yield url


@contextmanager
def made(postgres: str) -> Iterator[str]:
    """Address of a database that exists for as long as this does."""
    name = f"gates_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield f"{postgres.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """A fresh, empty database."""
    with made(postgres) as url:
        yield url


# Most tests begin with an empty store. To make one takes longer than the test: on SQLite it is
# migrated once and copied, on PostgreSQL it is kept and emptied.


@pytest.fixture(scope="session")
def kept_postgres(postgres: str) -> Iterator[str]:
    with made(postgres) as url:
        migrated(url)
        yield url


# The log's triggers let nobody delete; as a replica they are silent. Whoever is still connected is
# of the test before.
EMPTIED = """
SET session_replication_role = replica;
DO $$
DECLARE name text;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR name IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
        PERFORM setval(name, 1, false);
    END LOOP;
END $$;
"""


@pytest.fixture
def empty_postgres(kept_postgres: str) -> str:
    with psycopg.connect(kept_postgres, autocommit=True) as admin:
        admin.execute(EMPTIED)
    return kept_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty store, once on each database."""
    if request.param == "sqlite":
        url = empty_sqlite(tmp_path / "gates.sqlite")
    else:
        url = request.getfixturevalue("empty_postgres")
    store = Database(url)
    yield store
    assert store.engine.pool.checkedout() == 0, "a connection leaked"
    store.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
