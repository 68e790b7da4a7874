"""The demo as a newcomer starts it: by its command, in a folder of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from integrations.demo.processes import Processes, Started
from integrations.erp.company import installed
from tests.support.erp import WHY_SKIPPED

pytestmark = [
    pytest.mark.erp,
    pytest.mark.prefect,
    pytest.mark.timeout(1200),
]
needs_erp = pytest.mark.skipif(not installed(), reason=WHY_SKIPPED)
GATES = str(Path(sys.executable).with_name("gates"))
STARTS = """
import os, pathlib, sys
from integrations.demo.processes import Processes
child = "import time; time.sleep(900)"
parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
for name in ("gates", "worker"):
    Processes(pathlib.Path(sys.argv[1])).start(name, [sys.executable, "-c", parent], os.environ)
"""


def gates(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return ended(home, [GATES, *arguments], **settings)


def ended(home: Path, command: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GATES_", "PREFECT_"))}
    ours = {"GATES_HOME": str(home), "GATES_LINGER": "1", "COLUMNS": "200"}
    environment = kept | ours | settings
    if "GATES_ERP_CACHE" in os.environ:
        environment["GATES_ERP_CACHE"] = os.environ["GATES_ERP_CACHE"]
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def of_this_demo(home: Path) -> list[psutil.Process]:
    """Whoever names the demo's folder in its command or its environment; the ERP does in one,
    a flow in the other.
    """
    found = []
    for process in psutil.process_iter():
        try:
            said = [*process.cmdline(), *process.environ().values()]
            if any(str(home) in word for word in said):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "demo-home"
    yield folder
    gates(folder, "demo", "down")
    assert of_this_demo(folder) == []


@pytest.fixture
def bystander() -> Iterator[psutil.Popen]:
    """Somebody else's process, leader of a session of its own as the demo's are."""
    waits = "import sys; sys.stdin.read()"
    process = psutil.Popen(
        [sys.executable, "-c", waits], stdin=subprocess.PIPE, start_new_session=True
    )
    yield process
    process.stdin.close()
    process.wait(60)


@needs_erp
def test_the_demo_is_started_looked_at_and_started_again_to_decide_by_itself(home: Path) -> None:
    """`up` says what to do next; `auto` replaces what runs, and ends well only with the books as
    approved; then nothing is left to stop.
    """
    up = gates(home, "demo", "up")
    assert up.returncode == 0, up.stdout + up.stderr
    for said in ("Inbox, as Dana Okafor", "Prefect UI", "approve", "reject", "make down"):
        assert said in up.stdout
    names = {one.name for one in Processes(home).running()}
    assert names == {"erp", "prefect", "gates", "executor", "banker", "worker"}
    listed = gates(home, "list")
    assert listed.returncode == 0, listed.stderr
    assert "Enter a supplier's invoice" in listed.stdout
    auto = gates(home, "demo", "auto")
    assert auto.returncode == 0, auto.stdout + auto.stderr
    assert "the demo that ran is stopped" in auto.stdout
    assert "The books show what was approved, once, and nothing of the rest." in auto.stdout
    assert "Dana Okafor: approve" in auto.stdout
    assert "Priya Raman: reject" in auto.stdout
    assert of_this_demo(home) == []
    assert "Nothing was running" in gates(home, "demo", "down").stdout


def test_what_was_started_is_stopped_by_its_names(home: Path) -> None:
    """`down` says what it ended, and ends all of it, children included."""
    home.mkdir()
    started = ended(home, [sys.executable, "-c", STARTS, str(home)])
    assert started.returncode == 0, started.stderr
    assert len(Processes(home).running()) == 2
    down = gates(home, "demo", "down")
    assert down.returncode == 0, down.stderr
    assert "gates" in down.stdout
    assert "worker" in down.stdout
    assert of_this_demo(home) == []


@pytest.mark.parametrize("setting", ["GATES_PORT", "PREFECT_PORT"])
def test_a_busy_port_is_one_sentence(home: Path, setting: str) -> None:
    """Exit code 1, the setting named, no traceback; what was there in the folder stays."""
    home.mkdir()
    Processes(home)._write([])  # so that it is a demo's folder
    (home / "kept").write_text("of an earlier demo")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = gates(home, "demo", "up", **{setting: port})
    assert done.returncode == 1
    told = done.stderr.strip().splitlines()
    assert len(told) == 1, told
    assert f"{setting} = {port}" in told[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert (home / "kept").exists()


def test_a_process_that_got_an_old_number_is_left_alone(
    home: Path, bystander: psutil.Popen
) -> None:
    """`down` ends who was started, not who has their process id now."""
    begun = bystander.create_time() - 3600
    home.mkdir()
    Processes(home)._write([Started(name="worker", pid=bystander.pid, begun=begun)])
    done = gates(home, "demo", "down")
    assert done.returncode == 0
    assert "Nothing was running" in done.stdout
    assert bystander.is_running()
    assert bystander.poll() is None
