"""The checker's part for the profile `house`: what Tryton's books and Prefect's states say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from tests.storm.checker import Evidence, Row, Store, Violation, key_of

NO_EFFECT = ("failed", "draft")  # states of a payment in which no money has moved


def collect(store: Store, folder: Path) -> Evidence:
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    entries = json.loads((folder / "books.json").read_text())
    ends = {line["run"]: line for line in journal if line["what"] == "ended"}
    return Evidence(store, journal, entries, ends)


def effects(found: Evidence) -> Iterator[Violation]:
    """Each bill and each payment belongs to an approved, used request over the same amount."""
    requests: dict[str, list[Row]] = defaultdict(list)
    for row in found.table("request"):
        requests[key_of(row["gate_id"], row["fingerprint"])].append(row)
    tried = {row["request_id"] for row in found.table("attempt") if not row["reconciling"]}
    counted: dict[str, int] = defaultdict(int)
    for entry in found.entries:
        if entry["kind"] == "erp.payment.submit" and entry["state"] in NO_EFFECT:
            continue
        counted[entry["reference"]] += 1
        name = f"{entry['reference']} ({entry['id']})"
        same = [row for row in requests[entry["key"]] if _same(entry, row)]
        if not same:
            yield Violation("foreign_effect", name, f"no request has {entry}")
        elif not any(row["id"] in tried for row in same):
            yield Violation("unclaimed_effect", name, "no attempt was handed out for it")
        elif not any(row["outcome"] in ("approved", "voided") for row in same):
            outcomes = [row["outcome"] for row in same]
            yield Violation("unapproved_effect", name, f"its requests ended as {outcomes}")
    for reference, times in counted.items():
        if times > 1:
            yield Violation("double_effect", reference, f"{times} of it")


def _same(entry: Row, request: Row) -> bool:
    asked = json.loads(request["body"])["action"]["arguments"]
    amount = asked.get("total", asked.get("amount"))
    number = asked.get("number")
    same = number == entry["number"] and Decimal(amount) == Decimal(entry["amount"])
    return bool(same and request["action"] == entry["kind"])


def runs(found: Evidence) -> Iterator[Violation]:
    """Completed: one bill, paid once. Stopped: a gate says why, and nothing was paid."""
    for told in found.said("stranded"):
        yield Violation("stranded", told["run"], f"did not end in time: {told['state']}")
    last: dict[tuple[str, str], Row] = {}
    for row in sorted(found.table("request"), key=lambda one: int(one["round"])):
        last[row["root_run_id"], row["gate_id"]] = row
    for told in found.said("run"):
        end = found.ends.get(told["run"])
        if end is None:
            continue  # stranded, said above
        name = f"{told['number']} ({told['run'][:8]})"
        gates = [row for (run, _), row in last.items() if run == told["run"]]
        paid = [e for e in found.entries if e["reference"] == f"{told['number']}/payment"]
        paid = [e for e in paid if e["state"] == "succeeded"]
        yield from _end(name, end, gates, paid)


def _end(name: str, end: Row, gates: list[Row], paid: list[Row]) -> Iterator[Violation]:
    outcomes = [row["outcome"] for row in gates]
    stopped = [one for one in outcomes if one != "approved"]
    match end["state"]:
        case "COMPLETED":
            if stopped or len(paid) != 1:
                words = f"completed with {len(paid)} payments, gates {outcomes}"
                yield Violation("stranded", name, words)
        case "CANCELLED":
            if not stopped:
                words = f"{end['name']} ({end['words']}), and all its gates were approved"
                yield Violation("stranded", name, words)
            doubted = any(row["purpose"] == "in_doubt" for row in gates)
            if paid and not doubted:
                yield Violation("unapproved_effect", name, "stopped, and paid all the same")
        case _:
            yield Violation("stranded", name, f"{end['state']}: {end['words']}")
