"""How it ended, for the person on whose behalf it was asked. Pure."""

from __future__ import annotations

from typing import Any

from gates.core.model import RequestView
from gates.core.wording import ended
from gates.web.words import execution_status
from integrations.slack.text import clean, cut, escape, link

LONGEST = 1_500

Block = dict[str, Any]


def plain(text: str) -> Block:
    """Words of anybody, in which nothing is markup."""
    return {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}


def requester_told(view: RequestView) -> tuple[str, list[Block]]:
    """Text and blocks: what was asked in their name, what became of it, and where to read on."""
    request = view.request
    title = cut(clean(request.action.title or request.action.name), 200)
    amount = f" ({request.amount})" if request.amount else ""
    agent = cut(clean(request.requester.agent), 100)
    how = cut(clean(ended(view)), LONGEST)
    words = f"{title}{amount}, which {agent} asked for you: {how}."
    execution = execution_status(view)
    if execution is not None:
        words += f"\n{execution.words}."
    blocks = [plain(words)]
    read_on = link(view.url, "Open in the inbox")
    if read_on:
        elements = [{"type": "mrkdwn", "text": read_on, "verbatim": True}]
        blocks.append({"type": "context", "elements": elements})
    return escape(f"{title}{amount}: {how}"), blocks
