"""Fixtures that more than one folder uses."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gates.store.database import Database
from tests.support.postgres import postgres_url
from tests.support.world import World


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL that may create databases: the machine's or one of our own."""
    with postgres_url(os.environ.get("GATES_TEST_POSTGRES", "")) as url:
        yield url


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """A fresh, empty database."""
    name = f"gates_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield f"{postgres.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty store, once on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'gates.sqlite'}"
    else:
        url = request.getfixturevalue("postgres_database")
    store = Database(url)
    store.migrate()
    yield store
    assert store.engine.pool.checkedout() == 0, "a connection leaked"
    store.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)
