"""The loop detector beside others' rules, on recorded runs of other people's agents.

GATES_TEST_TRACES names a folder with the runs (tau, agentdojo, openhands_oas and magentic_whowhen,
each a .jsonl.gz); without it only the cost of a step is measured.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import string
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gates.core.loops import Budget, Detector, End, Likeness, Step, Thresholds, digest_of
from gates.core.loops.recorded import TracedRun
from tests.benchmarks.figures import Fact, Report, Row, say
from tests.benchmarks.loop_rules import RULES, ours
from tests.benchmarks.loop_scores import Labelled, Score, f1, scored

FOLDER = "GATES_TEST_TRACES"
FILES = ("tau", "agentdojo", "openhands_oas")
STEPS = 2_000
HEADING = """# Loops, as measured

{where}. Recorded runs of other people's agents (tau-bench, AgentDojo, OpenHands on OpenAgentSafety,
Magentic-One), step by step and open loop: a rule is told what happened and stops nothing. What the
figures mean, and what the labels are worth, is said in [loops.md](../loops.md).
"""


@dataclass
class Table(Report):
    """A report whose table is one of rules, not of times."""

    table: list[list[str]] = field(default_factory=list)

    def markdown(self) -> str:
        title, _, rest = super().markdown().partition("\n")
        lines = [f"| {' | '.join(cells)} |" for cells in self.table]
        if lines:
            lines.insert(1, "|" + " --- |" * len(self.table[0]))
        return "\n".join([title, "", *lines, rest]) if lines else f"{title}\n{rest}"


def run() -> Report:
    report = Table("Loops: this detector and the rules of others")
    report.rows, report.facts = [*cost(1_000, 0.010), *cost(50_000, 0.150)], [memory()]
    folder = os.environ.get(FOLDER)
    if not folder:
        report.notes.append(f"Recall and precision: skipped, {FOLDER} names no folder with traces.")
        return report
    runs = list(labelled(Path(folder)))
    say(f"loops: {len(runs)} runs, {sum(len(one.pairs) for one in runs)} calls")
    scores = {name: scored(rule, runs) for name, rule in RULES.items()}
    report.table = table(scores)
    report.facts += [*facts(next(iter(scores.values()))), writes(runs)]
    report.notes += [*halves(runs), *sources(runs)]
    told, note = magentic(Path(folder))
    report.facts.append(told)
    report.notes.append(note)
    return report


def labelled(folder: Path) -> Iterator[Labelled]:
    for name in FILES:
        for record in records(folder / f"{name}.jsonl.gz"):
            yield Labelled(
                run=record["trajectory_id"],
                family=record["family"],
                pairs=TracedRun.model_validate(record).pairs(),
                truth=record["ground_truth"],
                succeeded=bool(record["outcome"].get("success")),
            )


def records(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def table(scores: dict[str, Score]) -> list[list[str]]:
    head = ["rule", "recall", "precision", "delay p50, p90", "false alarms / 1,000 calls"]
    head += ["exhausted alarmed", "finished alarmed", "calls after"]
    head += ["fix and retest", "re-reads", "polls", "enumerations"]
    return [head, *([name, *cells(score)] for name, score in scores.items())]


def cells(score: Score) -> list[str]:
    return [
        f"{score.recall:.3f}",
        f"{score.precision:.3f}",
        f"{score.median_delay:.0f}, {score.delay(0.9):.0f}",
        f"{score.clean_rate:.2f}",
        f"{score.exhausted_found}/{score.exhausted}",
        f"{score.finished_found}/{score.finished}",
        f"{score.calls_after / max(1, score.exhausted_calls):.0%}",
        *(
            f"{score.alike_flagged[kind]}/{score.alike[kind]}"
            for kind in ("fix_and_retest", "reread_after_write", "poll_or_scroll", "enumeration")
        ),
    ]


def facts(score: Score) -> list[Fact]:
    finished = 100 * score.finished_found / max(1, score.finished)
    after = 100 * score.calls_after / max(1, score.exhausted_calls)
    exhausted = 100 * score.exhausted_found / max(1, score.exhausted)
    polls = score.polls_of_finished
    return [
        Fact("Recall of stuck runs", 100 * score.recall, "%", least=95),
        Fact("Precision", 100 * score.precision, "%", least=90),
        Fact("Delay from the onset, median", score.median_delay, "steps", most=0),
        Fact("… p90", score.delay(0.9), "steps", most=2),
        Fact("False alarms in clean successes", score.clean_rate, "per 1,000 calls", most=0.8),
        Fact("Exhausted OpenHands runs alarmed", exhausted, "%", least=90),
        Fact("Finished OpenHands runs alarmed", finished, "%", most=2.5),
        Fact("… of which not stuck by the label", score.finished_not_stuck, "runs"),
        Fact("Calls of exhausted runs after the alarm", after, "%", least=60),
        Fact("Enumerations flagged", score.alike_flagged["enumeration"], "spans", most=0),
        Fact("Fix and retest flagged", score.alike_flagged["fix_and_retest"], "spans", most=0),
        Fact("Re-reads after a write flagged", 100 * score.part("reread_after_write"), "%", most=3),
        Fact("Polls and scrolls flagged", 100 * score.part("poll_or_scroll"), "%", most=30),
        Fact("… in runs that were not exhausted", polls["flagged"], f"of {polls['all']}"),
    ]


def writes(runs: list[Labelled]) -> Fact:
    """Duplicate writes that would have been stopped, in per cent."""
    stopped = every = 0
    for one in runs:
        detector = Detector()
        for index, (step, end) in enumerate(one.pairs):
            refused = detector.repeats_write(step) is not None
            every += index in one.duplicates
            stopped += refused and index in one.duplicates
            detector.after(step, end)
    return Fact(
        "Identical successful writes stopped", 100 * stopped / max(1, every), "%", least=100
    )


def halves(runs: list[Labelled]) -> list[str]:
    """Both halves of the task families: what was fitted to one would not hold on the other."""
    told = []
    for half in (0, 1):
        part = [one for one in runs if _half(one.family) == half]
        score = scored(ours, part)
        told.append(f"Half {half + 1} of the task families: {_told(score, len(part))}")
    return told


def sources(runs: list[Labelled]) -> list[str]:
    names = sorted({one.run.split("/")[0] for one in runs})
    parts = {name: [one for one in runs if one.run.split("/")[0] == name] for name in names}
    return [f"{name}: {_told(scored(ours, part), len(part))}" for name, part in parts.items()]


def _told(score: Score, runs: int) -> str:
    return (
        f"{runs} runs, recall {score.recall:.3f}, precision {score.precision:.3f}, "
        f"{score.clean_rate:.2f} false alarms per 1,000 clean calls."
    )


def _half(family: str) -> int:
    return hashlib.sha256(family.encode()).digest()[0] % 2


def magentic(folder: Path) -> tuple[Fact, str]:
    """Word likeness against the orchestrator's own verdicts, and what it costs a step."""
    said: list[bool] = []
    true: list[bool] = []
    times: list[float] = []
    for record in records(folder / "magentic_whowhen.jsonl.gz"):
        likeness, alike = Likeness(), dict[int, bool]()
        for step in record["steps"]:
            began = time.perf_counter()
            found = likeness.after(step["args"].get("instruction", ""), step["result"] or "")
            times.append((time.perf_counter() - began) * 1e6)
            alike[step["i"]] = found > 0
        for verdict in record["ground_truth"]["agent_self_report"]:
            said.append(alike.get(verdict["after_step"], False))
            true.append(bool(verdict["in_loop"]))
    precision = sum(one and other for one, other in zip(said, true, strict=True)) / sum(said)
    note = (
        f"Magentic-One: {len(true)} verdicts, precision {precision:.2f}; to call every step a loop "
        f"gives F1 {f1([True] * len(true), true):.2f}. Word likeness costs "
        f"{sorted(times)[len(times) // 2]:.0f} µs a step and no model."
    )
    return Fact("Magentic-One's in-loop verdicts, F1", f1(said, true), "", least=0.5), note


def cost(size: int, most: float) -> list[Row]:
    """Digest of the arguments, before and after; each step comes again after a hundred others."""
    letters, dice = string.ascii_letters + string.digits, random.Random(1)  # noqa: S311
    given = [
        {f"field{i}": "".join(dice.choices(letters, k=40)) for i in range(size // 52)}
        for _ in range(100)
    ]
    detector = Detector(Thresholds(run=Budget()))
    samples: list[float] = []
    digests: list[float] = []
    for index in range(STEPS):
        end = End(digest_of(index), "booked")
        began = time.perf_counter()
        step = Step.of("erp.bill.post", given[index % 100])
        written = time.perf_counter()
        detector.before(step)
        detector.after(step, end)
        samples.append((time.perf_counter() - began) * 1e3)
        digests.append((written - began) * 1e3)
    name = f"{size // 1_000} KB of arguments"
    return [
        Row(f"one attempt, {name}", samples, p50=most),
        Row(f"… of which to write and digest {name}", digests),
    ]


def memory() -> Fact:
    """The worst that an agent can do to it: long texts of four-byte characters everywhere."""
    wide, detector = "\N{MATHEMATICAL SCRIPT CAPITAL X}", Detector()
    for index in range(STEPS):
        step = Step.of(
            f"erp.{wide * 196}{index % 3}",
            {"x": wide * 200 + str(index)},
            writes=index % 2 == 0,
            business_key=f"{wide * 100}{index}",
            attempt_id=f"{wide * 100}{index}",
            round=str(index),
        )
        detector.before(step)
        detector.after(step, End(str(index), f"{wide * 240}{index}", failed=index % 3 == 0))
    return Fact("Memory of a run at worst", size_of(vars(detector), set()) / 1024, "KB", most=64)


def size_of(value: Any, known: set[int]) -> int:
    if id(value) in known or isinstance(value, Thresholds):  # shared by all runs
        return 0
    known.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, (str, bytes, int, array)):
        return size
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = [one for pair in value.items() for one in pair]
    elif hasattr(value, "__dict__"):
        inside = [vars(value)]
    elif hasattr(value, "__iter__"):
        inside = list(value)
    elif hasattr(value, "__slots__"):
        inside = [getattr(value, name) for name in value.__slots__]
    return size + sum(size_of(one, known) for one in inside)
