"""Requests as text on a terminal of any width. What agents wrote cannot color or hide a thing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gates.core.batches import lines_of
from gates.core.errors import GatesError, InvalidInput, NotFound
from gates.core.loops import rows, tried
from gates.core.model import Json, Purpose, RequestView
from gates.core.timeline import in_time
from gates.core.wording import (
    answer_of,
    approvers,
    asks,
    ended,
    left_unused,
    proof,
    surely,
    unless_objected,
)
from gates.core.wording import changed as changed_by
from gates.health import Finding
from gates.web.words import holds

INDENT = 10
MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}
NOTES = {
    Purpose.ACTION: "",
    Purpose.LOOP: "stopped: it goes in circles",
    Purpose.IN_DOUBT: "nobody knows whether it took effect",
}


@contextmanager
def told() -> Iterator[None]:
    """Errors made for people end as one sentence and an exit code, never as a traceback."""
    try:
        yield
    except GatesError as error:
        err = Console(stderr=True)
        err.print(f"[red]{error.code}[/]: ", end="")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(3 if isinstance(error, NotFound) else 1) from None


@contextmanager
def listening(host: str, port: int, cure: str) -> Iterator[None]:
    """Around a server that exits where it cannot listen. Raises InvalidInput."""
    try:
        yield
    except SystemExit as error:
        raise InvalidInput(
            f"Cannot listen on {host}:{port}: is another process there? {cure}"
        ) from error


def print_findings(console: Console, found: Sequence[Finding], *, as_json: bool) -> None:
    """A line for each with its mark, and the cure below it. Ends with exit code 1 where something
    must be mended.
    """
    sick = any(one.level == "bad" for one in found)
    if as_json:
        listed = [one.model_dump() for one in found]
        sys.stdout.write(json.dumps({"sound": not sick, "findings": listed}) + "\n")
    else:
        table = Table.grid(padding=(0, 2))
        for one in found:
            words = Text(plain(one.text))
            if one.cure:
                words.append(f"\n{plain(one.cure)}", style="italic")
            table.add_row(MARKS[one.level], Text(one.check, style="bold"), words)
        console.print(table)
    if sick:
        raise typer.Exit(1)


def title(view: RequestView) -> str:
    return view.request.action.title or view.request.action.name


def waits_for(view: RequestView, person: str) -> bool:
    """Whether this person is asked and has not answered."""
    asked = view.request.requirement
    answered = answer_of(view, person) is not None
    return view.outcome is None and asked is not None and person in asked.people and not answered


def write_requests(views: Sequence[RequestView]) -> None:
    """As JSON, for programs: one line, whole."""
    sys.stdout.write("[" + ",".join(view.model_dump_json() for view in views) + "]\n")


def print_requests(console: Console, views: Iterable[RequestView], *, heading: str = "") -> None:
    """Each request as a short block: what, how much, how long, why, who. Nothing where none is."""
    views = list(views)
    if heading and views:
        console.print(Text(heading, style="bold underline"))
    for view in views:
        head = [view.request.id[:8], title(view), str(view.request.amount or ""), stands(view)]
        console.print(Text("  ".join(plain(part) for part in head if part), style="bold"))
        for line in _below(view):
            console.print(Padding(Text(line), (0, 0, 0, INDENT)))


def print_details(console: Console, view: RequestView) -> None:
    """All there is to know, names on the left, long values under themselves."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold", overflow="fold")
    grid.add_column(overflow="fold", ratio=1)
    for name, text in details(view):
        grid.add_row(Text(name), Text(text))
    console.print(grid)


def _below(view: RequestView) -> Iterator[str]:
    request = view.request
    if NOTES[request.purpose]:
        yield NOTES[request.purpose]
    if request.before:
        yield plain(request.before[0])
    for reason in request.judgement.reasons:
        yield plain(reason.text)
    if asked := _asks(view):
        yield f"asks {plain(asked)}"


def _asks(view: RequestView) -> str:
    """Who still has to agree; empty where nobody is asked any more."""
    required = view.request.requirement
    if required is None or view.outcome is not None:
        return ""
    agreed = approvers(view)
    if unless_objected(view.request):
        return f"{', '.join(required.people.values())}, who may object"
    return asks(required, agreed) + (f" ({len(agreed)} agreed)" if agreed else "")


def stands(view: RequestView) -> str:
    """How it ended, or how long there still is."""
    if view.outcome is not None:
        return ended(view)
    if view.request.requirement is None:
        return ""
    seconds = (view.request.requirement.deadline_at - datetime.now(UTC)).total_seconds()
    hours, minutes = divmod(max(int(seconds), 0) // 60, 60)
    if unless_objected(view.request):
        return f"runs in {hours} h {minutes:02d} min unless somebody objects"
    return f"{hours} h {minutes:02d} min left"


def _in_command(view: RequestView) -> Iterator[tuple[str, str]]:
    """What people in command have ordered, or are to agree to."""
    if view.request.own_matter:
        for key, value in view.request.evidence.items():
            yield from ((plain(key), plain(line)) for line in str(value).splitlines())
    if view.frozen:
        yield "frozen", plain(view.frozen)


def details(view: RequestView) -> Iterator[tuple[str, str]]:
    """Name and value of all there is to know before one decides."""
    request = view.request
    yield "request", f"{request.id} (round {request.round})"
    yield "what", f"{title(view)} ({request.action.name})"
    if NOTES[request.purpose]:
        yield "note", NOTES[request.purpose]
    if request.amount:
        yield "amount", str(request.amount)
    for line in request.before:
        yield f"since round {request.round - 1}", plain(line)
    yield from _arguments(view)
    acts_for = request.requester.on_behalf_of
    yield "asked by", request.requester.agent + (f" for {acts_for}" if acts_for else "")
    for reason in request.judgement.reasons:
        yield "why", f"{plain(reason.text)} ({reason.rule})"
    for key, value in request.facts.items():
        yield "fact", f"{plain(key)} = {plain(value)}"
    for key, value in request.claims.items():
        yield "agent says", f"{plain(key)} = {plain(value)}"
    yield from _loop(view)
    for line in left_unused(view):
        yield "note", plain(f"in this run {line}")
    yield from _happened(view)
    yield from _in_command(view)
    if view.woken:
        yield "note", f"resumed {view.woken} time(s) in Prefect although nobody had decided"
    yield "stands", plain(stands(view))
    if line := in_time(view, spelled):
        yield "in time", plain(line)
    yield "page", view.url


def _loop(view: RequestView) -> Iterator[tuple[str, str]]:
    """The evidence of a loop: the attempts one below the other, what differs between them, and what
    it has led to.
    """
    evidence = view.request.evidence
    if view.request.purpose is not Purpose.LOOP:
        return
    for one in tried(evidence):
        told = (spelled(one.at) if one.at else "", one.call, one.error)
        yield f"attempt {one.number}", plain(": ".join(filter(None, told)))
    differ = evidence.get("differences")
    for line in differ if isinstance(differ, list) else ():
        yield "differs", plain(line)
    for name, words in rows(evidence):
        yield name.lower(), plain(words)


def spelled(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _arguments(view: RequestView) -> Iterator[tuple[str, str]]:
    """What would run; of a batch its lines."""
    request = view.request
    for one in lines_of(request, view.decisions):
        yield f"line {one.number}", plain(one)
    for key, value in () if request.lines else request.action.arguments.items():
        yield plain(key), plain(value)


def _happened(view: RequestView) -> Iterator[tuple[str, str]]:
    """What people said here, what the run has done at other gates, and who still has to agree."""
    for decision in view.decisions:
        said = f": {decision.reason}" if decision.reason else ""
        yield "decided", plain(f"{decision.who} {decision.kind.told}{said}")
        for line in changed_by(view, decision):
            yield "changed", plain(line)
        yield "known by", ", ".join(f"{key} {plain(one)}" for key, one in proof(decision).items())
    needed = view.request.requirement
    for inquiry in needed.inquiries if needed else ():
        yield "wants to know", plain(f"{inquiry.name}: {inquiry.question}")
        if inquiry.answered_at is not None:
            yield "answered", plain(f"{inquiry.answered_name}: {inquiry.answer}")
    for one in view.reviews:
        kind = f" ({one.category})" if one.category else ""
        yield "looked at", plain(f"{one.name}: {one.verdict}{kind} {one.reason}".rstrip())
    for step in view.stands:
        yield f"{step.state.replace('_', ' ')} so far", plain(step)
    if (asked := _asks(view)) and view.request.requirement is not None:
        yield "asks", plain(asked)
        yield "note", holds(view.request.requirement)
        if sure := surely(view.request.requirement):
            yield "note", sure


def plain(value: object) -> str:
    """On one line, without control characters: an escape sequence could repaint the screen."""
    if isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else " " for sign in str(value))


def changed(arguments: Json, words: Sequence[str]) -> Json:
    """The arguments with NAME=VALUE put in; a value is JSON, or else a text.

    Raises InvalidInput for a name that is not among them.
    """
    given: Json = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in arguments:
            known = ", ".join(arguments) or "none"
            raise InvalidInput(f"--set {word!r}: write NAME=VALUE; the arguments are {known}.")
        given[name] = text if isinstance(arguments[name], str) else _value(name, text)
    return arguments | given


def _value(name: str, text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except ValueError:
        raise InvalidInput(
            f"--set {name}={text!r}: this argument is no text: write its value as JSON."
        ) from None
    return found
