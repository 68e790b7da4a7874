"""Modals that go before an answer: why, what instead, and once more what would run. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from gates.core.care import wants_reason
from gates.core.model import DecisionKind, RequestView
from gates.core.wording import unless_objected
from gates.web.words import OBJECT, RUN_NOW, choice
from integrations.slack import loop_fields
from integrations.slack.blocks import HEADER, ROWS, Block, context, flat, pairs, plain, said
from integrations.slack.card import ASKED, changes_shown, changing, title
from integrations.slack.text import escape

REASON_BLOCK = "gates_reason_block"
REASON_INPUT = "gates_reason_text"
SUBJECTS = 3
PAYEE = {"payee", "supplier", "vendor", "recipient", "beneficiary", "customer", "account", "iban"}
REASON = 1_500  # characters that a person may write


@dataclass(frozen=True)
class Words:
    """What the modal for one answer says; `callback` is what its submission is called."""

    callback: str
    button: str
    label: str
    hint: str
    missing: str


ASKS_FOR = {
    DecisionKind.APPROVE: Words(
        "gates_approval",
        "Approve",
        "Why?",
        "For the record, and for whoever looks at this later.",
        "This approval counts only with a reason.",
    ),
    DecisionKind.ESCALATE: Words(
        "gates_escalation",
        "Escalate",
        "What can you not decide?",
        "Those who are asked then read this. You may still decide.",
        "Please say what you cannot decide.",
    ),
    DecisionKind.REJECT: Words(
        "gates_reason",
        "Reject",
        "Why not?",
        "The requester and the log get this.",
        "Please say why.",
    ),
    DecisionKind.SKIP: Words(
        "gates_skipping",
        "Skip this step",
        "Why can the run do without it?",
        "The flow is told and may go on; a flow that does not expect it ends.",
        "Please say why the run can do without it.",
    ),
    DecisionKind.SEND_BACK: Words(
        "gates_guidance",
        "Send back",
        "What should the agent do instead?",
        "The agent reads this and may propose again.",
        "Please say what to do instead.",
    ),
}
TOLD_IN = {words.callback: kind for kind, words in ASKS_FOR.items()}  # which answer is submitted


def answer_view(kind: DecisionKind, view: RequestView, token: str, place: str) -> Block:
    """The modal that asks for words; `private_metadata` brings the token and the channel back."""
    words = ASKS_FOR[kind]
    approves = kind is DecisionKind.APPROVE
    about = _twice(view) if approves else _about(view, kind)
    optional = approves and not wants_reason(view.request)
    return {
        "type": "modal",
        "callback_id": words.callback,
        "private_metadata": json.dumps({"token": token, "place": place}),
        "title": {"type": "plain_text", "text": said_by(kind, view)},
        "submit": {"type": "plain_text", "text": said_by(kind, view)},
        "close": {"type": "plain_text", "text": "Back"},
        "blocks": [*about, *loop_fields.fields(kind, view), _field(words, optional=optional)],
    }


def said_by(kind: DecisionKind, view: RequestView) -> str:
    """What the button of an answer says here; at most 24 characters."""
    named = {DecisionKind.APPROVE: RUN_NOW, DecisionKind.REJECT: OBJECT}
    usual = ASKS_FOR[kind].button
    return named.get(kind, usual) if unless_objected(view.request) else usual


def _about(view: RequestView, kind: DecisionKind) -> Iterator[Block]:
    yield said(title(view), HEADER)
    requirement = view.request.requirement
    if kind is DecisionKind.ESCALATE and requirement is not None:
        names = ", ".join(requirement.escalation.values()) or "nobody"
        yield said(f"Asked as well: {names}", ASKED)


def _twice(view: RequestView) -> Iterator[Block]:
    """Once more what would run: how much, of what, for whom, and what changes."""
    request, words = view.request, choice(view, "")
    found, _ = changing(request.action.arguments)
    rows = [("Amount", str(request.amount))] if request.amount else []
    rows += [(name, text) for name, text in flat(request.facts) if _names_payee(name)]
    rows += [(name, text) for name, text in flat(request.action.arguments) if _is_payee(name)]
    rows += [("About", one) for one in request.action.subject[:SUBJECTS]]
    rows.append(("Action", request.action.name))
    yield said(title(view), HEADER)
    yield from pairs(rows[:ROWS])
    yield from changes_shown(found)
    yield context(f"*{escape(words.hint)}*", f"Tier {request.judgement.tier.value}")


def _is_payee(path: str) -> bool:
    """By how arguments that say where money goes are called."""
    words = path.lower().replace("[", " ").replace(".", " ").replace("_", " ").split()
    old = bool({"old", "previous", "current"} & set(words))
    return not old and bool(PAYEE & set(words))


def _names_payee(path: str) -> bool:
    """Arguments may name somebody by a number; the facts then say who that is."""
    return path.endswith("name") and _is_payee(path)


def _field(words: Words, *, optional: bool) -> Block:
    return {
        "type": "input",
        "optional": optional,
        "block_id": REASON_BLOCK,
        "label": plain(words.label, HEADER),
        "hint": plain(words.hint, HEADER),
        "element": {
            "type": "plain_text_input",
            "action_id": REASON_INPUT,
            "multiline": True,
            "min_length": 1,
            "max_length": REASON,
            "focus_on_load": True,
        },
    }


def waiting_view(heading: str) -> Block:
    """Opened at once, while what belongs into it is looked up."""
    return notice_view(heading, "One moment…")


def notice_view(heading: str, sentence: str) -> Block:
    """A modal that only says something."""
    return {
        "type": "modal",
        "title": {"type": "plain_text", "text": heading},
        "close": {"type": "plain_text", "text": "Close"},
        "blocks": [said(sentence, 2_000)],
    }
