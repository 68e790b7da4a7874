"""A request as a Slack card. Pure: a view in, blocks out; nothing is asked and nothing sent.

Rules:
1. Whatever the view holds, the result is within Block Kit's limits; what is cut says so, and where
   the rest is.
2. What the agent says stands in its own section, each line behind a bar: it cannot pass for
   something that the server checked.
3. Buttons exist while the request is open, and carry the card's token and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from gates.core.batches import lines_of
from gates.core.loops import rows as told_of
from gates.core.loops import tried
from gates.core.loops.telling import times, whole
from gates.core.model import Purpose, RequestView
from gates.core.timeline import at_end, in_time
from gates.core.wording import approvers, asks, changed, surely, unless_objected
from gates.web.values import label
from gates.web.words import choice, ended_by, execution_status, holds, question, status
from integrations.slack.blocks import (
    APPROVE,
    CHANGE,
    DETAILS,
    ESCALATE,
    HEADER,
    REJECT,
    SEND_BACK,
    SKIP,
    VALUE,
    Block,
    Row,
    button,
    context,
    flat,
    ours,
    pairs,
    plain,
    said,
    scalar,
    table,
)
from integrations.slack.text import clean, cut, escape, link, spoken, when

ARGUMENT = 500  # characters of one argument
CHANGING = 5  # pairs of old and new
SAID = 2_000  # of everything that an agent says
ASKED = 1_500  # of those who are asked, by name and group
BEFORE = 6
CHANGES = 5  # of one decision
DECISIONS = 8
LINES = 8  # of a batch
REASONS = 6
ATTEMPTS = 6
STEPS = 5
DETAILED = "Details"
INBOX = "the inbox"
INTERNAL = {"id", "fence", "lease_until", "reconciling", "opened_round"}  # of an attempt
OLD_AND_NEW = (("old", "new"), ("current", "new"), ("previous", "new"), ("before", "after"))


@dataclass(frozen=True)
class Card:
    """`text` is what notifications and screen readers get; `blocks` what people see."""

    text: str
    blocks: tuple[Block, ...]


def card(view: RequestView, token: str, *, prefect_ui_url: str = "") -> Card:
    """Draw the whole card; `token` goes on the buttons, and an empty one leaves them out."""
    blocks = body(view, prefect_ui_url=prefect_ui_url)
    if token and view.outcome is None:
        blocks = [*blocks, *_barred(view), _buttons(view, token)]
    return Card(summary(view), tuple(blocks))


def body(view: RequestView, *, prefect_ui_url: str = "") -> list[Block]:
    """Everything but the buttons: what a person saw when they decided."""
    request = view.request
    pairs_of, rest = changing({} if request.lines else request.action.arguments)
    return [
        {"type": "header", "text": plain(title(view), HEADER)},
        *standing(view),
        *_before(view),
        *changes_shown(pairs_of),
        *_lines(view),
        *table("What would run", _arguments(view, rest), rest=DETAILED, value=ARGUMENT),
        *table("Checked by the server", list(flat(request.facts)), rest=DETAILED),
        *_why(view),
        *_evidence(view),
        *_stands(view),
        *_said(request.claims),
        *_decisions(view),
        *_asked(view),
        context(_until(view), _resumed(view), _links(view, prefect_ui_url)),
    ]


def summary(view: RequestView) -> str:
    """One escaped line for notifications."""
    amount = f" ({view.request.amount})" if view.request.amount else ""
    words = status(view).words if view.outcome else question(view)
    return escape(cut(clean(f"{words} {title(view)}{amount}"), 300))


def title(view: RequestView) -> str:
    return view.request.action.title or view.request.action.name


def standing(view: RequestView) -> Iterator[Block]:
    """The first lines: the question or how it ended, how much, and for whom."""
    if view.outcome is None:
        yield {"type": "section", "text": ours(f"*{question(view)}*")}
    else:
        words = f"*{escape(status(view).words)}* {when(view.outcome.at)}"
        yield {"type": "section", "text": ours(words)}
        by = [("By", ", ".join(names))] if (names := ended_by(view)) else []
        yield from pairs([*by, ("Reason", view.outcome.reason or "none given")])
    yield from pairs(_facts_of(view))


def _facts_of(view: RequestView) -> list[Row]:
    request = view.request
    rows = [("Frozen", f"{view.frozen}. Nothing starts here.")] if view.frozen else []
    rows += [("Amount", str(request.amount))] if request.amount else []
    rows.append(("Asked by", request.requester.agent))
    rows.append(("On behalf of", request.requester.on_behalf_of or "nobody in particular"))
    if request.round > 1:
        rows.append(("Round", str(request.round)))
    execution = execution_status(view)
    if execution is not None:
        rows.append(("Execution", execution.words))
    if view.execution is not None:
        rows += [("Difference", text) for text in view.execution.differences[:3]]
    return rows


def changing(
    arguments: Mapping[str, JsonValue],
) -> tuple[list[tuple[str, JsonValue, JsonValue]], dict[str, JsonValue]]:
    """What the action turns from one value into another, by how its arguments are named
    (`old_iban` and `new_iban`), and the other arguments.
    """
    found: list[tuple[str, JsonValue, JsonValue]] = []
    rest = dict(arguments)
    for key in arguments:
        for old, new in OLD_AND_NEW:
            stem = key.removeprefix(f"{old}_")
            partner = f"{new}_{stem}"
            if stem == key or not stem or not {key, partner} <= rest.keys():
                continue
            if any(isinstance(rest[one], dict | list) for one in (key, partner)):
                continue
            found.append((stem, rest.pop(key), rest.pop(partner)))
    return found, rest


def changes_shown(found: list[tuple[str, JsonValue, JsonValue]]) -> Iterator[Block]:
    """Old over new; neither can hold a line of its own."""
    if not found:
        return
    yield context("*What would change* (now, and then)")
    rows = [
        (name, f"{cut(clean(scalar(old, name)), VALUE)}\n→ {cut(clean(scalar(new, name)), VALUE)}")
        for name, old, new in found[:CHANGING]
    ]
    yield from pairs(rows, 2 * VALUE + 3, lines=True)
    if len(found) > CHANGING:
        yield context(f"… and {len(found) - CHANGING:,} more: see {DETAILED}")


def _arguments(view: RequestView, arguments: Mapping[str, JsonValue]) -> list[Row]:
    """What says most in few words comes first: single values before what is nested."""
    action = view.request.action
    subject: list[JsonValue] = list(action.subject)
    single = {k: v for k, v in arguments.items() if not isinstance(v, dict | list)}
    nested = {k: v for k, v in arguments.items() if isinstance(v, dict | list)}
    about: dict[str, JsonValue] = {"subject": subject} if subject else {}
    parts = ({"action": action.name}, about, single, nested)
    return [row for part in parts for row in flat(part)]


def _lines(view: RequestView) -> Iterator[Block]:
    """The first lines of a batch; it is looked through, and decided by line, in the inbox."""
    lines = lines_of(view.request, view.decisions)
    if not lines:
        return
    yield context(f"*{len(lines):,} lines, each runs by itself*")
    yield from pairs([(f"Line {one.number}", str(one)) for one in lines[:LINES]])
    more = f"… and {len(lines) - LINES:,} more: see {DETAILED}. " if len(lines) > LINES else ""
    if view.outcome is None:
        yield context(f"{more}The buttons decide all of them; to refuse some, use {INBOX}.")
    elif more:
        yield context(more)


def _why(view: RequestView) -> Iterator[Block]:
    judgement = view.request.judgement
    yield context(f"*Why people are asked:* tier {judgement.tier.value}")
    reasons = [(reason.rule, reason.text) for reason in judgement.reasons]
    yield from pairs(reasons[:REASONS])
    if len(reasons) > REASONS:
        yield context(f"… and {len(reasons) - REASONS:,} more reasons: see {DETAILED}")


def _evidence(view: RequestView) -> Iterator[Block]:
    """What a loop or a doubt rests on: the attempts one below the other, then the rest."""
    evidence = view.request.evidence
    if view.request.purpose is not Purpose.LOOP:
        shown = [(name, text) for name, text in flat(evidence) if _last(name) not in INTERNAL]
        yield from table("Evidence", shown, rest=DETAILED)
        return
    words = evidence.get("words")
    rows = [("Failed", f"{times(whole(evidence.get('total')))} in the same way")]
    if isinstance(words, str) and words:
        rows = [("Found", words)]
    for name in ("error_class", "error"):
        rows += [(name, str(evidence[name]))] if evidence.get(name) else []
    for one in tried(evidence)[-ATTEMPTS:]:
        told = (spoken(one.at) if one.at else "", one.call, one.error)
        rows.append((f"Attempt {one.number}", ": ".join(filter(None, told))))
    differ = evidence.get("differences")
    listed = [scalar(one) for one in differ] if isinstance(differ, list) else []
    rows.append(("Changed between them", "; ".join(listed) or "nothing"))
    rows += told_of(evidence)
    yield context("*The same once more*" if words else "*The same call fails the same way*")
    yield from pairs(rows)


def _last(path: str) -> str:
    return path.rsplit(".", 1)[-1]


def _stands(view: RequestView) -> Iterator[Block]:
    """What the run has done at other gates, the latest ones."""
    if not view.stands:
        return
    yield context("*Done so far in this run*")
    yield from pairs(steps(view)[-STEPS:])
    if len(view.stands) > STEPS:
        yield context(f"… and {len(view.stands) - STEPS:,} before: see {DETAILED}")


def steps(view: RequestView) -> list[Row]:
    words = {"done": "Done", "half_done": "Half done", "undone": "Taken back"}
    rows = []
    for step in view.stands:
        note = f" ({step.note})" if step.note and step.state != "undone" else ""
        rows.append((words[step.state], f"{step.summary}{note}"))
    return rows


def _said(claims: Mapping[str, JsonValue]) -> Iterator[Block]:
    lines = quoted(claims)
    if not lines:
        return
    yield context("*What the agent says* (nobody has checked this)")
    yield said(cut("\n".join(lines), SAID), SAID, lines=True)


def quoted(claims: Mapping[str, JsonValue]) -> list[str]:
    """Each line of what an agent says behind a bar."""
    rows = [f"{clean(label(name))}: {clean(value, lines=True)}" for name, value in flat(claims)]
    return [f"│ {line}" for row in rows for line in row.splitlines()]


def _before(view: RequestView) -> Iterator[Block]:
    """How the round before ended and what is different now, each line behind a bar."""
    before = view.request.before
    if not before:
        return
    yield context(f"*Since round {view.request.round - 1}*")
    shown = "\n".join(f"│ {cut(clean(line), VALUE)}" for line in before[:BEFORE])
    yield said(shown, SAID, lines=True)
    if len(before) > BEFORE:
        yield context(f"… and {len(before) - BEFORE:,} more differences: see {DETAILED}")


def _decisions(view: RequestView) -> Iterator[Block]:
    decisions = view.decisions
    if not decisions:
        return
    yield context("*Decisions*")
    rows = []
    for one in decisions[-DECISIONS:]:
        why = f": {one.reason}" if one.reason else ""
        rows.append((one.who, f"{one.kind.told} via {one.channel}, {spoken(one.at)}{why}"))
        changes = changed(view, one)
        rows += [("Changed", line) for line in changes[:CHANGES]]
        if len(changes) > CHANGES:
            rows.append(("Changed", f"{len(changes) - CHANGES:,} more values: see {INBOX}"))
    yield from pairs(rows)
    if len(decisions) > DECISIONS:
        yield context(f"… and {len(decisions) - DECISIONS:,} earlier ones: see {INBOX}")


def _asked(view: RequestView) -> Iterator[Block]:
    """Who has agreed and who still has to; once it has ended, who was asked."""
    requirement = view.request.requirement
    if requirement is None:
        yield context("Nobody is asked.")
        return
    if view.outcome is not None:
        words = f"Was asked: {asks(requirement)}"
        yield {"type": "context", "elements": [plain(words, ASKED)]}
        return
    agreed = approvers(view)
    names = ", ".join(requirement.people.get(one, one) for one in agreed)
    rest = ("Still asked", asks(requirement, agreed))
    if unless_objected(view.request):
        rest = ("May object", ", ".join(requirement.people.values()))
    rows = [("Agreed", names or "nobody yet"), rest]
    yield context("*Who decides*")
    yield from pairs(rows, ASKED)
    yield context(holds(requirement))
    if sure := surely(requirement):
        yield context(sure)


def _until(view: RequestView) -> str:
    requirement = view.request.requirement
    if requirement is None or view.outcome is not None:
        return ""
    if unless_objected(view.request):
        return f"Runs {when(requirement.deadline_at)}, unless somebody objects."
    until = f"Until {when(requirement.deadline_at)}, then {at_end(requirement)}."
    return f"{until} {escape(cut(in_time(view, spoken), ASKED))}".strip()


def _resumed(view: RequestView) -> str:
    if not view.woken:
        return ""
    return f"The run was resumed {times(view.woken)} although nobody had decided; it waits again."


def _links(view: RequestView, prefect_ui_url: str) -> str:
    """The inbox, and the run where its address is one of ours; flows tell that address."""
    run = view.request.run
    parts = [link(view.url, "Open in the inbox")]
    if prefect_ui_url and run.url.startswith(prefect_ui_url.rstrip("/") + "/"):
        parts.append(link(run.url, "Prefect run"))
    where = "in the flow's own process" if view.request.in_process else "by the executor"
    where = "by the gates server" if view.request.own_matter else where
    return " · ".join([*(part for part in parts if part), f"Runs {where}"])


def _barred(view: RequestView) -> Iterator[Block]:
    """Why there is nothing to approve."""
    words = choice(view, "")
    if not words.approve:
        yield context(escape(words.hint))


def _buttons(view: RequestView, token: str) -> Block:
    words = choice(view, "")
    windowed = unless_objected(view.request)  # what is usual needs no click there
    style = "" if windowed else "primary"
    buttons = [button(APPROVE, words.approve, token, style)] if words.approve else []
    if words.send_back and view.request.action.arguments and not view.request.lines:
        buttons.append(button(CHANGE, "Approve with changes", token))
    if words.send_back:
        buttons.append(button(SEND_BACK, words.send_back, token))
    if words.skip:
        buttons.append(button(SKIP, words.skip, token))
    buttons.append(button(REJECT, words.reject, token, "danger"))
    if words.escalate:
        buttons.append(button(ESCALATE, words.escalate, token))
    buttons.append(button(DETAILS, DETAILED, token))
    return {"type": "actions", "block_id": "gates_buttons", "elements": buttons}
