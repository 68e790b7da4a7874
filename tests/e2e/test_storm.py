"""A short storm, and its checker: it finds nothing after the storm, and each thing that is wrong
in what was doctored afterwards.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.storm.checker import Store, Violation, check, collect
from tests.storm.dice import Dice
from tests.storm.till_storm import TillStorm

pytestmark = pytest.mark.timeout(170)
SEED, KILLS = 11, 20
STORE, BOOKS = "disk/gates.sqlite", "till.sqlite"


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> TillStorm:
    made = TillStorm(SEED, KILLS, tmp_path_factory.mktemp("storm") / "till")
    made.run()
    return made


@pytest.fixture
def left(storm: TillStorm, tmp_path: Path) -> Path:
    """A copy of what the storm has left, to be doctored; the store forgets what it guards."""
    folder = tmp_path / "left"
    shutil.copytree(storm.folder, folder)
    store = sqlite3.connect(folder / STORE)
    with closing(store), store:
        for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            store.execute(f"DROP TRIGGER {name}")
    return folder


def found(folder: Path) -> list[Violation]:
    with Store(f"sqlite:///{folder / STORE}") as store:
        return check(collect(store, folder))


def change(file: Path, *statements: str) -> None:
    database = sqlite3.connect(file)
    with closing(database), database:
        for statement in statements:
            assert database.execute(statement).rowcount > 0, statement


def test_a_storm_loses_nothing(storm: TillStorm) -> None:
    """Kills, cuts and delays: no decision lost, no effect twice or unapproved, nobody stranded."""
    assert storm.journal.counted["kill"] >= KILLS
    assert storm.journal.counted["acknowledged"] > 0
    assert (found(storm.folder), storm.trouble) == ([], [])


def test_the_seed_decides_the_plan() -> None:
    """Runs and what happens to each life are the same for one seed, and others for another."""

    def plan(seed: int, names: list[str]) -> list[Any]:
        dice = Dice(seed)
        lives = {name: dice.life("flow", name, mortal=1.0, far=3) for name in names}
        return [dice.run(3), *(lives[name] for name in sorted(lives))]

    assert plan(1, ["run-1", "run-2"]) == plan(1, ["run-2", "run-1"])
    assert plan(1, ["run-1"]) != plan(2, ["run-1"])


TWICE = """
    INSERT INTO entry (kind, key, payee, amount, reference, at)
    SELECT 'again', key, payee, amount, reference, at FROM entry LIMIT 1
"""
STRANGE = """
    INSERT INTO entry (kind, key, payee, amount, reference, at)
    SELECT kind, 'GATE-0', payee, amount, 'run-0/x', at FROM entry LIMIT 1
"""


def store(*statements: str) -> Callable[[Path], None]:
    return lambda folder: change(folder / STORE, *statements)


def books(*statements: str) -> Callable[[Path], None]:
    return lambda folder: change(folder / BOOKS, *statements)


def tell(folder: Path, keep: Callable[[dict[str, Any]], bool], *more: dict[str, Any]) -> None:
    file = folder / "journal.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [*filter(keep, lines), *more]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in kept))


def unsent(folder: Path) -> None:
    tell(folder, lambda line: line["what"] != "sent")


def ungranted(folder: Path) -> None:
    tell(folder, lambda line: line["what"] != "granted")


def stranded(folder: Path) -> None:
    tell(folder, lambda _line: True, {"what": "stranded", "run": "run-00001"})


def unended(folder: Path) -> None:
    next((folder / "endings").glob("*.json")).unlink()


def ended_badly(folder: Path) -> None:
    _rewrite(folder, lambda end: end | {"trouble": "KeyError: 'x'"})


def ended_otherwise(folder: Path) -> None:
    """Every run says that its gates were rejected, whatever the store says."""
    _rewrite(
        folder,
        lambda end: end | {"steps": [step | {"how": "rejected"} for step in end["steps"]]},
    )


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    for file in (folder / "endings").glob("*.json"):
        file.write_text(json.dumps(change(json.loads(file.read_text()))))


@pytest.mark.parametrize(
    ("kind", "doctor"),
    [
        ("lost_decision", store("DELETE FROM event WHERE kind = 'decided'")),
        ("lost_decision", store("DELETE FROM log WHERE kind = 'event.decided'")),
        (
            "lost_decision",
            store("UPDATE request SET outcome = 'approved' WHERE outcome = 'rejected'"),
        ),
        (
            "lost_decision",
            store("UPDATE event SET body = replace(body, '\"reject\"', '\"approve\"')"),
        ),
        ("invented_decision", unsent),
        ("double_effect", books(TWICE)),
        ("foreign_effect", books(STRANGE)),
        ("foreign_effect", books("UPDATE entry SET amount = '1000000.00'")),
        ("foreign_effect", books("UPDATE entry SET payee = 'mallory'")),
        (
            "unapproved_effect",
            store(
                "UPDATE request SET outcome = 'rejected' WHERE outcome = 'approved'",
                "DELETE FROM attempt",
            ),
        ),
        ("unclaimed_effect", store("DELETE FROM attempt")),
        ("unclaimed_effect", ungranted),
        ("lost_effect", books("DELETE FROM entry")),
        ("stranded", stranded),
        ("stranded", unended),
        ("stranded", ended_badly),
        ("stranded", ended_otherwise),
        ("log", store("DELETE FROM log WHERE kind = 'request.opened'")),
        ("log", store("DELETE FROM log WHERE kind = 'grant.claimed'")),
        ("log", store("DELETE FROM log WHERE kind = 'attempt.succeeded'")),
        ("log", store("UPDATE log SET actor = 'somebody else'")),
        ("outbox", store("UPDATE outbox SET state = 'dead' WHERE id = 1")),
        ("outbox", store("UPDATE outbox SET state = 'pending' WHERE id = 1")),
        ("open", store("UPDATE execution SET state = 'queued' WHERE state = 'succeeded'")),
        ("open", store("UPDATE attempt SET ended_at = NULL WHERE number = 1")),
        ("open", store("UPDATE request SET asleep = 1 WHERE outcome = 'approved'")),
    ],
)
def test_the_checker_finds(left: Path, kind: str, doctor: Callable[[Path], None]) -> None:
    """Whatever is wrong in store, log, books or endings, by its name."""
    doctor(left)
    assert kind in {one.kind for one in found(left)}
