"""Making anybody's text harmless in Slack, and short enough for it.

Pure. Three threats, three answers: markup (`escape`, or a plain-text object), characters that
hide or reorder what is read (`clean`), and length (`cut`, which says that it cut).
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from gates.web.values import label as words_for
from gates.web.values import visible


def units(text: str) -> int:
    """Return the length in UTF-16 code units: no reading of Slack's "characters" is stricter."""
    return len(text) + sum(1 for letter in text if letter > "\uffff")


def clean(text: str, *, lines: bool = False) -> str:
    """Spell out what does not show or turns reading around; without `lines` all on one line."""
    whole = visible(text.replace("\r\n", "\n").replace("\t", " "))
    return whole.strip() if lines else " ".join(whole.split())


def cut(text: str, limit: int) -> str:
    """Shorten to `limit` units at most, and say how much is missing."""
    if units(text) <= limit:
        return text
    note = f" … [{len(text):,} characters, cut]"
    if units(note) >= limit:
        note = "…"
    kept, used = [], units(note)
    for letter in text:
        used += units(letter)
        if used > limit:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + note


def escape(text: str) -> str:
    """Escape for mrkdwn: no mention, no link, no date can be made of what is left."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def label(key: str) -> str:
    """Make a key fit for bold mrkdwn: the inbox's words for it, less every sign that formats."""
    kept = "".join(c if c.isalnum() or c in " .-/[]#" else " " for c in clean(words_for(key)))
    return cut(" ".join(kept.split()) or "value", 60)


def spoken(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def when(moment: datetime) -> str:
    """Slack's date markup: each reader's own time zone, with UTC for clients without it."""
    return f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time}}|{spoken(moment)}>"


def link(url: str, words: str) -> str:
    """Return mrkdwn for a link that we made; nothing if the address could break out of it."""
    parts = urlsplit(url) if url.isascii() and url.isprintable() else urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.netloc or set(url) & set("<>|\"' "):
        return ""
    return f"<{escape(url)}|{escape(words)}>"
