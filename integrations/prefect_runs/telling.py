"""What a run shows of its gate in Prefect's UI: one artifact, and an event for each step. Pure.

Events carry ids derived from what they tell; Prefect stores an id once, so that telling again
tells nothing new.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gates.core.batches import lines_of
from gates.core.model import Json, Purpose, RequestView
from gates.core.wording import approvers, asks, changed, ended, unless_objected

LONGEST = 300  # characters of one value in the artifact; the page shows it whole
MOST_LINES = 30
MOST_STEPS = 8  # of those that the run has done before
HARMLESS = str.maketrans({"|": "/", "`": "'", "<": "(", ">": ")", "[": "(", "]": ")"})
PURPOSES = {
    Purpose.ACTION: "May this run?",
    Purpose.LOOP: "It runs in circles. May it go on?",
    Purpose.IN_DOUBT: "Nobody knows whether it took effect. May it be tried again?",
}


def artifact_key(view: RequestView) -> str:
    """One artifact a gate, whatever its rounds; Prefect allows a-z, 0-9 and dashes."""
    return f"gate-{view.request.gate_id[:16]}"


def headline(view: RequestView) -> str:
    request = view.request
    amount = f", {request.amount}" if request.amount else ""
    return f"{request.action.title or request.action.name}{amount}"


def standing(view: RequestView) -> str:
    """One sentence: what it waits for, or how it ended."""
    if view.outcome is not None:
        words = ended(view)
        return f"{words[0].upper()}{words[1:]}."
    requirement = view.request.requirement
    if requirement is None:
        return "Decided by policy."
    until = requirement.deadline_at.strftime("%Y-%m-%d %H:%M UTC")
    if unless_objected(view.request):
        return (
            f"Runs at {until} unless somebody objects ({', '.join(requirement.people.values())})."
        )
    return f"Waits for {asks(requirement, approvers(view))} until {until}."


def markdown(view: RequestView) -> str:
    """The artifact. Text of agents and documents is quoted, so that it cannot format the page."""
    request = view.request
    lines = [f"# {_plain(headline(view))}", "", f"**{_plain(standing(view))}**", ""]
    if view.outcome is None:
        asked = "Object here" if unless_objected(request) else "Decide here"
        lines += [f"{PURPOSES[request.purpose]} {asked}: {view.url}", ""]
    if view.woken:
        resumed = f"Resumed {view.woken} time(s) in Prefect although nobody had decided"
        lines += [f"⚠️ {resumed}. A resume is a doorbell, not a decision.", ""]
    lines += ["| | |", "|---|---|", *_rows(view)]
    return "\n".join(lines) + "\n"


def _rows(view: RequestView) -> Iterator[str]:
    request = view.request
    yield _row("Action", f"{request.action.name} (round {request.round})")
    yield _row("Request", request.id)
    acts_for = request.requester.on_behalf_of
    yield _row("Asked by", request.requester.agent + (f" for {acts_for}" if acts_for else ""))
    for line in request.before:
        yield _row(f"Since round {request.round - 1}", line)
    for reason in request.judgement.reasons:
        yield _row(f"Why ({request.judgement.tier.value})", reason.text)
    yield from _arguments(view)
    for decision in view.decisions:
        said = decision.kind.told + (f": {decision.reason}" if decision.reason else "")
        yield _row(f"{decision.name}, {decision.at:%H:%M UTC}", said)
        for line in changed(view, decision):
            yield _row("changed", line)
    if view.execution is not None:
        yield _row("Execution", view.execution.state.value)
    for one in view.reviews:
        kind = f" ({one.category})" if one.category else ""
        yield _row(f"Looked at by {one.name}", f"{one.verdict}{kind}: {one.reason}".rstrip(": "))
    for step in view.stands[-MOST_STEPS:]:
        yield _row(f"Of this run, {step.state.replace('_', ' ')}", str(step))


def _arguments(view: RequestView) -> Iterator[str]:
    """What would run; of a batch its first lines."""
    request = view.request
    lines = lines_of(request, view.decisions)
    for one in lines[:MOST_LINES]:
        yield _row(f"Line {one.number}", one)
    if len(lines) > MOST_LINES:
        yield _row("Lines", f"and {len(lines) - MOST_LINES} more: see the request's page")
    for key, value in () if lines else request.action.arguments.items():
        yield _row(key, value)


def _row(name: str, value: object) -> str:
    return f"| {_plain(name)} | `{_plain(value)}` |"


def _plain(value: object) -> str:
    """On one line, without what Markdown or a table could take for its own."""
    text = " ".join(str(value).split()).replace("->", "→")
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return text.translate(HARMLESS)


def events(view: RequestView, now: datetime) -> list[dict[str, Any]]:
    """All that has happened to the request so far, as Prefect's events; `now` is when it is
    told that the run was resumed without a decision.
    """
    request = view.request
    told = [_event(view, "opened", request.opened_at, {"why": standing(view)})]
    for decision in view.decisions:
        payload: Json = {"person": decision.name, "reason": decision.reason}
        told.append(_event(view, decision.kind.value, decision.at, payload, of=decision.person))
    told += [
        _event(view, "resumed-without-decision", now, {"times": number})
        for number in range(1, view.woken + 1)
    ]
    if view.outcome is not None:
        settled: Json = {"by": list(view.outcome.by), "reason": view.outcome.reason}
        name = f"settled.{view.outcome.kind.value}"
        told.append(_event(view, name, view.outcome.at, settled))
    return told


def _event(
    view: RequestView, name: str, at: datetime, payload: Json, *, of: str = ""
) -> dict[str, Any]:
    request = view.request
    identity = f"prefect-gates:{request.id}:{name}:{of}:{payload.get('times', '')}"
    return {
        "id": str(uuid5(NAMESPACE_URL, identity)),
        "occurred": at.isoformat(),
        "event": f"prefect-gates.request.{name}",
        "resource": {
            "prefect.resource.id": f"prefect-gates.request.{request.id}",
            "prefect.resource.name": headline(view),
        },
        "related": [
            {
                "prefect.resource.id": f"prefect.flow-run.{request.run.run_id}",
                "prefect.resource.role": "flow-run",
                "prefect.resource.name": request.run.run_name,
            }
        ],
        "payload": payload | {"action": request.action.name, "url": view.url},
        "follows": None,
    }
