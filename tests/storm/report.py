"""What came of a storm, as JSON and in words."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.storm.checker import Violation
from tests.storm.journal import read

PROMISES = (  # what is promised, and which kinds of violation would break it
    ("lost decisions", ("lost_decision", "invented_decision")),
    ("double effects", ("double_effect",)),
    (
        "effects without a valid grant",
        ("foreign_effect", "unapproved_effect", "unclaimed_effect", "lost_effect"),
    ),
    ("runs stranded", ("stranded", "open")),
    ("gaps or changes in the log, lost wishes", ("log", "outbox")),
)
FAULTS = ("drop", "busy", "delay", "stop", "clock", "disk", "store", "account")


@dataclass
class Part:
    """One storm of one profile on one store."""

    profile: str
    store: str
    seed: int
    seconds: float
    folder: Path
    violations: list[Violation]
    trouble: list[str]
    journal: list[dict[str, Any]] = field(default_factory=list)
    entries: int = 0

    def __post_init__(self) -> None:
        self.journal = read(self.folder / "journal.jsonl")

    @property
    def command(self) -> str:
        return (
            f"python -m tests.storm --profile {self.profile} --store {self.store} "
            f"--seed {self.seed} --kills {self.kills}"
        )

    @property
    def kills(self) -> int:
        return self.count("kill")

    def count(self, what: str) -> int:
        return sum(line["what"] == what for line in self.journal)

    @property
    def killed(self) -> Counter[str]:
        return Counter(line["kind"] for line in self.journal if line["what"] == "kill")

    @property
    def well(self) -> bool:
        return not self.violations and not self.trouble

    def told(self) -> dict[str, Any]:
        return {
            "profile": self.profile,
            "store": self.store,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "kills": self.kills,
            "killed": dict(self.killed),
            "faults": {name: self.count(name) for name in FAULTS if self.count(name)},
            "runs": self.count("run"),
            "decisions": self.count("acknowledged"),
            "effects": self.entries,
            "violations": [str(one) for one in self.violations],
            "trouble": self.trouble,
            "again": self.command,
        }


def as_json(parts: list[Part]) -> str:
    return json.dumps([part.told() for part in parts], indent=2)


def in_words(parts: list[Part], day: str, command: str) -> str:
    """A page for docs/results."""

    def total(what: str) -> int:
        return sum(part.count(what) for part in parts)

    effects = sum(part.entries for part in parts)
    trouble = sum(len(part.trouble) for part in parts)
    others = [f"{total(name):,} {words}" for name, words in WORDS.items() if total(name)]
    lines = [
        "# Storm",
        "",
        f"{total('kill'):,} processes were ended with `kill -9` while {total('run'):,} runs led to",
        f"{effects:,} effects and people were told {total('acknowledged'):,} times that their",
        "decision counts. How it is done, and what it does and does not show, is in",
        "[storm.md](../storm.md).",
        "",
        "| what must not happen | found |",
        "|---|---|",
        *(f"| {words} | {_found(parts, kinds)} |" for words, kinds in PROMISES),
        f"| processes that ended by themselves, people who were told nonsense | {trouble} |",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(_row(part) for part in parts),
        "",
        "Beside the kills, in the same time:",
        "",
        *(f"- {one}" for one in others),
        "",
        f"Recorded on {day} with `{command}`,",
        f"on {platform.system()} {platform.machine()}, {os.cpu_count()} cores,",
        f"Python {platform.python_version()}.",
        "",
    ]
    worst = [str(one) for part in parts for one in (*part.violations, *part.trouble)]
    if worst:
        lines += ["## What was found", "", *(f"- {one}" for one in worst), ""]
    return "\n".join(lines)


COLUMNS = (
    "profile", "store", "seed", "kills", "of flows", "of executors", "of gates", "of others",
    "runs", "effects", "minutes",
)  # fmt: skip
WORDS = {
    "drop": "connections cut (half of them after the request had arrived)",
    "busy": "answers replaced by 503",
    "delay": "calls held back",
    "stop": "executors stopped beyond their lease and woken again",
    "clock": "steps of the server's clock",
    "disk": "times a full disk",
    "store": "crashes of PostgreSQL",
    "account": "changes of what had been approved",
}


def _found(parts: list[Part], kinds: tuple[str, ...]) -> int:
    return sum(one.kind in kinds for part in parts for one in part.violations)


def _row(part: Part) -> str:
    killed = part.killed
    named = [killed.get(name, 0) for name in ("flow", "executor", "gates")]
    others = part.kills - sum(named)
    cells = [
        part.profile, part.store, part.seed, part.kills, *named, others, part.count("run"),
        part.entries, f"{part.seconds / 60:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(str(cell) for cell in cells)} |"
