"""Modals that go before an answer: why, what instead, and once more what would run. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from gates.core.model import DecisionKind, RequestView
from integrations.slack.blocks import HEADER, Block, plain, said
from integrations.slack.card import title

REASON_BLOCK = "gates_reason_block"
REASON_INPUT = "gates_reason_text"
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
    DecisionKind.REJECT: Words(
        "gates_reason",
        "Reject",
        "Why not?",
        "The requester and the log get this.",
        "Please say why.",
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
    return {
        "type": "modal",
        "callback_id": words.callback,
        "private_metadata": json.dumps({"token": token, "place": place}),
        "title": {"type": "plain_text", "text": words.button},
        "submit": {"type": "plain_text", "text": words.button},
        "close": {"type": "plain_text", "text": "Back"},
        "blocks": [*_about(view), _field(words)],
    }


def _about(view: RequestView) -> Iterator[Block]:
    yield said(title(view), HEADER)


def _field(words: Words) -> Block:
    return {
        "type": "input",
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
