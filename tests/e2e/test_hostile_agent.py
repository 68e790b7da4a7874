"""The hardened set-up, and an agent in it that tries everything to have money moved.

The house is real: each process under a user of its own, as root has set it up. The agent has
what a flow has. What counts is what the books and the log say afterwards.
"""

import pwd
import subprocess
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from integrations.demo.runs import Run
from integrations.hardened import house as houses
from integrations.hardened.house import PARTS, Hardened
from tests.support.attack import Attack, attacked, booked, run
from tests.support.hardened import ROOT, hardened, up, why_not

pytestmark = [
    pytest.mark.erp,
    pytest.mark.prefect,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]
BIND = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))"
AREAS = {
    "files",
    "processes",
    "rights",
    "ports",
    "database",
    "command line",
    "routes",
    "callers",
    "bodies",
    "paths",
    "bytes",
    "lies",
    "replays",
    "erp",
    "prefect",
}


@pytest.fixture(scope="module")
def house() -> Iterator[Hardened]:
    with hardened() as made:
        yield made


@pytest.fixture(scope="module")
def paid(house: Hardened) -> Run:
    return run(house, "acme-steel-routine")


@pytest.fixture(scope="module")
def attack(house: Hardened, paid: Run) -> Attack:
    return attacked(house, paid, run(house, "acme-steel-large"))


# -- the set-up -----------------------------------------------------------------------------------


def test_a_routine_invoice_is_paid_by_the_hardened_house(house: Hardened, paid: Run) -> None:
    """Flow, gates server, executor and ERP work together across their users."""
    assert paid.state == "COMPLETED", paid.message
    (bill,) = booked(house)
    assert (bill.state, [one.state for one in bill.payments]) == ("paid", ["succeeded"])


def test_what_it_finds_is_told(house: Hardened) -> None:
    """A folder that others may enter is found, with the names of those who may."""
    assert house.findings() == []
    (house.home / "executor").chmod(0o755)
    try:
        names = {f"{house.plan.prefix}{part}" for part in PARTS if part != "executor"}
        assert {one.split()[0] for one in house.findings()} == names
    finally:
        (house.home / "executor").chmod(0o700)


def test_only_servers_may_listen_where_others_look_for_them(house: Hardened) -> None:
    """Below port 1024 a flow is refused even while no server is there."""
    python = str(house.home / "code" / "bin" / "python")
    for listens in (False, True):
        free = str(houses.low_ports(1)[0])
        command = [*house.accounts["flow"].run_as(listens=listens), python, "-c", BIND, free]
        env = house.environment("flow")
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is listens, done.stderr
        assert listens or "PermissionError" in done.stderr


def test_up_again_starts_only_what_is_away(house: Hardened) -> None:
    """Users, keys and what runs stay as they are; what was ended is back."""
    before = house.described()
    key = (house.home / "flow" / "flow.key").read_text()
    ended = next(one for one in house.processes.running() if one.name == "executor")
    psutil.Process(ended.pid).kill()
    again = up(house.home, house.plan.prefix).described()
    assert (house.home / "flow" / "flow.key").read_text() == key
    assert {p for p in PARTS if again["parts"][p] != before["parts"][p]} == {"executor"}


def test_another_prefix_or_a_foreign_folder_is_refused(house: Hardened, tmp_path) -> None:
    """It neither makes a second set of users nor empties what it did not make."""
    with pytest.raises(houses.NotHardened, match="undo it first"):
        houses.up(house.home, ROOT, lambda _words: None, prefix="other-")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(houses.NotHardened, match="holds something else"):
        houses.up(tmp_path, ROOT, lambda _words: None)


# -- the hostile agent ----------------------------------------------------------------------------


def test_no_try_gets_what_it_wants(attack: Attack) -> None:
    """Hundreds of tries in every area; none reads a secret, decides, or has it done unasked."""
    assert {one.area for one in attack.tries} == AREAS
    assert len(attack.tries) > 1_000
    assert attack.got() == []


def test_it_moves_no_money(attack: Attack) -> None:
    """The books are to the last entry what they were; what ran anew looked, or failed."""
    before, after = attack.before, attack.after
    assert after.books == before.books
    assert {one: after.executed[one] for one in before.executed} == before.executed
    anew = {state for one, state in after.executed.items() if one not in before.executed}
    assert anew <= {"erp.bill.create failed", "erp.bill.find succeeded"}


def test_it_approves_nothing(attack: Attack) -> None:
    """There is no decision of anybody, and no link, session or key more than before."""
    before, after = attack.before, attack.after
    assert after.decided == before.decided == []
    assert (after.links, after.sessions, after.keys) == (before.links, before.sessions, before.keys)


def test_every_try_that_reached_the_server_is_in_the_log(attack: Attack) -> None:
    """Each refused call, as often as it was made: by route where the agent knew it, else by
    method and status.
    """
    told = [one for one in attack.tries if one.status >= 400]
    assert len(told) > 500
    by_route = Counter((one.method, one.route, one.status) for one in told if one.route)
    missing = {call: n for call, n in by_route.items() if attack.refused[_as_logged(call)] < n}
    assert missing == {}
    logged: Counter[tuple[str, int]] = Counter()
    for (method, _, status), times in attack.refused.items():
        logged[method, status] += times
    at_all = Counter((_as_logged((one.method, "", 0))[0], one.status) for one in told)
    assert {call: n for call, n in at_all.items() if logged[call] < n} == {}


def _as_logged(call: tuple[str, str, int]) -> tuple[str, str, int]:
    method = "other" if call[0] == "PROPFIND" else call[0]
    return method, call[1], call[2]


def test_no_try_ends_in_a_mistake_of_the_server(attack: Attack) -> None:
    """Whatever is sent, the answer is made for it."""
    assert [one.what for one in attack.tries if one.status >= 500] == []


def test_the_house_still_works(house: Hardened, attack: Attack) -> None:
    """After all that a routine invoice is paid, and a person can still answer."""
    assert attack.tries
    run_of_another = run(house, "bolt-brothers-routine")
    assert run_of_another.state == "COMPLETED", run_of_another.message


def test_undo_leaves_nothing(house: Hardened) -> None:
    """Users, processes and the folder are gone. The last test: it ends the house."""
    names = [one.name for one in house.accounts.values()]
    running = [psutil.Process(one.pid) for one in house.processes.running()]
    assert len(running) == len(PARTS)
    houses.undo(house.home)
    assert not house.home.exists()
    assert {one.pw_name for one in pwd.getpwall()}.isdisjoint(names)
    assert not any(one.is_running() and one.status() != "zombie" for one in running)
