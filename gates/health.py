"""What the server can see of its own health: each check a small function, each mistake with its
cure. `gates doctor` shows them beside what only the caller's machine can see.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import psutil
from sqlalchemy import func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from gates.core.asked import Assurance
from gates.core.value import Value
from gates.deliveries import LATE
from gates.service import Gates, utc_now
from gates.step_up import StepUp
from gates.store import shadows
from gates.store.database import Database, revisions
from gates.store.tables import ExecutionRow, LogRow, OutboxRow, RequestRow

SKEW = timedelta(seconds=5)  # a lease of 30 s bears this much
CROWD = 50  # runs that wait at once, beyond which SQLite wakes them late
SPARE = 1 << 30  # bytes of free disk below which a store may soon be full
LONG_WAL = 1 << 29  # bytes: somebody keeps SQLite from writing its log back
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs")


class Finding(Value):
    """`level`: "bad" has to be mended, "warning" should be known. `cure` says what to do."""

    check: str
    level: Literal["ok", "warning", "bad"]
    text: str
    cure: str = ""


@dataclass(frozen=True)
class Look:
    """What the checks look at. `now` is the server's clock."""

    gates: Gates
    session: Session
    now: datetime

    @property
    def database(self) -> Database:
        return self.gates.database

    @property
    def file(self) -> Path | None:
        """Of a store in SQLite."""
        name = self.database.engine.url.database
        return Path(name) if self.database.is_sqlite and name else None


def revision(look: Look) -> Iterator[Finding]:
    """An older server beside a newer one writes rows that the newer one does not expect."""
    found, known = look.database.revision(), revisions()
    if found == known[-1]:
        yield ok("schema", f"at {found}")
    elif found in known:
        yield bad("schema", f"at {found}, this release wants {known[-1]}", "restart the server")
    else:
        cure = "install the newer release on this server too"
        yield bad("schema", f"at {found}: a newer release has been at work", cure)


def database_clock(look: Look) -> Iterator[Finding]:
    """Leases and deadlines go by the servers' clocks; the database's tells who is off."""
    if look.database.is_sqlite:
        return
    there = look.session.connection().execute(select(func.clock_timestamp())).scalar_one()
    off = abs(there - utc_now())
    if off > SKEW:
        cure = "run NTP on the server and on the database's machine"
        yield bad("clock", f"the database's is {off.total_seconds():.0f} s off the server's", cure)


def deliveries(look: Look) -> Iterator[Finding]:
    """Cards and bells that were given up, or that nobody delivers."""
    count = select(func.count()).select_from(OutboxRow)
    dead = look.session.exec(count.where(OutboxRow.state == "dead")).one()
    late = look.session.exec(
        count.where(
            OutboxRow.state == "pending", OutboxRow.kind != "ring", OutboxRow.tries > 0
        ).where(col(OutboxRow.due_at) < look.now - LATE)
    ).one()
    last = select(OutboxRow.last_error).where(OutboxRow.last_error != "").limit(1)
    why = look.session.exec(last.order_by(col(OutboxRow.id).desc())).first() or "no reason is known"
    if dead:
        cure = "see `gates outbox`, cure it, then `gates outbox retry --all`"
        yield bad("deliveries", f"{dead} given up ({why[:120]})", cure)
    if late:
        yield bad("deliveries", f"{late} overdue ({why[:120]})", "read the gates server's log")
    if not dead and not late:
        yield ok("deliveries", "none overdue")


def bells(look: Look) -> Iterator[Finding]:
    """Decided, and the run has not come for its answer."""
    query = (
        select(func.count())
        .select_from(RequestRow)
        .where(
            RequestRow.asleep,
            col(RequestRow.settled_at) < look.now - LATE,
            ~col(RequestRow.collected),
        )
    )
    waiting = look.session.exec(query).one()
    if waiting:
        cure = "is a worker polling, and GATES_PREFECT_API_URL right? Resuming by hand is safe"
        yield bad("runs", f"{waiting} sleep although decided more than {_minutes(LATE)} ago", cure)


def work(look: Look) -> Iterator[Finding]:
    """Approved, or in doubt, and no executor takes it."""
    begun, later = col(ExecutionRow.queued_at) < look.now - LATE, aliased(RequestRow)
    newer = later.round > RequestRow.round  # people are asked about it
    query = (
        select(RequestRow.action, ExecutionRow.state, func.count())
        .join(ExecutionRow, col(ExecutionRow.request_id) == RequestRow.id)
        .where(RequestRow.outcome == "approved", begun)
        .where(col(ExecutionRow.state).in_(("queued", "in_doubt")))
        .where(~select(later.id).where(later.gate_id == RequestRow.gate_id, newer).exists())
        .group_by(RequestRow.action, ExecutionRow.state)
    )
    for action, state, number in look.session.exec(query).all():
        words = "wait for an executor" if state == "queued" else "are in doubt, nobody looks"
        cure = f"start an executor that names {action}, and read its log"
        yield bad("executor", f"{number} x {action} {words} for over {_minutes(LATE)}", cure)


def unknown_actions(look: Look) -> Iterator[Finding]:
    """A rule for an action that the server does not know judges nothing."""
    known = look.gates.asking.registry.definitions
    own = {name for rule in look.gates.asking.policy.rules for name in rule.on if "*" not in name}
    asked = set(look.session.exec(select(RequestRow.action).distinct()).all())
    for name in sorted(own - set(known) - asked):
        cure = "set GATES_ERP_URL for the ERP's actions, or mend the rule's `on`"
        yield warning("policy", f"names {name}, which this server does not know", cure)


def disk(look: Look) -> Iterator[Finding]:
    """SQLite on a full disk refuses every decision; on a network's it loses them."""
    file = look.file
    if file is None:
        return
    free = shutil.disk_usage(file.absolute().parent).free
    if free < SPARE:
        yield bad("disk", f"{free >> 20} MB free beside {file}", "make room, or move the store")
    kind = filesystem(file.absolute())
    if kind in REMOTE:
        cure = "put the file on a local disk, or the store into PostgreSQL"
        yield bad("disk", f"{file} is on a network file system ({kind})", cure)
    log = file.with_name(f"{file.name}-wal")
    if log.exists() and log.stat().st_size > LONG_WAL:
        cure = "end whatever has the store open for long, then restart the server"
        yield warning("disk", f"{log.name} has {log.stat().st_size >> 20} MB", cure)
    if free >= SPARE and kind not in REMOTE:
        yield ok("disk", f"{free >> 30} GB free")


def crowd(look: Look) -> Iterator[Finding]:
    """SQLite writes one after the other, and so does Prefect's, which wakes these runs."""
    if not look.database.is_sqlite:
        return
    waiting = select(func.count(func.distinct(RequestRow.root_run_id)))
    number = look.session.exec(waiting.where(col(RequestRow.outcome).is_(None))).one()
    if number > CROWD:
        cure = "move both to PostgreSQL, Prefect first: docs/operate.md, `Moving to PostgreSQL`"
        yield warning("store", f"{number} runs wait for people, on SQLite", cure)


def restores(look: Look) -> Iterator[Finding]:
    """For a day everybody should know that the store was put back."""
    query = select(LogRow).where(LogRow.subject == "store", LogRow.kind == "store.restored")
    last = look.session.exec(query.order_by(col(LogRow.seq).desc())).first()
    if last is not None and last.at > look.now - timedelta(days=1):
        words = f"restored at {last.at:%Y-%m-%d %H:%M} UTC by {last.actor}"
        yield warning("store", words, "see docs/operate.md, `Backup and restore`")


def authenticators(look: Look) -> Iterator[Finding]:
    """Who is asked for a code and has no app that makes one cannot approve."""
    steps, without = StepUp(look.database), set[str]()
    for view in look.gates.waiting():
        asked = view.request.requirement
        if asked is not None and asked.assurance is Assurance.STEP_UP:
            without |= {name for one, name in asked.people.items() if not steps.enrolled(one)}
    if without:
        words = (
            f"asked for a code of an app that they have not set up: {', '.join(sorted(without))}"
        )
        yield warning("people", words, "they set it up on their page in the inbox, /people/me")


def shadow(look: Look) -> Iterator[Finding]:
    """What the policy that looks on would have answered otherwise."""
    if not look.gates.shadow:
        return
    found = shadows.summary(look.session, look.gates.shadow)
    words = f"{found['different']} of {found['judged']} requests would be answered otherwise"
    if found["failed"]:
        failed = f"{words}; {found['failed']} could not be judged"
        yield warning("shadow", failed, "read the gates server's log")
    else:
        yield ok("shadow", words)


def rules(look: Look) -> Iterator[Finding]:
    """What this server judges by, and what it could not take."""
    for what, words in look.gates.troubles.items():
        cure = "mend the files, or decide the request; `gates policy check` looks at them"
        yield bad(what, f"the old rules go on: {words}", cure)
    for freeze in look.gates.orders.now(look.session).freezes:
        if not freeze.for_good:
            yield warning("freeze", f"{freeze.id}: {freeze}", "`gates thaw`, by somebody else")


CHECKS: list[Callable[[Look], Iterator[Finding]]] = [
    revision,
    database_clock,
    disk,
    deliveries,
    bells,
    work,
    unknown_actions,
    crowd,
    restores,
    authenticators,
    shadow,
    rules,
]


def findings(gates: Gates) -> list[Finding]:
    """All checks; one that fails is itself a finding."""
    found: list[Finding] = []
    for check in CHECKS:
        try:
            with gates.database.read() as session:
                found += check(Look(gates, session, gates.clock()))
        except Exception as error:  # noqa: BLE001 - the others still have something to say
            words = f"could not be looked at: {type(error).__name__}: {error}"
            found.append(bad(check.__name__, words, "read the gates server's log"))
    return found


def filesystem(path: Path) -> str:
    """Kind of the file system that holds `path`, empty where the system does not say."""
    mounts = [
        one for one in psutil.disk_partitions(all=True) if path.is_relative_to(one.mountpoint)
    ]
    return max(mounts, key=lambda one: len(one.mountpoint)).fstype if mounts else ""


def ok(check: str, text: str) -> Finding:
    return Finding(check=check, level="ok", text=text)


def warning(check: str, text: str, cure: str) -> Finding:
    return Finding(check=check, level="warning", text=text, cure=cure)


def bad(check: str, text: str, cure: str) -> Finding:
    return Finding(check=check, level="bad", text=text, cure=cure)


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} minutes"
