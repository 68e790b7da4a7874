"""Many requests at once are one message, with a way to go through them one by one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gates.core.model import RequestView
from gates.core.wording import unless_objected
from gates.web.words import question
from integrations.slack.telling import plain
from integrations.slack.text import clean, cut, escape, when

WALK = "gates_walk"
NAMED = 15  # requests by name; the rest is counted

Block = dict[str, Any]


def digest(waiting: Sequence[RequestView], total: int) -> tuple[str, list[Block]]:
    """Text and blocks. `waiting`: those that are open, the most urgent first, of `total`."""
    done = total - len(waiting)
    words = f"{_count(total)} came in at once. {len(waiting):,} wait, {done:,} are decided."
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": words[:150], "emoji": False}}
    ]
    for view in waiting[:NAMED]:
        blocks += row(view)
    if len(waiting) > NAMED:
        blocks.append(context(f"… and {len(waiting) - NAMED:,} more"))
    if waiting:
        blocks.append({"type": "actions", "elements": [walk_button("Go through them", "")]})
    return escape(words), blocks


def row(view: RequestView) -> list[Block]:
    """One request in a list: what, how much, and until when."""
    request = view.request
    amount = f" ({request.amount})" if request.amount else ""
    title = cut(clean(request.action.title or request.action.name), 200)
    until = ""
    if request.requirement is not None:
        until = ", runs" if unless_objected(request) else ", until"
        until += f" {when(request.requirement.deadline_at)}"
    tier = request.judgement.tier.value
    return [plain(title + amount), context(f"{question(view)} Tier {tier}{until}.")]


def walk_button(words: str, request_id: str) -> Block:
    """Opens the modal in which one request comes after the other, beginning with this one."""
    text = {"type": "plain_text", "text": words, "emoji": False}
    button: Block = {"type": "button", "action_id": WALK, "text": text, "style": "primary"}
    return button | ({"value": request_id} if request_id else {})


def context(markup: str) -> Block:
    return {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": markup, "verbatim": True}],
    }


def _count(number: int) -> str:
    return "1 request" if number == 1 else f"{number:,} requests"
