"""Backup and restore with runs in flight, on both stores: what was approved is done once."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import select

from gates.core.errors import InvalidGrant, InvalidInput, NotAuthenticated, StaleCard, Unavailable
from gates.core.messages import AttemptReport
from gates.core.model import DecisionKind, ExecutionState, Job, OutcomeKind, Purpose, Standing
from gates.core.restored import JUMP
from gates.store.database import Database, revisions
from gates.store.tables import LogRow, OutboxRow
from integrations.operating.copying import Restored, backup, restore, store_at
from integrations.operating.manifest import Manifest, beside
from tests.support.stores import Frozen
from tests.support.world import Till, World

QUESTION = {"name": "note", "in_process": True, "arguments": {"text": "go on?"}}


def quiet(_words: str) -> None:
    """Nobody watches."""


@dataclass
class CountingTill(Till):
    """Counts how often somebody reached into the drawer, not only what is gone."""

    reached: list[str] = field(default_factory=list)


@dataclass
class House:
    """A store that is used, copied and put back; what is outside of it stays as it is."""

    url: str
    folder: Path
    till: CountingTill = field(default_factory=CountingTill)
    _open: list[Database] = field(default_factory=list)

    def start(self, after: World | None = None) -> World:
        """A server on the store; the world outside, with its clock, is that of `after`."""
        database = Database(self.url)
        database.migrate()
        self._open.append(database)
        more = {"clock": after.clock} if after else {}
        return World(database, till=self.till, **more)

    def stop(self) -> None:
        for database in self._open:
            assert database.engine.pool.checkedout() == 0, "a connection leaked"
            database.close()
        self._open.clear()

    @property
    def file(self) -> Path:
        return self.folder / "backup"

    def save(self) -> Manifest:
        return backup(store_at(self.url), self.file, quiet)

    def put_back(self, world: World) -> Restored:
        self.stop()
        world.clock.advance(minutes=5)
        return restore(store_at(self.url), self.file, "olga", quiet, now=world.clock())


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path / 'gates.sqlite'}"
    if request.param == "postgresql":
        if shutil.which("pg_dump") is None:
            pytest.skip("pg_dump is not installed: backups of PostgreSQL are not tried here")
        url = request.getfixturevalue("postgres_database")
    made = House(url, tmp_path)
    yield made
    made.stop()
    if request.param == "postgresql":
        drop_kept(url)


def drop_kept(url: str) -> None:
    """What a restore has kept, and the fixture does not know of."""
    store = store_at(url)
    with store._home() as connection:  # type: ignore[attr-defined]
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s",
            (f"{sa.make_url(url).database}_before_%",),
        ).fetchall()
        for (name,) in found:
            connection.execute(f'DROP DATABASE "{name}"')


def ask(world: World, run: str, amount: str, **more: Any) -> str:
    world.run = run
    return world.propose(amount, **more).view.request.id


def standing(world: World, run: str, amount: str, **more: Any) -> Standing:
    world.run = run
    return world.propose(amount, **more).standing


def work_off(world: World) -> list[Job]:
    """All that executors find to do until nothing is left, settling included."""
    done: list[Job] = []
    for _ in range(4):
        world.work.lapse()
        world.clock.advance(seconds=15)
        while job := world.lease():
            world.perform(job)
            done.append(job)
    return done


# -- what matters -----------------------------------------------------------------------------


def test_what_was_paid_after_the_backup_is_paid_once(house: House) -> None:
    """Whatever state its approval was in when the backup was made, known to it or not."""
    world = house.start()
    approved = ask(world, "run-approved", "5001.00")
    world.decide(approved, "dana")
    opened = ask(world, "run-open", "5002.00")
    ask(world, "run-running", "501.00")
    assert world.lease() is not None
    ask(world, "run-queued", "502.00")
    house.save()

    world.decide(opened, "dana")
    runs = {"run-approved": "5001.00", "run-open": "5002.00", "run-new": "503.00"}
    for run, amount in runs.items():
        assert standing(world, run, amount) is Standing.EXECUTING
    world.clock.advance(minutes=2)
    work_off(world)
    runs |= {"run-running": "501.00", "run-queued": "502.00"}
    paid = dict(house.till.paid)
    assert sorted(paid.values()) == sorted(runs.values())

    done = house.put_back(world)
    assert (done.mark.in_doubt, done.mark.reopened) == (3, 1)
    world = house.start(world)
    assert standing(world, "run-open", "5002.00") is Standing.WAITING
    world.decide(opened, "dana")
    for run, amount in runs.items():
        assert standing(world, run, amount) is Standing.EXECUTING
    jobs = work_off(world)
    for run, amount in runs.items():
        assert standing(world, run, amount) is Standing.SUCCEEDED, run
    assert house.till.paid == paid
    executed = [job.idempotency_key for job in jobs if job.kind == "execute"]
    assert len(executed) == 1  # the one that the restored store had never heard of: same key
    assert executed[0] in paid


def test_what_was_not_paid_is_claimed_again(house: House) -> None:
    """Looked for first, then claimed with every check, then run: nothing is forgotten either."""
    world = house.start()
    request_id = ask(world, "run-1", "5001.00")
    world.decide(request_id, "dana")
    assert standing(world, "run-1", "5001.00") is Standing.EXECUTING
    house.save()
    house.put_back(world)
    world = house.start(world)
    assert standing(world, "run-1", "5001.00") is Standing.EXECUTING
    (looked,) = work_off(world)
    assert (looked.kind, house.till.paid) == ("reconcile", {})
    assert standing(world, "run-1", "5001.00") is Standing.EXECUTING
    assert [job.kind for job in work_off(world)] == ["execute"]
    assert standing(world, "run-1", "5001.00") is Standing.SUCCEEDED
    assert list(house.till.paid.values()) == ["5001.00"]


def test_an_old_approval_does_not_hold_for_a_changed_world(house: House) -> None:
    """The payee's account changed after the backup: people are asked again, nothing runs."""
    world = house.start()
    request_id = ask(world, "run-1", "5001.00")
    world.decide(request_id, "dana")
    assert standing(world, "run-1", "5001.00") is Standing.EXECUTING
    house.save()
    house.till.accounts["acme"] = "NL99"
    house.put_back(world)
    world = house.start(world)
    work_off(world)
    assert standing(world, "run-1", "5001.00") is Standing.WAITING
    outcome = world.gates.view(request_id).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.VOIDED
    assert work_off(world) == []
    assert house.till.paid == {}


def test_a_failure_is_looked_into_before_it_is_tried_again(house: House) -> None:
    """It had failed when the backup was made; that a second try succeeded is not known."""
    world = house.start()
    ask(world, "run-1", "501.00", call=1)
    house.till.broken = "stuck"
    job = world.lease()
    assert job is not None
    world.perform(job)
    house.till.broken = ""
    house.save()
    assert standing(world, "run-1", "501.00", call=2) is Standing.EXECUTING
    work_off(world)
    house.put_back(world)
    world = house.start(world)
    assert standing(world, "run-1", "501.00", call=2) is Standing.EXECUTING
    assert [job.kind for job in work_off(world)] == ["reconcile"]
    assert standing(world, "run-1", "501.00", call=2) is Standing.SUCCEEDED
    assert len(house.till.paid) == 1


def test_what_a_flow_ran_itself_goes_to_people(house: House) -> None:
    """No executor can look into it: the flow waits, and people say whether it may run again."""
    own = QUESTION | {"key": "own"}
    world = house.start()
    world.run = "run-1"
    before = world.propose("0", **own)
    assert before.standing is Standing.CLAIMED
    house.save()
    house.put_back(world)
    world = house.start(world)
    world.work.lapse()
    assert standing(world, "run-1", "0", **own) is Standing.WAITING
    (doubt,) = world.gates.waiting()
    assert doubt.request.purpose is Purpose.IN_DOUBT
    told = AttemptReport(state="succeeded", fence=1, result={})
    assert before.grant is not None
    with pytest.raises(InvalidGrant):
        world.work.report(world.flow, before.grant.attempt_id, told)
    world.decide(doubt.request.id, "dana")
    assert standing(world, "run-1", "0", **own) is Standing.CLAIMED


def test_an_approved_function_of_a_flow_goes_to_people_when_it_is_claimed(house: House) -> None:
    """It may have run since; a mere question is answered as it was."""
    own = {"in_process": True, "name": "till.burn.not", "arguments": {"text": "x"}}
    world = house.start()
    for run, key in (("run-1", "own"), ("run-2", "ask")):
        world.decide(ask(world, run, "0", **own, key=key, question=key == "ask"), "dana")
    house.save()
    house.put_back(world)
    world = house.start(world)
    asked = own | {"key": "ask", "question": True}
    assert standing(world, "run-2", "0", **asked) is Standing.SUCCEEDED
    assert standing(world, "run-1", "0", **own, key="own") is Standing.EXECUTING
    assert world.work.lapse() == 1
    assert standing(world, "run-1", "0", **own, key="own") is Standing.WAITING


def test_processes_of_before_the_restore_are_refused(house: House) -> None:
    """A report that was under way counts no more; later fences are far above every earlier one."""
    world = house.start()
    ask(world, "run-1", "501.00")
    job = world.lease()
    assert job is not None
    house.save()
    house.put_back(world)
    world = house.start(world)
    told = AttemptReport(state="succeeded", fence=job.grant.fence, result={"paid": "501.00"})
    with pytest.raises(InvalidGrant):
        world.work.report(world.executor, job.grant.attempt_id, told)
    world.clock.advance(minutes=1)
    again = world.lease()
    assert again is not None
    assert (again.kind, again.grant.fence > JUMP) == ("reconcile", True)


def test_doors_are_shut_and_the_log_says_why(house: House) -> None:
    """Sessions and links end, keys that had been revoked stay so, and the entry names who."""
    world = house.start()
    key = world.access.create_key("flow", "left-agent")
    kept = world.access.create_key("flow", "other-agent")
    session = world.access.redeem_link(world.access.create_link("dana"))
    link = world.access.create_link("mika")
    made = house.save()
    world.access.revoke_key(key.split("_")[1])
    done = house.put_back(world)
    world = house.start(world)
    for door in (
        lambda: world.access.key_holder(key),
        lambda: world.access.session(session),
        lambda: world.access.redeem_link(link),
    ):
        with pytest.raises(NotAuthenticated):
            door()
    assert world.access.key_holder(kept).requester.agent == "other-agent"
    assert done.mark.revoked == (key.split("_")[1],)
    assert kept.split("_")[1] in dict(done.mark.keys)
    with world.database.read() as read:
        (entry,) = read.exec(select(LogRow).where(LogRow.kind == "store.restored")).all()
    assert entry.actor == "olga"
    assert json.loads(entry.body)["backup"] == made.made_at.isoformat()


def test_cards_and_bells_are_due_again(house: House) -> None:
    """Whatever was delivered since the backup; pages that are still open are stale."""
    world = house.start()
    opened = ask(world, "run-1", "5000.00")
    seen = world.gates.view(opened).revision
    world.passes.suspending(world.flow, [opened])
    approved = ask(world, "run-2", "5001.00")
    world.passes.suspending(world.flow, [approved])
    world.decide(approved, "dana")
    with world.database.write() as write:
        for row in write.exec(select(OutboxRow)).all():
            row.state = "dead" if row.kind == "ring" else "done"
    house.save()
    house.put_back(world)
    world = house.start(world)
    with world.database.read() as read:
        due = read.exec(select(OutboxRow).where(OutboxRow.state == "pending")).all()
    found = {(row.kind, row.request_id) for row in due}
    assert found >= {("cards", opened), ("tell", opened), ("ring", approved), ("cards", approved)}
    assert world.gates.doorbell(approved) is not None
    assert world.gates.view(opened).revision >= seen + JUMP
    with pytest.raises(StaleCard, match="look again"):
        world.gates.decide(
            opened,
            person_id="dana",
            kind=DecisionKind.APPROVE,
            channel="inbox",
            assurance="session",
            card_revision=seen,
        )
    world.run = "run-1"
    assert world.passes.suspending(world.flow, [opened]).pause_key == f"run-1-{JUMP + 2}"


# -- the copy ---------------------------------------------------------------------------------


def test_a_backup_is_one_picture_of_a_store_in_use(house: House) -> None:
    """Taken in the middle of writing: no request without its log entries, and it says its rows."""
    world = house.start()
    for number in range(20):
        ask(world, f"run-{number}", "501.00")
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            ask(world, f"more-{number}", "5000.00")
            if number > 2:
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(60)
        made = house.save()
    finally:
        stop.set()
        writer.join()
    assert made.rows["request"] > 20
    assert made.rows["log"] >= 2 * made.rows["request"] - 20
    assert oct(house.file.stat().st_mode)[-3:] == "600"
    assert oct(beside(house.file).stat().st_mode)[-3:] == "600"
    house.put_back(world)
    with house.start(world).database.read() as read:
        counted = read.connection().execute(sa.text("SELECT count(*) FROM request")).scalar_one()
    assert counted == made.rows["request"]


def test_the_store_that_was_there_is_kept(house: House) -> None:
    """A restore of the wrong file can be taken back."""
    world = house.start()
    house.save()
    request_id = ask(world, "run-1", "5000.00")
    done = house.put_back(world)
    assert house.start(world).gates.waiting() == []
    house.stop()
    url = f"sqlite:///{done.kept}"
    if not house.url.startswith("sqlite"):
        url = sa.make_url(house.url).set(database=done.kept).render_as_string(hide_password=False)
    before = Database(url)
    assert World(before).gates.view(request_id).request.id == request_id
    before.close()


def test_a_restore_makes_a_store_where_there_is_none(house: House) -> None:
    """A new machine: the file is all there is."""
    world = house.start()
    request_id = ask(world, "run-1", "5000.00")
    house.save()
    house.stop()
    away = store_at(house.url)
    away.discard()
    done = house.put_back(world)
    assert done.kept == ""
    assert house.start(world).gates.view(request_id).request.id == request_id


def test_a_store_in_use_is_not_replaced(house: House) -> None:
    """As long as one server is connected, idle or not."""
    world = house.start()
    house.save()
    ask(world, "run-1", "5000.00")
    with pytest.raises(Unavailable, match="stop"):
        restore(store_at(house.url), house.file, "olga", quiet)
    assert len(world.gates.waiting()) == 1


def test_a_backup_of_an_earlier_release_is_brought_up_to_date(house: House) -> None:
    """Its schema is migrated before anybody may use it."""
    database = Database(house.url)
    frozen = Frozen.read()
    frozen.put_into(database)
    database.close()
    assert house.save().revision == frozen.revision
    done = restore(store_at(house.url), house.file, "olga", quiet)
    database = Database(house.url)
    assert database.revision() == revisions()[-1]
    view = World(database).gates.view(frozen.requests["queued"])
    database.close()
    assert view.execution is not None
    assert view.execution.state is ExecutionState.IN_DOUBT
    assert done.mark.in_doubt >= 4


def test_nothing_is_overwritten(house: House) -> None:
    """Neither a backup nor its manifest."""
    house.start()
    house.save()
    with pytest.raises(InvalidInput, match="is there already"):
        house.save()
    house.file.unlink()
    with pytest.raises(InvalidInput, match=r"manifest\.json is there already"):
        house.save()
    assert not house.file.exists()


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def lose_manifest(file: Path) -> None:
    beside(file).unlink()


def rewrite(**changes: Any) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        manifest = Manifest.model_validate_json(beside(file).read_bytes())
        beside(file).write_text(manifest.model_copy(update=changes).model_dump_json())

    return write


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "SHA-256 differs"),
        (lose_manifest, "a backup is two files"),
        (rewrite(revision="9999"), "schema 9999, which this release does not know"),
        (rewrite(rows={"request": 7}), "rows, and its manifest says"),
        (Path.unlink, "is not there"),
    ],
)
def test_a_wrong_file_is_refused(house: House, spoil: Callable[[Path], None], words: str) -> None:
    """Before anything is touched, and nothing is left lying about."""
    world = house.start()
    house.save()
    request_id = ask(world, "run-1", "5000.00")
    spoil(house.file)
    house.stop()
    with pytest.raises(InvalidInput, match=words):
        restore(store_at(house.url), house.file, "olga", quiet)
    assert list(house.folder.glob("*.restoring*")) == []
    assert house.start(world).gates.view(request_id).outcome is None


def test_a_backup_is_for_its_own_kind_of_database(tmp_path: Path) -> None:
    """A dump is not a SQLite file."""
    made = House(f"sqlite:///{tmp_path / 'gates.sqlite'}", tmp_path)
    made.start()
    made.save()
    made.stop()
    rewrite(kind="postgresql")(made.file)
    with pytest.raises(InvalidInput, match="is a backup of postgresql"):
        restore(store_at(made.url), made.file, "olga", quiet)


def test_a_store_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    """A typing error in the address is told; an empty file is not a backup."""
    with pytest.raises(InvalidInput, match="There is no store yet"):
        backup(store_at(f"sqlite:///{tmp_path / 'other.sqlite'}"), tmp_path / "b", quiet)
    assert list(tmp_path.iterdir()) == []


def test_programs_that_are_missing_or_too_old_are_named(
    postgres_database: str, tmp_path: Path
) -> None:
    """With the cure; nothing is left that looks like a backup."""
    database = Database(postgres_database)
    database.migrate()
    database.close()
    with pytest.raises(InvalidInput, match=r"pg_dump is not in .*--programs"):
        backup(store_at(postgres_database, tmp_path), tmp_path / "b", quiet)
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    with pytest.raises(InvalidInput, match=r"9\.6\.24.*--programs"):
        backup(store_at(postgres_database, tmp_path), tmp_path / "b", quiet)
    assert not (tmp_path / "b").exists()


def test_a_restore_that_was_cut_off_is_no_hindrance(tmp_path: Path) -> None:
    """Its draft was never used, and is made anew."""
    made = House(f"sqlite:///{tmp_path / 'gates.sqlite'}", tmp_path)
    world = made.start()
    made.save()
    (tmp_path / "gates.sqlite.restoring").write_text("half a file")
    (tmp_path / "gates.sqlite.restoring-wal").write_text("and its log")
    made.put_back(world)
    assert made.start(world).gates.waiting() == []
    made.stop()


def test_settling_is_waited_for_after_a_restore(house: House) -> None:
    """A call of before the restore may still be on its way: nobody looks too early."""
    world = house.start()
    ask(world, "run-1", "501.00")
    house.save()
    house.put_back(world)
    world = house.start(world)
    assert world.lease() is None
    world.clock.now += timedelta(seconds=11)
    assert world.lease() is not None
