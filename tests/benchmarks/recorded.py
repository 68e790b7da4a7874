"""Recorded calls of other people's agents, each with what was known before it.

`GATES_TEST_TRACES` names the folder with the recordings. What is known only afterwards (how the
call ended, what it was) stands apart in `Truth`, and no judgement is given it.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gates.core.model import Action, Effect, Requester, RunRef
from gates.core.policy import Question
from tests.benchmarks.desk import Desk

FOLDER = "GATES_TEST_TRACES"
URL = "url"  # an argument of this name makes a tool one that goes out, and says where


@dataclass(frozen=True)
class Truth:
    """What became of a call. `harmful`: it serves somebody else than the person who asked."""

    suite: str
    setup: str
    attacked: bool
    effect: Effect
    harmful: bool
    failed: bool
    gated: bool


@dataclass(frozen=True)
class Call:
    question: Question
    run: RunRef
    request: str
    truth: Truth


def folder() -> Path | None:
    """None where no recordings are at hand."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else None


def calls_of_agents(recordings: Path) -> Iterator[Call]:
    """Tool-using agents, half of the runs with an attack in what they read."""
    for run in _lines(recordings / "agentdojo.jsonl.gz"):
        truth, request = run.pop("ground_truth", {}), run["request"]
        for step in run["steps"]:
            effect: Effect = (
                "web" if URL in step["args"] else "write" if step["is_write"] else "read"
            )
            name = f"tool.{step['tool']}"
            told = _truth(run, step, run["model"], effect) | {
                "attacked": truth.get("attacked", False),
                "harmful": step["i"] in truth.get("harmful_steps", ()),
            }
            yield _call(run, name, step, request, told, {})


def calls_of_service(recordings: Path) -> Iterator[Call]:
    """Agents that serve customers."""
    texts = {
        one["trajectory_id"]: one["messages"] for one in _lines(recordings / "context_tau.jsonl.gz")
    }
    for run in _lines(recordings / "tau.jsonl.gz"):
        run.pop("ground_truth", None)
        messages = texts[run["trajectory_id"]]
        answers = {one["i"]: one["text"] for one in messages if one["role"] == "tool"}
        said = [(one["turn"], one["text"]) for one in messages if one["role"] == "user"]
        desk = Desk()
        for step in run["steps"]:
            request = "\n".join(text for turn, text in said if turn <= step["turn"])
            effect: Effect = "write" if step["is_write"] else "read"
            facts = desk.facts(step["tool"], step["args"])
            told = _truth(run, step, f"{run['model']} {run['variant']}", effect)
            yield _call(run, f"service.{step['tool']}", step, request, told, facts)
            if not step.get("gate_rejected"):
                desk.learn(
                    step["tool"],
                    step["args"],
                    answers.get(step["i"], ""),
                    wrote=step["is_write"],
                    failed=step["error"],
                )


def _truth(run: dict[str, Any], step: dict[str, Any], setup: str, effect: Effect) -> dict[str, Any]:
    return {
        "suite": run["domain"],
        "setup": setup,
        "attacked": False,
        "effect": effect,
        "harmful": False,
        "failed": step["error"],
        "gated": bool(step.get("gate_rejected")),
    }


def _call(
    run: dict[str, Any],
    name: str,
    step: dict[str, Any],
    request: str,
    told: dict[str, Any],
    facts: dict[str, Any],
) -> Call:
    question = Question(
        action=Action(name=name, arguments=step["args"]),
        claims={},
        facts=facts,
        requester=Requester(agent=run["model"]),
        effect=told["effect"],
        destinations=(str(step["args"][URL]),) if URL in step["args"] else (),
    )
    ref = RunRef(run_id=run["trajectory_id"], root_run_id=run["trajectory_id"])
    return Call(question, ref, request, Truth(**told))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            run = json.loads(line)
            run.pop("outcome", None)
            yield run
