"""The app's home tab: what waits for one person. Pure; within a view's 100 blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gates.core.asked import PersonId
from gates.core.model import RequestView
from gates.web.words import is_mine
from integrations.slack.digest import context, row, walk_button
from integrations.slack.text import link

SHOWN = 30  # three blocks each

Block = dict[str, Any]


def home(views: Sequence[RequestView], person: PersonId, inbox: str) -> Block:
    """`views`: all that is open, the most urgent first."""
    mine = [view for view in views if is_mine(view, person)]
    words = f"{len(mine):,} wait for you" if mine else "Nothing waits for you"
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": words, "emoji": False}}
    ]
    if len(mine) > 1:
        blocks.append({"type": "actions", "elements": [walk_button("Go through them", "")]})
    for view in mine[:SHOWN]:
        first, second = row(view)
        button = walk_button("Look", view.request.id)
        button.pop("style")
        blocks += [first | {"accessory": button}, second, {"type": "divider"}]
    if len(mine) > SHOWN:
        blocks.append(context(f"… and {len(mine) - SHOWN:,} more: go through them, or see below."))
    others = len(views) - len(mine)
    note = [f"{others:,} wait for others." if others else "", link(inbox, "Open the inbox")]
    if any(note):
        blocks.append(context(" ".join(one for one in note if one)))
    return {"type": "home", "blocks": blocks}
