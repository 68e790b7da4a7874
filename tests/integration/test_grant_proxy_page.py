"""put-an-api-behind-gates.md, as it is printed: its rules, its command, its function in a flow."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.support.ports import free_port
from tests.support.prefect import Stack, script, until
from tests.support.prefect import stack as started
from tests.unit.test_docs import DOCS, blocks

pytestmark = [
    pytest.mark.prefect,
    # Prefect leaves sockets of its own to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PAGE = DOCS / "put-an-api-behind-gates.md"


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "stack").mkdir()
    with started(tmp_path / "stack", worker=False) as made:
        yield made


@pytest.fixture
def api() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.support.customers_api", str(port)]
    with subprocess.Popen(command) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/customers/7"))
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture
def proxy(stack: Stack, api: str, tmp_path: Path) -> Iterator[str]:
    """The page's last command, with free ports in place of its own."""
    (rules,) = blocks(PAGE, "yaml")
    (tmp_path / "rules.yaml").write_text(rules.text)
    (tmp_path / "proxy.key").write_text((stack.folder / "executor.key").read_text())
    (tmp_path / "api.authorization").write_text("Bearer of-the-api\n")
    (shell,) = blocks(PAGE, "sh")
    port = free_port()
    line = shell.text.strip().splitlines()[-1]
    line = line.replace("http://127.0.0.1:8080", api).replace("4281", str(port))
    setting, _, *words = shlex.split(line)
    name, _, value = setting.partition("=")
    environment = os.environ | {name: value, "GATES_URL": stack.gates_url}
    command = [script("gates"), *words]
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/customers/7"))
        yield url
        process.terminate()


def test_the_page_runs_as_it_is_printed(
    stack: Stack, api: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person approves, the flow writes through the proxy; nobody gets in without that."""
    for name, value in stack.environment.items():
        if name.startswith("GATES_"):
            monkeypatch.setenv(name, value)
    (code,) = blocks(PAGE, "python")
    page = ModuleType("page")
    exec(compile(code.text, PAGE.name, "exec"), page.__dict__)  # noqa: S102 - our own page
    page.PROXY = proxy  # type: ignore[attr-defined] # where it is in this test

    @flow
    def raises_a_limit() -> Any:
        return page.set_limit(7, limit="5000.00")

    assert httpx.put(f"{proxy}/customers/7", json={"limit": "1.00"}).status_code == 403
    assert httpx.put(f"{api}/customers/7", json={"limit": "1.00"}).status_code == 401
    with temporary_settings({PREFECT_API_URL: stack.api}):
        from tests.integration.test_flow import Beside  # noqa: PLC0415 - needs Prefect's settings

        run = Beside(raises_a_limit)
        stack.decide(*stack.asked(run.id))
        assert run.end() == {"name": "Acme", "limit": "5000.00"}
    writes = httpx.get(f"{api}/log").json()
    assert [write["body"] for write in writes if write["headers"].get("idempotency-key")] == [
        '{"limit":"5000.00"}'
    ]
