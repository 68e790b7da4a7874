"""Ports: chosen where no connection takes them, and one sentence where they are taken."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from integrations.ports import CHOSEN_FROM, free_port, refusal
from tests.support.ports import free_port as given_once
from tests.support.prefect import script

ROOT = Path(__file__).parents[2]
RULES = "version: 1\nwrites: [{action: note.add, method: PUT, path: /notes}]\n"


def test_a_port_is_chosen_below_those_of_connections() -> None:
    """A server can listen there, and nobody else gets it by asking for any port."""
    port = free_port()
    assert port in CHOSEN_FROM
    assert refusal(port) == ""
    with socket.create_server(("127.0.0.1", port)):
        assert "in use" in refusal(port)
    with socket.create_server(("127.0.0.1", 0)) as anybody:
        assert anybody.getsockname()[1] not in CHOSEN_FROM


@pytest.mark.parametrize("choose", [free_port, given_once], ids=["the demo", "tests"])
def test_a_port_is_given_once(choose: Callable[[], int]) -> None:
    """Two servers are up later than both ports are chosen."""
    given = [choose() for _ in range(500)]
    assert len(set(given)) == 500


@pytest.mark.parametrize(
    ("command", "cure"),
    [(["server"], "GATES_PORT"), (["grant", "proxy"], "--port")],
    ids=["the gates server", "the proxy"],
)
def test_a_taken_port_is_one_sentence(tmp_path: Path, command: list[str], cure: str) -> None:
    """Exit code 1 or 2, the address and the cure, no traceback."""
    (tmp_path / "rules.yaml").write_text(RULES)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        if command != ["server"]:
            upstream = "http://127.0.0.1:1"
            command = [*command, "--upstream", upstream, "--rules", "rules.yaml", "--port", port]
        environment = os.environ | {
            "GATES_HOME": str(tmp_path),
            "GATES_PORT": port,
            "GATES_PEOPLE": str(ROOT / "policies" / "people.yaml"),
            "GATES_POLICY": str(ROOT / "policies" / "erp.yaml"),
            "GATES_DATABASE_URL": f"sqlite:///{tmp_path / 'gates.sqlite'}",
            "GATES_URL": "http://127.0.0.1:1",
            "GATES_API_KEY": "gk_executor_x",
        }
        done = subprocess.run(
            [script("gates"), *command],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode not in (0, None)
    last = done.stderr.strip().splitlines()[-1]
    assert f"Cannot listen on 127.0.0.1:{port}" in last, done.stderr
    assert cure in last
    assert "Traceback" not in done.stderr
