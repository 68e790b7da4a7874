"""A card as a page for a browser, about as Slack would show it. Pure: blocks in, HTML out.

Rules:
1. Only what Slack reads as markup becomes markup: bold, links, times. A mention, should one ever
   get into our own words, is shown as the ping that it would be.
2. Everything else is escaped; the page runs no script, loads nothing, and its buttons do nothing.
3. A kind of block that is not drawn here is an error, never a gap.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from integrations.slack.card import Card
from integrations.slack.text import spoken

_MARKUP = re.compile(
    r"<!date\^(?P<seconds>\d+)\^[^>]*>"
    r"|<(?P<url>https?://[^|>]+)\|(?P<words>[^>]*)>"
    r"|<(?P<ping>[^>]*)>"
    r"|\*(?P<bold>[^*\n]+)\*"
)


class NotDrawn(ValueError):
    """The preview does not know a kind of block."""


def page(card: Card, *, caption: str) -> str:
    """`caption`: what stands above the card, in words of ours."""
    return _PAGE.get_template("preview.html").render(card=card, caption=caption)


def words(text: dict[str, Any]) -> Markup:
    """A text object of either kind."""
    if text["type"] == "plain_text":
        return escape(text["text"])
    return Markup().join(_marked(str(text["text"])))


def _marked(text: str) -> list[Markup]:
    parts, end = [], 0
    for found in _MARKUP.finditer(text):
        parts += [_read(text[end : found.start()]), _drawn(found)]
        end = found.end()
    return [*parts, _read(text[end:])]


def _drawn(found: re.Match[str]) -> Markup:
    if found["seconds"]:
        moment = datetime.fromtimestamp(int(found["seconds"]), UTC)
        return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), spoken(moment))
    if found["url"]:
        link = Markup('<a href="{}" rel="noopener noreferrer">{}</a>')
        return link.format(_read(found["url"]), _read(found["words"]))
    if found["bold"]:
        return Markup("<b>{}</b>").format(Markup().join(_marked(found["bold"])))
    return Markup('<mark title="Slack would tell people">{}</mark>').format(found["ping"])


def _read(text: str) -> Markup:
    """What Slack shows for text of mrkdwn, made fit for HTML."""
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return escape(plain)


def _undrawn(kind: str) -> str:
    raise NotDrawn(f"The preview does not draw {kind!r}.")


_PAGE = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGE.filters["words"] = words
_PAGE.globals["undrawn"] = _undrawn
