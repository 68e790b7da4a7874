"""All there is to know of a request, as a modal of as many pages as it takes. Pure.

Nothing is cut here: a long text goes on in the next section, and the next page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from gates.core.batches import lines_of
from gates.core.model import RequestView
from gates.core.wording import changed
from gates.web.words import VERDICT_WORDS, execution_status, status
from integrations.slack.blocks import Block, Row, button, context, flat, pairs
from integrations.slack.card import quoted, standing, steps, title
from integrations.slack.text import clean, label, spoken, units

VIEW = "gates_details_view"
BACK, ON = "gates_details_back", "gates_details_on"
BLOCKS_A_PAGE = 80  # of Slack's hundred
UNITS_A_PAGE = 30_000  # of everything on it
SHORT = 200  # a value that goes beside its name
SECTION = 1_500  # characters, of which each may be two of Slack's 3,000


def details_view(view: RequestView, token: str, place: str, page: int = 0) -> Block:
    """`page` counts from 0; one beyond the last is the last."""
    pages = _pages(list(_all(view)))
    number = min(max(page, 0), len(pages) - 1)
    blocks = list(pages[number])
    if len(pages) > 1:
        blocks.append(context(f"Page {number + 1} of {len(pages)}"))
        around = [(BACK, "← Back", number - 1), (ON, "More →", number + 1)]
        turns = [
            button(action, words, str(to)) for action, words, to in around if 0 <= to < len(pages)
        ]
        blocks.append({"type": "actions", "block_id": "gates_pages", "elements": turns})
    return {
        "type": "modal",
        "callback_id": VIEW,
        "private_metadata": json.dumps({"token": token, "place": place}),
        "title": {"type": "plain_text", "text": "Details"},
        "close": {"type": "plain_text", "text": "Close"},
        "blocks": blocks,
    }


def _pages(blocks: Sequence[Block]) -> list[list[Block]]:
    pages: list[list[Block]] = [[]]
    used = 0
    for block in blocks:
        size = units(json.dumps(block, ensure_ascii=False))
        if pages[-1] and (len(pages[-1]) >= BLOCKS_A_PAGE or used + size > UNITS_A_PAGE):
            pages.append([])
            used = 0
        pages[-1].append(block)
        used += size
    return pages


def _all(view: RequestView) -> Iterator[Block]:
    request = view.request
    action, judgement = request.action, request.judgement
    yield from _long(title(view))
    yield from standing(view)
    policy: list[Row] = [
        ("Tier", judgement.tier.value),
        ("Verdict", VERDICT_WORDS[judgement.verdict]),
        *((one.rule, one.text) for one in judgement.reasons),
        ("Policy", judgement.policy_digest),
    ]
    exact: list[Row] = [
        ("Action", action.name),
        *(("Subject", one) for one in action.subject),
        ("Fingerprint", action.fingerprint),
    ]
    yield from _part("What would run", exact)
    lines = lines_of(request, view.decisions)
    yield from _part("Its lines, all of them", [(f"Line {one.number}", str(one)) for one in lines])
    yield from _values("Its arguments, all of them", {} if lines else action.arguments)
    if request.before:
        yield context(f"*Since round {request.round - 1}*")
        yield from _long("\n".join(f"│ {clean(line)}" for line in request.before))
    yield from _values("Checked by the server", request.facts)
    yield from _values("The real system when this was asked", request.precondition)
    yield from _values("Evidence", request.evidence)
    yield from _part("Why people are asked", policy)
    if request.claims:
        yield context("*What the agent says* (nobody has checked this)")
        yield from _long("\n".join(quoted(request.claims)))
    yield from _part("Done so far in this run", steps(view))
    yield from _part("What happened so far", _story(view))


def _story(view: RequestView) -> list[Row]:
    """The log of this request in short."""
    request = view.request
    found = [("Asked", f"{spoken(request.opened_at)}, by {request.requester.agent}")]
    for one in view.decisions:
        why = f": {one.reason}" if one.reason else ""
        found.append((one.name, f"{spoken(one.at)}, {one.kind.told} via {one.channel}{why}"))
        found += [("Changed", line) for line in changed(view, one)]
    if view.outcome is not None:
        why = f": {view.outcome.reason}" if view.outcome.reason else ""
        found.append((status(view).words, f"{spoken(view.outcome.at)}{why}"))
    execution = execution_status(view)
    if view.execution is not None and execution is not None:
        for attempt in view.execution.attempts:
            error = f": {attempt.error}" if attempt.error else ""
            words = f"{spoken(attempt.started_at)}, by {attempt.holder}{error}"
            found.append((f"Attempt {attempt.number}", words))
        found.append(("Execution", execution.words))
        found += [("Difference", text) for text in view.execution.differences]
    return found


def _values(heading: str, values: Mapping[str, JsonValue]) -> Iterator[Block]:
    yield from _part(heading, list(flat(values)))


def _part(heading: str, rows: Sequence[Row]) -> Iterator[Block]:
    """Short values beside their names, five to a section; long ones below theirs."""
    if not rows:
        return
    yield context(f"*{heading}*")
    short: list[Row] = []
    for name, text in rows:
        if units(clean(text)) <= SHORT and "\n" not in text.strip():
            short.append((name, text))
            continue
        yield from pairs(short)
        short = []
        yield context(f"*{label(name)}*")
        yield from _long(text)
    yield from pairs(short)


def _long(text: str) -> Iterator[Block]:
    """A text of any length, as many sections as it takes."""
    whole = clean(text, lines=True)
    for start in range(0, max(len(whole), 1), SECTION):
        yield _section(whole[start : start + SECTION])


def _section(text: str) -> Block:
    """As it is: cleaning a part of a text would lose the blanks at its ends."""
    shown = text if text.strip() else "(empty)"
    return {"type": "section", "text": {"type": "plain_text", "text": shown, "emoji": False}}
