"""A text as it shows once what hides it is taken off. Pure.

Percent signs, HTML entities and escapes come off layer by layer; full-width letters become plain,
invisible ones go. Letters that merely look like others stay what they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html import unescape

LAYERS = 3  # of encodings over each other
_FULL_STOP = "\u3002"  # of Chinese and Japanese; browsers take it for a dot
_MARKS = re.compile(r"[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_BLANKS = re.compile(" +")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def disguises(text: str) -> Iterator[str]:
    """The text, and what is left once each layer of encoding is taken off it."""
    seen: set[str] = set()
    for _ in range(LAYERS + 1):
        # What is invisible may be nothing to the reader, or a gap.
        for shown in (plain(text), plain(text, gap=" ")):
            if shown not in seen:
                seen.add(shown)
                yield shown
        opened = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), text)
        opened = unescape(_PERCENT.sub(_unquoted, opened))
        if opened == text:
            return
        text = opened


def _unquoted(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", errors="replace")


def plain(text: str, *, gap: str = "") -> str:
    """Compatible letters as one, nothing invisible, one kind of dot and of blank."""
    if text.isascii() and text.isprintable():
        return _BLANKS.sub(" ", text)
    folded = unicodedata.normalize("NFKC", text).replace(_FULL_STOP, ".")
    shown = "".join(" " if one.isspace() else gap if _invisible(one) else one for one in folded)
    return _BLANKS.sub(" ", shown)


def _invisible(letter: str) -> bool:
    """Formats, controls, and the marks that select a variant or join graphemes."""
    return unicodedata.category(letter) in ("Cf", "Cc", "Cs") or _MARKS.match(letter) is not None
