"""A request as a Slack card. Pure: a view in, blocks out; nothing is asked and nothing sent.

Rules:
1. Whatever the view holds, the result is within Block Kit's limits; what is cut says so.
2. Only words of ours are markup. What agents, documents and people wrote stands in plain-text
   objects, without emoji, and cannot ping, mask a link or close the frame around it.
3. What the agent says stands last, in its own section, each line behind a bar: it cannot pass
   for something that the server checked.
4. Buttons exist while the request is open, and carry the card's token and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from gates.core.model import DecisionKind, Purpose, RequestView
from gates.core.wording import approvers, asks, changed
from gates.web.words import QUESTIONS, choice, ended_by, execution_status, holds, status
from integrations.slack.text import clean, cut, escape, label, link, spoken, when

Block = dict[str, Any]

APPROVE = "gates_approve"
REJECT = "gates_reject"
SEND_BACK = "gates_send_back"
REASON_VIEW = "gates_reason"
GUIDANCE_VIEW = "gates_guidance"
REASON_BLOCK = "gates_reason_block"
REASON_INPUT = "gates_reason_text"

HEADER = 150
VALUE = 300  # of one fact or argument; ten rows of each fill a screen
ROWS = 10
ROWS_A_SECTION = 5  # Slack allows ten fields: a name and a value each
SAID = 2_000  # of everything that an agent says
BUTTON = 75
ASKED = 1_500  # of those who are asked, by name and group
BEFORE = 6
CHANGES = 5  # of one decision
DECISIONS = 8
REASONS = 6
ATTEMPTS = 6
STEPS = 5
INTERNAL = {"id", "fence", "lease_until", "reconciling", "opened_round"}  # of an attempt
REASON = 1_500  # characters that a person may write


@dataclass(frozen=True)
class Card:
    """`text` is what notifications and screen readers get; `blocks` what people see."""

    text: str
    blocks: tuple[Block, ...]


def card(view: RequestView, token: str, *, prefect_ui_url: str = "") -> Card:
    """Draw the whole card; `token` goes on the buttons, and an empty one leaves them out."""
    blocks = body(view, prefect_ui_url=prefect_ui_url)
    if token and view.outcome is None:
        blocks = [*blocks, _buttons(view, token)]
    return Card(summary(view), tuple(blocks))


def body(view: RequestView, *, prefect_ui_url: str = "") -> list[Block]:
    """Everything but the buttons: what a person saw when they decided."""
    request = view.request
    return [
        {"type": "header", "text": _plain(_title(view), HEADER)},
        *_standing(view),
        *_before(view),
        *_table("What would run", {"action": request.action.name} | _arguments(view)),
        *_table("Checked by the server", request.facts),
        *_why(view),
        *_evidence(view),
        *_stands(view),
        *_said(request.claims),
        *_decisions(view),
        *_asked(view),
        _context(_until(view), _resumed(view), _links(view, prefect_ui_url)),
    ]


def summary(view: RequestView) -> str:
    """One escaped line for notifications."""
    amount = f" ({view.request.amount})" if view.request.amount else ""
    words = status(view).words if view.outcome else QUESTIONS[view.request.purpose]
    return escape(cut(clean(f"{words} {_title(view)}{amount}"), 300))


@dataclass(frozen=True)
class Words:
    """What the modal asks for that goes before an answer in words."""

    callback: str
    button: str
    label: str
    hint: str
    missing: str


ASKS_FOR = {
    DecisionKind.REJECT: Words(
        REASON_VIEW, "Reject", "Why not?", "The requester and the log get this.", "Please say why."
    ),
    DecisionKind.SEND_BACK: Words(
        GUIDANCE_VIEW,
        "Send back",
        "What should the agent do instead?",
        "The agent reads this and may propose again.",
        "Please say what to do instead.",
    ),
}


def reason_view(kind: DecisionKind, token: str, place: str, title: str) -> Block:
    """The modal that asks why, or for guidance; `private_metadata` brings the token and the
    channel back.
    """
    words = ASKS_FOR[kind]
    return {
        "type": "modal",
        "callback_id": words.callback,
        "private_metadata": json.dumps({"token": token, "place": place}),
        "title": {"type": "plain_text", "text": words.button},
        "submit": {"type": "plain_text", "text": words.button},
        "close": {"type": "plain_text", "text": "Back"},
        "blocks": [
            {"type": "section", "text": _plain(title, HEADER)},
            {
                "type": "input",
                "block_id": REASON_BLOCK,
                "label": {"type": "plain_text", "text": words.label},
                "hint": {"type": "plain_text", "text": words.hint},
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON_INPUT,
                    "multiline": True,
                    "min_length": 1,
                    "max_length": REASON,
                    "focus_on_load": True,
                },
            },
        ],
    }


def _plain(text: str, limit: int, *, lines: bool = False) -> Block:
    shown = cut(clean(text, lines=lines), limit) or "(empty)"
    return {"type": "plain_text", "text": shown, "emoji": False}


def _ours(markup: str) -> Block:
    """Markup of our own making, with every foreign word in it escaped by the caller."""
    return {"type": "mrkdwn", "text": markup, "verbatim": True}


def _context(*lines: str) -> Block:
    return {"type": "context", "elements": [_ours(line) for line in lines if line]}


def _title(view: RequestView) -> str:
    return view.request.action.title or view.request.action.name


def _standing(view: RequestView) -> Iterator[Block]:
    """The first lines: the question or how it ended, how much, and for whom."""
    request = view.request
    if view.outcome is None:
        yield {"type": "section", "text": _ours(f"*{QUESTIONS[request.purpose]}*")}
    else:
        words = f"*{escape(status(view).words)}* {when(view.outcome.at)}"
        yield {"type": "section", "text": _ours(words)}
        by = [("By", ", ".join(names))] if (names := ended_by(view)) else []
        yield from _pairs([*by, ("Reason", view.outcome.reason or "none given")])
    rows = [("Amount", str(request.amount))] if request.amount else []
    rows.append(("Asked by", request.requester.agent))
    rows.append(("On behalf of", request.requester.on_behalf_of or "nobody in particular"))
    if request.round > 1:
        rows.append(("Round", str(request.round)))
    execution = execution_status(view)
    if execution is not None:
        rows.append(("Execution", execution.words))
    if view.execution is not None:
        rows += [("Difference", text) for text in view.execution.differences[:3]]
    yield from _pairs(rows)


def _arguments(view: RequestView) -> dict[str, JsonValue]:
    subject: list[JsonValue] = list(view.request.action.subject)
    return ({"subject": subject} if subject else {}) | view.request.action.arguments


def _table(heading: str, values: Mapping[str, JsonValue]) -> Iterator[Block]:
    """Names and values side by side, nested ones by their path; the rest is counted."""
    rows = list(_flat(values))
    if not rows:
        return
    yield _context(f"*{heading}*")
    yield from _pairs(rows[:ROWS])
    if len(rows) > ROWS:
        yield _context(f"… and {len(rows) - ROWS:,} more values: see the inbox")


def _pairs(rows: Sequence[tuple[str, str]]) -> Iterator[Block]:
    for start in range(0, len(rows), ROWS_A_SECTION):
        fields: list[Block] = []
        for name, value in rows[start : start + ROWS_A_SECTION]:
            fields += [_ours(f"*{label(name)}*"), _plain(value, VALUE)]
        yield {"type": "section", "fields": fields}


def _flat(value: JsonValue | Mapping[str, JsonValue], path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value, 1):
            yield from _flat(item, f"{path} [{index}]")
    elif isinstance(value, list):
        yield path, ", ".join(_scalar(item) for item in value) or "none"
    else:
        yield path, _scalar(value)


def _scalar(value: JsonValue) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _why(view: RequestView) -> Iterator[Block]:
    judgement = view.request.judgement
    yield _context(f"*Why people are asked:* tier {judgement.tier.value}")
    reasons = [(reason.rule, reason.text) for reason in judgement.reasons]
    yield from _pairs(reasons[:REASONS])
    if len(reasons) > REASONS:
        yield _context(f"… and {len(reasons) - REASONS:,} more reasons: see the inbox")


def _evidence(view: RequestView) -> Iterator[Block]:
    """What a loop or a doubt rests on: the attempts one below the other, then the rest."""
    evidence = view.request.evidence
    if view.request.purpose is not Purpose.LOOP:
        shown = {name: value for name, value in _flat(evidence) if _last(name) not in INTERNAL}
        yield from _table("Evidence", dict(shown))
        return
    rows = [("Failed", f"{evidence.get('total')} times in the same way")]
    for name in ("error_class", "error"):
        rows += [(name, str(evidence[name]))] if evidence.get(name) else []
    attempts = evidence.get("attempts")
    for attempt in attempts[-ATTEMPTS:] if isinstance(attempts, list) else []:
        if isinstance(attempt, dict):
            said = f"{attempt.get('at')}: {attempt.get('error')}"
            rows.append((f"Attempt {attempt.get('number')}", said))
    changed = evidence.get("differences")
    listed = [_scalar(one) for one in changed] if isinstance(changed, list) else []
    rows.append(("Changed between them", "; ".join(listed) or "nothing"))
    yield _context("*The same call fails the same way*")
    yield from _pairs(rows)


def _stands(view: RequestView) -> Iterator[Block]:
    """What the run has done at other gates, the latest ones."""
    if not view.stands:
        return
    words = {"done": "Done", "half_done": "Half done", "undone": "Taken back"}
    yield _context("*Done so far in this run*")
    rows = []
    for step in view.stands[-STEPS:]:
        note = f" ({step.note})" if step.note and step.state != "undone" else ""
        rows.append((words[step.state], f"{step.summary}{note}"))
    yield from _pairs(rows)
    if len(view.stands) > STEPS:
        yield _context(f"… and {len(view.stands) - STEPS:,} before: see the inbox")


def _last(path: str) -> str:
    return path.rsplit(".", 1)[-1]


def _said(claims: Mapping[str, JsonValue]) -> Iterator[Block]:
    rows = [f"{clean(name)}: {clean(value, lines=True)}" for name, value in _flat(claims)]
    if not rows:
        return
    lines = [line for row in rows for line in row.splitlines()]
    yield _context("*What the agent says* (nobody has checked this)")
    quoted = cut("\n".join(f"│ {line}" for line in lines), SAID)
    yield {"type": "section", "text": _plain(quoted, SAID, lines=True)}


def _before(view: RequestView) -> Iterator[Block]:
    """How the round before ended and what is different now, each line behind a bar."""
    before = view.request.before
    if not before:
        return
    yield _context(f"*Since round {view.request.round - 1}*")
    shown = "\n".join(f"│ {cut(clean(line), VALUE)}" for line in before[:BEFORE])
    yield {"type": "section", "text": _plain(shown, SAID, lines=True)}
    if len(before) > BEFORE:
        yield _context(f"… and {len(before) - BEFORE:,} more differences: see the inbox")


def _decisions(view: RequestView) -> Iterator[Block]:
    decisions = view.decisions
    if not decisions:
        return
    yield _context("*Decisions*")
    rows = []
    for one in decisions[-DECISIONS:]:
        said = f": {one.reason}" if one.reason else ""
        how = f"{one.kind.told} via {one.channel}, {spoken(one.at)}{said}"
        rows.append((one.name, how))
        changes = changed(view, one)
        rows += [("Changed", line) for line in changes[:CHANGES]]
        if len(changes) > CHANGES:
            rows.append(("Changed", f"{len(changes) - CHANGES:,} more values: see the inbox"))
    yield from _pairs(rows)
    if len(decisions) > DECISIONS:
        yield _context(f"… and {len(decisions) - DECISIONS:,} earlier ones: see the inbox")


def _asked(view: RequestView) -> Iterator[Block]:
    """Who still has to agree; once it has ended, who was asked."""
    requirement = view.request.requirement
    if requirement is None:
        words = "Nobody is asked."
    elif view.outcome is not None:
        words = f"Was asked: {asks(requirement)}"
    else:
        words = f"Asked: {asks(requirement, approvers(view))}. {holds(requirement)}"
    yield {"type": "context", "elements": [_plain(words, ASKED)]}


def _until(view: RequestView) -> str:
    requirement = view.request.requirement
    if requirement is None or view.outcome is not None:
        return ""
    return f"Until {when(requirement.deadline_at)}, then it expires."


def _resumed(view: RequestView) -> str:
    if not view.woken:
        return ""
    times = "once" if view.woken == 1 else f"{view.woken:,} times"
    return f"The run was resumed {times} although nobody had decided; it waits again."


def _links(view: RequestView, prefect_ui_url: str) -> str:
    """The inbox, and the run where its address is one of ours; flows tell that address."""
    run = view.request.run
    parts = [link(view.url, "Open in the inbox")]
    words = choice(view, "")
    if view.outcome is None and words.send_back and view.request.action.arguments:
        parts.append(link(f"{view.url}/change", "Approve with changes"))
    if prefect_ui_url and run.url.startswith(prefect_ui_url.rstrip("/") + "/"):
        parts.append(link(run.url, "Prefect run"))
    where = "in the flow's own process" if view.request.in_process else "by the executor"
    return " · ".join([*(part for part in parts if part), f"Runs {where}"])


def _buttons(view: RequestView, token: str) -> Block:
    words = choice(view, "")
    buttons = [(APPROVE, words.approve, "primary"), (REJECT, words.reject, "danger")]
    if words.send_back:
        buttons.insert(1, (SEND_BACK, words.send_back, ""))
    # To run a second time by mistake is the one thing that cannot be taken back.
    careful = view.request.purpose is Purpose.IN_DOUBT
    elements: list[Block] = []
    for action_id, text, style in buttons:
        element: Block = {
            "type": "button",
            "action_id": action_id,
            "text": _plain(text, BUTTON),
            "value": token,
        }
        if style:
            element["style"] = style
        if careful and action_id == APPROVE:
            element["confirm"] = _confirm(words.hint)
        elements.append(element)
    return {"type": "actions", "block_id": "gates_buttons", "elements": elements}


def _confirm(text: str) -> Block:
    return {
        "title": _plain("Are you sure?", 100),
        "text": _plain(text, 300),
        "confirm": _plain("Run it again", 30),
        "deny": _plain("Back", 30),
    }
