"""An independent look at what a storm has left behind. Knows the store by its tables, the till by
its books and the driver by its journal, and nothing of the code that wrote them.

What it looks for, each a kind of violation:

    lost_decision     somebody was told yes, and the store or the log does not say so, or undid it
    invented_decision the store has a decision that nobody sent
    double_effect     the books have two entries for one gate, or one key
    foreign_effect    an entry without a request that it belongs to, fingerprint and all
    unapproved_effect an entry whose request was never approved
    unclaimed_effect  an entry whose grant nobody had claimed when it was booked
    lost_effect       an execution that succeeded and is not in the books
    stranded          a run without an end, or with the wrong one
    log               an event, a claim or an attempt without its entry, or a changed entry
    outbox            a wish that was never fulfilled, or given up
    open              an attempt, a question or a suspended run that is left over
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
OWN = "own.book"
SENT = ("request", "person", "kind", "reason")
MEANS = {  # outcomes that a counted decision may lead to; a quorum may not have come together
    "approve": ("approved", "rejected", "expired", "cancelled", "voided", "sent_back"),
    "reject": ("rejected",),
}
STOPS = {"rejected": "rejected", "expired": "expired", "cancelled": "cancelled"}


@dataclass(frozen=True)
class Violation:
    kind: str
    subject: str
    words: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.words}"


class Store:
    """Rows of either database, read only, with ? for parameters."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lite: sqlite3.Connection | None = None
        self._post: psycopg.Connection[Row] | None = None

    def __enter__(self) -> Self:
        if self._url.startswith("sqlite:///"):
            file = self._url.removeprefix("sqlite:///")
            self._lite = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)
            self._lite.row_factory = sqlite3.Row
        else:
            self._post = psycopg.connect(self._url, row_factory=dict_row)
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._lite, self._post):
            if one is not None:
                one.close()

    def rows(self, query: str, *values: object) -> list[Row]:
        if self._lite is not None:
            return [dict(row) for row in self._lite.execute(query, values)]
        assert self._post is not None
        return list(self._post.execute(query.replace("?", "%s"), values).fetchall())


@dataclass
class Evidence:
    """`entries` are the books; `ends` what each run said of its own end, by run."""

    store: Store
    journal: list[Row]
    entries: list[Row]
    ends: dict[str, Row]
    _cache: dict[str, list[Row]] = field(default_factory=dict)

    def table(self, name: str) -> list[Row]:
        if name not in self._cache:
            self._cache[name] = self.store.rows(f'SELECT * FROM "{name}"')  # noqa: S608 - our tables
        return self._cache[name]

    def said(self, what: str) -> list[Row]:
        return [line for line in self.journal if line["what"] == what]


def collect(store: Store, folder: Path) -> Evidence:
    """Of the profile `till`, from the folder that a storm has left."""
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    with sqlite3.connect(folder / "till.sqlite") as books:
        books.row_factory = sqlite3.Row
        entries = [dict(row) for row in books.execute("SELECT * FROM entry ORDER BY id")]
    books.close()
    files = (folder / "endings").glob("*.json")
    ends = {one["run"]: one for one in (json.loads(file.read_text()) for file in files)}
    return Evidence(store, journal, entries, ends)


Look = Callable[[Evidence], Iterator[Violation]]


def check(found: Evidence, *own: Look) -> list[Violation]:
    """Everything that is wrong; nothing where all is well. `own`: how a profile looks at its
    effects and runs; by default as those of the till are.
    """
    looks = own or (_effects, _runs)
    return [
        *_decisions(found),
        *(one for look in looks for one in look(found)),
        *order(found),
        *_log(found),
        *_outbox(found),
        *_open(found),
    ]


# -- decisions ----------------------------------------------------------------------------------


def _decisions(found: Evidence) -> Iterator[Violation]:
    stored, logged = _decided(found)
    outcomes = {row["id"]: row["outcome"] for row in found.table("request")}
    for told in found.said("acknowledged"):
        place = told["request"], told["person"]
        who = f"{told['person']} on {told['request'][:8]}"
        for where, there in (("store", stored[place]), ("log", logged[place])):
            same = [(one["kind"], one["reason"]) for one in there]
            if same != [(told["kind"], told["reason"])]:
                words = f"was told yes to {told['kind']!r}; the {where} has {same}"
                yield Violation("lost_decision", who, words)
        outcome = outcomes.get(told["request"])
        if outcome not in MEANS[told["kind"]]:
            words = f"was told yes to {told['kind']!r}, and the outcome is {outcome}"
            yield Violation("lost_decision", who, words)
    sent = {tuple(one[name] for name in SENT) for one in found.said("sent")}
    for (request, person), there in stored.items():
        for one in there:
            if (request, person, one["kind"], one["reason"]) not in sent:
                words = f"{one['kind']} {one['reason']!r} was never sent"
                yield Violation("invented_decision", f"{person} on {request[:8]}", words)


Decided = dict[tuple[str, str], list[Row]]


def _decided(found: Evidence) -> tuple[Decided, Decided]:
    """By request and person: what the store has, and what the log has."""
    stored: Decided = defaultdict(list)
    for row in found.table("event"):
        if row["kind"] == "decided":
            stored[row["request_id"], row["person"]].append(json.loads(row["body"])["decision"])
    logged: Decided = defaultdict(list)
    for row in found.table("log"):
        if row["kind"] == "event.decided":
            logged[row["subject"], row["actor"]].append(json.loads(row["body"])["decision"])
    return stored, logged


# -- effects ------------------------------------------------------------------------------------


def key_of(gate: str, fingerprint: str) -> str:
    """The idempotency key as docs/write-an-action.md defines it."""
    return f"GATE-{_digest([gate, fingerprint])[:16].upper()}"


def fingerprint_of(name: str, subject: list[str], arguments: Row) -> str:
    """SHA-256 over the canonical JSON of what would run: here of what was booked."""
    return _digest({"name": name, "subject": subject, "arguments": arguments})


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _effects(found: Evidence) -> Iterator[Violation]:
    requests: dict[str, list[Row]] = defaultdict(list)
    for row in found.table("request"):
        requests[_key(row)].append(row)
    attempts: dict[str, list[Row]] = defaultdict(list)
    for row in found.table("attempt"):
        attempts[row["request_id"]].append(row)
    for name in ("key", "reference"):
        for value, times in Counter(one[name] for one in found.entries).items():
            if times > 1:
                yield Violation("double_effect", value, f"{times} entries with this {name}")
    for entry in found.entries:
        yield from _effect(entry, requests[entry["key"]], attempts)
    yield from _lost(found)


def _key(request: Row) -> str:
    """What an effect of this request carries: flows give their own bookings their reference."""
    if request["action"] == OWN:
        return str(json.loads(request["body"])["action"]["arguments"]["reference"])
    return key_of(request["gate_id"], request["fingerprint"])


def _lost(found: Evidence) -> Iterator[Violation]:
    keys = {entry["key"] for entry in found.entries}
    rows = {row["id"]: row for row in found.table("request")}
    for row in found.table("execution"):
        request = rows[row["request_id"]]
        if row["state"] == "succeeded" and _books(request, row) and _key(request) not in keys:
            words = "succeeded, and the books have nothing"
            yield Violation("lost_effect", row["request_id"][:8], words)


def _books(request: Row, execution: Row) -> bool:
    """Whether this execution leaves something in the books: a question does not."""
    result = json.loads(execution["result"]) if execution["result"] else {}
    return request["action"].startswith(("till.", "own.")) and bool(result)


def _effect(entry: Row, requests: list[Row], attempts: dict[str, list[Row]]) -> Iterator[Violation]:
    name = f"entry {entry['id']} ({entry['kind']} {entry['reference']})"
    arguments = {one: entry[one] for one in ("payee", "amount", "reference")}
    what = OWN if entry["kind"] == "own" else f"till.{entry['kind']}"
    subject = [] if entry["kind"] == "own" else [f"payee:{entry['payee']}"]
    same = [r for r in requests if r["fingerprint"] == fingerprint_of(what, subject, arguments)]
    if not same:
        words = f"no request has the fingerprint of {arguments}"
        yield Violation("foreign_effect", name, words)
        return
    # An approval that was taken back because the world changed had not been used before.
    used = [r for r in same if attempts[r["id"]]]
    if not [r for r in same if r["outcome"] == "approved"] and not used:
        outcomes = [r["outcome"] for r in same]
        yield Violation("unapproved_effect", name, f"its requests ended as {outcomes}")
        return
    if not any(not one["reconciling"] for r in used for one in attempts[r["id"]]):
        yield Violation("unclaimed_effect", name, "no attempt was handed out for it")


def order(found: Evidence) -> Iterator[Violation]:
    """As seen on the wires, whatever any clock said: first the grant, then the call."""
    granted, called = set(), set()
    for line in found.journal:
        if line["what"] == "granted":
            granted.add(line["key"])
        elif line["what"] == "booking":
            called.add(line["key"])
            if line["key"] not in granted:
                yield Violation("unclaimed_effect", line["key"], "called for before its grant")
    for entry in found.entries:
        if entry["key"] not in called:
            yield Violation("unclaimed_effect", entry["key"], "booked, and nobody called for it")


def seconds(value: object) -> float:
    """Since the epoch, of a time as either database gives it."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


# -- runs ---------------------------------------------------------------------------------------


def _runs(found: Evidence) -> Iterator[Violation]:
    for told in found.said("stranded"):
        yield Violation("stranded", told["run"], "did not end in time")
    gates: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(found.table("request"), key=lambda one: int(one["round"])):
        gates[row["root_run_id"], json.loads(row["body"])["gate_key"]].append(row)
    executions = {row["request_id"]: row for row in found.table("execution")}
    booked = {entry["reference"]: entry for entry in found.entries}
    for told in found.said("run"):
        end = found.ends.get(told["run"])
        if end is None:
            yield Violation("stranded", told["run"], "has left no ending")
            continue
        if end["trouble"]:
            yield Violation("stranded", told["run"], f"ended badly: {end['trouble']}")
        for step in end["steps"]:
            rounds = gates[f"script-{told['run']}", step["key"]]
            entry = booked.get(f"{told['run']}/{step['key']}")
            yield from _step(told["run"], step, rounds, executions, entry)
        yield from _steps_done(told, end)


def _steps_done(told: Row, end: Row) -> Iterator[Violation]:
    hows = [step["how"] for step in end["steps"]]
    whole = len(hows) == len(told["steps"]) and set(hows) <= {"succeeded"}
    if not whole and not end["trouble"] and "succeeded" in hows[-1:]:
        yield Violation("stranded", told["run"], f"stopped without a reason after {hows}")


def _step(
    run: str, step: Row, rounds: list[Row], executions: dict[str, Row], entry: Row | None
) -> Iterator[Violation]:
    name = f"{run}/{step['key']}"
    if not rounds:
        yield Violation("stranded", name, "says how its gate ended, and there is no request")
        return
    last = rounds[-1]
    execution = executions.get(last["id"], {}).get("state")
    how = step["how"]
    if how == "succeeded":
        if last["outcome"] != "approved" or execution != "succeeded":
            words = f"succeeded for the run; the store says {last['outcome']}, {execution}"
            yield Violation("stranded", name, words)
        if "entry" in step and (entry is None or entry["id"] != step["entry"]):
            words = f"was given entry {step['entry']}; the books have {entry and entry['id']}"
            yield Violation("stranded", name, words)
        return
    expected = STOPS.get(str(last["outcome"]), str(last["outcome"]))
    if how == "forbidden":
        expected = "forbidden" if last["outcome"] == "rejected" else expected
    if how != expected:
        yield Violation("stranded", name, f"{how} for the run; the store says {expected}")
    doubted = any(row["purpose"] == "in_doubt" for row in rounds)
    if entry is not None and not doubted:
        words = f"{how}, and the books have entry {entry['id']}"
        yield Violation("unapproved_effect", name, words)


# -- log, outbox, left-overs --------------------------------------------------------------------


def _log(found: Evidence) -> Iterator[Violation]:
    entries = Counter((row["subject"], row["kind"]) for row in found.table("log"))
    for request, count in Counter(row["id"] for row in found.table("request")).items():
        if entries[request, "request.opened"] != count:
            yield Violation("log", request[:8], "not opened exactly once in the log")
    events = Counter((row["request_id"], f"event.{row['kind']}") for row in found.table("event"))
    for place, count in events.items():
        if entries[place] != count:
            words = f"{count} of {place[1]}, {entries[place]} in the log"
            yield Violation("log", place[0][:8], words)
    yield from _log_of_attempts(found)
    yield from _unchanged(found)


def _log_of_attempts(found: Evidence) -> Iterator[Violation]:
    told: dict[str, list[str]] = defaultdict(list)
    for row in found.table("log"):
        attempt = json.loads(row["body"]).get("attempt")
        if attempt:
            told[attempt].append(row["kind"])
    begins = ("grant.claimed", "grant.answered", "attempt.reconciling")
    for row in found.table("attempt"):
        kinds = told[row["id"]]
        if sum(kind in begins for kind in kinds) != 1:
            yield Violation("log", row["id"][:8], f"an attempt that began as {kinds}")
        ends = [kind for kind in kinds if kind.startswith("attempt.") and kind not in begins]
        if row["ended_at"] and not ends and "grant.answered" not in kinds:
            yield Violation("log", row["id"][:8], f"an attempt that ended as {kinds}")


def entry_digest(row: Row) -> str:
    """Of a log entry as it was seen, whichever database it is in."""
    text = [row["seq"], seconds(row["at"]), row["actor"], row["kind"], row["subject"], row["body"]]
    return _digest([str(one) for one in text])


def _unchanged(found: Evidence) -> Iterator[Violation]:
    now = {row["seq"]: entry_digest(row) for row in found.table("log")}
    for told in found.said("seen"):
        if now.get(told["seq"]) != told["digest"]:
            there = "is another one" if told["seq"] in now else "is gone"
            yield Violation("log", f"entry {told['seq']}", f"was there, and {there}")


def _outbox(found: Evidence) -> Iterator[Violation]:
    for row in found.table("outbox"):
        if row["state"] != "done":
            words = (
                f"{row['kind']} is {row['state']} after {row['tries']} tries: {row['last_error']}"
            )
            yield Violation("outbox", row["request_id"][:8], words)


def _open(found: Evidence) -> Iterator[Violation]:
    for row in found.table("attempt"):
        if not row["ended_at"]:
            yield Violation("open", row["id"][:8], f"an attempt of {row['holder']} is still open")
    for row in found.table("execution"):
        if row["state"] in ("running", "queued"):
            yield Violation("open", row["request_id"][:8], f"an execution is still {row['state']}")
    for row in found.table("request"):
        if row["outcome"] is None:
            yield Violation("open", row["id"][:8], "a question is still open")
        if row["asleep"]:
            yield Violation("open", row["id"][:8], "its run is still asleep")
